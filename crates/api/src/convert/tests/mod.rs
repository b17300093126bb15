//! What a user reads of an outcome, now and after what happened next. The outcomes are the real engine's.

mod absurd;
mod fixture;
mod pressure;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    convert::{
        Circumstances, Context, MAX_STATUS_BYTES, MAX_WORST, Reports, SameIgnoringTimes, digest, keep_node,
        keep_subnet, needs_write, node_report, render_audit, render_node, render_stalled, render_subnet,
        render_suspended, subnet_report,
    },
    transition::transitions,
    v1alpha1::{
        IpamAudit, IpamAuditSpec, IpamAuditStatus, NodeIpamReport, NodeIpamReportStatus, SubnetIpamReport,
        SubnetIpamReportStatus,
    },
};
use fixture::{NODE, SUBNET, at, audit, incident, incident_at};
use ipam_audit_core::{
    outcome::AuditOutcome,
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, IpamdNode, IpamdPool, IpamdSaid},
    source::{FaultCategory, Reading, SourceFault},
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Everything that one audit writes.
#[derive(Debug, Clone, Default)]
struct Written {
    audit: IpamAuditStatus,
    nodes: BTreeMap<String, NodeIpamReportStatus>,
    subnets: BTreeMap<String, SubnetIpamReportStatus>,
}

fn render(outcome: &AuditOutcome, before: Option<&Written>) -> Written {
    let ctx = Context::new(outcome, &AuditPolicy::default());
    let nothing = Written::default();
    let known = before.unwrap_or(&nothing);
    let node = |node: &ipam_audit_core::outcome::NodeOutcome| {
        let name = node.name.to_string();
        let status = render_node(&ctx, node, known.nodes.get(&name));
        (name, status)
    };
    let subnet = |subnet: &ipam_audit_core::outcome::SubnetOutcome| {
        let id = subnet.id.to_string();
        let status = render_subnet(&ctx, subnet, known.subnets.get(&id));
        (id, status)
    };
    let nodes: BTreeMap<_, _> = outcome.nodes.iter().map(node).collect();
    let subnets: BTreeMap<_, _> = outcome.subnets.iter().map(subnet).collect();
    Written {
        audit: render_audit(
            &ctx,
            Some(1),
            before.map(|known| &known.audit),
            &Rendered(&nodes, &subnets),
            &Circumstances::default(),
        ),
        nodes,
        subnets,
    }
}

fn render_snapshot(snapshot: &ClusterSnapshot, before: Option<&Written>) -> Written {
    render(&audit(snapshot), before)
}

/// The reports as they were rendered.
struct Rendered<'a>(&'a BTreeMap<String, NodeIpamReportStatus>, &'a BTreeMap<String, SubnetIpamReportStatus>);

impl Reports for Rendered<'_> {
    fn node(&self, node: &ipam_audit_core::outcome::NodeOutcome) -> Option<NodeIpamReportStatus> {
        self.0.get(node.name.as_str()).cloned()
    }

    fn subnet(&self, subnet: &ipam_audit_core::outcome::SubnetOutcome) -> Option<SubnetIpamReportStatus> {
        self.1.get(subnet.id.as_str()).cloned()
    }
}

fn said_of_node(status: &NodeIpamReportStatus) -> u64 {
    digest::<NodeIpamReport>(status.clone())
}

fn said_of_subnet(status: &SubnetIpamReportStatus) -> u64 {
    digest::<SubnetIpamReport>(status.clone())
}

/// As the API server gives it back: through JSON, and with the conditions in an order of its own.
fn read_back(written: &Written) -> Written {
    let mut written = written.clone();
    written.audit.conditions.reverse();
    written.nodes.values_mut().for_each(|node| node.conditions.reverse());
    Written {
        audit: serde_json::from_str(&serde_json::to_string(&written.audit).unwrap()).unwrap(),
        nodes: serde_json::from_str(&serde_json::to_string(&written.nodes).unwrap()).unwrap(),
        subnets: serde_json::from_str(&serde_json::to_string(&written.subnets).unwrap()).unwrap(),
    }
}

fn condition<'a>(conditions: &'a [Condition], kind: &str) -> &'a Condition {
    conditions.iter().find(|condition| condition.type_ == kind).unwrap()
}

fn said<'a>(conditions: &'a [Condition], kind: &str) -> (&'a str, &'a str) {
    let condition = condition(conditions, kind);
    (condition.status.as_str(), condition.reason.as_str())
}

fn denied() -> SourceFault {
    SourceFault { category: FaultCategory::Denied, message: "allow ec2:DescribeNetworkInterfaces".into() }
}

#[test]
fn the_incident_reads_as_its_columns() {
    let written = render_snapshot(&incident(40), None);
    let display = &written.audit.display;
    assert_eq!(
        [&display.critical, &display.nodes, &display.subnets, &display.free_addresses, &display.idle_addresses],
        ["1", "40", "1", "13", "3,880"]
    );
    assert_eq!([display.min_free.as_str(), &display.runway], ["13 of 4,091 in subnet-0a1", "now"]);
    assert!(display.message.starts_with("1 of 1 subnet is full"), "{}", display.message);
    assert_eq!(written.audit.summary.lines().next(), Some(display.message.as_str()));

    let node = &written.nodes[NODE].display;
    assert_eq!(
        [&node.node_group, &node.instance_type, &node.interfaces, &node.pods, &node.held, &node.idle, &node.branch],
        ["batch", "m6a.32xlarge", "2/15", "1", "98", "97", "-"]
    );
    assert_eq!([node.worst.as_str(), node.cni.as_str()], ["warm-pool-too-large", "1.23.1 WARM_ENI_TARGET=1"]);

    let subnet = &written.subnets[SUBNET].display;
    assert_eq!(
        [&subnet.cidr, &subnet.usable, &subnet.free, &subnet.pods, &subnet.idle, &subnet.own, &subnet.worst],
        ["10.4.128.0/20", "4,091", "13", "40", "3,880", "80", "subnet-full"]
    );
}

#[test]
fn conditions_of_a_complete_audit() {
    let audit = render_snapshot(&incident(3), None).audit;
    assert_eq!(said(&audit.conditions, "Ready"), ("True", "AuditFinished"));
    assert_eq!(said(&audit.conditions, "Healthy"), ("False", "SubnetFull"));
    assert_eq!(said(&audit.conditions, "DataComplete").0, "True");
    let types: Vec<_> = audit.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    let want =
        ["Ready", "Healthy", "DataComplete", "CapacityAvailable", "AddressesReconciled", "ConfigurationConsistent"];
    assert_eq!(types, want);
    assert!(audit.conditions.iter().all(|condition| condition.observed_generation == Some(1)));
}

#[test]
fn an_audit_of_the_same_cluster_says_nothing_new() {
    let first = read_back(&render_snapshot(&incident(3), None));
    let second = render_snapshot(&incident_at(3, at("18:00:00")), Some(&first));
    assert!(!needs_write(Some(&first.audit), &second.audit, None, at("18:00:00")), "{second:#?}");
    for (name, node) in &second.nodes {
        assert_eq!(said_of_node(node), said_of_node(&first.nodes[name]), "{name}");
    }
    assert_eq!(said_of_subnet(&second.subnets[SUBNET]), said_of_subnet(&first.subnets[SUBNET]));
    let since = &condition(&second.audit.conditions, "Healthy").last_transition_time;
    assert_eq!(since.0, at("12:00:00"));
    let worst = &second.audit.worst_nodes[0];
    assert_eq!(condition(&worst.conditions, "Healthy").last_transition_time.0, at("12:00:00"));
    let finding = &second.nodes[NODE].findings[0];
    assert_eq!((finding.first_seen.0, finding.last_seen.0), (at("12:00:00"), at("18:00:00")));
}

#[test]
fn without_a_report_the_audit_remembers_since_when() {
    let ctx_of = |outcome: &AuditOutcome, before: Option<&IpamAuditStatus>| {
        render_audit(
            &Context::new(outcome, &AuditPolicy::default()),
            Some(1),
            before,
            &Rendered(&BTreeMap::new(), &BTreeMap::new()),
            &Circumstances::default(),
        )
    };
    let first = ctx_of(&audit(&incident(3)), None);
    let second = ctx_of(&audit(&incident_at(3, at("18:00:00"))), Some(&first));
    assert_eq!(condition(&second.worst_nodes[0].conditions, "WarmPoolSized").last_transition_time.0, at("12:00:00"));
    assert_eq!(condition(&second.worst_subnets[0].conditions, "Healthy").last_transition_time.0, at("12:00:00"));
    assert!(second.same_ignoring_times(&first));
}

/// The incident with the answers of each node's ipamd, or none of it where there is nothing it said.
fn asked(now: &str, total: Option<i32>) -> ClusterSnapshot {
    let mut snapshot = incident_at(3, at(now));
    let row = |node: &std::sync::Arc<ipam_audit_core::snapshot::Node>| {
        let pool = IpamdPool { total, assigned: Some(1), interfaces: Some(2), ..IpamdPool::default() };
        let said = Reading::fresh(IpamdSaid { pool, ..IpamdSaid::default() }, at(now));
        std::sync::Arc::new(IpamdNode { node: node.name.clone(), said, before: None })
    };
    let rows = snapshot.nodes.value().unwrap().iter().map(row).collect();
    snapshot.ipamd = Reading::fresh(rows, at(now));
    snapshot
}

#[test]
fn what_ipamd_says_is_beside_ec2s_numbers_and_only_another_number_is_news() {
    let first = render_snapshot(&asked("12:00:00", Some(98)), None);
    let said = first.nodes[NODE].ipamd.clone().unwrap();
    assert_eq!((said.reachable, said.total, said.assigned, said.interfaces), (Some(true), Some(98), Some(1), Some(2)));
    assert_eq!(condition(&first.nodes[NODE].conditions, "IpamdReachable").status, "True");
    let later = render_snapshot(&asked("12:10:00", Some(98)), Some(&first));
    assert_eq!(later.nodes[NODE].ipamd.as_ref().unwrap().as_of.as_ref().unwrap().0, at("12:10:00"));
    let said = |written: &Written| said_of_node(&written.nodes[NODE]);
    assert_eq!(said(&later), said(&first), "the same again is not written");
    let other = render_snapshot(&asked("12:10:00", Some(97)), Some(&first));
    assert_ne!(said(&other), said(&first));
}

#[test]
fn what_ipamd_said_stays_while_it_is_asked_anew_and_goes_with_the_wish() {
    let first = render_snapshot(&asked("12:00:00", Some(98)), None);
    let mut pending = incident_at(3, at("12:01:00"));
    pending.ipamd = Reading::default();
    let pending = render_snapshot(&pending, Some(&first));
    assert_eq!(pending.nodes[NODE].ipamd, first.nodes[NODE].ipamd, "a process that takes over has yet to ask");
    let off = render_snapshot(&incident_at(3, at("12:02:00")), Some(&first));
    assert_eq!(off.nodes[NODE].ipamd, None);
    assert!(off.nodes[NODE].conditions.iter().all(|condition| condition.type_ != "IpamdReachable"));
}

#[test]
fn only_conditions_that_turn_move_their_time() {
    let full = render_snapshot(&incident(3), None);
    let mut roomy = incident_at(3, at("12:30:00"));
    roomy.ec2.subnets.last_good.as_mut().unwrap().value[0].available = 3000;
    let healed = render_snapshot(&roomy, Some(&full));
    let conditions = &healed.subnets[SUBNET].conditions;
    let turned = condition(conditions, "AddressesAvailable");
    assert_eq!((turned.status.as_str(), turned.last_transition_time.0), ("True", at("12:30:00")));
    assert_eq!(condition(conditions, "PrefixesAvailable").last_transition_time.0, at("12:00:00"));
    assert!(needs_write(Some(&full.audit), &healed.audit, None, at("12:30:00")));
}

#[test]
fn a_heartbeat_is_written_when_it_is_due_and_only_if_asked_for() {
    let first = render_snapshot(&incident(3), None).audit;
    let later = render_snapshot(&incident_at(3, at("12:10:00")), None).audit;
    let later = IpamAuditStatus { conditions: first.conditions.clone(), ..later };
    let due = |minutes| needs_write(Some(&first), &later, Some(SignedDuration::from_mins(minutes)), at("12:10:00"));
    assert!(due(10));
    assert!(!due(11));
    assert!(!needs_write(Some(&first), &later, None, at("12:10:00")));
    assert!(needs_write(None, &later, None, at("12:10:00")));
}

#[test]
fn what_was_never_read_is_no_zero() {
    let mut snapshot = incident(3);
    snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, denied().message);
    let written = render_snapshot(&snapshot, None);
    let display = &written.audit.display;
    assert_eq!(
        [&display.critical, &display.free_addresses, &display.idle_addresses, &display.leaked_addresses],
        ["?", "?", "?", "?"]
    );
    assert_eq!([display.min_free.as_str(), &display.runway, &display.free_prefixes], ["?", "?", "?"]);
    assert_eq!(display.warning, "1+", "the missing source is one, and others may be behind it");
    assert_eq!(written.audit.totals.free_addresses, None);
    assert_eq!(said(&written.audit.conditions, "Ready"), ("Unknown", "DataMissing"));
    assert!(condition(&written.audit.conditions, "Ready").message.contains("network-interfaces"));
    assert_eq!(said(&written.audit.conditions, "DataComplete"), ("False", "Denied"));
    assert!(written.audit.rules.inconclusive.contains(&"IPAM101".to_owned()), "{:?}", written.audit.rules);
    let source = written.audit.sources.iter().find(|source| source.name == "network-interfaces").unwrap();
    assert_eq!((source.state.as_str(), source.message.as_deref()), ("Missing", Some(denied().message.as_str())));

    let node = &written.nodes[NODE];
    assert_eq!([&node.display.interfaces, &node.display.held, &node.display.idle, &node.display.worst], ["?"; 4]);
    assert_eq!((&node.addresses, &node.stale_sources), (&None, &vec!["network-interfaces".to_owned()]));
}

#[test]
fn a_process_that_cannot_read_ec2_keeps_what_the_one_before_knew() {
    let good = read_back(&render_snapshot(&incident(3), None));
    let mut blind = incident_at(3, at("12:05:00"));
    blind.ec2.interfaces = Reading::missing(FaultCategory::Denied, denied().message);
    let written = render_snapshot(&blind, Some(&good));
    let (before, node) = (&good.nodes[NODE], &written.nodes[NODE]);
    assert_eq!(
        (&node.addresses, &node.interfaces, &node.display),
        (&before.addresses, &before.interfaces, &before.display)
    );
    assert_eq!(node.stale_sources, ["network-interfaces"]);
    assert_eq!(said(&node.conditions, "WarmPoolSized"), ("Unknown", "DataMissing"));
    assert!(node.findings.iter().all(|finding| finding.unverified) && node.findings.len() == before.findings.len());
    assert_eq!(transitions(&before.findings, &node.findings, at("12:05:00")), [], "nothing was resolved");

    let outcome = audit(&blind);
    let ctx = Context::new(&outcome, &AuditPolicy::default());
    assert!(ctx.knows_nodes() && !ctx.knows_subnets());
    let subnet = keep_subnet(&ctx, &good.subnets[SUBNET]);
    assert_eq!(subnet.addresses, good.subnets[SUBNET].addresses);
    assert!(subnet.conditions.iter().all(|condition| condition.status == "Unknown"), "{:?}", subnet.conditions);
    assert!(subnet.findings.iter().all(|finding| finding.unverified));
    assert_eq!(said_of_subnet(&keep_subnet(&ctx, &subnet)), said_of_subnet(&subnet), "and then nothing new is said");
}

#[test]
fn without_the_list_of_nodes_no_node_is_gone() {
    let good = render_snapshot(&incident(3), None);
    let mut blind = incident_at(3, at("12:05:00"));
    blind.nodes = Reading::missing(FaultCategory::Denied, "allow list on nodes");
    let outcome = audit(&blind);
    let ctx = Context::new(&outcome, &AuditPolicy::default());
    assert!(!ctx.knows_nodes() && !ctx.knows_subnets());
    let kept = keep_node(&ctx, &good.nodes[NODE]);
    assert_eq!((&kept.addresses, kept.node_group.as_deref()), (&good.nodes[NODE].addresses, Some("batch")));
    assert_eq!(said(&kept.conditions, "Healthy"), ("Unknown", "DataMissing"));
    assert_eq!(kept.stale_sources, ["nodes"]);
}

#[test]
fn without_pods_nobody_can_tell_used_from_idle() {
    let good = render_snapshot(&incident(3), None);
    let mut blind = incident_at(3, at("12:05:00"));
    blind.pods = Reading::missing(FaultCategory::Denied, "allow list on pods");
    let fresh = render_snapshot(&blind, None);
    assert_eq!((fresh.nodes[NODE].addresses.clone(), fresh.nodes[NODE].display.idle.as_str()), (None, "?"));
    let ledger = &fresh.subnets[SUBNET].addresses;
    assert_eq!((ledger.free, ledger.pods, ledger.idle, ledger.unaccounted), (Some(13), None, None, None));
    let kept = render_snapshot(&blind, Some(&good));
    assert_eq!(kept.subnets[SUBNET].addresses, good.subnets[SUBNET].addresses);
}

#[test]
fn old_data_prove_nothing_and_are_said_to_be_old() {
    let mut snapshot = incident_at(3, at("13:00:00"));
    snapshot.ec2 = incident(3).ec2;
    let audit = render_snapshot(&snapshot, None).audit;
    assert_eq!(said(&audit.conditions, "Ready"), ("Unknown", "DataStale"));
    let source = audit.sources.iter().find(|source| source.name == "subnets").unwrap();
    assert_eq!((source.state.as_str(), source.as_of.as_ref().unwrap().0), ("Stale", at("12:00:00")));
}

#[test]
fn a_fault_on_recent_data_leaves_the_audit_ready() {
    let mut snapshot = incident_at(3, at("12:01:00"));
    let seen = incident(3).ec2.interfaces;
    snapshot.ec2.interfaces = seen.after(Err(denied()));
    let audit = render_snapshot(&snapshot, None).audit;
    assert_eq!(said(&audit.conditions, "Ready"), ("True", "AuditFinished"));
    assert!(condition(&audit.conditions, "Ready").message.contains("failing now: network-interfaces"));
    assert_eq!(said(&audit.conditions, "DataComplete").0, "False");
}

#[test]
fn the_first_reading_under_way_is_progress() {
    let mut snapshot = incident(3);
    snapshot.ec2.interfaces = Reading::default();
    let audit = render_snapshot(&snapshot, None).audit;
    assert_eq!(said(&audit.conditions, "Ready"), ("Unknown", "NotReadYet"));
    assert_eq!(said(&audit.conditions, "Reconciling").0, "True");
}

#[test]
fn the_worst_nodes_are_bounded_and_the_rest_is_counted() {
    let mut outcome = audit(&incident(40));
    outcome.nodes[39].waiting_pods = Some(3);
    let written = render(&outcome, None).audit;
    assert_eq!((written.worst_nodes.len(), written.truncated.nodes), (MAX_WORST, 15));
    assert_eq!(written.worst_nodes[0].name, outcome.nodes[39].name.as_str());
    assert_eq!(written.worst_nodes[0].findings[0], "IPAM210");
    assert!(!written.worst_nodes[0].conditions.is_empty());
}

#[test]
fn an_audit_stays_small_whatever_it_has_to_say() {
    let mut outcome = audit(&incident(40));
    let long = "\"ä\u{7}".repeat(4000);
    for node in &mut outcome.nodes {
        for condition in Arc::make_mut(&mut node.conditions) {
            condition.message = long.as_str().into();
        }
    }
    let like = outcome.problems[0].clone();
    outcome.problems = (0..500)
        .map(|number| ipam_audit_core::outcome::Problem {
            group: format!("group-{number}").into(),
            message: long.clone(),
            remediation: long.clone(),
            ..like.clone()
        })
        .collect();
    let written = render(&outcome, None).audit;
    assert!(serde_json::to_vec(&written).unwrap().len() <= MAX_STATUS_BYTES);
    assert_eq!(written.problems[0].group, "group-0", "the worst stays");
    assert_eq!(written.problems.len() + usize::try_from(written.truncated.problems).unwrap(), 500);
    assert_eq!(written.worst_nodes.len() + usize::try_from(written.truncated.nodes).unwrap(), 40);
    assert!(written.worst_nodes.len() >= 5);
}

#[test]
fn a_report_stays_small_and_loses_the_least_severe_findings() {
    let mut outcome = audit(&incident(1));
    let node = &mut outcome.nodes[0];
    let like = node.findings[0].clone();
    node.findings = (0..300)
        .map(|number| ipam_audit_core::finding::Finding {
            severity: [ipam_audit_core::finding::Severity::Info, ipam_audit_core::finding::Severity::Critical]
                [usize::from(number < 10)],
            subject: ipam_audit_core::finding::Subject::Node(format!("node-{number}").into()),
            message: "\"\"".repeat(4000),
            ..like.clone()
        })
        .collect();
    let status = render(&outcome, None).nodes.remove(NODE).unwrap();
    assert!(serde_json::to_vec(&status).unwrap().len() <= MAX_STATUS_BYTES);
    assert_eq!(status.findings.len() + usize::try_from(status.truncated_findings).unwrap(), 300);
    let severe = status.findings.iter().filter(|finding| finding.severity == crate::v1alpha1::Severity::Critical);
    assert_eq!(severe.count(), 10);
}

#[test]
fn a_suspended_or_stalled_audit_keeps_what_it_found() {
    let found = render_snapshot(&incident(3), None).audit;
    let suspended = render_suspended(Some(&found), Some(2), at("13:00:00"));
    assert_eq!(said(&suspended.conditions, "Ready"), ("Unknown", "Suspended"));
    assert_eq!((suspended.observed_generation, &suspended.summary), (Some(2), &found.summary));
    assert_eq!(said(&suspended.conditions, "Healthy"), said(&found.conditions, "Healthy"));

    let stalled = render_stalled(Some(&found), Some(3), at("13:00:00"), ("InvalidSpec", "spec.interval is \"x\""));
    assert_eq!(said(&stalled.conditions, "Stalled"), ("True", "InvalidSpec"));
    assert_eq!(said(&stalled.conditions, "Ready"), ("False", "InvalidSpec"));
    let again = render_stalled(Some(&stalled), Some(3), at("14:00:00"), ("InvalidSpec", "spec.interval is \"x\""));
    assert!(again.same_ignoring_times(&stalled));
    let resumed = render_snapshot(&incident(3), Some(&Written { audit: stalled, ..Written::default() })).audit;
    assert!(resumed.conditions.iter().all(|condition| condition.type_ != "Stalled"));
}

#[test]
fn reports_are_named_labelled_and_owned() {
    let mut parent = IpamAudit::new("cluster", IpamAuditSpec::default());
    parent.metadata.uid = Some("uid-1".to_owned());
    let outcome = audit(&incident(1));
    let node = node_report(&parent, &outcome.nodes[0]);
    assert_eq!((node.metadata.name.as_deref(), node.spec.audit.as_str()), (Some(NODE), "cluster"));
    let labels = node.metadata.labels.unwrap();
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        labels,
        [
            "app.kubernetes.io/managed-by=ipam-audit",
            "ipam-audit.dev/audit=cluster",
            "ipam-audit.dev/node=ip-10-4-128-0.internal",
            "ipam-audit.dev/zone=eu-central-1a"
        ]
    );
    let owner = &node.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("IpamAudit", "uid-1", Some(true)));
    assert_eq!(owner.block_owner_deletion, Some(false));
    parent.metadata.name = Some("second".to_owned());
    let subnet = subnet_report(&parent, &outcome.subnets[0]);
    assert_eq!(subnet.metadata.name.as_deref(), Some("subnet-0a1.second"));
}
