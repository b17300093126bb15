//! Clusters whose ipamd is asked, for the rules that need its answers.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{
    addresses::{later, of, once, with_env as without_answers},
    fixtures::now,
};
use crate::{
    engine,
    outcome::{AuditOutcome, ConditionStatus, ConditionType},
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, IpamdNode, IpamdPool, IpamdSaid, IpamdTroubles},
    source::{FaultCategory, Observed, Reading, SourceFault},
};

const WELL: [(&str, &str); 4] =
    [("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "6"), ("CLUSTER_NAME", "prod"), ("ENABLE_IPv4", "true")];

/// The two nodes of [`super::addresses::cluster`], whose ipamd agrees with EC2 and the pods.
pub(crate) fn cluster() -> ClusterSnapshot {
    with_env(&[])
}

/// The same with further settings.
pub(crate) fn with_env(env: &[(&str, &str)]) -> ClusterSnapshot {
    let mut snapshot = without_answers(&[&WELL, env].concat());
    let pool = IpamdPool { total: Some(6), assigned: Some(3), interfaces: Some(1), ..IpamdPool::default() };
    let rows = (0..2).map(|at| {
        Arc::new(IpamdNode {
            node: format!("node-{at}").into(),
            said: Reading::fresh(IpamdSaid { pool, ..IpamdSaid::default() }, now()),
            before: None,
        })
    });
    snapshot.ipamd = Reading::fresh(rows.collect(), now());
    snapshot
}

/// What is known of one node's ipamd, to change it.
pub(crate) fn row(snapshot: &mut ClusterSnapshot, at: usize) -> &mut IpamdNode {
    Arc::make_mut(&mut snapshot.ipamd.last_good.as_mut().unwrap().value[at])
}

/// Changes what ipamd says of its pool.
pub(crate) fn pool(snapshot: &mut ClusterSnapshot, at: usize, change: impl FnOnce(&mut IpamdPool)) {
    change(&mut row(snapshot, at).said.last_good.as_mut().unwrap().value.pool);
}

/// Makes ipamd count failures, none of which it had counted a while before.
pub(crate) fn grown(snapshot: &mut ClusterSnapshot, at: usize, change: impl FnOnce(&mut IpamdTroubles)) {
    let row = row(snapshot, at);
    let before = now() - SignedDuration::from_mins(12);
    row.before = Some(Observed { value: IpamdTroubles::default(), as_of: before });
    change(&mut row.said.last_good.as_mut().unwrap().value.troubles);
}

/// Makes ipamd give no answer.
pub(crate) fn silent(snapshot: &mut ClusterSnapshot, at: usize, category: FaultCategory, message: &str) {
    row(snapshot, at).said.fault = Some(SourceFault { category, message: message.into() });
}

/// Makes a node ready or not.
pub(crate) fn ready(snapshot: &mut ClusterSnapshot, at: usize, ready: bool) {
    let nodes = &mut snapshot.nodes.last_good.as_mut().unwrap().value;
    Arc::make_mut(&mut nodes[at]).state.ready = Some(ready);
}

/// Lets ipamd say the same again so many seconds later.
pub(crate) fn stand(snapshot: &mut ClusterSnapshot, seconds: i64) {
    let after = SignedDuration::from_secs(seconds);
    let seen = snapshot.ipamd.last_good.as_mut().unwrap();
    seen.as_of += after;
    for row in &mut seen.value {
        if let Some(said) = &mut Arc::make_mut(row).said.last_good {
            said.as_of += after;
        }
    }
}

/// Two looks at the same state, so many seconds apart: the second one's outcome.
pub(crate) fn twice(snapshot: &ClusterSnapshot, seconds: i64) -> AuditOutcome {
    let memory = once(snapshot).memory;
    let mut second = later(snapshot, seconds);
    stand(&mut second, seconds);
    engine::evaluate(&second, &AuditPolicy::default(), &memory)
}

/// The messages of one rule after two looks a quarter of an hour apart.
pub(crate) fn proven(snapshot: &ClusterSnapshot, code: &str) -> Vec<String> {
    of(&twice(snapshot, 900), code).into_iter().map(|finding| finding.message).collect()
}

/// Status and reason of a node's condition `IpamdReachable`.
pub(crate) fn condition(outcome: &AuditOutcome, at: usize) -> (ConditionStatus, &'static str) {
    let conditions = &outcome.nodes[at].conditions;
    let found = conditions.iter().find(|one| one.kind == ConditionType::IpamdReachable).unwrap();
    (found.status, found.reason)
}
