//! Starts the watches that fill the index, and follows what depends on what they find: the pods of the VPC CNI, the
//! ConfigMaps of its environment, kinds that may not be installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use ipam_audit_api::{
    names::{FIELD_MANAGER, LABEL_MANAGED_BY},
    v1alpha1::{NodeIpamReport, SubnetIpamReport},
    views::{
        AwsNodePodView, CniNodeView, ConfigMapKey, ConfigMapView, DaemonSetView, EventView, NodeView,
        POD_SANDBOX_FAILED, PodView,
    },
};
use kube::{Api, Client, Resource, core::DeserializeGuard};
use serde::de::DeserializeOwned;
use tokio::task::{AbortHandle, JoinSet};

use crate::{
    backoff::{Backoff, jittered},
    call::{READ_LIMIT, within},
    settings::Settings,
    state::{
        AwsNodePods, Changed, CniNodes, IndexSink, Part, Parts, Rows, State, Target, config_map_fault, may_pass,
        settled,
    },
    tasks::Tasks,
    watch::{self, Pace, Watch},
};

/// Finished pods have given their addresses back; the API server leaves them out.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Starts every watch of the controller.
pub(crate) fn start(tasks: &mut Tasks, client: &Client, state: &Arc<State>, pace: Pace, settings: &Settings) {
    let watches = Watches { client: client.clone(), state: state.clone(), pace };
    tasks.spawn("watch nodes", watches.run::<NodeView, _, _>(None, None, |parts| Some(&mut parts.nodes)));
    tasks.spawn("watch pods", watches.run::<PodView, _, _>(Some(UNFINISHED), None, |parts| Some(&mut parts.pods)));
    let sandbox = format!("reason={POD_SANDBOX_FAILED}");
    tasks
        .spawn("watch events", watches.run::<EventView, _, _>(Some(&sandbox), None, |parts| Some(&mut parts.refusals)));
    tasks.spawn(
        "watch daemonsets",
        watches.run::<DaemonSetView, _, _>(None, None, |parts| Some(&mut parts.cni.daemon_sets)),
    );
    let ours = format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}");
    tasks.spawn(
        "watch nodeipamreports",
        watches.run::<DeserializeGuard<NodeIpamReport>, _, _>(None, Some(&ours), |parts| Some(&mut parts.node_reports)),
    );
    tasks.spawn(
        "watch subnetipamreports",
        watches.run::<DeserializeGuard<SubnetIpamReport>, _, _>(None, Some(&ours), |parts| {
            Some(&mut parts.subnet_reports)
        }),
    );
    tasks.spawn("watch cninodes", follow_cni_nodes(watches.clone(), settings.clone()));
    tasks.spawn("follow aws-node", follow_aws_node(watches.clone(), settings.clone()));
    tasks.spawn("follow config maps", follow_config_maps(watches, settings.clone()));
}

#[derive(Clone)]
struct Watches {
    client: Client,
    state: Arc<State>,
    pace: Pace,
}

impl Watches {
    fn run<K, R, F>(
        &self,
        fields: Option<&str>,
        labels: Option<&str>,
        select: F,
    ) -> impl Future<Output = ()> + Send + 'static + use<K, R, F>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
        R: Rows<K> + 'static,
        F: for<'a> Fn(&'a mut Parts) -> Option<&'a mut Part<R>> + Send + Sync + 'static,
    {
        self.run_on(Api::all(self.client.clone()), fields, labels, select)
    }

    fn run_on<K, R, F>(
        &self,
        api: Api<K>,
        fields: Option<&str>,
        labels: Option<&str>,
        select: F,
    ) -> impl Future<Output = ()> + Send + 'static + use<K, R, F>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
        R: Rows<K> + 'static,
        F: for<'a> Fn(&'a mut Parts) -> Option<&'a mut Part<R>> + Send + Sync + 'static,
    {
        let watch = Watch {
            api,
            resource: resource_name::<K>(),
            fields: fields.map(str::to_owned),
            labels: labels.map(str::to_owned),
            pace: self.pace.clone(),
        };
        watch::run(watch, IndexSink::new(self.state.clone(), select))
    }
}

/// `pods`, or `cninodes.vpcresources.k8s.aws`: as in a ClusterRole or a CRD's name.
pub(crate) fn resource_name<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    if group.is_empty() {
        return plural.into_owned();
    }
    format!("{plural}.{group}")
}

/// Watches CNINodes while their CRD is installed; it may come and go.
async fn follow_cni_nodes(watches: Watches, settings: Settings) {
    let mut backoff = Backoff::new(settings.retry_min, settings.retry_max);
    loop {
        match serves_cni_nodes(&watches.client).await {
            Some(true) => {
                backoff.reset();
                set_installed(&watches.state, true);
                let watching = watches
                    .run::<DeserializeGuard<CniNodeView>, CniNodes, _>(None, None, |parts| Some(&mut parts.cni_nodes));
                tokio::select! {
                    () = watching => {}
                    () = until_uninstalled(&watches.client, settings.discovery_interval) => {}
                }
            }
            Some(false) => {
                backoff.reset();
                set_installed(&watches.state, false);
                tokio::time::sleep(jittered(settings.discovery_interval)).await;
            }
            None => tokio::time::sleep(backoff.pause()).await,
        }
    }
}

async fn until_uninstalled(client: &Client, interval: Duration) {
    loop {
        tokio::time::sleep(jittered(interval)).await;
        if serves_cni_nodes(client).await == Some(false) {
            return;
        }
    }
}

/// Whether the API server serves CNINodes; none while it does not say.
async fn serves_cni_nodes(client: &Client) -> Option<bool> {
    let group_version = CniNodeView::api_version(&());
    match within(READ_LIMIT, client.list_api_group_resources(&group_version)).await {
        Ok(list) => Some(list.resources.iter().any(|resource| resource.name == CniNodeView::plural(&()))),
        Err(error) if error.is_not_found() => Some(false),
        Err(error) => {
            tracing::debug!(%error, "cannot ask whether CNINodes are served");
            None
        }
    }
}

fn set_installed(state: &State, installed: bool) {
    state.change(|parts, _| {
        let before = parts.cni_nodes_installed.replace(installed);
        if before == Some(installed) {
            return Changed::No;
        }
        tracing::info!(installed, "CNINode CRD");
        if !installed {
            parts.cni_nodes.rows.clear();
        }
        Changed::Yes
    });
}

/// Watches the pods of every DaemonSet that is the VPC CNI.
async fn follow_aws_node(watches: Watches, settings: Settings) {
    let mut running = JoinSet::new();
    let mut followed: BTreeMap<Target, AbortHandle> = BTreeMap::new();
    let mut changes = watches.state.changes();
    loop {
        let targets = watches.state.read(|parts| parts.cni.targets());
        for (_, gone) in followed.extract_if(.., |target, _| !targets.contains(target)) {
            gone.abort();
        }
        forget_pods(&watches.state, &targets);
        for target in targets {
            followed.entry(target).or_insert_with_key(|target| running.spawn(follow(&watches, target)));
        }
        tokio::select! {
            more = settled(&mut changes, settings.debounce, settings.debounce_limit) => if !more { return },
            Some(ended) = running.join_next() => if !ended.is_err_and(|error| error.is_cancelled()) { return },
        }
    }
}

fn forget_pods(state: &State, targets: &BTreeSet<Target>) {
    state.change(|parts, _| {
        let before = parts.cni.pods.len();
        parts.cni.pods.retain(|place, _| targets.iter().any(|target| target.place == *place));
        Changed::when(parts.cni.pods.len() < before)
    });
}

fn follow(watches: &Watches, target: &Target) -> impl Future<Output = ()> + Send + 'static {
    let Target { place, selector } = target.clone();
    tracing::info!(namespace = %place.namespace, daemon_set = %place.name, "following the pods of the VPC CNI");
    let grace = watches.state.grace();
    watches.state.change(|parts, _| {
        // A new selector is a new list: what the old one selected is not to be trusted.
        parts.cni.pods.insert(place.clone(), Part::<AwsNodePods>::new("aws-node pods", grace));
        Changed::No
    });
    let api = Api::<AwsNodePodView>::namespaced(watches.client.clone(), &place.namespace);
    watches.run_on(api, Some(UNFINISHED), Some(&selector), move |parts| parts.cni.pods.get_mut(&place))
}

/// Reads the ConfigMaps that the VPC CNI's environment refers to, at once when one is new, and again from time to time.
async fn follow_config_maps(watches: Watches, settings: Settings) {
    let mut changes = watches.state.changes();
    loop {
        let keys = watches.state.read(|parts| parts.cni.config_maps());
        watches.state.with(|parts| parts.cni.maps.retain(|key, _| keys.contains(key)));
        let mut retry = false;
        for key in &keys {
            retry |= !read_config_map(&watches, key).await;
        }
        let pause = if retry { settings.retry_max } else { settings.discovery_interval };
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

/// False if it is worth trying again soon.
async fn read_config_map(watches: &Watches, key: &ConfigMapKey) -> bool {
    let api = Api::<ConfigMapView>::namespaced(watches.client.clone(), &key.namespace);
    let answer = within(READ_LIMIT, api.get(&key.name)).await;
    let (value, worked) = match answer {
        Ok(map) => (Ok(map.data.unwrap_or_default()), true),
        Err(error) => {
            let fault = error.fault("get", &format!("configmaps in namespace {}", key.namespace));
            let passes = may_pass(fault.category);
            (Err(config_map_fault(&fault)), !passes)
        }
    };
    watches.state.change(|parts, _| {
        // What was read once stays while the API server is away.
        if !worked && parts.cni.maps.get(key).is_some_and(Result::is_ok) {
            return Changed::No;
        }
        let changed = parts.cni.maps.get(key) != Some(&value);
        if changed && let Err(why) = &value {
            tracing::warn!(namespace = %key.namespace, config_map = key.name, "cannot read a ConfigMap of the VPC CNI: {why}");
        }
        parts.cni.maps.insert(key.clone(), value);
        Changed::when(changed)
    });
    worked
}
