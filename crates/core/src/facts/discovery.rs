//! Subnet discovery: the subnets that ipamd tries for a node's next interface, and why it passes over the others.
//!
//! The rules differ by version of the CNI (see [`Regime`]). ipamd looks at the subnets of the VPC in the node's zone,
//! those with most free addresses first. Nodes with one home subnet and one configuration choose alike and share one
//! [`Outlook`]. Nodes under custom networking are not here: their ENIConfig chooses.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Cni, Facts, NodeFacts, eni_config, lookup::Map};
use crate::{
    cni::CniVersion,
    ids::{SubnetId, VpcId, Zone},
    inventory::Subnet,
    snapshot::ClusterSnapshot,
};

/// The tag by which a subnet is offered to the CNI.
pub(crate) const ROLE_TAG: &str = "kubernetes.io/role/cni";
/// Before this version there is no discovery.
const DISCOVERY: CniVersion = CniVersion::new(1, 18, 0);
/// From this version on the tag's value counts.
pub(crate) const VALUES: CniVersion = CniVersion::new(1, 22, 0);
/// From this version on the tags that name clusters have a prefix of their own.
const OWN_PREFIX: CniVersion = CniVersion::new(1, 22, 1);
/// The prefix of tags that name clusters, since then.
pub(crate) const CLUSTER_PREFIX: &str = "cni.networking.k8s.aws/cluster/";
/// Variables without which the choice is not known.
const VARIABLES: [&str; 3] = ["ENABLE_SUBNET_DISCOVERY", "CLUSTER_NAME", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"];

/// How a version and its settings choose among the subnets of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Regime {
    /// Too old: the node's own subnet, always.
    TooOld,
    /// Switched off, before values counted: the node's own subnet, always.
    Off,
    /// Switched off: the node's own subnet, unless it is opted out.
    OffWithOptOut,
    /// The node's own subnet, and every one that has the tag, whatever its value.
    AnyValue,
    /// By the tag's value, and by the tags that name clusters.
    Values,
}

impl Regime {
    fn of(cni: &Cni) -> Self {
        let on = cni.config.subnet_discovery.value_or(true);
        match (cni.version(), cluster_prefix(cni.version())) {
            (version, _) if version < DISCOVERY => Self::TooOld,
            (_, None) if on => Self::AnyValue,
            (_, None) => Self::Off,
            (_, Some(_)) if !on => Self::OffWithOptOut,
            (_, Some(_)) => Self::Values,
        }
    }

    /// Whether other subnets than the node's own are looked at.
    pub(crate) fn discovers(self) -> bool {
        matches!(self, Self::AnyValue | Self::Values)
    }

    /// Why a subnet is passed over; none if it is tried.
    fn excludes(self, cni: &Cni, subnet: &Subnet, is_home: bool) -> Option<Exclusion> {
        let tag = subnet.tag(ROLE_TAG);
        match (self, is_home) {
            (Self::TooOld | Self::Off | Self::AnyValue, true) => None,
            (Self::TooOld, false) => Some(Exclusion::TooOld),
            (Self::OffWithOptOut, true) => (tag == Some("0")).then_some(Exclusion::OptedOut),
            (Self::Off | Self::OffWithOptOut, false) => Some(Exclusion::DiscoveryOff),
            (Self::AnyValue, false) => tag.is_none().then_some(Exclusion::Untagged),
            (Self::Values, false) if tag.is_none() => Some(Exclusion::Untagged),
            (Self::Values, false) if tag == Some("") => Some(Exclusion::EmptyTag),
            (Self::Values, _) => excludes_interfaces(cni, subnet),
        }
    }
}

/// Why a subnet is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exclusion {
    /// The CNI's version knows the node's own subnet only.
    TooOld,
    /// Discovery is switched off.
    DiscoveryOff,
    /// It has no tag.
    Untagged,
    /// Its tag has no value.
    EmptyTag,
    /// Its tag says no.
    OptedOut,
    /// It is tagged for other clusters and not for this one.
    OtherClusters,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld => f.write_str("this version of the CNI uses the node's own subnet only"),
            Self::DiscoveryOff => f.write_str("subnet discovery is off"),
            Self::Untagged => write!(f, "it has no tag {ROLE_TAG}"),
            Self::EmptyTag => write!(f, "its tag {ROLE_TAG} has no value"),
            Self::OptedOut => write!(f, "its tag {ROLE_TAG}=0 opts it out"),
            Self::OtherClusters => f.write_str("its tags name other clusters only"),
        }
    }
}

/// Clusters that a subnet's tags of a prefix name.
pub(crate) fn clusters<'s>(subnet: &'s Subnet, prefix: &str) -> impl Iterator<Item = &'s str> {
    subnet.tags.iter().filter_map(move |(key, _)| key.strip_prefix(prefix))
}

fn is_of_others(subnet: &Subnet, prefix: &str, own: &str) -> bool {
    let mut named = clusters(subnet, prefix).peekable();
    named.peek().is_some() && !named.any(|name| name == own)
}

/// What nodes of one home subnet and one configuration choose from.
#[derive(Debug)]
pub(crate) struct Outlook<'a> {
    /// The subnet of their primary interfaces.
    pub(crate) home: &'a Subnet,
    /// Their CNI.
    pub(crate) cni: Arc<Cni>,
    /// How it chooses.
    pub(crate) regime: Regime,
    /// Subnets in the order in which they are tried.
    pub(crate) tried: Vec<&'a Subnet>,
    /// The others of the zone, those with most free addresses first.
    pub(crate) excluded: Vec<(&'a Subnet, Exclusion)>,
    nodes: Vec<usize>,
}

impl<'a> Outlook<'a> {
    fn of(home: &'a Subnet, cni: &Arc<Cni>, zone: &[&'a Subnet]) -> Self {
        let regime = Regime::of(cni);
        let (mut tried, mut excluded) = (Vec::new(), Vec::new());
        for &subnet in zone {
            match regime.excludes(cni, subnet, subnet.id == home.id) {
                None => tried.push(subnet),
                Some(why) => excluded.push((subnet, why)),
            }
        }
        Self { home, cni: Arc::clone(cni), regime, tried, excluded, nodes: Vec::new() }
    }

    /// The nodes, in the nodes' order.
    pub(crate) fn nodes<'f>(&'f self, facts: &'f Facts<'a>) -> impl Iterator<Item = &'f NodeFacts<'a>> {
        self.nodes.iter().filter_map(|&at| facts.nodes.get(at))
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// The prefix of the tags that name clusters, if its version heeds them.
    pub(crate) fn cluster_prefix(&self) -> Option<&'static str> {
        cluster_prefix(self.cni.version())
    }

    /// All subnets of the VPC in the zone.
    pub(crate) fn zone(&self) -> impl Iterator<Item = &'a Subnet> {
        self.tried.iter().copied().chain(self.excluded.iter().map(|(subnet, _)| *subnet))
    }

    /// The cluster's name, by which tags of subnets are compared.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.cni.config.cluster_name.as_deref()
    }
}

/// Why interfaces in a subnet serve no pods; none if they do. An excluded interface keeps its slot. Versions that heed
/// the tag's value look at it for each interface, also where discovery is off or an ENIConfig chose the subnet.
pub(crate) fn excludes_interfaces(cni: &Cni, subnet: &Subnet) -> Option<Exclusion> {
    let cluster_prefix = cluster_prefix(cni.version())?;
    match subnet.tag(ROLE_TAG)? {
        "0" => Some(Exclusion::OptedOut),
        "" => None,
        _ => {
            let others =
                cni.config.cluster_name.as_deref().is_some_and(|own| is_of_others(subnet, cluster_prefix, own));
            others.then_some(Exclusion::OtherClusters)
        }
    }
}

/// Whether a subnet's tags offer it to the nodes of a CNI as its newest version reads them: by a value, and not for other
/// clusters only.
pub(crate) fn is_offered(cni: &Cni, subnet: &Subnet) -> bool {
    let by_value = subnet.tag(ROLE_TAG).is_some_and(|value| !value.is_empty() && value != "0");
    let others = |own: &str| is_of_others(subnet, CLUSTER_PREFIX, own);
    by_value && !cni.config.cluster_name.as_deref().is_some_and(others)
}

/// The prefix of tags that name clusters; none for versions that do not heed them.
fn cluster_prefix(version: CniVersion) -> Option<&'static str> {
    match version {
        version if version < VALUES => None,
        version if version < OWN_PREFIX => Some("kubernetes.io/cluster/"),
        _ => Some(CLUSTER_PREFIX),
    }
}

/// What every node chooses from.
#[derive(Debug)]
pub(crate) struct Discovery<'a> {
    outlooks: Vec<Outlook<'a>>,
    of_node: Vec<Option<usize>>,
    unknown: bool,
}

impl<'a> Discovery<'a> {
    /// From the snapshot and its nodes; nothing while subnets or interfaces are missing.
    pub(super) fn of(snapshot: &'a ClusterSnapshot, nodes: &[NodeFacts<'a>]) -> Self {
        let subnets = snapshot.ec2.subnets.value().map_or(&[][..], Vec::as_slice);
        let by_id: Map<&SubnetId, &Subnet> = subnets.iter().map(|subnet| (&subnet.id, subnet)).collect();
        let zones = by_zone(subnets);
        let mut known: Map<(&SubnetId, usize), usize> = Map::default();
        let (mut outlooks, mut of_node) = (Vec::new(), vec![None; nodes.len()]);
        for (at, node) in nodes.iter().enumerate() {
            let (Some(cni), Some(home)) = (&node.cni, node.home().and_then(|id| by_id.get(id))) else { continue };
            if !chooses(cni) || node.node.state.deleted_at.is_some() {
                continue;
            }
            let kind = *known.entry((&home.id, Arc::as_ptr(cni).addr())).or_insert_with(|| {
                let zone = zones.get(&(&home.vpc, &home.zone)).map_or(&[][..], Vec::as_slice);
                outlooks.push(Outlook::of(home, cni, zone));
                outlooks.len() - 1
            });
            if let (Some(outlook), Some(slot)) = (outlooks.get_mut(kind), of_node.get_mut(at)) {
                outlook.nodes.push(at);
                *slot = Some(kind);
            }
        }
        let unknown = nodes.iter().filter_map(|node| node.cni.as_ref()).any(|cni| !knows_choice(cni));
        Self { outlooks, of_node, unknown }
    }

    /// Each kind of node's, in the order of their first nodes.
    pub(crate) fn outlooks(&self) -> &[Outlook<'a>] {
        &self.outlooks
    }

    /// Whether some node's settings of discovery could not be read.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// The index of the outlook of the node of an index.
    pub(super) fn kind_of(&self, at: usize) -> Option<usize> {
        *self.of_node.get(at)?
    }
}

fn knows_choice(cni: &Cni) -> bool {
    !cni.lacks(&VARIABLES)
}

fn chooses(cni: &Cni) -> bool {
    eni_config::makes_interfaces(cni) && knows_choice(cni) && !cni.config.custom_networking.value_or(false)
}

/// The subnets of each zone of each VPC, those with most free addresses first.
fn by_zone(subnets: &[Subnet]) -> BTreeMap<(&VpcId, &Zone), Vec<&Subnet>> {
    let mut zones: BTreeMap<_, Vec<&Subnet>> = BTreeMap::new();
    for subnet in subnets {
        zones.entry((&subnet.vpc, &subnet.zone)).or_default().push(subnet);
    }
    for zone in zones.values_mut() {
        zone.sort_by_key(|subnet| std::cmp::Reverse(subnet.available));
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::Memory,
        policy::AuditPolicy,
        tests::custom_networking::{DISCOVERY, audit, custom, discovering, home, named, set, subnet},
    };

    const OTHERS: (&str, &str) = ("cni.networking.k8s.aws/cluster/other", "");
    const OWN: (&str, &str) = ("cni.networking.k8s.aws/cluster/shop", "");
    const LEGACY: (&str, &str) = ("kubernetes.io/cluster/other", "shared");

    /// The subnets of the zone that a version tries, without the common prefix of their names.
    fn tried(version: &str, env: &[(&str, &str)], role_of_home: Option<&str>) -> Vec<String> {
        let role = |value| (ROLE_TAG, value);
        let zone = "eu-central-1a";
        let mut snapshot = discovering(
            version,
            env,
            [
                subnet("subnet-other-zone", "eu-central-1b", 9000, &[role("1")]),
                subnet("subnet-untagged", zone, 8000, &[]),
                subnet("subnet-empty", zone, 7000, &[role("")]),
                subnet("subnet-zero", zone, 6000, &[role("0")]),
                subnet("subnet-others", zone, 5500, &[role("1"), OTHERS]),
                subnet("subnet-legacy", zone, 5200, &[role("1"), LEGACY]),
                subnet("subnet-own", zone, 5000, &[role("1"), OWN, OTHERS]),
                subnet("subnet-one", zone, 10, &[role("1")]),
            ],
        );
        home(&mut snapshot).tags = role_of_home.map(|value| named(ROLE_TAG, value)).unwrap_or_default();
        let (policy, memory) = (AuditPolicy::default(), Memory::default());
        let facts = Facts::of(&snapshot, &policy, &memory);
        let names = facts.discovery.outlooks()[0].tried.iter();
        names.map(|subnet| subnet.id.as_str().trim_start_matches("subnet-").to_owned()).collect()
    }

    #[test]
    fn each_version_chooses_by_its_own_rules_and_the_roomiest_first() {
        assert_eq!(tried("1.17.1", DISCOVERY, None), ["1"]);
        let any_value = ["empty", "zero", "others", "legacy", "own", "1", "one"];
        assert_eq!(tried("1.18.0", DISCOVERY, None), any_value);
        assert_eq!(tried("1.21.1", DISCOVERY, Some("0")), any_value, "its own subnet always");
        assert_eq!(tried("1.22.0", DISCOVERY, None), ["others", "own", "1", "one"], "by the older prefix");
        assert_eq!(tried("1.22.1", DISCOVERY, None), ["legacy", "own", "1", "one"]);
        assert_eq!(tried("1.23.1", DISCOVERY, Some("0")), ["legacy", "own", "one"]);
        assert_eq!(tried("1.23.1", DISCOVERY, Some("")), ["legacy", "own", "1", "one"]);
    }

    #[test]
    fn without_discovery_only_the_own_subnet_is_tried_unless_it_is_opted_out() {
        let off = &[("CLUSTER_NAME", "shop"), ("ENABLE_SUBNET_DISCOVERY", "false"), ("ENABLE_IPv4", "true")];
        assert_eq!(tried("1.21.1", off, Some("0")), ["1"]);
        assert_eq!(tried("1.23.1", off, Some("1")), ["1"]);
        assert_eq!(tried("1.23.1", off, Some("0")), Vec::<String>::new());
    }

    #[test]
    fn without_a_name_tags_of_clusters_do_not_count() {
        let nameless = &[("CLUSTER_NAME", ""), ("ENABLE_IPv4", "true")];
        assert_eq!(tried("1.23.1", nameless, None), ["others", "legacy", "own", "1", "one"]);
    }

    #[test]
    fn a_report_names_what_is_tried_and_why_the_rest_is_not() {
        let others = [
            subnet("subnet-2", "eu-central-1a", 9000, &[(ROLE_TAG, "1")]),
            subnet("subnet-3", "eu-central-1a", 10, &[]),
        ];
        let mut snapshot = discovering("1.23.1", DISCOVERY, others);
        let told = |snapshot: &ClusterSnapshot| {
            let choices = audit(snapshot).nodes[0].next_subnets.clone();
            choices
                .iter()
                .map(|choice| format!("{} {} {}", choice.subnet, choice.chosen, choice.why))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(&snapshot),
            [
                "subnet-2 true tagged kubernetes.io/role/cni, 9,000 free: the most",
                "subnet-1 false the node's own subnet, 4,071 free: tried if those before it fail",
                "subnet-3 false it has no tag kubernetes.io/role/cni; 10 free",
            ]
        );
        set(&mut snapshot, "DISABLE_NETWORK_RESOURCE_PROVISIONING", "true");
        assert_eq!(told(&snapshot), Vec::<String>::new(), "no interface is ever made");
        assert_eq!(
            told(&custom(1, |_| {})),
            ["subnet-pods true ENIConfig eu-central-1a by label topology.kubernetes.io/zone"]
        );
    }
}
