//! Reads ConfigMaps by name: those that the VPC CNI's environment refers to, and those that decide about addresses.
//!
//! At once when one is new, and again from time to time: a watch would need the right to list all of a namespace.

use std::collections::{BTreeMap, btree_map::Entry};

use ipam_audit_api::views::{ConfigMapKey, ConfigMapView, Interner, Unfit, system_config_maps};
use ipam_audit_core::source::{FaultCategory, SourceFault};
use kube::{Resource, api::GetParams, core::Request};

use crate::{
    backoff::jittered,
    call::{READ_LIMIT, within},
    collect::Watches,
    settings::Settings,
    state::{Changed, Parts, may_pass, settled},
    wire,
};

/// A ConfigMap, or that there is none, or why nobody knows.
type Answer = Result<Option<ConfigMapView>, SourceFault>;

/// Reads them for ever.
pub(crate) async fn follow(watches: Watches, settings: Settings) {
    let mut changes = watches.state.changes();
    loop {
        let keys = watches.state.read(|parts| parts.cni.config_maps());
        let mut answers = BTreeMap::new();
        for key in keys.iter().cloned().chain(system_config_maps()) {
            if let Entry::Vacant(unread) = answers.entry(key) {
                let answer = read(&watches, unread.key()).await;
                unread.insert(answer);
            }
        }
        let retry = answers.values().any(|answer| answer.as_ref().is_err_and(|fault| may_pass(fault.category)));
        watches.state.change(|parts, interner| {
            parts.cni.maps.retain(|key, _| keys.contains(key));
            let of_cni = answers.iter().filter(|(key, _)| keys.contains(key));
            let news = of_cni.fold(Changed::No, |news, (key, answer)| news.or(keep(parts, key, answer)));
            news.or(keep_system(parts, &answers, interner))
        });
        let pause =
            if retry { settings.retry_max.min(settings.discovery_interval) } else { settings.discovery_interval };
        let due = tokio::time::sleep(jittered(pause));
        let new_key = async {
            while settled(&mut changes, settings.debounce, settings.debounce_limit).await {
                let now = watches.state.read(|parts| parts.cni.config_maps());
                if now != keys {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = due => {}
            () = new_key => {}
        }
    }
}

async fn read(watches: &Watches, key: &ConfigMapKey) -> Answer {
    let path = ConfigMapView::url_path(&(), Some(&key.namespace));
    let get = async {
        let request = Request::new(path).get(&key.name, &GetParams::default());
        wire::object::<ConfigMapView>(&watches.client, request.map_err(kube::Error::BuildRequest)?).await
    };
    match within(READ_LIMIT, get).await {
        Ok(Ok(map)) => Ok(Some(map)),
        Ok(Err(Unfit { what, .. })) => {
            let message = format!("ConfigMap {}/{} makes no sense: {what}", key.namespace, key.name);
            Err(SourceFault { category: FaultCategory::Malformed, message })
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.fault("get", &format!("configmaps in namespace {}", key.namespace))),
    }
}

/// Keeps one that the VPC CNI's environment refers to.
fn keep(parts: &mut Parts, key: &ConfigMapKey, answer: &Answer) -> Changed {
    let value = match answer {
        Ok(Some(map)) => Ok(map.data.clone().unwrap_or_default()),
        Ok(None) => Err("there is no such ConfigMap".to_owned()),
        // What was read once stays while the API server is away.
        Err(fault) if may_pass(fault.category) && parts.cni.maps.get(key).is_some_and(Result::is_ok) => {
            return Changed::No;
        }
        Err(fault) => Err(fault.message.clone()),
    };
    if parts.cni.maps.get(key) == Some(&value) {
        return Changed::No;
    }
    if let Err(why) = &value {
        tracing::warn!(namespace = %key.namespace, config_map = key.name, "cannot read a ConfigMap of the VPC CNI: {why}");
    }
    parts.cni.maps.insert(key.clone(), value);
    Changed::Yes
}

/// Keeps those that decide about addresses, if all of them could be read.
fn keep_system(parts: &mut Parts, answers: &BTreeMap<ConfigMapKey, Answer>, interner: &mut Interner) -> Changed {
    let part = &mut parts.config_maps;
    let mut maps = Vec::new();
    for key in system_config_maps() {
        match answers.get(&key) {
            Some(Ok(Some(map))) => maps.extend(map.row(interner).ok().flatten()),
            Some(Err(fault)) => return part.health.fail(fault.clone()),
            Some(Ok(None)) | None => {}
        }
    }
    let healed = part.health.connect();
    let first = if part.health.is_listed() { Changed::No } else { part.health.end_list(maps.len()) };
    part.rows.replace(maps).or(healed).or(first)
}
