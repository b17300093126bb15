//! IPAM114: one zone has far fewer free addresses for pods than another.

use std::collections::BTreeMap;

use crate::{
    facts::{Facts, demand::Role},
    finding::{Severity, Subject},
    ids::Zone,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

/// So many times more free addresses are uneven.
const TIMES: u64 = 5;

rule! {
    /// One zone has far fewer free addresses than another.
    ///
    /// ## What it means
    ///
    /// A node's interfaces are made in the zone of the node. The scheduler and the autoscaler know nothing of subnets:
    /// when the poor zone is full, pods hang there while the rich one is empty. After the loss of the rich zone the poor
    /// one cannot take over.
    ///
    /// ## Why it happens
    ///
    /// Subnets of different sizes, or other resources in one zone's subnet.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipsubnet --sort-by=.status.addresses.free
    /// kubectl get nodes -L topology.kubernetes.io/zone
    /// ```
    ///
    /// ## What to do
    ///
    /// Add a subnet in the poor zone, or let fewer nodes start there.
    ///
    /// ## What it costs
    ///
    /// A subnet costs nothing.
    ///
    /// ## When it fires
    ///
    /// Among the zones with nodes, the richest has more than five times the free addresses of the poorest, in subnets
    /// that pods get addresses from; and the poorest has no room for as many new nodes as are there now. Not while its
    /// subnets are full or low: IPAM101 and IPAM102 say so.
    pub ZonesUneven;
    code: "IPAM114",
    name: "zones-uneven",
    severity: Info,
    condition: CapacityAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

/// What a zone has.
#[derive(Debug, Default)]
struct Stock {
    free: u32,
    fits: u32,
    nodes: u32,
    short: bool,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut zones = stock(facts);
    zones.retain(|_, stock| stock.nodes > 0);
    let poorest = zones.iter().min_by_key(|(zone, stock)| (stock.free, *zone));
    let richest = zones.iter().max_by_key(|(zone, stock)| (stock.free, *zone));
    let (Some((poor_zone, poor)), Some((rich_zone, rich))) = (poorest, richest) else { return };
    let uneven = u64::from(rich.free) > TIMES * u64::from(poor.free);
    if uneven && !poor.short && poor.fits < poor.nodes {
        found.subject(Subject::Cluster, violation((poor_zone, poor), (rich_zone, rich)));
    }
}

/// Adds up the subnets from which pods get addresses.
fn stock<'f>(facts: &'f Facts<'_>) -> BTreeMap<&'f Zone, Stock> {
    let mut zones: BTreeMap<&Zone, Stock> = BTreeMap::new();
    for subnet in facts.every_subnet() {
        let stock = zones.entry(&subnet.subnet.zone).or_default();
        stock.nodes += u32::try_from(subnet.nodes.len()).unwrap_or(u32::MAX);
        let serves_pods = !subnet.demand.drawers.is_empty() || subnet.has(Role::Discovery);
        if serves_pods {
            stock.free = stock.free.saturating_add(subnet.headroom());
            stock.fits = stock.fits.saturating_add(subnet.fits());
            stock.short |= subnet.is_full() || subnet.is_low();
        }
    }
    zones
}

fn violation((poor_zone, poor): (&Zone, &Stock), (rich_zone, rich): (&Zone, &Stock)) -> sink::Violation {
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "free addresses are uneven over zones: {poor_zone} has {} and {rich_zone} {}; {poor_zone} has room for {} \
             beside the {} there",
            text::thousands(poor.free),
            text::thousands(rich.free),
            text::count(poor.fits, "new node"),
            text::thousands(poor.nodes),
        ),
        remediation: format!("Add a subnet in {poor_zone}, or let fewer nodes start there."),
        evidence: vec![
            sink::evidence("poorestZone", poor_zone),
            sink::evidence("freeThere", poor.free),
            sink::evidence("richestZone", rich_zone),
            sink::evidence("freeInRichest", rich.free),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::fixtures::Cluster,
        tests::subnets::{add_subnet, answers, interfaces},
    };

    const CODE: &str = "IPAM114";

    /// Six nodes in a zone with so much free, one in another with much.
    fn cluster(free: u32) -> ClusterSnapshot {
        let seven =
            (0..7).fold(Cluster::new("10.0.0.0/24", &[]), |cluster, _| cluster.node("m5.large", 29, &[9, 9], 5));
        let mut snapshot = seven.with_free(free).snapshot();
        add_subnet(&mut snapshot, "subnet-2", "10.0.16.0/20", "eu-central-1b", 4000);
        for row in interfaces(&mut snapshot).iter_mut().filter(|row| row.id.as_str().starts_with("eni-6")) {
            row.subnet = "subnet-2".into();
        }
        snapshot
    }

    #[test]
    fn a_zone_without_room_for_as_many_nodes_again_is_poor() {
        assert_eq!(
            answers(&cluster(55), CODE).messages(),
            [
                "free addresses are uneven over zones: eu-central-1a has 55 and eu-central-1b 4,000; eu-central-1a has room \
              for 5 new nodes beside the 6 there"
            ]
        );
        assert!(answers(&cluster(60), CODE).passed());
    }

    #[test]
    fn a_low_subnet_is_told_once() {
        assert!(answers(&cluster(20), CODE).passed());
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = cluster(55);
        snapshot.ec2.subnets = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Subnets]);
    }
}
