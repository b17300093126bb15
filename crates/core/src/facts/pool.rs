//! The addresses of one node, booked one by one against its pods.

use std::{collections::BTreeSet, net::Ipv4Addr};

use jiff::{SignedDuration, Timestamp};

use super::{
    Cni, NodeFacts,
    ledger::{Claim, PoolInterface, Uses},
    owner,
};
use crate::{
    cni::{CniConfig, CniVersion, Setting},
    ids::SubnetId,
    inventory::{Attachment, Interface, InterfaceKind},
    limits::Limits,
    snapshot::{BranchUse, Pod, PodPhase},
};

/// Seconds that a freed address is kept back where `IP_COOLDOWN_PERIOD` is not set.
const COOL_DOWN: i64 = 30;
/// The first version that leaves interfaces in excluded subnets alone.
const KNOWS_EXCLUSION: CniVersion = CniVersion::new(1, 22, 0);

/// A node's addresses. `held = used + idle` and `idle = finished + warm + cooling + stranded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool<'a> {
    /// Addresses on its interfaces that are not the interfaces' own.
    pub held: u32,
    /// Those that a pod has.
    pub used: u32,
    /// Those that no pod has.
    pub idle: u32,
    /// Own (primary) addresses of all attached interfaces.
    pub own: u32,
    /// /28 prefixes among the held.
    pub prefixes: u32,
    /// Those whose only claimant is a pod that has finished.
    pub finished: u32,
    /// Those that the next pod can get.
    pub warm: u32,
    /// Those that were freed so short a time ago that the CNI does not give them away yet.
    pub cooling: u32,
    /// Those that no pod can get in the CNI's present mode.
    pub stranded: u32,
    /// Pods whose address is on none of the node's interfaces.
    pub strays: Vec<&'a Pod>,
    /// The interfaces of the default card that serve pods: those that the CNI gives addresses of.
    pub interfaces: Vec<PoolInterface<'a>>,
    /// All others: trunks, unmanaged and excluded ones, those of other cards.
    pub apart: Vec<PoolInterface<'a>>,
}

/// What the whole cluster adds to the view of a node.
pub(super) struct Surroundings<'a> {
    /// Subnets from which the CNI takes no pod addresses.
    pub(super) excluded: BTreeSet<&'a SubnetId>,
    /// The moment of the snapshot.
    pub(super) now: Timestamp,
}

impl<'a> Pool<'a> {
    /// None while the node's interfaces are not known.
    pub(super) fn of(node: &NodeFacts<'a>, pods: &[&'a Pod], around: &Surroundings<'_>) -> Option<Self> {
        let instance = node.node.instance.as_ref()?;
        let manner = Manner::of(node);
        let on_default_card = node.interfaces.as_ref()?.iter().copied();
        let (mut serving, mut apart) = (Vec::new(), Vec::new());
        for interface in on_default_card {
            let excluded = manner.knows_exclusion() && around.excluded.contains(&interface.subnet);
            let serves = interface.kind != InterfaceKind::Trunk
                && !excluded
                && !owner::is_unmanaged(interface, instance, manner.manages_untagged());
            if serves {
                serving.push(manner.serving(interface));
            } else {
                apart.push(PoolInterface::new(interface, false, false));
            }
        }
        let on_cards = manner.is_on(|config| &config.multi_nic);
        let other_cards = node.other_cards.iter().copied();
        apart.extend(other_cards.map(|interface| PoolInterface::new(interface, on_cards, on_cards)));
        let strays = book(&mut serving, &mut apart, pods, around.now, manner.cool_down());
        Some(Self::sum(serving, apart, strays))
    }

    fn sum(interfaces: Vec<PoolInterface<'a>>, apart: Vec<PoolInterface<'a>>, strays: Vec<&'a Pod>) -> Self {
        let mut all = Uses::default();
        let mut prefixes = 0;
        for on in interfaces.iter().chain(&apart) {
            all += on.uses();
            prefixes += u32::try_from(on.interface.prefixes.len()).unwrap_or(u32::MAX);
        }
        let Uses { own, pods, finished, warm, cooling, stranded } = all;
        let (held, idle) = (all.held(), all.idle());
        Self { held, used: pods, idle, own, prefixes, finished, warm, cooling, stranded, strays, interfaces, apart }
    }

    /// Every interface and where its addresses went.
    pub fn all(&self) -> impl Iterator<Item = &PoolInterface<'a>> {
        self.interfaces.iter().chain(&self.apart)
    }

    /// Addresses for pods of the interfaces that serve pods: what the CNI's settings decide about.
    pub fn managed(&self) -> u32 {
        self.interfaces.iter().map(|on| on.interface.pod_addresses()).sum()
    }

    /// Idle addresses that pods can have, at once or within seconds.
    pub fn spare(&self) -> u32 {
        self.idle - self.stranded
    }
}

/// How the CNI on a node treats what it holds; by its defaults where it is not seen.
#[derive(Debug, Clone, Copy)]
struct Manner<'a> {
    cni: Option<&'a Cni>,
    /// Whether pods get addresses out of prefixes; none where that is not known.
    prefixes: Option<bool>,
}

impl<'a> Manner<'a> {
    fn of(node: &'a NodeFacts<'_>) -> Self {
        let cni = node.cni.as_deref();
        let known = cni.filter(|cni| !cni.lacks(&["ENABLE_PREFIX_DELEGATION"]));
        let limits = node.limits.as_ref().and_then(Limits::interfaces);
        let prefixes =
            known.zip(limits).map(|(cni, limits)| cni.config.uses_prefixes(cni.version(), limits.hypervisor));
        Self { cni, prefixes }
    }

    fn is_on(self, setting: impl FnOnce(&CniConfig) -> &Setting<bool>) -> bool {
        self.cni.is_some_and(|cni| setting(&cni.config).value_or(false))
    }

    fn manages_untagged(self) -> bool {
        self.cni.is_none_or(Cni::manages_untagged)
    }

    fn knows_exclusion(self) -> bool {
        self.cni.is_some_and(|cni| cni.version() >= KNOWS_EXCLUSION)
    }

    fn cool_down(self) -> SignedDuration {
        SignedDuration::from_secs(self.cni.map_or(COOL_DOWN, |cni| cni.config.ip_cooldown.value_or(COOL_DOWN)))
    }

    /// In either mode the CNI gives pods nothing of the other kind; under custom networking it does not see prefixes of
    /// the primary interface.
    fn serving(self, interface: &Interface) -> PoolInterface<'_> {
        let primary = interface.attachment.as_ref().is_some_and(Attachment::is_primary);
        let ignored = primary && self.is_on(|config| &config.custom_networking);
        PoolInterface::new(interface, !self.prefixes.unwrap_or(false), self.prefixes.unwrap_or(true) && !ignored)
    }
}

/// Books every claim once, and returns the pods whose address is on none of the interfaces.
fn book<'a>(
    serving: &mut [PoolInterface<'a>],
    apart: &mut [PoolInterface<'a>],
    pods: &[&'a Pod],
    now: Timestamp,
    cool_down: SignedDuration,
) -> Vec<&'a Pod> {
    let claim = |pod: &&'a Pod| -> Option<(Ipv4Addr, Claim, &'a Pod)> {
        let address = pod.address?;
        let claim = match pod.phase {
            _ if pod.uses_pool() => Claim::Live,
            PodPhase::Finished if !pod.host_network() && *pod.branch() == BranchUse::No => {
                let cools = pod.finished_at().is_some_and(|at| now.duration_since(at) < cool_down);
                if cools { Claim::Cooling } else { Claim::Finished }
            }
            _ => return None,
        };
        Some((address, claim, *pod))
    };
    let mut claims: Vec<_> = Vec::with_capacity(pods.len());
    claims.extend(pods.iter().filter_map(claim));
    claims.sort_by_key(|(address, claim, _)| (*address, *claim));
    let (mut strays, mut booked) = (Vec::new(), None);
    for (address, claim, pod) in claims {
        let is_first = booked != Some(address);
        booked = Some(address);
        let found = !is_first || serving.iter_mut().chain(&mut *apart).any(|on| on.book(address, claim));
        if !found && claim == Claim::Live {
            strays.push(pod);
        }
    }
    strays
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        outcome::NodeAddresses,
        snapshot::PodPhase,
        tests::{
            addresses::{cluster, interfaces, once, pod_mut, with_env},
            fixtures::{Cluster, interface, now},
        },
    };

    /// Node 0 of the fixtures: six addresses for pods, three pods.
    fn addresses(snapshot: &crate::snapshot::ClusterSnapshot) -> NodeAddresses {
        once(snapshot).nodes[0].addresses.unwrap()
    }

    fn finished(cool_down: Option<&str>, ago: i64) -> NodeAddresses {
        let env: Vec<_> = cool_down.map(|seconds| ("IP_COOLDOWN_PERIOD", seconds)).into_iter().collect();
        let mut snapshot = with_env(&env);
        let mut pod = pod_mut(&mut snapshot, "resizer-0-1");
        pod.phase = PodPhase::Finished;
        pod.finished_at = Some(now() - SignedDuration::from_secs(ago));
        drop(pod);
        addresses(&snapshot)
    }

    #[test]
    fn a_finished_pods_address_cools_down_and_is_then_free_though_it_still_names_it() {
        for (cool_down, ago, (cooling, finished_only)) in
            [(None, 29, (1, 0)), (None, 30, (0, 1)), (Some("120"), 100, (1, 0)), (Some("0"), 0, (0, 1))]
        {
            let seen = finished(cool_down, ago);
            assert_eq!((seen.used, seen.cooling, seen.finished, seen.warm), (2, cooling, finished_only, 3), "{ago}");
        }
    }

    #[test]
    fn an_address_has_one_class_whoever_claims_it() {
        let mut snapshot = cluster();
        let address = pod_mut(&mut snapshot, "resizer-0-0").address;
        // Another pod that runs, and one that has finished, name it, too.
        pod_mut(&mut snapshot, "resizer-0-1").address = address;
        let mut third = pod_mut(&mut snapshot, "resizer-0-2");
        (third.address, third.phase) = (address, PodPhase::Finished);
        drop(third);
        let seen = addresses(&snapshot);
        assert_eq!((seen.held, seen.used, seen.finished, seen.warm), (6, 1, 0, 5));
    }

    #[test]
    fn what_the_cni_leaves_alone_is_stranded_unless_a_pod_has_it() {
        let mut snapshot = cluster();
        interfaces(&mut snapshot)[0].tags = [("node.k8s.amazonaws.com/no_manage".into(), "true".into())].into();
        assert_eq!(addresses(&snapshot).stranded, 0, "the primary is always managed");
        let mut second = interface("eni-0-9", "subnet-1");
        second.attachment = interfaces(&mut snapshot)[0].attachment.clone();
        second.attachment.as_mut().unwrap().device_index = 1;
        second.tags = interfaces(&mut snapshot)[0].tags.clone();
        second.secondary = [[10, 0, 0, 220].into(), [10, 0, 0, 221].into()].into();
        interfaces(&mut snapshot).push(second);
        pod_mut(&mut snapshot, "resizer-0-0").address = Some([10, 0, 0, 221].into());
        let seen = addresses(&snapshot);
        assert_eq!((seen.held, seen.used, seen.warm, seen.stranded), (8, 3, 4, 1));
    }

    #[test]
    fn other_cards_serve_pods_only_with_several_of_them_in_use() {
        for (env, warm, stranded) in [(&[][..], 4, 2), (&[("ENABLE_MULTI_NIC", "true")], 6, 0)] {
            let mut snapshot = Cluster::new("10.0.0.0/24", env).node("m5.large", 29, &[4], 0).snapshot();
            let mut other = interface("eni-0-9", "subnet-1");
            other.attachment = interfaces(&mut snapshot)[0].attachment.clone();
            other.attachment.as_mut().unwrap().card_index = 1;
            other.primary = Some([10, 0, 0, 219].into());
            other.secondary = [[10, 0, 0, 220].into(), [10, 0, 0, 221].into()].into();
            interfaces(&mut snapshot).push(other);
            let seen = addresses(&snapshot);
            assert_eq!((seen.own, seen.held, seen.warm, seen.stranded), (2, 6, warm, stranded));
        }
    }

    #[test]
    fn a_subnet_that_is_out_of_bounds_strands_what_is_in_it() {
        let mut snapshot = cluster();
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value[0].tags =
            [("kubernetes.io/role/cni".into(), "0".into())].into();
        let seen = addresses(&snapshot);
        assert_eq!((seen.used, seen.warm, seen.stranded), (3, 0, 3));
    }
}
