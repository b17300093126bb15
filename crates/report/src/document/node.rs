//! A node of the document.

use ipam_audit_core::outcome::{BranchSlots, CniSeen, InterfaceOutcome, NodeAddresses, NodeOutcome};
use schemars::JsonSchema;
use serde::Serialize;

use super::parts::ConditionDocument;

/// A node that the VPC CNI manages.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeDocument {
    /// Its name.
    pub name: String,
    /// Its node group or node pool.
    pub node_group: Option<String>,
    /// Its instance type.
    pub instance_type: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// The subnet of its primary interface.
    pub subnet: Option<String>,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// kubelet's limit of pods.
    pub max_pods: Option<u32>,
    /// Pods that it admits, against addresses that it can give them.
    pub capacity: Option<CapacityDocument>,
    /// Interfaces on its default network card.
    pub interfaces: InterfacesDocument,
    /// Its addresses by class: `held = used + idle`, `idle = finished + warm + cooling + stranded`.
    pub addresses: Option<AddressesDocument>,
    /// The same for each of its interfaces.
    pub by_interface: Vec<InterfaceDocument>,
    /// Pods that have, or want, an address of its pool.
    pub pool_pods: Option<u32>,
    /// Pods that wait for one.
    pub waiting_pods: Option<u32>,
    /// Its trunk; `null` without one.
    pub trunk: Option<TrunkDocument>,
    /// The CNI's configuration in force on it.
    pub cni: Option<CniDocument>,
    /// Which subnets its next interface could be made in, the first choice first, and why each other one is not.
    pub next_subnets: Vec<SubnetChoiceDocument>,
    /// Its conditions.
    pub conditions: Vec<ConditionDocument>,
    /// Codes of the findings in its report, the worst first.
    pub findings: Vec<String>,
}

/// Pods that a node admits, against addresses that it can give them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityDocument {
    /// Pods that can have an address at all, whatever the CNI's targets are.
    pub addresses: u32,
    /// Pods in need of one that max-pods admits.
    pub schedulable: u32,
    /// Pods that could be placed and never have one.
    pub unreachable: u32,
}

/// How many interfaces a node has.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfacesDocument {
    /// Attached.
    pub attached: Option<u32>,
    /// What its type allows.
    pub limit: Option<u32>,
}

/// One interface of a node.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceDocument {
    /// Its id.
    pub id: String,
    /// Its subnet.
    pub subnet: String,
    /// Whether the CNI gives pods addresses of it; not so a trunk, an unmanaged or an excluded one.
    pub serves_pods: bool,
    /// Its addresses by class.
    pub addresses: AddressesDocument,
}

/// The addresses of a node, or of one of its interfaces, by class.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressesDocument {
    /// For pods, on interfaces that ipamd manages.
    pub held: u32,
    /// That a pod has.
    pub used: u32,
    /// That no pod has.
    pub idle: u32,
    /// The interfaces' own.
    pub own: u32,
    /// /28 prefixes among the held.
    pub prefixes: u32,
    /// Idle: of finished pods.
    pub finished: u32,
    /// Idle: ready for a pod.
    pub warm: u32,
    /// Idle: given back a moment ago.
    pub cooling: u32,
    /// Idle: of no use in the CNI's present mode.
    pub stranded: u32,
}

/// A trunk and what speaks of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrunkDocument {
    /// Branches in use.
    pub used: u32,
    /// Branches that it carries.
    pub limit: Option<u32>,
    /// Whether the node's aws-node pod is told to use one.
    pub intended: Option<bool>,
    /// Whether the CNINode asks for one.
    pub requested: Option<bool>,
    /// Whether the node publishes branch slots.
    pub resource: Option<bool>,
    /// The trunk interface in EC2.
    pub interface: Option<String>,
}

/// The CNI on a node.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CniDocument {
    /// Its version.
    pub version: String,
    /// What sizes its pool: `eni-target`, `ip-target`, …
    pub mode: String,
    /// The targets in force.
    pub targets: String,
}

/// A subnet that an interface could be made in.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetChoiceDocument {
    /// Its id.
    pub subnet: String,
    /// Whether ipamd would choose it.
    pub chosen: bool,
    /// Why, or why not.
    pub why: String,
}

impl NodeDocument {
    pub(super) fn of(node: &NodeOutcome) -> Self {
        let text = |text: Option<&dyn ToString>| text.map(ToString::to_string);
        Self {
            name: node.name.to_string(),
            node_group: text(node.node_group.as_ref().map(|name| name as &dyn ToString)),
            instance_type: text(node.instance_type.as_ref().map(|name| name as &dyn ToString)),
            zone: text(node.zone.as_ref().map(|name| name as &dyn ToString)),
            subnet: text(node.subnet.as_ref().map(|name| name as &dyn ToString)),
            cordoned: node.cordoned,
            max_pods: node.max_pods,
            capacity: node.capacity.as_ref().map(|capacity| CapacityDocument {
                addresses: capacity.addresses,
                schedulable: capacity.schedulable,
                unreachable: capacity.unreachable,
            }),
            interfaces: InterfacesDocument { attached: node.interfaces, limit: node.interface_limit },
            addresses: node.addresses.as_ref().map(addresses),
            by_interface: node.by_interface.iter().map(interface).collect(),
            pool_pods: node.pool_pods,
            waiting_pods: node.waiting_pods,
            trunk: node.branches.as_deref().map(trunk),
            cni: node.cni.as_deref().map(cni),
            next_subnets: node
                .next_subnets
                .iter()
                .map(|choice| SubnetChoiceDocument {
                    subnet: choice.subnet.to_string(),
                    chosen: choice.chosen,
                    why: choice.why.clone(),
                })
                .collect(),
            conditions: node.conditions.iter().map(ConditionDocument::of).collect(),
            findings: node.findings.iter().map(|finding| finding.code.to_owned()).collect(),
        }
    }
}

fn interface(interface: &InterfaceOutcome) -> InterfaceDocument {
    InterfaceDocument {
        id: interface.id.to_string(),
        subnet: interface.subnet.to_string(),
        serves_pods: interface.serves_pods,
        addresses: addresses(&interface.addresses),
    }
}

fn addresses(addresses: &NodeAddresses) -> AddressesDocument {
    let NodeAddresses { held, used, idle, own, prefixes, finished, warm, cooling, stranded } = *addresses;
    AddressesDocument { held, used, idle, own, prefixes, finished, warm, cooling, stranded }
}

fn trunk(slots: &BranchSlots) -> TrunkDocument {
    let chain = slots.chain.as_ref();
    TrunkDocument {
        used: slots.used,
        limit: slots.limit,
        intended: chain.and_then(|chain| chain.intended),
        requested: chain.and_then(|chain| chain.requested),
        resource: chain.and_then(|chain| chain.resource),
        interface: chain.and_then(|chain| chain.interface.as_ref()).map(ToString::to_string),
    }
}

fn cni(seen: &CniSeen) -> CniDocument {
    CniDocument { version: seen.version.clone(), mode: seen.mode.to_owned(), targets: seen.targets.clone() }
}
