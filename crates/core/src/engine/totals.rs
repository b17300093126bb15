//! The sums over the cluster.

use crate::{
    facts::Facts,
    finding::Severity,
    outcome::{Problem, Totals},
    snapshot::PodPhase,
    source::Source,
};

pub(super) fn of(facts: &Facts<'_>, problems: &[Problem]) -> Totals {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let has_ec2 =
        ![Source::Subnets, Source::NetworkInterfaces, Source::Nodes].iter().any(|source| facts.is_missing(*source));
    let in_subnets = |sum: u32| has_ec2.then_some(sum);
    let pods = facts.snapshot.pods.value();
    let severity = |wanted| count(problems.iter().filter(|problem| problem.severity == wanted).count());
    let pools_known = facts.nodes.iter().all(|node| node.pool.is_some() || node.node.instance.is_none());
    Totals {
        nodes: (!facts.is_missing(Source::Nodes)).then(|| count(facts.nodes.len())),
        pods: pods.map(|pods| count(pods.iter().filter(|pod| pod.phase != PodPhase::Finished).count())),
        // None that is seen to wait is not none while pods, or the events about them, cannot be read.
        waiting_pods: pods
            .map(|_| facts.waiting_pods())
            .filter(|waiting| *waiting > 0 || !facts.is_failing(Source::Pods)),
        subnets: in_subnets(count(facts.subnets.len())),
        interfaces: in_subnets(facts.subnets.iter().map(|subnet| subnet.interfaces).sum()),
        free_addresses: in_subnets(facts.subnets.iter().map(|subnet| subnet.subnet.available).sum()),
        min_free_addresses: facts.subnets.iter().map(|subnet| subnet.subnet.available).min(),
        free_prefixes: facts.subnets.iter().map(|subnet| subnet.free_prefixes).sum::<Option<u32>>().filter(|_| has_ec2),
        idle_addresses: (has_ec2 && pods.is_some() && pools_known)
            .then(|| facts.nodes.iter().filter_map(|node| node.pool.as_ref()).map(|pool| pool.idle).sum()),
        leaked_addresses: facts
            .subnets
            .iter()
            .map(|subnet| subnet.ledger.map(|ledger| ledger.leaked))
            .sum::<Option<u32>>()
            .filter(|_| has_ec2),
        critical: severity(Severity::Critical),
        warning: severity(Severity::Warning),
        info: severity(Severity::Info),
    }
}
