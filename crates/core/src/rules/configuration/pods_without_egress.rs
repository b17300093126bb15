//! IPAM650: pods whose addresses nobody translates.

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    inventory::RouteTable,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    source::Source,
    text,
};

rule! {
    /// Pods in a public subnet leave it with their own address, which has no way to the internet.
    ///
    /// ## What it means
    ///
    /// With `AWS_VPC_K8S_CNI_EXTERNALSNAT` on, nodes do not translate the addresses of pods any more: something behind
    /// the subnet must. The subnet's default route leads to an internet gateway, which forwards only public addresses,
    /// and pods have none.
    ///
    /// ## Why it happens
    ///
    /// External translation was switched on for private subnets with a NAT gateway, and nodes run in public ones as
    /// well.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep EXTERNALSNAT
    /// aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=SUBNET --query 'RouteTables[].Routes[?DestinationCidrBlock==`0.0.0.0/0`]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Route the subnet through a NAT gateway or a transit gateway, move the nodes into subnets that are, or set the
    /// variable to false.
    ///
    /// ## What it costs
    ///
    /// A NAT gateway costs by the hour and by traffic. Without external translation, peers see the node's address
    /// instead of the pod's.
    ///
    /// ## When it fires
    ///
    /// `AWS_VPC_K8S_CNI_EXTERNALSNAT` is on, pods of the warm pool have addresses in the subnet, and its route table
    /// (its own, else the VPC's main one) sends 0.0.0.0/0 to an internet gateway. Warning. Subnets without any default
    /// route are left alone: they are meant to be closed.
    pub PodsWithoutEgress;
    code: "IPAM650",
    name: "pods-without-egress",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode, Subnets, NetworkInterfaces, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(template) = facts.installation.as_ref().and_then(|installation| installation.template()) else { return };
    if template.cni.lacks(&["AWS_VPC_K8S_CNI_EXTERNALSNAT"]) {
        found.lacks(Source::AwsNode);
    }
    if !template.is_on("AWS_VPC_K8S_CNI_EXTERNALSNAT") || template.cni.is_ipv6() {
        return;
    }
    let Some(tables) = facts.snapshot.ec2.route_tables.value() else {
        found.lacks(Source::RouteTables);
        return;
    };
    for subnet in &facts.subnets {
        let pods = subnet.ledger.map_or(0, |ledger| ledger.pods);
        let Some(gateway) = internet_gateway(tables, subnet).filter(|_| pods > 0) else { continue };
        let violation = Violation {
            severity: Severity::Warning,
            message: format!(
                "{} ({}) sends {} to {gateway} with their own addresses, which an internet gateway does not forward",
                subnet.subnet.id,
                subnet.subnet.zone,
                text::count(pods, "pod"),
            ),
            remediation:
                "Route the subnet through a NAT or transit gateway, or set AWS_VPC_K8S_CNI_EXTERNALSNAT=false."
                    .to_owned(),
            evidence: vec![sink::evidence("pods", pods), sink::evidence("defaultRoute", gateway)],
        };
        found.subnet(&subnet.subnet.id, violation);
    }
}

/// The internet gateway of a subnet's default route. A subnet without a table of its own uses the VPC's main one.
fn internet_gateway<'a>(tables: &'a [RouteTable], subnet: &SubnetFacts<'_>) -> Option<&'a str> {
    let own = tables.iter().find(|table| table.subnets.contains(&subnet.subnet.id));
    let table = own.or_else(|| tables.iter().find(|table| table.main && table.vpc == subnet.subnet.vpc))?;
    let default = table.routes.iter().find(|(destination, _)| destination.prefix_len() == 0)?;
    Some(&*default.1).filter(|target| target.starts_with("igw-"))
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM650";

    use crate::{inventory::RouteTable, snapshot::ClusterSnapshot, source::Reading, tests::fixtures::now};

    fn routed(external: &str, subnet: &str, target: &str) -> ClusterSnapshot {
        let mut snapshot = cluster::with(&[("AWS_VPC_K8S_CNI_EXTERNALSNAT", external)]);
        let table = |id: &str, main: bool, subnets: &[&str], target: &str| RouteTable {
            id: id.into(),
            vpc: "vpc-1".into(),
            main,
            subnets: subnets.iter().map(|id| (*id).into()).collect(),
            routes: vec![("0.0.0.0/0".parse().unwrap(), target.into())],
        };
        let tables = vec![table("rtb-main", true, &[], "nat-1"), table("rtb-1", false, &[subnet], target)];
        snapshot.ec2.route_tables = Reading::fresh(tables, now());
        snapshot
    }

    #[test]
    fn pods_in_a_public_subnet_have_no_way_out() {
        let finding = only(&routed("true", "subnet-1", "igw-1"), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "subnet-1 (eu-central-1a) sends 6 pods to igw-1 with their own addresses, which an internet gateway does not \
             forward"
        );
    }

    #[test]
    fn private_subnets_and_the_default_are_left_alone() {
        assert!(cluster::found(&routed("true", "subnet-1", "nat-2"), CODE).is_empty());
        assert!(cluster::found(&routed("true", "subnet-2", "igw-1"), CODE).is_empty(), "the main table has a NAT");
        assert!(cluster::found(&routed("false", "subnet-1", "igw-1"), CODE).is_empty());
    }

    #[test]
    fn without_route_tables_it_cannot_tell() {
        let snapshot = cluster::with(&[("AWS_VPC_K8S_CNI_EXTERNALSNAT", "true")]);
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
