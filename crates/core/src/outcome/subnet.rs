//! What an audit says of one subnet.

use serde::Serialize;

use super::Condition;
use crate::{
    finding::Finding,
    ids::{SubnetId, Zone},
};

/// One subnet. Its size is `free` plus all that its ledger names, when all is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetOutcome {
    /// Its id.
    pub id: SubnetId,
    /// Its zone.
    pub zone: Zone,
    /// Its range as text.
    pub cidr: Option<String>,
    /// Nodes whose primary interface is in it.
    pub nodes: u32,
    /// Its size less AWS' five.
    pub usable: Option<u32>,
    /// What EC2 counts as free.
    pub free: u32,
    /// Whole free /28 blocks, as far as occupants are visible: an upper bound.
    pub free_prefixes: Option<u32>,
    /// The lower bound, as if each invisible occupant broke a block of its own; none while reservations are missing.
    pub free_prefixes_min: Option<u32>,
    /// The largest aligned range that is free, by the length of its prefix; none where no whole block is.
    pub largest_free: Option<u8>,
    /// Broken blocks in a hundred of those that are no prefix and could be one; none where there is none.
    pub fragmentation_percent: Option<u32>,
    /// The blocks in order, run by run, for example `1R 14F 1R`: R reserved by AWS, P prefix, F free, f fragmented, U
    /// used by 16 single addresses, X explicitly reserved, p free and reserved for prefixes. What does not fit into
    /// 2 kB is counted at the end: `+1200`. None for a range smaller than a block.
    pub block_map: Option<String>,
    /// Why it is in the audit: `node-home`, `pods`, `eni-config`, `control-plane`, `discovery`.
    pub roles: Vec<&'static str>,
    /// What is asked of it next.
    pub needs: Vec<Need>,
    /// Where the rest went; none without the interfaces.
    pub ledger: Option<SubnetLedger>,
    /// Who the others of the ledger are, with their addresses; sorted, the sum is `other`.
    pub others: Vec<(OtherOwner, u32)>,
    /// What a new node of the commonest type here takes at its start.
    pub new_node_takes: Option<u32>,
    /// When it runs out: `now`, or none while not known.
    pub runway: Option<&'static str>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its findings, the worst first.
    pub findings: Vec<Finding>,
}

/// What is asked of a subnet next, all or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// `next node`, `next interface`, `next prefix`, `surge` (of a rolling upgrade), `control plane`.
    pub what: &'static str,
    /// Addresses, those of whole blocks included.
    pub addresses: u32,
    /// Whole /28 blocks among them.
    pub blocks: u32,
    /// Whether the subnet has them, as far as is visible.
    pub met: bool,
}

/// Where a subnet's addresses went.
///
/// The size of the subnet is `free` plus the sum of all fields, `unaccounted` included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SubnetLedger {
    /// What AWS keeps for itself: the first four and the last.
    pub reserved: u32,
    /// Nodes' interfaces' own addresses, trunks included.
    pub own: u32,
    /// Addresses that pods have.
    pub pods: u32,
    /// Addresses on nodes whose only claimant is a pod that has finished.
    pub finished: u32,
    /// Addresses on nodes that the next pod can get.
    pub warm: u32,
    /// Addresses on nodes that were freed so short a time ago that the CNI does not give them away yet.
    pub cooling: u32,
    /// Addresses on nodes that no pod can get in the CNI's present mode.
    pub stranded: u32,
    /// Branch interfaces.
    pub branches: u32,
    /// Interfaces of the CNI or the resource controller that are attached to nothing.
    pub leaked: u32,
    /// Everybody else: load balancers, NAT gateways, endpoints, other instances.
    pub other: u32,
    /// Untaken addresses of reserved ranges, as far as EC2 does not count them as free.
    pub reserved_ranges: u32,
    /// What EC2's count and its interfaces do not agree on; 0 when all is visible, negative while reads overlap.
    pub unaccounted: i64,
}

impl SubnetLedger {
    /// Addresses that nodes hold and no pod has.
    pub fn idle(&self) -> u32 {
        self.finished + self.warm + self.cooling + self.stranded
    }

    /// Addresses that visible interfaces have.
    pub fn seen(&self) -> u32 {
        self.own + self.pods + self.idle() + self.branches + self.leaked + self.other
    }
}

/// Who has addresses in a subnet without being the VPC CNI of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherOwner {
    /// A load balancer of any kind.
    LoadBalancer,
    /// A NAT gateway.
    NatGateway,
    /// An endpoint of a service.
    Endpoint,
    /// A function.
    Function,
    /// A database or a cache.
    Database,
    /// A mount target of a file system.
    FileSystem,
    /// A transit gateway's attachment.
    TransitGateway,
    /// The control plane of a cluster.
    ControlPlane,
    /// A task of a container service.
    ContainerTask,
    /// An instance that is no node of this cluster.
    OtherInstance,
    /// The CNI of another cluster.
    OtherCluster,
    /// EKS Auto Mode.
    AutoMode,
    /// A node of this cluster whose addresses the VPC CNI does not manage.
    LeftAloneNode,
    /// Any other service of AWS.
    Service,
    /// Nothing says who.
    Unknown,
}

impl OtherOwner {
    /// Every one, in the order they are reported.
    pub const ALL: [Self; 15] = [
        Self::LoadBalancer,
        Self::NatGateway,
        Self::Endpoint,
        Self::Function,
        Self::Database,
        Self::FileSystem,
        Self::TransitGateway,
        Self::ControlPlane,
        Self::ContainerTask,
        Self::OtherInstance,
        Self::OtherCluster,
        Self::AutoMode,
        Self::LeftAloneNode,
        Self::Service,
        Self::Unknown,
    ];

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load-balancer",
            Self::NatGateway => "nat-gateway",
            Self::Endpoint => "endpoint",
            Self::Function => "function",
            Self::Database => "database",
            Self::FileSystem => "file-system",
            Self::TransitGateway => "transit-gateway",
            Self::ControlPlane => "control-plane",
            Self::ContainerTask => "container-task",
            Self::OtherInstance => "other-instance",
            Self::OtherCluster => "other-cluster",
            Self::AutoMode => "auto-mode",
            Self::LeftAloneNode => "left-alone-node",
            Self::Service => "service",
            Self::Unknown => "unknown",
        }
    }
}
