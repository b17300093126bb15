//! Rules about Windows nodes: codes 8xx.
//!
//! The VPC resource controller, not ipamd, gives their pods addresses, by the ConfigMap `kube-system/amazon-vpc-cni`. The
//! nodes have no report of their own: what is found is in the audit's.

mod address_capacity;
mod ipam_off;
mod prefixes_scarce;
mod warm_keys;

use std::sync::Arc;

use jiff::SignedDuration;

use super::{Rule, Violations};
use crate::{
    facts::Facts,
    finding::{Home, Subject},
    rules::sink::Place,
    snapshot::{ConfigMap, Event, Node, Platform, Workload},
    source::Source,
};

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &ipam_off::WindowsIpamOff,
    &address_capacity::WindowsAddressCapacity,
    &warm_keys::WindowsWarmKeys,
    &prefixes_scarce::WindowsPrefixesScarce,
];

/// The ConfigMap, as people name it.
const CONFIG_MAP: &str = "kube-system/amazon-vpc-cni";
/// Events are kept for about an hour.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

fn nodes<'a>(facts: &Facts<'a>) -> Vec<&'a Node> {
    let all = facts.snapshot.nodes.value().into_iter().flatten().map(Arc::as_ref);
    all.filter(|node| node.platform == Platform::Windows).collect()
}

fn place(node: &Node) -> Place {
    let group = node.node_group.clone().unwrap_or_else(|| Arc::from(node.name.as_str()));
    Place { subject: Subject::Node(node.name.clone()), home: Home::Audit, group }
}

/// What the ConfigMap says.
struct Settings<'a>(Option<&'a ConfigMap>);

impl<'a> Settings<'a> {
    /// None, and the rule says so, while ConfigMaps are missing. An absent ConfigMap says nothing at all.
    fn of(facts: &Facts<'a>, found: &mut Violations<'_>) -> Option<Self> {
        let Some(all) = facts.snapshot.objects.config_maps.value() else {
            found.lacks(Source::ConfigMaps);
            return None;
        };
        Some(Self(all.iter().find(|map| &*map.name == "amazon-vpc-cni")))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0?.get(key)
    }

    /// The controller reads switches as Go does.
    fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|text| matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    fn manages_addresses(&self) -> bool {
        self.is_on("enable-windows-ipam")
    }

    fn uses_prefixes(&self) -> bool {
        self.is_on("enable-windows-prefix-delegation")
    }
}

/// The controller of old times, which runs in the cluster and makes that of EKS step back. None if there is none, or if
/// Deployments are missing, which the rule then says.
fn old_controller<'a>(facts: &Facts<'a>, found: &mut Violations<'_>) -> Option<&'a Workload> {
    let Some(all) = facts.snapshot.objects.deployments.value() else {
        found.lacks(Source::Deployments);
        return None;
    };
    all.iter().find(|one| one.is_resource_controller())
}

/// The newest event of the last hour about a node with one of some reasons.
fn recent_event<'a>(facts: &Facts<'a>, node: &Node, reasons: &[&str]) -> Option<&'a Event> {
    let now = facts.snapshot.taken_at;
    let about = |event: &&Event| {
        let recent = event.last_at.is_some_and(|at| now.duration_since(at) <= RECENT);
        recent && &*event.kind == "Node" && *event.name == *node.name.as_str() && reasons.contains(&&*event.reason)
    };
    facts.snapshot.objects.events.value()?.iter().filter(about).max_by_key(|event| event.last_at)
}
