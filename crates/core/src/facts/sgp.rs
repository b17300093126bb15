//! Security groups for pods: who uses them, which policies select which pod, and what the resource controller said.
//!
//! A policy selects as the controller's webhook does: in its own namespace only; a policy without a selector or without
//! groups is ignored; where both selectors are given both must match; an empty selector matches everything. Nothing
//! here costs anything in a cluster that does not use the feature.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Cni, NodeFacts, lookup::Map};
use crate::{
    cni::{CniVersion, EnforcingMode},
    ids::{EniId, NodeName},
    inventory::Interface,
    rows::Rows,
    snapshot::{
        BranchUse, ClusterSnapshot, Event, Platform, Pod, PodPhase, PodTraits, SecurityGroupPolicy, Selector,
        ServiceAccount,
    },
    source::Source,
};

/// Events older than this explain nothing: Kubernetes itself keeps them for an hour.
const EVENT_AGE: SignedDuration = SignedDuration::from_hours(1);
/// Reasons of events by which the resource controller says that something failed.
const FAILURES: [&str; 8] = [
    "TrunkENICreationFailed",
    "NodeTrunkFailedInit",
    "Unsupported",
    "EniConfigNameNotFound",
    "CNINodeCreationFailed",
    "BranchAllocationFailed",
    "BranchENIAnnotationFailed",
    FAILED_SCHEDULING,
];
/// The scheduler's: only about branch slots.
const FAILED_SCHEDULING: &str = "FailedScheduling";
/// The extended resource of branch slots.
pub(crate) const RESOURCE: &str = "vpc.amazonaws.com/pod-eni";
/// ConfigMap of the resource controller.
const CONTROLLER_CONFIG: &str = "amazon-vpc-cni";
/// Its key for the cool-down of branches.
const COOLDOWN_KEY: &str = "branch-eni-cooldown";

/// What a cluster does with security groups for pods.
#[derive(Debug)]
pub(crate) struct PodGroups<'a> {
    /// Whether anything in the cluster speaks of the feature: a setting, a policy, a trunk or a pod.
    pub(crate) in_use: bool,
    /// Whether `ENABLE_POD_ENI` is on: on a node, or in the template while no node's pod is seen; none while neither is.
    pub(crate) enabled: Option<bool>,
    /// The policies; none while they are not known.
    pub(crate) policies: Option<&'a [SecurityGroupPolicy]>,
    /// The cool-down of branches; none while the ConfigMaps are not known.
    pub(crate) cooldown: Option<Cooldown<'a>>,
    /// Unfinished pods that a policy selects, may select, or that ask for a branch.
    pub(crate) pods: Vec<GroupedPod<'a>>,
    /// Sources without which it is not known which pods the policies select.
    pub(crate) unresolved: BTreeSet<Source>,
    failures: Vec<&'a Event>,
    interfaces: Map<&'a EniId, &'a Interface>,
}

/// A pod that has to do with security groups for pods.
#[derive(Debug, Clone)]
pub(crate) struct GroupedPod<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// Its node among the nodes that the VPC CNI manages.
    pub(crate) node: Option<usize>,
    /// What its node is; none while it is on none.
    pub(crate) platform: Option<Platform>,
    /// The policies that select it now; none while that cannot be told.
    pub(crate) policies: Option<Selected<'a>>,
}

/// Policies that select a pod.
pub(crate) type Selected<'a> = Arc<[&'a SecurityGroupPolicy]>;

impl<'a> GroupedPod<'a> {
    /// Whether a policy selects it, as far as that can be told.
    pub(crate) fn is_selected(&self) -> bool {
        self.policies.as_ref().is_some_and(|policies| !policies.is_empty())
    }

    /// Whether this very policy selects it.
    pub(crate) fn is_selected_by(&self, policy: &SecurityGroupPolicy) -> bool {
        self.policies.iter().flat_map(|policies| policies.iter()).any(|one| std::ptr::eq(*one, policy))
    }

    /// The security groups that its policies give it, each once.
    pub(crate) fn groups(&self) -> BTreeSet<&'a str> {
        let policies = self.policies.as_deref().unwrap_or_default();
        policies.iter().flat_map(|policy| policy.groups.iter()).map(|group| &**group).collect()
    }

    /// The policies by name, for messages.
    pub(crate) fn policy_names(&self) -> Vec<String> {
        self.policies.as_deref().unwrap_or_default().iter().map(|policy| policy.name.to_string()).collect()
    }

    /// Its traits, where the reader collects them.
    pub(crate) fn traits(&self) -> Option<&'a PodTraits> {
        self.pod.traits()
    }

    /// Its workload, or itself where it has none: pods of one workload are one problem.
    pub(crate) fn owner(&self) -> Arc<str> {
        owner(self.pod)
    }
}

/// The workload of a pod as a problem's group: `namespace/name`.
pub(crate) fn owner(pod: &Pod) -> Arc<str> {
    let workload = pod.workload().and_then(|workload| workload.split_once(' '));
    workload.map_or_else(|| pod.full_name(), |(_, name)| format!("{}/{name}", pod.namespace())).into()
}

/// The cool-down of branches as it is written and as it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cooldown<'a> {
    /// The text in the ConfigMap.
    pub(crate) raw: Option<&'a str>,
    /// The seconds in force.
    pub(crate) seconds: u32,
}

impl<'a> Cooldown<'a> {
    /// The controller never goes below.
    pub(crate) const LEAST: u32 = 30;
    /// Without a value that can be read.
    pub(crate) const DEFAULT: u32 = 60;

    fn of(raw: Option<&'a str>) -> Self {
        let seconds = raw.and_then(|text| text.trim().parse().ok()).unwrap_or(Self::DEFAULT);
        Self { raw, seconds: seconds.max(Self::LEAST) }
    }
}

impl Cni {
    /// Whether security groups for pods are on.
    pub(crate) fn pod_groups(&self) -> bool {
        self.config.pod_eni.value_or(false)
    }

    /// Whether traffic of branch pods always passes the VPC, which is the default.
    pub(crate) fn enforces_strictly(&self) -> bool {
        self.config.enforcing_mode.value_or(EnforcingMode::Strict) == EnforcingMode::Strict
    }

    /// Whether pods' interfaces are elsewhere than the node's.
    pub(crate) fn networks_apart(&self) -> bool {
        self.config.custom_networking.value_or(false)
    }

    /// Whether pods have IPv6 addresses, of which one interface has enough.
    pub(crate) fn serves_ipv6(&self) -> bool {
        self.config.ipv6.value_or(false)
    }

    /// Whether it asks for the trunk by the CNINode, and no longer by the legacy label.
    pub(crate) fn asks_by_cni_node(&self) -> bool {
        self.version() >= CniVersion::new(1, 15, 0)
    }

    /// Whether it keeps an interface's slot free for a trunk on types that cannot have one.
    pub(crate) fn wastes_slot_without_trunk(&self) -> bool {
        self.version() < CniVersion::new(1, 20, 4)
    }

    /// Interfaces that it attaches to a node at most.
    pub(crate) fn interface_cap(&self, of_type: u32) -> u32 {
        let cap = self.config.max_eni.value().and_then(|cap| u32::try_from(cap).ok()).filter(|cap| *cap > 0);
        cap.map_or(of_type, |cap| cap.min(of_type))
    }
}

impl<'a> PodGroups<'a> {
    pub(super) fn of(snapshot: &'a ClusterSnapshot, nodes: &[NodeFacts<'a>]) -> Self {
        let policies = snapshot.objects.security_group_policies.value().map(Vec::as_slice);
        let enabled = enabled(snapshot, nodes);
        let in_use = enabled == Some(true)
            || policies.is_some_and(|policies| !policies.is_empty())
            || nodes.iter().any(|node| node.trunk.is_some());
        let config_maps = snapshot.objects.config_maps.value();
        let cooldown = config_maps.map(|maps| {
            let map = maps.iter().find(|map| &*map.name == CONTROLLER_CONFIG);
            Cooldown::of(map.and_then(|map| map.get(COOLDOWN_KEY)))
        });
        let (pods, unresolved) = if in_use { grouped(snapshot, nodes, policies) } else { Default::default() };
        let failures = if in_use { failures(snapshot) } else { Vec::new() };
        let interfaces = snapshot.ec2.interfaces.value().filter(|_| in_use);
        let interfaces = interfaces.unwrap_or(Rows::NONE);
        let interfaces = interfaces.iter().map(|interface| (&interface.id, interface)).collect();
        Self { in_use, enabled, policies, cooldown, pods, unresolved, failures, interfaces }
    }

    /// Why something of an object failed within the last hour, in the controller's own words: the newest word on it.
    pub(crate) fn failure(&self, kind: &str, namespace: &str, name: &str) -> Option<&'a Event> {
        let key = (kind, namespace, name);
        let after = self.failures.partition_point(|event| subject(event) <= key);
        let newest = self.failures.get(after.checked_sub(1)?)?;
        (subject(newest) == key).then_some(*newest)
    }

    /// An interface as EC2 shows it, whatever it is.
    pub(crate) fn interface(&self, id: &EniId) -> Option<&'a Interface> {
        self.interfaces.get(id).copied()
    }

    /// Policies that the resource controller looks at.
    pub(crate) fn effective(&self) -> impl Iterator<Item = &'a SecurityGroupPolicy> {
        self.policies.unwrap_or_default().iter().filter(|policy| has_effect(policy))
    }

    /// Whether policies ask for branches that no node's settings allow: the one cause of all pods that wait for one.
    pub(crate) fn is_off_despite_policies(&self) -> bool {
        self.enabled == Some(false) && self.effective().next().is_some()
    }

    /// Pods on nodes that the VPC CNI manages.
    pub(crate) fn on_nodes<'s>(
        &'s self,
        nodes: &'s [NodeFacts<'a>],
    ) -> impl Iterator<Item = (&'s NodeFacts<'a>, &'s GroupedPod<'a>)> {
        self.pods.iter().filter_map(|pod| Some((nodes.get(pod.node?)?, pod)))
    }
}

fn subject(event: &Event) -> (&str, &str, &str) {
    (&event.kind, &event.namespace, &event.name)
}

fn enabled(snapshot: &ClusterSnapshot, nodes: &[NodeFacts<'_>]) -> Option<bool> {
    let mut seen = nodes.iter().filter_map(|node| node.cni.as_ref()).peekable();
    if seen.peek().is_some() {
        return Some(seen.any(|cni| cni.pod_groups()));
    }
    Some(Cni::of(&snapshot.aws_node.value()?.template).pod_groups())
}

/// What failed within the hour, sorted by object and time.
fn failures(snapshot: &ClusterSnapshot) -> Vec<&Event> {
    let recent = |at: Timestamp| snapshot.taken_at.duration_since(at) <= EVENT_AGE;
    let mut failures: Vec<&Event> = snapshot.objects.events.value().map_or(Vec::new(), |events| {
        let failed = |event: &&Event| {
            let about_us = &*event.reason != FAILED_SCHEDULING || event.message.contains(RESOURCE);
            FAILURES.contains(&&*event.reason) && about_us && event.last_at.is_some_and(recent)
        };
        events.iter().filter(failed).collect()
    });
    failures.sort_by(|a, b| (subject(a), a.last_at).cmp(&(subject(b), b.last_at)));
    failures
}

/// EC2's or IAM's code in an event's text: `UnauthorizedOperation`, `InsufficientFreeAddressesInSubnet`, ….
pub(crate) fn error_code(message: &str) -> Option<&str> {
    let is_code = |word: &&str| {
        word.len() > 7
            && word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.chars().skip(1).any(|letter| letter.is_ascii_uppercase())
            && word.chars().any(|letter| letter.is_ascii_lowercase())
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.')
    };
    // The AWS SDK names these before the code.
    let no_codes = ["StatusCode", "RequestID", "RequestId"];
    let words = message.split_whitespace().filter_map(|word| word.strip_suffix(':'));
    words.filter(|word| !no_codes.contains(word)).find(is_code)
}

type Grouped<'a> = (Vec<GroupedPod<'a>>, BTreeSet<Source>);

fn grouped<'a>(
    snapshot: &'a ClusterSnapshot,
    nodes: &[NodeFacts<'a>],
    policies: Option<&'a [SecurityGroupPolicy]>,
) -> Grouped<'a> {
    let Some(pods) = snapshot.pods.value() else { return Grouped::default() };
    let mut matcher = Matcher::new(snapshot, policies);
    let managed: Map<&NodeName, usize> = nodes.iter().enumerate().map(|(at, node)| (&node.node.name, at)).collect();
    let platforms: Map<&NodeName, Platform> =
        snapshot.nodes.value().map_or(&[][..], Vec::as_slice).iter().map(|node| (&node.name, node.platform)).collect();
    let mut found = Vec::new();
    for pod in pods.iter().filter(|pod| pod.phase != PodPhase::Finished) {
        let lacks_slot = pod.traits().is_some_and(|traits| traits.lacks_branch_slot);
        let is_plain = *pod.branch() == BranchUse::No && !lacks_slot;
        if is_plain && matcher.is_known_free(pod) {
            continue;
        }
        let policies = matcher.selected(pod);
        if is_plain && policies.as_ref().is_some_and(|selected| selected.is_empty()) {
            continue;
        }
        let node = pod.node();
        found.push(GroupedPod {
            pod,
            node: node.and_then(|node| managed.get(node)).copied(),
            platform: node.and_then(|node| platforms.get(node)).copied(),
            policies,
        });
    }
    found.sort_by(|a, b| (&a.pod.namespace(), &a.pod.name()).cmp(&(&b.pod.namespace(), &b.pod.name())));
    (found, matcher.unresolved)
}

/// Finds the policies of pods; pods of one template share the answer.
struct Matcher<'a> {
    by_namespace: Option<Map<&'a str, Vec<&'a SecurityGroupPolicy>>>,
    accounts: Option<Map<(&'a str, &'a str), &'a ServiceAccount>>,
    /// By family, which is interned, so that its address stands for it.
    known: Map<usize, Option<Selected<'a>>>,
    nothing: Selected<'a>,
    unresolved: BTreeSet<Source>,
}

impl<'a> Matcher<'a> {
    fn new(snapshot: &'a ClusterSnapshot, policies: Option<&'a [SecurityGroupPolicy]>) -> Self {
        let by_namespace = policies.map(|policies| {
            let mut by_namespace: Map<&str, Vec<&SecurityGroupPolicy>> = Map::default();
            for policy in policies.iter().filter(|policy| has_effect(policy)) {
                by_namespace.entry(&policy.namespace).or_default().push(policy);
            }
            by_namespace
        });
        let accounts =
            snapshot.objects.service_accounts.value().map(|accounts| {
                accounts.iter().map(|account| ((&*account.namespace, &*account.name), account)).collect()
            });
        Self { by_namespace, accounts, known: Map::default(), nothing: Arc::from([]), unresolved: BTreeSet::new() }
    }

    /// Whether a pod of the same template was looked at before, and no policy selects it: so are nearly all pods.
    fn is_known_free(&self, pod: &Pod) -> bool {
        let known = key(pod).and_then(|key| self.known.get(&key));
        known.is_some_and(|known| known.as_ref().is_some_and(|selected| selected.is_empty()))
    }

    /// None while it cannot be told; what would tell is noted. Without any policy known, pods that ask for no branch
    /// are left out rather than kept as undecided: they may be all pods of the cluster.
    fn selected(&mut self, pod: &'a Pod) -> Option<Selected<'a>> {
        let Some(by_namespace) = &self.by_namespace else {
            self.unresolved.insert(Source::SecurityGroupPolicies);
            return (*pod.branch() == BranchUse::No).then(|| Arc::clone(&self.nothing));
        };
        let Some(candidates) = by_namespace.get(pod.namespace()) else {
            if let Some(key) = key(pod) {
                self.known.insert(key, Some(Arc::clone(&self.nothing)));
            }
            return Some(Arc::clone(&self.nothing));
        };
        let everything = |policy: &&SecurityGroupPolicy| {
            policy.service_accounts.is_none() && policy.pods.as_ref().is_some_and(Selector::is_empty)
        };
        let Some(traits) = pod.traits() else {
            if candidates.iter().all(everything) {
                return Some(candidates.as_slice().into());
            }
            self.unresolved.insert(Source::Pods);
            return None;
        };
        if let Some(known) = key(pod).and_then(|key| self.known.get(&key)) {
            return known.clone();
        }
        let answer = self.of_template(candidates, traits, pod.namespace());
        if answer.is_none() {
            self.unresolved.insert(Source::ServiceAccounts);
        }
        if let Some(key) = key(pod) {
            self.known.insert(key, answer.clone());
        }
        answer
    }

    fn of_template(
        &self,
        candidates: &[&'a SecurityGroupPolicy],
        traits: &PodTraits,
        namespace: &str,
    ) -> Option<Selected<'a>> {
        let mut selected = Vec::new();
        for policy in candidates {
            if policy.pods.as_ref().is_some_and(|pods| !pods.matches(&traits.labels)) {
                continue;
            }
            if let Some(selector) = &policy.service_accounts {
                let name = traits.service_account.as_deref().unwrap_or("default");
                let account = self.accounts.as_ref()?.get(&(namespace, name));
                if !account.is_some_and(|account| selector.matches(&account.labels)) {
                    continue;
                }
            }
            selected.push(*policy);
        }
        Some(selected.into())
    }
}

/// A pod's template and namespace.
fn key(pod: &Pod) -> Option<usize> {
    pod.traits().map(|_| Arc::as_ptr(pod.family()).addr())
}

/// Whether the resource controller looks at a policy at all.
pub(crate) fn has_effect(policy: &SecurityGroupPolicy) -> bool {
    (policy.pods.is_some() || policy.service_accounts.is_some()) && !policy.groups.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_whatever_the_sdk_writes() {
        let new = "operation error EC2: CreateNetworkInterface, https response error StatusCode: 403, RequestID: 1-2, \
                   api error UnauthorizedOperation: You are not authorized to perform this operation.";
        assert_eq!(error_code(new), Some("UnauthorizedOperation"));
        let old = "InvalidSecurityGroupID.NotFound: The security groups 'sg-1' do not exist\n\tstatus code: 400";
        assert_eq!(error_code(old), Some("InvalidSecurityGroupID.NotFound"));
        assert_eq!(error_code("The node failed initializing trunk interface"), None);
    }

    #[test]
    fn the_controller_clamps_the_cooldown_and_falls_back() {
        let seconds = |raw| Cooldown::of(raw).seconds;
        assert_eq!([seconds(None), seconds(Some("5")), seconds(Some(" 90 ")), seconds(Some("1m"))], [60, 30, 90, 60]);
    }
}
