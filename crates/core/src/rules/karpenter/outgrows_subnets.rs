//! IPAM710: NodePools whose own limits are beyond what their subnets can feed.

use super::{can_tell, free, kept_is_unknown, node_class};
use crate::{
    facts::{Facts, karpenter::ClassFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// NodePools may grow beyond the addresses of their subnets.
    ///
    /// ## What it means
    ///
    /// Up to the limit of its NodePools a node class could launch more nodes than its subnets have addresses for. The
    /// last of them would come up without addresses for pods.
    ///
    /// ## Why it happens
    ///
    /// Limits are set by cost, subnets by another team. Nothing compares them.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get nodepools -o custom-columns=NAME:.metadata.name,LIMITS:.spec.limits
    /// kubectl get ipsubnets
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing at once. Lower the limit to what fits, lower what a node takes at its start (IPAM210), or plan another
    /// subnet before the cluster grows.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Every NodePool of a node class has a limit of nodes, and the nodes still allowed would take more addresses at
    /// their start than are free in the subnets of the class together. A class with a full zone is left to IPAM703.
    pub KarpenterOutgrowsSubnets;
    code: "IPAM710",
    name: "karpenter-outgrows-subnets",
    severity: Info,
    condition: CapacityAvailable,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let sources = [Source::NodeClasses, Source::NodePools, Source::Subnets, Source::NetworkInterfaces, Source::AwsNode];
    if !can_tell(facts, found, &sources) {
        return;
    }
    for class in &facts.karpenter.classes {
        match violation(facts, class) {
            Some(_) if kept_is_unknown(facts) => found.lacks(Source::CidrReservations),
            Some(violation) => found.subject(node_class(class), violation),
            None => {}
        }
    }
}

fn violation(facts: &Facts<'_>, class: &ClassFacts<'_>) -> Option<sink::Violation> {
    let need = class.need(facts).filter(|need| *need > 0)?;
    let limits: Option<Vec<u32>> = class.pools.iter().map(|pool| pool.pool.node_limit).collect();
    let limit = limits.filter(|limits| !limits.is_empty())?.into_iter().fold(0, u32::saturating_add);
    let nodes = u32::try_from(class.pools.iter().map(|pool| pool.nodes.len()).sum::<usize>()).ok()?;
    let more = limit.saturating_sub(nodes);
    let full_zone = class.zones.values().any(|subnets| subnets.iter().all(|subnet| free(facts, subnet) < need));
    let subnets: Vec<_> = class.zones.values().flatten().collect();
    let free: u32 = subnets.iter().map(|subnet| free(facts, subnet)).fold(0, u32::saturating_add);
    let wanted = u64::from(more) * u64::from(need);
    if full_zone || subnets.is_empty() || wanted <= u64::from(free) {
        return None;
    }
    Some(sink::Violation {
        severity: Severity::Info,
        message: format!(
            "NodePools of EC2NodeClass {} may grow from {nodes} to {}, which takes {wanted} addresses; its {} {} {} free: \
             room for {}",
            class.class.name,
            text::count(limit, "node"),
            text::count(u32::try_from(subnets.len()).ok()?, "subnet"),
            text::verb(u32::try_from(subnets.len()).ok()?, "has", "have"),
            text::thousands(free),
            text::count(free / need, "more node").replace("more nodes", "more"),
            wanted = text::thousands(wanted),
            nodes = text::thousands(nodes),
        ),
        remediation: format!(
            "Lower spec.limits.nodes by {}, lower what a node takes at its start ({need} addresses), or plan another \
             subnet.",
            text::thousands(more - free / need),
        ),
        evidence: vec![
            sink::evidence("nodesAllowed", limit),
            sink::evidence("newNodeTakes", need),
            sink::evidence("free", free),
        ],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        source::{Reading, Source},
        tests::karpenter::{Setup, answers},
    };

    const CODE: &str = "IPAM710";

    fn setup(limit: u32) -> Setup {
        let setup = Setup::new(&[]).class("default", None).pool("general", "default", &[]).limit(limit);
        setup.node_of("general").subnet("default", "subnet-1", "eu-central-1a", 600)
    }

    #[test]
    fn a_limit_beyond_the_subnets_is_said() {
        assert_eq!(
            answers(&setup(101).snapshot(), CODE).messages(),
            ["NodePools of EC2NodeClass default may grow from 1 to 101 nodes, which takes 1,000 addresses; its \
                 1 subnet has 600 free: room for 60 more"]
        );
    }

    #[test]
    fn a_limit_that_fits_or_none_is_none() {
        assert!(answers(&setup(61).snapshot(), CODE).passed());
        let unlimited = Setup::new(&[]).class("default", None).pool("general", "default", &[]).node_of("general");
        assert!(answers(&unlimited.subnet("default", "subnet-1", "eu-central-1a", 60).snapshot(), CODE).passed());
    }

    #[test]
    fn without_reservations_it_cannot_tell_where_nodes_take_prefixes() {
        let prefixes = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
        let setup = Setup::new(&prefixes).class("default", None).pool("general", "default", &[]).limit(101);
        let setup = setup.node_of("general").subnet("default", "subnet-1", "eu-central-1a", 600);
        let unknown = setup.change(|snapshot| snapshot.ec2.reservations = Reading::default());
        assert_eq!(answers(&unknown.snapshot(), CODE).missing(), [Source::CidrReservations]);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = setup(101).snapshot();
        snapshot.ec2.subnets = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Subnets]);
    }
}
