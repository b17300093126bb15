//! Starts the watches that fill the index, and follows the pods of the VPC CNI wherever they are found.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipam_audit_api::{
    names::{FIELD_MANAGER, LABEL_MANAGED_BY},
    v1alpha1::{NodeIpamReport, SubnetIpamReport},
    views::{
        AwsNodePodView, DaemonSetView, DeploymentView, EventView, MutatingWebhooksView, NetworkPolicyView, NodeView,
        PodView, ServiceAccountView, ServiceView,
    },
};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::{AbortHandle, JoinSet};

use crate::{
    config_maps, discovery,
    settings::Settings,
    state::{AwsNodePods, Changed, IndexSink, Part, Parts, Rows, State, Target, settled},
    tasks::Tasks,
    watch::{self, Pace, Watch},
};

/// Finished pods have given their addresses back; the API server leaves them out.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// What can be about an address and is a warning; how often containers crash or answer no probe is nothing to us.
const WARNINGS: &str = "type!=Normal,reason!=BackOff,reason!=Unhealthy";
/// The only failure that the VPC resource controller does not call a warning.
const TRUNK_FAILED: &str = "reason=NodeTrunkFailedInit";

/// Starts every watch of the controller.
pub(crate) fn start(tasks: &mut Tasks, client: &Client, state: &Arc<State>, pace: Pace, settings: &Settings) {
    let watches = Watches { client: client.clone(), state: state.clone(), pace };
    start_core(tasks, &watches);
    start_objects(tasks, &watches);
    let ours = format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}");
    tasks.spawn(
        "watch nodeipamreports",
        watches.run::<NodeIpamReport, _, _>(None, Some(&ours), |parts| Some(&mut parts.node_reports)),
    );
    tasks.spawn(
        "watch subnetipamreports",
        watches.run::<SubnetIpamReport, _, _>(None, Some(&ours), |parts| Some(&mut parts.subnet_reports)),
    );
    tasks.spawn("discover optional kinds", discovery::follow(watches.clone(), settings.clone()));
    tasks.spawn("follow aws-node", follow_aws_node(watches.clone(), settings.clone()));
    tasks.spawn("follow config maps", config_maps::follow(watches, settings.clone()));
}

/// What no audit can do without.
fn start_core(tasks: &mut Tasks, watches: &Watches) {
    tasks.spawn("watch nodes", watches.run::<NodeView, _, _>(None, None, |parts| Some(&mut parts.nodes)));
    tasks.spawn("watch pods", watches.run::<PodView, _, _>(Some(UNFINISHED), None, |parts| Some(&mut parts.pods)));
    tasks.spawn("watch events", watches.run::<EventView, _, _>(Some(WARNINGS), None, |parts| Some(&mut parts.events)));
    tasks.spawn(
        "watch trunk events",
        watches.run::<EventView, _, _>(Some(TRUNK_FAILED), None, |parts| Some(&mut parts.trunk_events)),
    );
    tasks.spawn(
        "watch daemonsets",
        watches.run::<DaemonSetView, _, _>(None, None, |parts| Some(&mut parts.cni.daemon_sets)),
    );
}

/// What some rules ask about.
fn start_objects(tasks: &mut Tasks, watches: &Watches) {
    tasks.spawn(
        "watch serviceaccounts",
        watches.run::<ServiceAccountView, _, _>(None, None, |parts| Some(&mut parts.service_accounts)),
    );
    tasks.spawn(
        "watch deployments",
        watches.run::<DeploymentView, _, _>(None, None, |parts| Some(&mut parts.deployments)),
    );
    tasks.spawn("watch services", watches.run::<ServiceView, _, _>(None, None, |parts| Some(&mut parts.services)));
    tasks.spawn(
        "watch networkpolicies",
        watches.run::<NetworkPolicyView, _, _>(None, None, |parts| Some(&mut parts.network_policies)),
    );
    tasks.spawn(
        "watch webhooks",
        watches.run::<MutatingWebhooksView, _, _>(None, None, |parts| Some(&mut parts.webhooks)),
    );
}

/// What every watch needs.
#[derive(Clone)]
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) state: Arc<State>,
    pub(crate) pace: Pace,
}

impl Watches {
    fn run<K, R, F>(
        &self,
        fields: Option<&str>,
        labels: Option<&str>,
        select: F,
    ) -> impl Future<Output = ()> + Send + 'static + use<K, R, F>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Send + 'static,
        R: Rows<K> + 'static,
        F: for<'a> Fn(&'a mut Parts) -> Option<&'a mut Part<R>> + Send + Sync + 'static,
    {
        let watch = Watch {
            fields: fields.map(str::to_owned),
            labels: labels.map(str::to_owned),
            ..self.of::<K>(K::url_path(&(), None))
        };
        watch::run(watch, IndexSink::new(self.state.clone(), select))
    }

    /// A watch of all objects at a path.
    pub(crate) fn of<K: Resource<DynamicType = ()>>(&self, path: String) -> Watch {
        Watch {
            client: self.client.clone(),
            path,
            resource: resource_name::<K>(),
            fields: None,
            labels: None,
            pace: self.pace.clone(),
        }
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
    let watch = Watch {
        fields: Some(UNFINISHED.to_owned()),
        labels: Some(selector),
        ..watches.of::<AwsNodePodView>(AwsNodePodView::url_path(&(), Some(&place.namespace)))
    };
    watch::run(watch, IndexSink::new(watches.state.clone(), move |parts| parts.cni.pods.get_mut(&place)))
}
