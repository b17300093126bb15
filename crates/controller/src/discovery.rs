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

/// Watches a kind in one of its versions, and tells when it may be gone.
type Follow = Box<dyn Fn(&Watches, &str, Arc<Notify>) -> BoxFuture<'static, ()> + Send + Sync>;

/// A kind that may not be installed.
struct Kind {
    group: String,
    plural: String,
    versions: &'static [&'static str],
    part: Select,
    watch: Follow,
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
            for listed in resources {
                served.add(&metadata.name, &version, listed.resource);
            }
        }
    }
    for BareGroup { name, versions } in answer.groups.into_iter().flatten().filter(|group| is_ours(&group.name)) {
        for BareVersion { version } in versions {
            let group_version = format!("{name}/{version}");
            let resources = within(READ_LIMIT, client.list_api_group_resources(&group_version)).await?.resources;
            for resource in resources {
                served.add(&name, &version, resource.name);
            }
        }
    }
    Ok(served)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ipam_audit_core::{inventory::Inventory, snapshot::ClusterSnapshot, source::Reading};
    use jiff::Timestamp;
    use kube::core::Selector;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        state::{Lens, Place, State},
        tests::{Answer, Asked, Log, client, lines, ok, refused},
        watch::Pace,
    };

    /// What the API server serves, which a test may change.
    type World = Arc<Mutex<Vec<(&'static str, &'static str, &'static str)>>>;

    const CONFIGS: (&str, &str, &str) = ("crd.k8s.amazonaws.com", "v1alpha1", "eniconfigs");
    const POOLS: (&str, &str, &str) = ("karpenter.sh", "v1", "nodepools");
    const OLD_POOLS: (&str, &str, &str) = ("karpenter.sh", "v1beta1", "nodepools");
    const FUTURE_POOLS: (&str, &str, &str) = ("karpenter.sh", "v9", "nodepools");

    fn aggregated(served: &[(&str, &str, &str)]) -> Value {
        let items = served.iter().map(|(group, version, resource)| {
            json!({"metadata": {"name": group}, "versions": [{"version": version, "freshness": "Current",
                "resources": [{"resource": resource, "scope": "Cluster", "verbs": ["list"]}]}]})
        });
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
            "items": items.collect::<Vec<_>>()})
    }

    fn groups(served: &[(&str, &str, &str)]) -> Value {
        let groups = served.iter().map(|(group, version, _)| {
            json!({"name": group, "versions": [{"groupVersion": format!("{group}/{version}"), "version": version}]})
        });
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()})
    }

    /// An answer to a watch: one object, and the end of the list.
    fn watched(path: &str) -> Answer {
        let object =
            json!({"metadata": {"name": "one", "uid": "1", "resourceVersion": "5"}, "spec": {"subnet": "subnet-1"}});
        let annotations = json!({"k8s.io/initial-events-end": "true"});
        let end =
            json!({"kind": "X", "apiVersion": path, "metadata": {"resourceVersion": "7", "annotations": annotations}});
        lines(&[json!({"type": "ADDED", "object": object}), json!({"type": "BOOKMARK", "object": end})])
    }

    fn answer(asked: &Asked, served: &[(&str, &str, &str)], aggregates: bool) -> Answer {
        if asked.path == "/apis" {
            return ok(&if aggregates { aggregated(served) } else { groups(served) });
        }
        let of = |(group, version, resource): &(&str, &str, &str)| format!("/apis/{group}/{version}/{resource}");
        if let Some(one) = served.iter().find(|one| of(one) == asked.path) {
            return if asked.query.contains("resourceVersion=0") { watched(one.2) } else { Answer::Never };
        }
        let in_group = |one: &&(&str, &str, &str)| format!("/apis/{}/{}", one.0, one.1) == asked.path;
        let resources: Vec<Value> = served.iter().filter(in_group).map(|(.., resource)| {
            json!({"name": resource, "singularName": "", "namespaced": false, "kind": "X", "verbs": ["list"]})
        }).collect();
        if resources.is_empty() {
            return refused(404, "NotFound");
        }
        let group_version = asked.path.trim_start_matches("/apis/");
        ok(&json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}))
    }

    struct Rig {
        state: Arc<State>,
        world: World,
        log: Log,
        watches: Watches,
        settings: Settings,
    }

    fn rig(served: &[(&'static str, &'static str, &'static str)], aggregates: bool) -> Rig {
        let world: World = Arc::new(Mutex::new(served.to_vec()));
        let seen = world.clone();
        let (client, log) = client(move |asked| answer(asked, &seen.lock().unwrap(), aggregates));
        let settings = Settings::default();
        let state = Arc::new(State::new(settings.fault_grace));
        let watches = Watches { client, state: state.clone(), pace: Pace::new(&settings) };
        Rig { state, world, log, watches, settings }
    }

    impl Rig {
        fn snapshot(&self) -> ClusterSnapshot {
            let cni = Place { namespace: "kube-system".into(), name: "aws-node".into() };
            let lens = Lens { cni, trunk_annotation: "none".to_owned(), nodes: Selector::default() };
            self.state.snapshot(&lens, (Inventory::default(), Reading::not_collected()), Timestamp::now())
        }

        /// Discovers until the index shows what a test waits for; time passes by itself.
        async fn until(&self, what: &str, seen: impl Fn(&ClusterSnapshot) -> bool) {
            let shown = async {
                while !seen(&self.snapshot()) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::time::timeout(Duration::from_mins(5), shown).await.unwrap_or_else(|_| panic!("never seen: {what}"));
        }

        fn serve(&self, served: &[(&'static str, &'static str, &'static str)]) {
            *self.world.lock().unwrap() = served.to_vec();
        }

        fn asked(&self, path: &str) -> usize {
            self.log.lock().unwrap().iter().filter(|asked| asked.path == path).count()
        }
    }

    fn category<T>(reading: &Reading<T>) -> Option<FaultCategory> {
        reading.fault.as_ref().map(|fault| fault.category)
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_followed_while_they_are_served_and_asked_for_once_together() {
        let rig = rig(&[CONFIGS, OLD_POOLS], true);
        let discovering = tokio::spawn(follow(rig.watches.clone(), rig.settings.clone()));
        rig.until("both kinds", |seen| {
            let (configs, pools) = (&seen.objects.eni_configs, &seen.objects.node_pools);
            configs.value().is_some_and(|all| all.len() == 1) && pools.value().is_some_and(|all| all.len() == 1)
        })
        .await;
        assert_eq!(rig.asked("/apis"), 1, "one question for all kinds");
        assert_eq!(category(&rig.snapshot().objects.node_claims), Some(FaultCategory::NotFound));
        assert_eq!(category(&rig.snapshot().cni_nodes), Some(FaultCategory::NotFound));

        rig.serve(&[CONFIGS, OLD_POOLS, POOLS]);
        rig.until("the newer version", |_| rig.asked("/apis/karpenter.sh/v1/nodepools") > 0).await;
        rig.serve(&[POOLS]);
        let gone = |seen: &ClusterSnapshot| category(&seen.objects.eni_configs) == Some(FaultCategory::NotFound);
        rig.until("ENIConfigs are gone", gone).await;
        assert!(rig.snapshot().objects.node_pools.value().is_some(), "the others stay");
        rig.serve(&[CONFIGS, POOLS]);
        rig.until("ENIConfigs are back", |seen| seen.objects.eni_configs.value().is_some()).await;
        rig.serve(&[CONFIGS, FUTURE_POOLS]);
        let future = |seen: &ClusterSnapshot| category(&seen.objects.node_pools) == Some(FaultCategory::Malformed);
        rig.until("only a version from the future", future).await;
        let message = rig.snapshot().objects.node_pools.fault.unwrap().message;
        assert!(message.contains("v9") && message.contains("v1, v1beta1"), "{message}");
        discovering.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_that_misses_a_kind_is_not_believed() {
        let rig = rig(&[CONFIGS], true);
        let discovering = tokio::spawn(follow(rig.watches.clone(), rig.settings.clone()));
        rig.until("ENIConfigs", |seen| seen.objects.eni_configs.value().is_some()).await;
        let before = rig.asked("/apis");
        rig.serve(&[]);
        rig.until("a look without them", |_| rig.asked("/apis") > before).await;
        rig.serve(&[CONFIGS]);
        rig.until("a second look", |seen| {
            assert!(seen.objects.eni_configs.value().is_some(), "they never went");
            rig.asked("/apis") > before + 1
        })
        .await;
        discovering.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_aggregate_is_asked_group_by_group() {
        let rig = rig(&[CONFIGS, ("apps", "v1", "deployments")], false);
        let discovering = tokio::spawn(follow(rig.watches.clone(), rig.settings.clone()));
        rig.until("ENIConfigs", |seen| seen.objects.eni_configs.value().is_some()).await;
        assert_eq!(rig.asked("/apis/apps/v1"), 0, "nobody asked about those");
        discovering.abort();
    }
}
