//! Publications against an API server in memory that keeps what it is sent.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering::SeqCst},
    time::Duration,
};

use http::Method;
use ipam_audit_api::{
    convert::{Circumstances, ReadPlace},
    settings::AuditSettings,
    v1alpha1::{IpamAudit, IpamAuditSpec},
};
use ipam_audit_core::{
    engine,
    inventory::{Attachment, Interface, InterfaceKind, InterfaceTraits, Inventory, Subnet},
    memory::Memory,
    outcome::AuditOutcome,
    snapshot::{
        AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, BranchUse, ClusterObjects, ClusterSnapshot, EnvValue, Node,
        NodeState, Platform, Pod, PodFields, PodPhase, TrunkHints,
    },
    source::{FaultCategory, Reading},
    tags::Tags,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    lease::Leadership,
    settings::Settings,
    tests::{Answer, Asked, Log, client, ok, refused},
    watch::Pace,
};

/// Nodes with two full interfaces for one pod each, in a subnet that is large or full.
pub(crate) fn snapshot(nodes: u8, free: u32) -> ClusterSnapshot {
    let now = Timestamp::UNIX_EPOCH;
    let env = Arc::new(AwsNodeEnv {
        image: "registry/amazon-k8s-cni:v1.19.0".to_owned(),
        values: [("WARM_ENI_TARGET", "1"), ("ENABLE_IPv4", "true")]
            .map(|(name, value)| (name.to_owned(), EnvValue::Literal(value.to_owned())))
            .into(),
    });
    let name = |number: u8| format!("node-{number}");
    let running = |number: u8| AwsNodePod::running(name(number).into(), env.clone());
    ClusterSnapshot {
        taken_at: now,
        nodes: Reading::fresh((0..nodes).map(|number| Arc::new(node(number))).collect(), now),
        pods: Reading::fresh((0..nodes).map(pod).collect(), now),
        aws_node: Reading::fresh(
            AwsNode {
                daemon_set: "kube-system/aws-node".into(),
                template: env.clone(),
                pods: (0..nodes).map(running).collect(),
                manifest: AwsNodeManifest::default(),
            },
            now,
        ),
        cni_nodes: Reading::fresh(Vec::new(), now),
        ipamd: Reading::not_collected(),
        objects: ClusterObjects::default(),
        ec2: Inventory {
            vpcs: Reading::fresh(Vec::new(), now),
            subnets: Reading::fresh(vec![subnet(free)], now),
            interfaces: Reading::fresh(
                (0..nodes).flat_map(|number| [0, 1].map(|device| interface(number, device))).collect(),
                now,
            ),
            instance_types: Reading::fresh(Vec::new(), now),
            reservations: Reading::fresh(Vec::new(), now),
            ..Inventory::default()
        },
    }
}

fn node(number: u8) -> Node {
    Node {
        name: format!("node-{number}").into(),
        uid: format!("uid-{number}").into(),
        instance: Some(format!("i-{number}").into()),
        instance_type: Some("m6a.32xlarge".into()),
        zone: Some("eu-central-1a".into()),
        node_group: Some("batch".into()),
        max_pods: Some(234),
        branch_slots: None,
        cordoned: false,
        platform: Platform::LinuxEc2,
        created_at: None,
        trunk_hints: TrunkHints::default(),
        labels: Tags::default(),
        annotations: Tags::default(),
        state: NodeState::default(),
    }
}

fn pod(number: u8) -> Pod {
    let fields = PodFields {
        namespace: "shop".into(),
        name: format!("resizer-{number}").into(),
        uid: format!("pod-{number}").into(),
        workload: None,
        node: Some(format!("node-{number}").into()),
        address: Some(Ipv4Addr::new(10, 0, number, 5)),
        host_network: false,
        phase: PodPhase::Running,
        terminating: false,
        branch: BranchUse::No,
        created_at: None,
        scheduled_at: None,
        finished_at: None,
        refused_at: None,
        traits: None,
    };
    fields.into()
}

fn interface(number: u8, device: u8) -> Interface {
    let address = |index: u8| Ipv4Addr::new(10, 0, number, index + device * 60);
    Interface {
        id: format!("eni-{number}-{device}").into(),
        traits: InterfaceTraits::new("subnet-1".into(), InterfaceKind::Interface).into(),
        description: "".into(),
        primary: Some(address(4)),
        secondary: (5..54).map(address).collect(),
        prefixes: Box::default(),
        attachment: Some(Attachment {
            instance: Some(format!("i-{number}").into()),
            device_index: device.into(),
            card_index: 0,
            delete_on_termination: Some(true),
            attached_at: None,
        }),
        created_at: None,
        tags: Tags::default(),
    }
}

fn subnet(free: u32) -> Subnet {
    Subnet {
        id: "subnet-1".into(),
        vpc: "vpc-1".into(),
        cidr: "10.0.0.0/20".parse().ok(),
        zone: "eu-central-1a".into(),
        zone_id: None,
        available: free,
        state: "available".into(),
        owner: None,
        ipv6: false,
        outpost: false,
        tags: Tags::default(),
    }
}

/// Keeps objects as an API server does: a version for each write, the status apart.
#[derive(Clone, Default)]
struct Server {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    version: Arc<AtomicU64>,
    refuses: Arc<Mutex<Option<(&'static str, u16)>>>,
    /// What goes wrong next, each once: with which requests, and how.
    mishaps: Arc<Mutex<VecDeque<(&'static str, Mishap)>>>,
    /// Nodes that are there, whatever the index says.
    living: Arc<Mutex<Vec<String>>>,
}

fn node_metadata(name: &str) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name}})
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// It is refused with this code.
    Refused(u16),
    /// It is done, and the answer is lost.
    Unanswered,
}

impl Server {
    fn answer(&self, asked: &Asked) -> Answer {
        if let Some((part, code)) = *self.refuses.lock().unwrap()
            && asked.path.contains(part)
        {
            return refused(code, "Refused");
        }
        let mishap = {
            let mut mishaps = self.mishaps.lock().unwrap();
            let concerns = mishaps.front().is_some_and(|(part, _)| asked.path.contains(part));
            concerns.then(|| mishaps.pop_front()).flatten()
        };
        match mishap {
            Some((_, Mishap::Refused(code))) => refused(code, "Refused"),
            Some((_, Mishap::Unanswered)) => {
                self.act(asked);
                Answer::Never
            }
            None => self.act(asked),
        }
    }

    fn act(&self, asked: &Asked) -> Answer {
        let path = asked.path.trim_end_matches("/status").to_owned();
        let mut objects = self.objects.lock().unwrap();
        match asked.method {
            Method::GET => {
                let named = |name: &String| asked.query.contains(&format!("metadata.name%3D{name}"));
                let living = self.living.lock().unwrap();
                let items: Vec<Value> =
                    living.iter().filter(|name| named(name)).map(|name| node_metadata(name)).collect();
                ok(
                    &json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items}),
                )
            }
            Method::DELETE => match objects.remove(&path) {
                Some(object) => ok(&object),
                None => refused(404, "NotFound"),
            },
            Method::POST => {
                let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
                match objects.insert(format!("{path}/{name}"), asked.body.clone()) {
                    Some(_) => refused(409, "AlreadyExists"),
                    None => ok(&asked.body),
                }
            }
            _ => {
                let version = self.version.fetch_add(1, SeqCst) + 1;
                let object = objects.entry(path).or_insert_with(|| asked.body.clone());
                let part = if asked.path.ends_with("/status") { "status" } else { "metadata" };
                object[part] = asked.body[part].clone();
                if object["spec"].is_null() {
                    object["spec"] = json!({});
                }
                object["metadata"]["uid"] = json!("report");
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                ok(object)
            }
        }
    }
}

/// A publisher, what it asked for, and the audit that it publishes.
struct Rig {
    server: Server,
    publisher: Publisher,
    log: Log,
    audit: IpamAudit,
}

impl Rig {
    fn new(leadership: Leadership) -> Self {
        let server = Server::default();
        let answering = server.clone();
        let (client, log) = client(move |asked| answering.answer(asked));
        let state = Arc::new(State::new(Duration::ZERO));
        let mut audit = IpamAudit::new("cluster", IpamAuditSpec::default());
        audit.metadata.uid = Some("audit-uid".to_owned());
        audit.metadata.generation = Some(1);
        let publisher = Publisher {
            writer: Arc::new(Writer::new(client, leadership, &Settings::default())),
            metrics: Arc::new(Metrics::new(false)),
            state,
            budget: Budget::new(20),
            pressures: Arc::new(Board::new()),
            identity: "pod-1".to_owned(),
        };
        Self { server, publisher, log, audit }
    }

    fn leading() -> Self {
        Self::new(Leadership::always())
    }

    fn prepare(&self, snapshot: &ClusterSnapshot) -> Prepared {
        let settings = AuditSettings::try_from(&self.audit.spec).unwrap();
        let outcome: AuditOutcome = engine::evaluate(snapshot, &settings.policy, &Memory::default());
        let observed = self.publisher.state.read(|parts| Observed {
            nodes: parts.node_reports.rows.of_audit("cluster"),
            subnets: parts.subnet_reports.rows.of_audit("cluster"),
        });
        let audit = Arc::new(self.audit.clone());
        let material = Material {
            audit,
            outcome: Arc::new(outcome),
            settings: Arc::new(settings),
            observed,
            place: ReadPlace::default(),
        };
        prepare(material, &Circumstances::default())
    }

    async fn publish(&mut self, snapshot: &ClusterSnapshot) -> Result<Publication, Error> {
        let published = self.publisher.publish(self.prepare(snapshot)).await?;
        if let Some(written) = &published.audit {
            self.audit.status.clone_from(&written.status);
        }
        Ok(published)
    }

    /// The requests since the last look, as `METHOD path`, sorted.
    fn asked(&self) -> Vec<String> {
        let mut log = self.log.lock().unwrap();
        let mut asked: Vec<String> = log
            .drain(..)
            .map(|asked| format!("{} {}", asked.method, asked.path.rsplit("v1alpha1/").next().unwrap_or_default()))
            .collect();
        asked.sort();
        asked
    }

    fn events(&self) -> Vec<(String, String, String)> {
        let log = self.log.lock().unwrap();
        let events = log.iter().filter(|asked| asked.path.contains("/events"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = |asked: &Asked| {
            let body = &asked.body;
            (text(&body["regarding"]["kind"]), text(&body["regarding"]["uid"]), text(&body["reason"]))
        };
        let mut events: Vec<_> = events.map(told).collect();
        events.sort();
        events
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_audit_writes_everything_and_the_next_nothing() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(1, 3000)).await.unwrap();
    let asked = rig.asked();
    let want = [
        "PATCH ipamaudits/cluster/status",
        "PATCH nodeipamreports/node-0",
        "PATCH nodeipamreports/node-0/status",
        "PATCH subnetipamreports/subnet-1",
        "PATCH subnetipamreports/subnet-1/status",
    ];
    for path in want {
        assert!(asked.iter().any(|asked| asked == path), "{path} is missing in {asked:#?}");
    }
    let mut later = snapshot(1, 3000);
    later.taken_at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(60);
    let published = rig.publish(&later).await.unwrap();
    assert_eq!((published.written, published.deleted, published.events), (0, 0, 0));
    assert_eq!(rig.asked(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn events_are_about_the_node_and_the_audit_and_are_not_repeated() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(1, 3)).await.unwrap();
    let node = ("Node".into(), "uid-0".into(), "WarmPoolTooLarge".into());
    let full = ("IpamAudit".into(), "audit-uid".into(), "SubnetFull".into());
    assert_eq!(rig.events(), [full.clone(), node.clone()]);
    rig.asked();
    rig.publish(&snapshot(1, 3)).await.unwrap();
    assert_eq!(rig.events(), [], "the same again is no event");
    rig.publish(&snapshot(1, 3000)).await.unwrap();
    assert_eq!(rig.events(), [full, node], "both are resolved");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_somebody_changed_or_deleted_is_written_again() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(2, 3000)).await.unwrap();
    rig.asked();
    rig.publisher.state.with(|parts| {
        let reports = parts.node_reports.rows.of_audit("cluster");
        let mut changed = reports["node-0"].report().unwrap();
        changed.metadata.labels = None;
        changed.metadata.resource_version = Some("1000".to_owned());
        assert_eq!(parts.node_reports.rows.keep(changed), Changed::Yes);
        parts.node_reports.rows.forget("node-1");
    });
    rig.publish(&snapshot(2, 3000)).await.unwrap();
    let asked = rig.asked();
    for path in ["PATCH nodeipamreports/node-0", "PATCH nodeipamreports/node-1"] {
        assert!(asked.iter().any(|asked| asked == path), "{path} is missing in {asked:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_late_echo_of_an_older_write_changes_nothing() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(1, 3000)).await.unwrap();
    let older =
        rig.publisher.state.read(|parts| parts.subnet_reports.rows.of_audit("cluster")["subnet-1"].report().unwrap());
    rig.publish(&snapshot(1, 3)).await.unwrap();
    let echo = SubnetIpamReport {
        metadata: kube::core::ObjectMeta { resource_version: Some("1".to_owned()), ..older.metadata.clone() },
        ..older
    };
    rig.publisher.state.with(|parts| assert_eq!(parts.subnet_reports.rows.keep(echo), Changed::No));
    rig.asked();
    rig.publish(&snapshot(1, 3)).await.unwrap();
    assert_eq!(rig.asked(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn reports_of_gone_nodes_are_deleted_unless_the_nodes_cannot_be_seen() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(2, 3000)).await.unwrap();
    let mut blind = snapshot(0, 3000);
    blind.nodes = Reading::missing(FaultCategory::Denied, "may not list nodes");
    let published = rig.publish(&blind).await.unwrap();
    assert_eq!(published.deleted, 0);
    let kept = rig.publisher.state.read(|parts| parts.node_reports.rows.of_audit("cluster"));
    let status = kept["node-0"].status().unwrap();
    assert!(status.addresses.is_some(), "what was known stays");
    assert!(status.conditions.iter().all(|condition| condition.status == "Unknown"), "{:#?}", status.conditions);
    assert_eq!(status.stale_sources.first().map(String::as_str), Some("nodes"));

    rig.asked();
    let published = rig.publish(&snapshot(1, 3000)).await.unwrap();
    assert_eq!(published.deleted, 1);
    assert!(rig.asked().contains(&"DELETE nodeipamreports/node-1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_an_error_with_the_object_and_no_event() {
    let mut rig = Rig::leading();
    *rig.server.refuses.lock().unwrap() = Some(("nodeipamreports", 403));
    let error = rig.publish(&snapshot(1, 3)).await.unwrap_err();
    assert!(matches!(&error, Error::Publish { object, failed: 1, .. } if object == "node-0"), "{error:?}");
    assert!(rig.events().iter().all(|(kind, _, _)| kind != "Node"), "the report that remembers the event is not there");
    *rig.server.refuses.lock().unwrap() = None;
    rig.publish(&snapshot(1, 3)).await.unwrap();
    assert!(rig.events().iter().any(|(kind, _, _)| kind == "Node"));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_sent_is_no_failure() {
    let mut rig = Rig::leading();
    *rig.server.refuses.lock().unwrap() = Some(("/events", 403));
    let published = rig.publish(&snapshot(1, 3)).await.unwrap();
    assert_eq!((published.written, published.events), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_sends_nothing() {
    let (silent, _) = client(|_| Answer::Never);
    let (elector, leadership) =
        crate::lease::Elector::new(silent, Pace::new(&Settings::default()), &Settings::default());
    let mut rig = Rig::new(leadership);
    tokio::spawn(elector.run(CancellationToken::new()));
    let error = rig.publish(&snapshot(1, 3000)).await.unwrap_err();
    assert!(matches!(error, Error::NotLeader), "{error:?}");
    assert_eq!(rig.asked(), Vec::<String>::new());
}

impl Rig {
    fn mishaps(&self, mishaps: impl IntoIterator<Item = (&'static str, Mishap)>) {
        self.server.mishaps.lock().unwrap().extend(mishaps);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_puts_off_is_written_later() {
    let mut rig = Rig::leading();
    rig.mishaps([("nodeipamreports", Mishap::Refused(429)), ("nodeipamreports", Mishap::Refused(503))]);
    let published = rig.publish(&snapshot(1, 3)).await.unwrap();
    assert_eq!((published.written, published.events), (3, 2), "the report, and the event that depends on it");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_there_once() {
    for part in ["nodeipamreports", "/events"] {
        let mut rig = Rig::leading();
        rig.mishaps([(part, Mishap::Unanswered)]);
        let published = rig.publish(&snapshot(1, 3)).await.unwrap();
        assert_eq!((published.written, published.events), (3, 2));
        let objects = rig.server.objects.lock().unwrap();
        assert_eq!(objects.keys().filter(|path| path.contains("/events/")).count(), 2, "{part}: {:#?}", objects.keys());
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_is_deleted_as_it_was_seen_and_not_if_it_changed_since() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(3, 3000)).await.unwrap();
    rig.asked();
    let prepared = rig.prepare(&snapshot(1, 3000));
    rig.publisher.state.with(|parts| {
        let mut changed = parts.node_reports.rows.of_audit("cluster")["node-2"].report().unwrap();
        changed.metadata.labels = None;
        changed.metadata.resource_version = Some("1000".to_owned());
        assert_eq!(parts.node_reports.rows.keep(changed), Changed::Yes);
    });
    let published = rig.publisher.publish(prepared).await.unwrap();
    assert_eq!(published.deleted, 1);
    let log = rig.log.lock().unwrap();
    let deleted: Vec<&Asked> = log.iter().filter(|asked| asked.method == Method::DELETE).collect();
    assert_eq!(deleted.len(), 1);
    assert!(deleted[0].path.ends_with("/node-1"));
    let preconditions = &deleted[0].body["preconditions"];
    assert_eq!(preconditions["uid"], "report");
    assert!(preconditions["resourceVersion"].is_string(), "{preconditions}");
}

#[tokio::test(start_paused = true)]
async fn a_report_stays_if_the_api_server_knows_the_node_that_the_index_has_missed() {
    let mut rig = Rig::leading();
    rig.publish(&snapshot(3, 3000)).await.unwrap();
    rig.server.living.lock().unwrap().extend(["node-0".to_owned(), "node-2".to_owned()]);
    let published = rig.publish(&snapshot(1, 3000)).await.unwrap();
    assert_eq!(published.deleted, 1);
    let asked = rig.asked();
    assert!(asked.contains(&"DELETE nodeipamreports/node-1".to_owned()), "{asked:#?}");
    assert!(!asked.contains(&"DELETE nodeipamreports/node-2".to_owned()), "{asked:#?}");
}

/// A publication of many reports, one after the other, by a leader that stops to lead after the third write.
#[tokio::test(start_paused = true)]
async fn a_publication_stops_between_two_writes_when_the_claim_ends() {
    let stop = CancellationToken::new();
    let (leadership, end) = Leadership::alone(stop.clone());
    tokio::spawn(end);
    let mut rig = Rig::new(leadership.clone());
    let (server, answers) = (rig.server.clone(), AtomicU64::new(0));
    let (client, log) = client(move |asked| {
        if answers.fetch_add(1, SeqCst) == 2 {
            stop.cancel();
        }
        server.answer(asked)
    });
    rig.publisher.writer =
        Arc::new(Writer::new(client, leadership, &Settings { write_concurrency: 1, ..Settings::default() }));
    let error = rig.publish(&snapshot(50, 3)).await.unwrap_err();
    assert!(matches!(error, Error::NotLeader), "{error:?}");
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_publication_ends_when_nobody_answers() {
    let (client, log) = client(|_| Answer::Never);
    let mut rig = Rig::leading();
    rig.publisher.writer =
        Arc::new(Writer::new(client, Leadership::always(), &Settings { write_concurrency: 2, ..Settings::default() }));
    let error = rig.publish(&snapshot(50, 3)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Publish { source, .. } if source.category() == FaultCategory::Unreachable),
        "{error:?}"
    );
    assert!(log.lock().unwrap().len() < 20, "{} requests", log.lock().unwrap().len());
}
