//! What a user reads of small clusters.

use super::evaluate;
use crate::{
    memory::Memory,
    outcome::{AuditOutcome, Condition, ConditionStatus, ConditionType, RuleAnswer},
    policy::AuditPolicy,
    snapshot::ClusterSnapshot,
    source::{FaultCategory, Reading, Source},
    tests::fixtures::Cluster,
};

const DEFAULTS: &[(&str, &str)] = &[("WARM_ENI_TARGET", "1"), ("ENABLE_IPv4", "true")];
const TIGHT: &[(&str, &str)] = &[("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "10"), ("ENABLE_IPv4", "true")];

fn audit(snapshot: &ClusterSnapshot) -> AuditOutcome {
    evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

fn condition(conditions: &[Condition], kind: ConditionType) -> &Condition {
    conditions.iter().find(|condition| condition.kind == kind).unwrap()
}

/// 40 of the incident's nodes in a /20 of which others leave 13 addresses.
fn incident() -> ClusterSnapshot {
    let full = (0..40)
        .fold(Cluster::new("10.4.128.0/20", DEFAULTS), |cluster, _| cluster.node("m6a.32xlarge", 250, &[49, 49], 1));
    full.node("m5.xlarge", 58, &[14, 14, 14], 42).waiting_pod().waiting_pod().with_free(13).snapshot()
}

#[test]
fn the_incident_is_told_in_three_sentences() {
    let outcome = audit(&incident());
    let text = outcome.answer.text();
    let sentences: Vec<_> = text.lines().collect();
    assert_eq!(
        sentences,
        [
            "1 of 1 subnet is full: the next node in eu-central-1a finds no room for its pods, and 2 pods already wait.",
            "3,880 addresses are held by nodes for pods that do not exist; all of them on 40 m6a.32xlarge nodes of node \
             group batch, which keep 98 pod addresses each (100 with their interfaces' own) for 1 pod of deployment \
             shop/resizer.",
            "Setting MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3 frees 3,560 addresses within minutes and costs at most 2 EC2 \
             calls per pod start beyond the pool.",
        ]
    );
}

#[test]
fn the_incident_counts_causes_not_nodes() {
    let outcome = audit(&incident());
    let problems: Vec<_> =
        outcome.problems.iter().map(|problem| (problem.code, &*problem.group, problem.count)).collect();
    let want = [("IPAM101", "subnet-1", 1), ("IPAM201", "batch", 1), ("IPAM210", "batch", 40), ("IPAM211", "batch", 1)];
    assert_eq!(problems, want);
    assert_eq!((outcome.totals.critical, outcome.totals.warning), (2, 2));
    let node = &outcome.nodes[0];
    let addresses = node.addresses.unwrap();
    assert_eq!((addresses.held, addresses.used, addresses.idle, addresses.own), (98, 1, 97, 2));
    assert_eq!((node.interfaces, node.interface_limit), (Some(2), Some(15)));
    let sized = condition(&node.conditions, ConditionType::WarmPoolSized);
    assert_eq!(
        (sized.status, sized.reason, &*sized.message),
        (
            ConditionStatus::False,
            "WarmPoolTooLarge",
            "98 pod addresses on 2 interfaces serve 1 pod; the burst goal needs 10"
        )
    );
}

#[test]
fn a_full_subnet_says_what_the_next_node_needs() {
    let outcome = audit(&incident());
    let subnet = &outcome.subnets[0];
    assert_eq!(
        (subnet.usable, subnet.free, subnet.new_node_takes, subnet.runway),
        (Some(4091), 13, Some(50), Some("now"))
    );
    let message = &subnet.findings[0].message;
    assert!(message.contains("13 of 4,091 addresses free"), "{message}");
    assert!(message.contains("a new m6a.32xlarge node takes 50"), "{message}");
}

#[test]
fn the_ledger_of_a_subnet_adds_up_to_its_size() {
    let outcome = audit(&Cluster::new("10.0.0.0/24", DEFAULTS).node("m5.large", 29, &[9, 9], 5).snapshot());
    let subnet = &outcome.subnets[0];
    let ledger = subnet.ledger.unwrap();
    assert_eq!((ledger.pods, ledger.idle(), ledger.own, ledger.unaccounted), (5, 13, 2, 0));
    assert_eq!(subnet.usable.unwrap(), subnet.free + ledger.pods + ledger.idle() + ledger.own);
}

#[test]
fn a_well_sized_cluster_has_nothing_to_report() {
    let cluster =
        Cluster::new("10.0.0.0/20", TIGHT).node("m5.xlarge", 58, &[14, 1], 12).node("m5.large", 29, &[9, 1], 4);
    let outcome = audit(&cluster.snapshot());
    assert_eq!(outcome.problems, []);
    let healthy = condition(&outcome.conditions, ConditionType::Healthy);
    assert_eq!((healthy.status, healthy.reason), (ConditionStatus::True, "NoFindings"));
    for node in &outcome.nodes {
        let not_true: Vec<_> =
            node.conditions.iter().filter(|condition| condition.status != ConditionStatus::True).collect();
        assert_eq!(not_true, Vec::<&Condition>::new(), "{}", node.name);
    }
    assert_eq!(outcome.answer.text(), "2 nodes in 1 subnet have room: 4,062 addresses free.");
}

#[test]
fn a_cluster_without_nodes_says_so() {
    let outcome = audit(&Cluster::new("10.0.0.0/20", TIGHT).snapshot());
    assert_eq!(outcome.answer.text(), "No node takes pod addresses by the VPC CNI: there is nothing to audit yet.");
    assert_eq!(outcome.problems, []);
}

#[test]
fn one_node_is_one_node() {
    let outcome = audit(&Cluster::new("10.0.0.0/16", DEFAULTS).node("m6a.32xlarge", 250, &[49, 49], 1).snapshot());
    let text = outcome.answer.text();
    assert!(text.contains("all of them on 1 m6a.32xlarge node of node group batch, which keeps 98"), "{text}");
}

#[test]
fn a_large_pool_in_a_roomy_subnet_is_only_information() {
    let outcome = audit(&Cluster::new("10.0.0.0/16", DEFAULTS).node("m6a.32xlarge", 250, &[49, 49], 1).snapshot());
    assert_eq!((outcome.totals.warning, outcome.totals.info), (0, 1));
}

#[test]
fn a_minimum_without_a_warm_target_is_a_frozen_pool() {
    let frozen: &[(&str, &str)] = &[("MINIMUM_IP_TARGET", "5"), ("ENABLE_IPv4", "true")];
    let outcome = audit(&Cluster::new("10.0.0.0/20", frozen).node("m5.large", 29, &[5], 5).waiting_pod().snapshot());
    let codes: Vec<_> = outcome.nodes[0].findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["IPAM201", "IPAM212"]);
    for finding in &outcome.nodes[0].findings {
        assert!(finding.message.contains("MINIMUM_IP_TARGET=5"), "{}", finding.message);
        assert!(finding.remediation.contains("MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3"), "{}", finding.remediation);
    }
}

#[test]
fn a_trunk_is_measured_by_its_own_limit() {
    let branches = |slots: u32, used: usize| {
        let cluster = Cluster::new("10.0.0.0/20", TIGHT)
            .node("m5.large", 29, &[9, 1], 4)
            .tweak(|node| node.branch_slots = Some(slots));
        let mut snapshot = cluster.snapshot();
        let pods = &mut snapshot.pods.last_good.as_mut().unwrap().value;
        let like = pods[0].clone();
        pods.extend((0..used).map(|at| {
            let branch = crate::snapshot::BranchUse::Has(format!("eni-branch-{at}").into());
            crate::snapshot::PodFields { branch, name: format!("branch-{at}").into(), ..like.fields() }.into()
        }));
        let outcome = audit(&snapshot);
        let near = outcome.nodes[0].findings.iter().find(|finding| finding.code == "IPAM301");
        near.map(|finding| (finding.code, finding.severity.name()))
    };
    assert_eq!(branches(9, 7), None);
    assert_eq!(branches(9, 8), Some(("IPAM301", "warning")));
    assert_eq!(branches(9, 9), Some(("IPAM301", "critical")));
    assert_eq!(branches(107, 60), None, "60 is no limit of a type that carries 107");
}

#[test]
fn without_ec2_nothing_passes_and_nothing_is_zero() {
    let mut snapshot = incident();
    let denied = "not allowed to call ec2:DescribeNetworkInterfaces";
    snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, denied);
    let outcome = audit(&snapshot);
    let full = outcome.rules.iter().find(|rule| rule.code == "IPAM101").unwrap();
    assert_eq!(full.answer, RuleAnswer::Inconclusive { missing: vec![Source::NetworkInterfaces], suspects: 0 });
    assert_eq!((outcome.totals.free_addresses, outcome.totals.idle_addresses), (None, None));
    assert_eq!(outcome.nodes[0].addresses, None);
    let complete = condition(&outcome.conditions, ConditionType::DataComplete);
    assert_eq!((complete.status, complete.reason), (ConditionStatus::False, "Denied"));
    assert!(complete.message.contains(denied), "{}", complete.message);
    assert_eq!(condition(&outcome.conditions, ConditionType::CapacityAvailable).status, ConditionStatus::Unknown);
    assert!(outcome.problems.iter().any(|problem| problem.code == "IPAM901"));
}

#[test]
fn an_old_view_is_used_and_said_to_be_old() {
    let mut snapshot = incident();
    let seen = snapshot.ec2.interfaces.clone();
    let fault = crate::source::SourceFault { category: FaultCategory::Unreachable, message: "no answer".into() };
    snapshot.ec2.interfaces = seen.after(Err(fault));
    let young = audit(&snapshot);
    assert_eq!(young.nodes[0].addresses.unwrap().held, 98);
    assert!(young.problems.iter().any(|problem| problem.code == "IPAM902"));
    assert_eq!(
        condition(&young.subnets[0].conditions, ConditionType::AddressesAvailable).status,
        ConditionStatus::False
    );

    snapshot.ec2.interfaces.last_good.as_mut().unwrap().as_of -= jiff::SignedDuration::from_hours(1);
    let old = audit(&snapshot);
    assert_eq!(old.nodes[0].addresses.unwrap().held, 98, "the last good numbers stay");
    assert_eq!(
        condition(&old.subnets[0].conditions, ConditionType::PrefixesAvailable).status,
        ConditionStatus::Unknown,
        "and nothing is proven by them"
    );
}

#[test]
fn without_pods_no_address_is_called_idle() {
    let mut snapshot = incident();
    snapshot.pods = Reading::missing(FaultCategory::Denied, "may not list pods");
    let outcome = audit(&snapshot);
    let subnet = &outcome.subnets[0];
    assert_eq!((subnet.ledger, outcome.totals.leaked_addresses), (None, None));
    assert!(subnet.findings[0].remediation.contains("not known"), "{}", subnet.findings[0].remediation);
}

#[test]
fn nothing_found_in_data_that_cannot_be_read_is_no_answer() {
    let mut snapshot = Cluster::new("10.0.0.0/20", TIGHT).node("m5.large", 29, &[9, 1], 4).snapshot();
    let fault = crate::source::SourceFault { category: FaultCategory::Denied, message: "may not watch events".into() };
    snapshot.pods.fault = Some(fault);
    let outcome = audit(&snapshot);
    assert_eq!(outcome.totals.waiting_pods, None, "no pod is seen to wait, and none could be");
    let waiting = outcome.rules.iter().find(|rule| rule.code == "IPAM201").unwrap();
    assert_eq!(waiting.answer, RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 });
}

#[test]
fn two_evaluations_say_the_same() {
    assert_eq!(audit(&incident()), audit(&incident()));
}
