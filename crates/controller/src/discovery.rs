//! Kinds that may not be installed: which of them the API server serves and in which version, asked once for all of them,
//! and a watch of each for as long as it is there.
//!
//! The API server is asked from time to time, and at once when a watch says that its kind is gone. That a kind is gone is
//! believed when a second look says the same: an API server that starts does not know all of its kinds yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::header::ACCEPT;
use ipam_audit_api::views::{
    CniNodeView, EniConfigView, Foreign, NodeClaimView, NodeClassView, NodePoolView, SecurityGroupPolicyView,
};
use ipam_audit_core::source::{FaultCategory, SourceFault};
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};

use crate::{
    backoff::{Backoff, jittered},
    call::{CallError, READ_LIMIT, within},
    collect::Watches,
    settings::Settings,
    state::{IndexSink, MayBeAbsent, Optional, Parts, Presence, View},
    watch::{self, Event, Sink},
};

/// All groups with their resources in one answer; an API server that is too old for that answers with the groups alone.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// Finds the part of the index that a kind fills.
type Select = Box<dyn for<'a> Fn(&'a mut Parts) -> &'a mut (dyn MayBeAbsent) + Send + Sync>;

/// A kind that may not be installed.
struct Kind {
    group: String,
    plural: String,
    versions: &'static [&'static str],
    part: Select,
    watch: Box<dyn Fn(&Watches, &str, Arc<Notify>) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Kind {
    fn of<V>(select: for<'a> fn(&'a mut Parts) -> &'a mut Optional<V::Row>) -> Self
    where
        V: Foreign + View + DeserializeOwned + Send + 'static,
        V::Row: Send + Sync + 'static,
    {
        let watch = move |watches: &Watches, version: &str, gone: Arc<Notify>| {
            let watch = watches.of::<V>(format!("/apis/{}/{version}/{}", V::group(&()), V::plural(&())));
            let sink = IndexSink::new(watches.state.clone(), move |parts| Some(&mut select(parts).part));
            watch::run::<V>(watch, Noticing { sink, gone }).boxed()
        };
        Self {
            group: V::group(&()).into_owned(),
            plural: V::plural(&()).into_owned(),
            versions: V::VERSIONS,
            part: Box::new(move |parts| select(parts)),
            watch: Box::new(watch),
        }
    }

    /// What it comes to that these versions of it are served.
    fn presence(&self, served: &Served) -> (Presence, Option<&'static str>) {
        let Some(served) = served.0.get(&(self.group.clone(), self.plural.clone())) else {
            return (Presence::Absent, None);
        };
        match self.versions.iter().find(|version| served.contains(**version)) {
            Some(version) => (Presence::Served, Some(version)),
            None => (Presence::NotUnderstood(served.iter().cloned().collect()), None),
        }
    }
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::of::<CniNodeView>(|parts| &mut parts.cni_nodes),
        Kind::of::<EniConfigView>(|parts| &mut parts.eni_configs),
        Kind::of::<SecurityGroupPolicyView>(|parts| &mut parts.security_group_policies),
        Kind::of::<NodePoolView>(|parts| &mut parts.node_pools),
        Kind::of::<NodeClassView>(|parts| &mut parts.node_classes),
        Kind::of::<NodeClaimView>(|parts| &mut parts.node_claims),
    ]
}

/// Tells whoever discovers that a kind may be gone.
struct Noticing<S> {
    sink: S,
    gone: Arc<Notify>,
}

impl<K, S: Sink<K>> Sink<K> for Noticing<S> {
    fn event(&self, event: Event<K>) {
        self.sink.event(event);
    }

    fn connected(&self) {
        self.sink.connected();
    }

    fn failed(&self, fault: SourceFault) {
        if fault.category == FaultCategory::NotFound {
            self.gone.notify_one();
        }
        self.sink.failed(fault);
    }

    fn unreadable(&self, what: &'static str) {
        self.sink.unreadable(what);
    }

    fn paged(&self) {
        self.sink.paged();
    }

    fn moved(&self, position: &str) {
        self.sink.moved(position);
    }
}

/// A kind that is watched.
struct Followed {
    version: &'static str,
    watch: AbortHandle,
    /// Whether the last look did not find it.
    missed: bool,
}

/// Watches every optional kind while it is served. Ends only if a watch ends, which none should.
pub(crate) async fn follow(watches: Watches, settings: Settings) {
    let kinds = kinds();
    let gone = Arc::new(Notify::new());
    let mut backoff = Backoff::new(settings.retry_min, settings.retry_max);
    let mut running = JoinSet::new();
    let mut followed: BTreeMap<usize, Followed> = BTreeMap::new();
    loop {
        let pause = match discover(&watches.client, &kinds).await {
            Ok(served) => {
                backoff.reset();
                for (index, kind) in kinds.iter().enumerate() {
                    let entry = followed.remove(&index);
                    let entry = turn(kind, entry, &served, &watches, |watch| running.spawn(watch), &gone);
                    followed.extend(entry.map(|entry| (index, entry)));
                }
                let doubtful = followed.values().any(|kind| kind.missed);
                if doubtful { second_look(&settings) } else { jittered(settings.discovery_interval) }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot ask which kinds are served");
                backoff.pause()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = gone.notified() => {}
            Some(ended) = running.join_next() => if !ended.is_err_and(|error| error.is_cancelled()) { return },
        }
    }
}

/// When to look again at what seems to be gone: before the fault of its watch is told.
fn second_look(settings: &Settings) -> Duration {
    (settings.fault_grace / 4).min(settings.discovery_interval)
}

/// Makes the watch of a kind what it has to be: begun, ended, or of another version.
fn turn(
    kind: &Kind,
    followed: Option<Followed>,
    served: &Served,
    watches: &Watches,
    spawn: impl FnOnce(BoxFuture<'static, ()>) -> AbortHandle,
    gone: &Arc<Notify>,
) -> Option<Followed> {
    let (presence, version) = kind.presence(served);
    match followed {
        Some(followed) if version == Some(followed.version) => return Some(Followed { missed: false, ..followed }),
        Some(followed) if presence == Presence::Absent && !followed.missed => {
            return Some(Followed { missed: true, ..followed });
        }
        Some(followed) => followed.watch.abort(),
        None => {}
    }
    watches.state.change(|parts, _| {
        let part = (kind.part)(parts);
        if *part.presence() != presence {
            let version = version.unwrap_or_default();
            tracing::info!(kind = kind.plural, group = kind.group, version, "optional kind: {}", word(&presence));
        }
        part.set(presence)
    });
    let version = version?;
    let watch = spawn((kind.watch)(watches, version, gone.clone()));
    Some(Followed { version, watch, missed: false })
}

const fn word(presence: &Presence) -> &'static str {
    match presence {
        Presence::Unknown => "unknown",
        Presence::Absent => "not installed",
        Presence::Served => "installed",
        Presence::NotUnderstood(_) => "installed in other versions only",
    }
}

/// The versions in which resources of our groups are served.
#[derive(Debug, Default)]
struct Served(BTreeMap<(String, String), BTreeSet<String>>);

impl Served {
    fn add(&mut self, group: &str, version: &str, resource: String) {
        self.0.entry((group.to_owned(), resource)).or_default().insert(version.to_owned());
    }
}

#[derive(Deserialize)]
struct Answer {
    /// The aggregated answer.
    items: Option<Vec<Group>>,
    /// The answer of API servers that do not aggregate.
    groups: Option<Vec<BareGroup>>,
}

#[derive(Deserialize)]
struct Group {
    metadata: GroupMeta,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct GroupMeta {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    resource: String,
}

#[derive(Deserialize)]
struct BareGroup {
    name: String,
    #[serde(default)]
    versions: Vec<BareVersion>,
}

#[derive(Deserialize)]
struct BareVersion {
    version: String,
}

/// Asks what of our kinds is served.
async fn discover(client: &Client, kinds: &[Kind]) -> Result<Served, CallError> {
    let request = http::Request::get("/apis").header(ACCEPT, AGGREGATED).body(Vec::new());
    let ask = async { client.request_text(request.map_err(kube::Error::HttpError)?).await };
    let text = within(READ_LIMIT, ask).await?;
    let answer: Answer = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
    let is_ours = |group: &str| kinds.iter().any(|kind| kind.group == group);
    let mut served = Served::default();
    for Group { metadata, versions } in answer.items.into_iter().flatten().filter(|group| is_ours(&group.metadata.name))
    {
        for Version { version, resources } in versions {
            resources.into_iter().for_each(|listed| served.add(&metadata.name, &version, listed.resource));
        }
    }
    for BareGroup { name, versions } in answer.groups.into_iter().flatten().filter(|group| is_ours(&group.name)) {
        for BareVersion { version } in versions {
            let group_version = format!("{name}/{version}");
            let resources = within(READ_LIMIT, client.list_api_group_resources(&group_version)).await?.resources;
            resources.into_iter().for_each(|resource| served.add(&name, &version, resource.name));
        }
    }
    Ok(served)
}
