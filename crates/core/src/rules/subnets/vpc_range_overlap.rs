//! IPAM153: the VPC's ranges overlap those of services, or of container defaults.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::vpc;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    ids::VpcId,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// A range of the VPC overlaps the cluster's service range, or the default range of container bridges.
    ///
    /// ## What it means
    ///
    /// Addresses of services exist only in the rules of each node. Where the VPC uses the same range, traffic to what
    /// really has such an address ends at a service or nowhere. The bridge of container engines (172.17.0.0/16) does the
    /// same on machines that run one, such as build hosts.
    ///
    /// ## Why it happens
    ///
    /// A secondary CIDR was added after the cluster was made: EKS compares ranges only then.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get service kubernetes -n default -o jsonpath='{.spec.clusterIP}{"\n"}'
    /// aws eks describe-cluster --name CLUSTER --query cluster.kubernetesNetworkConfig.serviceIpv4Cidr
    /// aws ec2 describe-vpcs --vpc-ids VPC --query 'Vpcs[].CidrBlockAssociationSet[].CidrBlock' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Make no subnets in the part that overlaps, and move what is there. The service range of a cluster cannot be
    /// changed.
    ///
    /// ## What it costs
    ///
    /// What moves gets other addresses.
    ///
    /// ## When it fires
    ///
    /// The address of the service `default/kubernetes` is inside a range of the VPC: warning. A subnet of the cluster
    /// overlaps 172.17.0.0/16: information.
    pub VpcRangeOverlap;
    code: "IPAM153",
    name: "vpc-range-overlap",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Vpcs, Subnets, Services],
    check: check,
}

/// The default bridge of container engines.
fn bridge() -> Option<Ipv4Net> {
    Ipv4Net::new(Ipv4Addr::new(172, 17, 0, 0), 16).ok()
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let service = facts.snapshot.objects.services.value().into_iter().flatten();
    let mut api = service.filter(|service| &*service.namespace == "default" && &*service.name == "kubernetes");
    let Some(api) = api.find_map(|service| service.cluster_address) else {
        found.lacks(Source::Services);
        return;
    };
    for vpc in vpc::of_cluster(facts) {
        if let Some(range) = vpc.cidrs.iter().find(|range| range.contains(&api)) {
            found.subject(Subject::Vpc(vpc.id.clone()), of_services(&vpc.id, *range, api));
            continue;
        }
        let inside = facts.every_subnet().filter(|subnet| subnet.subnet.vpc == vpc.id);
        let on_bridge =
            |cidr: Option<Ipv4Net>| cidr.zip(bridge()).is_some_and(|(cidr, bridge)| vpc::overlap(cidr, bridge));
        let subnets: Vec<String> =
            inside.filter(|subnet| on_bridge(subnet.subnet.cidr)).map(|subnet| subnet.subnet.id.to_string()).collect();
        if !subnets.is_empty() {
            found.subject(Subject::Vpc(vpc.id.clone()), of_bridges(&vpc.id, &subnets));
        }
    }
}

fn of_services(vpc: &VpcId, range: Ipv4Net, api: Ipv4Addr) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{vpc} has the range {range}, in which services have their addresses: the API server's is {api}"
        ),
        remediation: format!("Make no subnets of {range} where services are, and move what has addresses there."),
        evidence: vec![sink::evidence("range", range), sink::evidence("serviceAddress", api)],
    }
}

fn of_bridges(vpc: &VpcId, subnets: &[String]) -> sink::Violation {
    let number = u32::try_from(subnets.len()).unwrap_or(u32::MAX);
    let listed = text::list(subnets, "and", 3);
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{vpc} has {} in 172.17.0.0/16, which container engines use for their bridge by default: {listed}",
            text::count(number, "subnet"),
        ),
        remediation: "On machines that run a container engine, give its bridge another range.".to_owned(),
        evidence: vec![sink::evidence("subnets", listed)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::{ClusterSnapshot, Service},
        source::{Reading, Source},
        tests::{
            fixtures::{Cluster, now},
            subnets::{answers, set_vpc},
        },
    };

    const CODE: &str = "IPAM153";

    fn cluster(subnet: &str, ranges: &[&str]) -> ClusterSnapshot {
        let mut snapshot = Cluster::new(subnet, &[]).node("m5.large", 29, &[9], 3).snapshot();
        set_vpc(&mut snapshot, ranges);
        let service = Service {
            namespace: "default".into(),
            name: "kubernetes".into(),
            cluster_address: Some([10, 100, 0, 1].into()),
            local_traffic: false,
            selector: None,
        };
        snapshot.objects.services = Reading::fresh(vec![service], now());
        snapshot
    }

    #[test]
    fn services_inside_the_vpc_are_a_warning() {
        let seen = answers(&cluster("10.0.0.0/24", &["10.0.0.0/16", "10.96.0.0/12"]), CODE);
        assert_eq!(
            seen.messages(),
            [
                "vpc-1 has the range 10.96.0.0/12, in which services have their addresses: the API server's is 10.100.0.1"
            ]
        );
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        assert!(answers(&cluster("10.0.0.0/24", &["10.0.0.0/16"]), CODE).passed());
    }

    #[test]
    fn a_subnet_on_the_bridge_is_information() {
        let seen = answers(&cluster("172.17.4.0/24", &["172.16.0.0/12"]), CODE);
        assert_eq!(seen.findings[0].severity, Severity::Info);
        assert!(answers(&cluster("172.31.4.0/24", &["172.16.0.0/12"]), CODE).passed());
    }

    #[test]
    fn without_services_it_cannot_tell() {
        let mut snapshot = cluster("10.0.0.0/24", &["10.0.0.0/16"]);
        snapshot.objects.services = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Services]);
    }
}
