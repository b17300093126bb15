//! Clusters and looks for the rules about addresses that are lost or leaked.

use std::ops::{Deref, DerefMut};

use jiff::{SignedDuration, Timestamp};

use super::fixtures::{Cluster, interface, now};
use crate::{
    engine,
    finding::Finding,
    inventory::{Attachment, Instance, Interface, InterfaceKind, InterfaceStatus},
    memory::Memory,
    outcome::{AuditOutcome, RuleAnswer},
    pages::Pages,
    policy::AuditPolicy,
    rows::Rows,
    snapshot::{BranchUse, ClusterSnapshot, Pod, PodFields},
    source::Reading,
    tags::Tags,
};

/// Two m5.large nodes with three pods each, and settings under which all is well.
pub(crate) fn cluster() -> ClusterSnapshot {
    with_env(&[("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "6"), ("CLUSTER_NAME", "prod"), ("ENABLE_IPv4", "true")])
}

/// The same with other settings.
pub(crate) fn with_env(env: &[(&str, &str)]) -> ClusterSnapshot {
    Cluster::new("10.0.0.0/24", env).node("m5.large", 29, &[6], 3).node("m5.large", 29, &[6], 3).snapshot()
}

fn touch<T>(reading: &mut Reading<T>, at: Timestamp) {
    if let Some(observed) = &mut reading.last_good {
        observed.as_of = at;
    }
}

/// The same cluster, looked at so many seconds later.
pub(crate) fn later(snapshot: &ClusterSnapshot, seconds: i64) -> ClusterSnapshot {
    let mut snapshot = snapshot.clone();
    let at = snapshot.taken_at + SignedDuration::from_secs(seconds);
    snapshot.taken_at = at;
    touch(&mut snapshot.nodes, at);
    touch(&mut snapshot.pods, at);
    touch(&mut snapshot.aws_node, at);
    touch(&mut snapshot.cni_nodes, at);
    touch(&mut snapshot.ec2.subnets, at);
    touch(&mut snapshot.ec2.interfaces, at);
    touch(&mut snapshot.ec2.instances, at);
    snapshot
}

/// One look.
pub(crate) fn once(snapshot: &ClusterSnapshot) -> AuditOutcome {
    engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

/// Two looks at the same state, so many seconds apart: the second one's outcome.
pub(crate) fn twice(snapshot: &ClusterSnapshot, seconds: i64) -> AuditOutcome {
    let memory = once(snapshot).memory;
    engine::evaluate(&later(snapshot, seconds), &AuditPolicy::default(), &memory)
}

/// The findings of one rule, wherever they are reported.
pub(crate) fn of(outcome: &AuditOutcome, code: &str) -> Vec<Finding> {
    let nodes = outcome.nodes.iter().flat_map(|node| &node.findings);
    let subnets = outcome.subnets.iter().flat_map(|subnet| &subnet.findings);
    let all = outcome.findings.iter().chain(nodes).chain(subnets);
    all.filter(|finding| finding.code == code).cloned().collect()
}

/// What one rule answered.
pub(crate) fn answer(outcome: &AuditOutcome, code: &str) -> RuleAnswer {
    outcome.rules.iter().find(|rule| rule.code == code).unwrap().answer.clone()
}

/// The messages of one rule after two looks a quarter of an hour apart.
pub(crate) fn proven(snapshot: &ClusterSnapshot, code: &str) -> Vec<String> {
    of(&twice(snapshot, 900), code).into_iter().map(|finding| finding.message).collect()
}

/// The pods, to change them.
pub(crate) fn pods(snapshot: &mut ClusterSnapshot) -> &mut Pages<Pod> {
    &mut snapshot.pods.last_good.as_mut().unwrap().value
}

/// One pod, to change it.
pub(crate) fn pod_mut<'a>(snapshot: &'a mut ClusterSnapshot, name: &str) -> EditedPod<'a> {
    EditedPod::of(pods(snapshot).iter_mut().find(|pod| pod.name() == name).unwrap())
}

/// A pod spelled out while it is changed.
pub(crate) struct EditedPod<'a> {
    pod: &'a mut Pod,
    fields: PodFields,
}

impl<'a> EditedPod<'a> {
    pub(crate) fn of(pod: &'a mut Pod) -> Self {
        Self { fields: pod.fields(), pod }
    }
}

impl Deref for EditedPod<'_> {
    type Target = PodFields;

    fn deref(&self) -> &PodFields {
        &self.fields
    }
}

impl DerefMut for EditedPod<'_> {
    fn deref_mut(&mut self) -> &mut PodFields {
        &mut self.fields
    }
}

impl Drop for EditedPod<'_> {
    fn drop(&mut self) {
        *self.pod = self.fields.clone().into();
    }
}

/// The interfaces, to change them.
pub(crate) fn interfaces(snapshot: &mut ClusterSnapshot) -> &mut Rows<Interface> {
    &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value
}

/// An unattached interface as ipamd makes it, so many minutes old, with five pod addresses.
pub(crate) fn leaked(id: &str, minutes: i64, tags: &[(&str, &str)]) -> Interface {
    let own = [("node.k8s.amazonaws.com/instance_id", "i-gone")];
    let mut row = interface(id, "subnet-1");
    row.status = InterfaceStatus::Available;
    row.description = "aws-K8S-i-gone".into();
    row.created_at = Some(now() - SignedDuration::from_mins(minutes));
    row.primary = Some([10, 0, 0, 200].into());
    row.secondary = (201..206).map(|last| [10, 0, 0, last].into()).collect();
    row.tags = own.iter().chain(tags).map(|(key, value)| ((*key).into(), (*value).into())).collect();
    row
}

/// Gives node 0 a trunk `eni-trunk` and a branch `eni-branch` on it, which pod `resizer-0-0` has if it is said so.
pub(crate) fn with_branch(snapshot: &mut ClusterSnapshot, has_pod: bool) {
    let mut trunk = interface("eni-trunk", "subnet-1");
    trunk.kind = InterfaceKind::Trunk;
    trunk.primary = Some([10, 0, 0, 210].into());
    trunk.attachment = Some(Attachment {
        instance: Some("i-0".into()),
        device_index: 5,
        card_index: 0,
        delete_on_termination: Some(true),
        attached_at: None,
    });
    let mut branch = interface("eni-branch", "subnet-1");
    branch.kind = InterfaceKind::Branch;
    branch.description = "aws-k8s-branch-eni".into();
    branch.primary = Some([10, 0, 0, 211].into());
    branch.tags = [("vpcresources.k8s.aws/trunk-eni-id".into(), "eni-trunk".into())].into();
    interfaces(snapshot).extend([trunk, branch]);
    if has_pod {
        let mut pod = pod_mut(snapshot, "resizer-0-0");
        pod.branch = BranchUse::Has("eni-branch".into());
        pod.address = Some([10, 0, 0, 211].into());
        drop(pod);
    }
}

/// An instance in a state.
pub(crate) fn instance(id: &str, state: &str, since: Option<Timestamp>) -> Instance {
    Instance {
        id: id.into(),
        state: state.into(),
        state_since: since,
        instance_type: None,
        launched_at: None,
        tags: Tags::default(),
    }
}
