//! The condition on nodes against an API server in memory that merges conditions by type, as the real one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use ipam_audit_api::{
    names::NODE_CONDITION,
    pressure::{Entry, Reason, Verdict, patch},
    views::NodeView,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    board::{Board, Judged, Judgement},
    keeper::{Keeper, Round},
    plan::Tracks,
};
use crate::{
    lease::Leadership,
    metrics::Metrics,
    publish::Writer,
    settings::Settings,
    state::{Rows, State},
    tests::{Answer, Asked, Log, client, ok, refused},
};

/// Nodes as an API server keeps them.
#[derive(Clone, Default)]
struct Server {
    nodes: Arc<Mutex<BTreeMap<String, Value>>>,
    version: Arc<Mutex<u64>>,
    denies: Arc<Mutex<bool>>,
}

impl Server {
    fn answer(&self, asked: &Asked) -> Answer {
        if *self.denies.lock().unwrap() {
            return refused(403, "Forbidden");
        }
        let name = asked.path.trim_start_matches("/api/v1/nodes/").trim_end_matches("/status");
        let mut nodes = self.nodes.lock().unwrap();
        let Some(node) = nodes.get_mut(name) else { return refused(404, "NotFound") };
        let entries = asked.body["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let conditions = node["status"]["conditions"].as_array_mut().unwrap();
        conditions.retain(|condition| condition["type"] != NODE_CONDITION);
        conditions.extend(entries);
        node["metadata"]["resourceVersion"] = json!(self.next());
        ok(node)
    }

    fn next(&self) -> String {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        version.to_string()
    }
}

struct Rig {
    server: Server,
    keeper: Keeper,
    tracks: Tracks,
    log: Log,
}

impl Rig {
    fn new(nodes: usize) -> Self {
        let server = Server::default();
        let answering = server.clone();
        let (client, log) = client(move |asked| answering.answer(asked));
        let settings = Settings::default();
        let leadership = Leadership::always();
        let keeper = Keeper {
            board: Arc::new(Board::new()),
            state: Arc::new(State::new(Duration::ZERO)),
            writer: Arc::new(Writer::new(client, leadership.clone(), &settings)),
            metrics: Arc::new(Metrics::new(false)),
            leadership,
            settings: settings.clone(),
        };
        let rig = Self { server, keeper, tracks: Tracks::new(&settings), log };
        for number in 0..nodes {
            rig.join(&format!("node-{number}"), &format!("uid-{number}"));
        }
        rig.keeper.board.know(&BTreeSet::from(["cluster".to_owned()]));
        rig
    }

    fn join(&self, name: &str, uid: &str) {
        let conditions = json!([{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "False"}]);
        let node = json!({"metadata": {"name": name, "uid": uid, "resourceVersion": self.server.next()},
            "status": {"conditions": conditions}});
        self.server.nodes.lock().unwrap().insert(name.to_owned(), node);
        self.watch(name);
    }

    /// The watch tells of a node.
    fn watch(&self, name: &str) {
        let node = self.server.nodes.lock().unwrap()[name].clone();
        let view: NodeView = serde_json::from_value(node).unwrap();
        self.keeper.state.change(|parts, interner| parts.nodes.rows.apply(&view, interner).unwrap());
    }

    /// Another writer replaces the whole list of conditions by what it read before.
    fn overwrite(&self, name: &str) {
        let mut nodes = self.server.nodes.lock().unwrap();
        let node = nodes.get_mut(name).unwrap();
        node["status"]["conditions"].as_array_mut().unwrap().retain(|condition| condition["type"] != NODE_CONDITION);
        node["metadata"]["resourceVersion"] = json!(self.server.next());
        drop(nodes);
        self.watch(name);
    }

    fn say(&self, audit: &str, second: i64, verdicts: &[(usize, Reason)]) {
        let verdict = |reason: Reason| Verdict { reason, message: format!("by {audit}") };
        let judged = Judged {
            max_percent: 100,
            as_of: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
            nodes: verdicts.iter().map(|(number, reason)| (format!("uid-{number}").into(), verdict(*reason))).collect(),
        };
        self.keeper.board.say(audit, Judgement::Nodes(judged));
    }

    /// One round; the nodes that were written.
    async fn round(&mut self) -> Vec<String> {
        let before = self.log.lock().unwrap().len();
        self.keeper.round(&mut self.tracks).await;
        let log = self.log.lock().unwrap();
        let mut names: Vec<String> = log[before..]
            .iter()
            .map(|asked| asked.path.trim_start_matches("/api/v1/nodes/").trim_end_matches("/status").to_owned())
            .collect();
        names.sort();
        names
    }

    fn entry(&self, name: &str) -> Option<Value> {
        let nodes = self.server.nodes.lock().unwrap();
        let conditions = nodes[name]["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == NODE_CONDITION).cloned()
    }

    fn reasons(&self, names: &[&str]) -> Vec<String> {
        let reason = |name: &&str| {
            self.entry(name).map_or_else(|| "-".to_owned(), |entry| entry["reason"].as_str().unwrap().to_owned())
        };
        names.iter().map(reason).collect()
    }
}

use Reason::{AddressesSufficient, AuditDataStale, NodeAtAddressLimit, SubnetExhausted};

#[tokio::test(start_paused = true)]
async fn only_transitions_are_written_and_only_a_new_status_has_a_new_time() {
    let mut rig = Rig::new(2);
    rig.say("cluster", 0, &[(0, SubnetExhausted), (1, AddressesSufficient)]);
    assert_eq!(rig.round().await, ["node-0", "node-1"]);
    let first = rig.entry("node-0").unwrap();
    assert_eq!(
        first,
        json!({"type": NODE_CONDITION, "status": "True", "reason": "SubnetExhausted",
            "message": "by cluster (IpamAudit cluster, 1970-01-01T00:00:00Z)",
            "lastTransitionTime": "1970-01-01T00:00:00Z", "lastHeartbeatTime": "1970-01-01T00:00:00Z"})
    );
    rig.say("cluster", 60, &[(0, SubnetExhausted), (1, AddressesSufficient)]);
    rig.watch("node-0");
    assert_eq!(rig.round().await, Vec::<String>::new(), "a minute later the same is true");

    rig.say("cluster", 120, &[(0, NodeAtAddressLimit), (1, AddressesSufficient)]);
    assert_eq!(rig.round().await, ["node-0"]);
    let entry = rig.entry("node-0").unwrap();
    assert_eq!(
        (&entry["reason"], &entry["lastTransitionTime"]),
        (&json!("NodeAtAddressLimit"), &first["lastTransitionTime"])
    );
    rig.say("cluster", 180, &[(0, AuditDataStale), (1, AddressesSufficient)]);
    rig.round().await;
    let entry = rig.entry("node-0").unwrap();
    assert_eq!((&entry["status"], &entry["lastTransitionTime"]), (&json!("Unknown"), &json!("1970-01-01T00:03:00Z")));
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_over_writes_nothing_that_is_there() {
    let mut rig = Rig::new(1);
    rig.say("cluster", 0, &[(0, SubnetExhausted)]);
    rig.round().await;
    rig.tracks = Tracks::new(&Settings::default());
    rig.say("cluster", 600, &[(0, SubnetExhausted)]);
    assert_eq!(rig.round().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_worst_word_wins_and_all_audits_are_named() {
    let mut rig = Rig::new(1);
    rig.keeper.board.know(&["cluster", "other"].map(str::to_owned).into());
    rig.say("cluster", 0, &[(0, AddressesSufficient)]);
    rig.say("other", 60, &[(0, SubnetExhausted)]);
    rig.round().await;
    let entry = rig.entry("node-0").unwrap();
    assert_eq!(entry["message"], "by other (IpamAudit cluster and other, 1970-01-01T00:01:00Z)");
    rig.keeper.board.know(&BTreeSet::from(["cluster".to_owned()]));
    rig.round().await;
    assert_eq!(rig.reasons(&["node-0"]), ["AddressesSufficient"], "the audit that is left has the last word");
}

#[tokio::test(start_paused = true)]
async fn no_more_nodes_than_the_share_say_so_at_a_time_and_those_that_do_stay() {
    let mut rig = Rig::new(5);
    let say = |rig: &Rig, verdicts: &[(usize, Reason)]| {
        rig.say("cluster", 0, verdicts);
        let judged = Judged {
            max_percent: 40,
            as_of: Timestamp::UNIX_EPOCH,
            nodes: verdicts
                .iter()
                .map(|(number, reason)| {
                    (format!("uid-{number}").into(), Verdict { reason: *reason, message: String::new() })
                })
                .collect(),
        };
        rig.keeper.board.say("cluster", Judgement::Nodes(judged));
    };
    let names = ["node-0", "node-1", "node-2", "node-3", "node-4"];
    let (fine, full) = ("AddressesSufficient", "SubnetExhausted");
    say(
        &rig,
        &[0, 1, 2]
            .map(|n| (n, AddressesSufficient))
            .into_iter()
            .chain([(3, NodeAtAddressLimit), (4, AddressesSufficient)])
            .collect::<Vec<_>>(),
    );
    rig.round().await;
    assert_eq!(rig.reasons(&names), [fine, fine, fine, "NodeAtAddressLimit", fine]);
    let all = [
        (0, SubnetExhausted),
        (1, SubnetExhausted),
        (2, SubnetExhausted),
        (3, NodeAtAddressLimit),
        (4, SubnetExhausted),
    ];
    say(&rig, &all);
    rig.round().await;
    let beyond = "PressureShareReached";
    assert_eq!(rig.reasons(&names), [full, beyond, beyond, "NodeAtAddressLimit", beyond], "2 of 5 are 40 %");
    assert_eq!(rig.entry("node-1").unwrap()["status"], "False");
    let message = rig.entry("node-1").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("SubnetExhausted, but 2 nodes say so already (40 %)"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_another_writer_drops_is_put_back_later_and_later() {
    let mut rig = Rig::new(1);
    rig.say("cluster", 0, &[(0, SubnetExhausted)]);
    rig.round().await;
    let entry = rig.entry("node-0");
    rig.overwrite("node-0");
    assert_eq!(
        rig.round().await,
        Vec::<String>::new(),
        "not at once: a fleet that loses all of them comes back spread"
    );
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(rig.round().await, ["node-0"]);
    assert_eq!(rig.entry("node-0"), entry, "the same as before");

    // A writer that never stops: an hour of it costs few writes.
    let (started, mut writes) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_hours(1) {
        rig.overwrite("node-0");
        writes += rig.round().await.len();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!((10..=25).contains(&writes), "{writes} writes");
    for condition in ["Ready", "MemoryPressure"] {
        let nodes = rig.server.nodes.lock().unwrap();
        let conditions = nodes["node-0"]["status"]["conditions"].as_array().unwrap();
        assert!(conditions.iter().any(|known| known["type"] == condition), "{condition}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_away_before_every_audit_was_heard() {
    let mut rig = Rig::new(2);
    rig.say("cluster", 0, &[(0, SubnetExhausted), (1, AddressesSufficient)]);
    rig.round().await;
    // Another process begins: it sees entries, and knows of audits that have not said anything.
    let seen = rig.server.nodes.clone();
    rig.keeper.board = Arc::new(Board::new());
    assert_eq!(rig.round().await, Vec::<String>::new(), "it is not even known which audits there are");
    rig.keeper.board.know(&["cluster", "other"].map(str::to_owned).into());
    rig.keeper.board.say("other", Judgement::Unwanted);
    assert_eq!(rig.round().await, Vec::<String>::new(), "the other one may still ask for it");
    rig.say("cluster", 60, &[(0, SubnetExhausted)]);
    assert_eq!(rig.round().await, ["node-1"], "a node that left the scope");
    rig.keeper.board.say("cluster", Judgement::Unwanted);
    assert_eq!(rig.round().await, ["node-0"]);
    assert_eq!(seen.lock().unwrap()["node-0"]["status"]["conditions"].as_array().unwrap().len(), 2);
    rig.keeper.board.know(&BTreeSet::new());
    assert_eq!(rig.round().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn another_node_of_the_same_name_has_a_condition_of_its_own() {
    let mut rig = Rig::new(1);
    rig.say("cluster", 0, &[(0, SubnetExhausted)]);
    rig.round().await;
    rig.join("node-0", "uid-7");
    rig.say("cluster", 60, &[(7, SubnetExhausted)]);
    assert_eq!(rig.round().await, ["node-0"]);
    assert_eq!(rig.entry("node-0").unwrap()["lastTransitionTime"], "1970-01-01T00:01:00Z");
    let log = rig.log.lock().unwrap();
    assert_eq!(log.last().unwrap().body["metadata"], json!({"name": "node-0", "uid": "uid-7"}));
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_costs_one_try_and_is_said_with_the_command_that_gives_it() {
    let mut rig = Rig::new(500);
    let all: Vec<_> = (0..500).map(|number| (number, AddressesSufficient)).collect();
    rig.say("cluster", 0, &all);
    *rig.server.denies.lock().unwrap() = true;
    assert_eq!(rig.keeper.round(&mut rig.tracks).await, Round::Denied);
    let tried = rig.log.lock().unwrap().len();
    assert!(tried <= rig.keeper.writer.concurrency, "{tried}");
    let fault = rig.keeper.board.fault().unwrap();
    assert!(fault.contains("may not patch nodes/status") && fault.contains("rbac --with node-conditions"), "{fault}");
    *rig.server.denies.lock().unwrap() = false;
    assert_eq!(rig.round().await.len(), 500);
    assert_eq!(rig.keeper.board.fault(), None);
}

#[tokio::test(start_paused = true)]
async fn five_thousand_nodes_that_turn_over_are_written_once_each_and_not_faster_than_allowed() {
    let mut rig = Rig::new(5000);
    let of = |reason: Reason| (0..5000).map(|number| (number, reason)).collect::<Vec<_>>();
    rig.say("cluster", 0, &of(AddressesSufficient));
    rig.round().await;
    let (log, limit) = (rig.log.clone(), u64::from(rig.keeper.settings.writes_per_second));
    for (turn, reason) in [(1, SubnetExhausted), (2, AddressesSufficient), (3, SubnetExhausted)] {
        log.lock().unwrap().clear();
        let started = Instant::now();
        rig.say("cluster", turn, &of(reason));
        assert_eq!(rig.round().await.len(), 5000);
        let least = 5000 / limit - 1;
        assert!(started.elapsed() >= Duration::from_secs(least), "{:?}", started.elapsed());
        let others = log.lock().unwrap().iter().filter(|asked| !asked.path.ends_with("/status")).count();
        assert_eq!((rig.round().await.len(), others), (0, 0), "once each, and no event");
    }
}

proptest! {
    #[test]
    fn a_patch_names_our_own_condition_and_nothing_else(
        name in "[a-z0-9.-]{1,60}", uid in "\\PC{0,40}", message in "\\PC{0,400}", reason in 0_usize..7, at in 0_i64..4_000_000_000,
    ) {
        let reasons = ["AddressesSufficient", "PressureShareReached", "AuditDataStale", "BranchSlotsExhausted",
            "NodeAtAddressLimit", "PrefixesExhausted", "SubnetExhausted"];
        let at = Timestamp::from_second(at).unwrap();
        let entry = Entry { reason: Reason::named(reasons[reason]).unwrap(), message, since: at, judged: at };
        for entry in [Some(&entry), None] {
            let body = patch(&name, &uid, entry);
            let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<BTreeSet<_>>());
            let top: BTreeSet<String> = keys(&body).unwrap();
            prop_assert!(top.is_subset(&["apiVersion", "kind", "metadata", "status"].map(str::to_owned).into()));
            prop_assert_eq!(keys(&body["metadata"]), Some(["name", "uid"].map(str::to_owned).into()));
            prop_assert_eq!(body.get("status").is_some(), entry.is_some());
            if entry.is_some() {
                prop_assert_eq!(keys(&body["status"]), Some(BTreeSet::from(["conditions".to_owned()])));
                let conditions = body["status"]["conditions"].as_array().unwrap();
                prop_assert_eq!(conditions.len(), 1);
                prop_assert_eq!(&conditions[0]["type"], NODE_CONDITION);
            }
        }
    }
}
