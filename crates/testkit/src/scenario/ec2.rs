//! The EC2 half of a scenario.

use super::Scenario;
use super::plan::PlannedNode;
use crate::ec2::seed::{CidrAssociation, Ec2Seed, Instance, Reservation, Subnet, Tags, Vpc};

/// Everything that the scenario has in EC2.
pub(super) fn seed(scenario: &Scenario) -> Ec2Seed {
    let plan = &scenario.plan;
    let interfaces =
        plan.nodes.iter().flat_map(|node| &node.interfaces).chain(&plan.loose).chain(&scenario.file.interfaces);
    Ec2Seed {
        region: scenario.region().to_owned(),
        vpcs: vec![vpc(scenario)],
        subnets: subnets(scenario),
        instances: plan
            .nodes
            .iter()
            .map(|node| instance(scenario, node))
            .chain(strangers(scenario))
            .chain(scenario.file.instances.iter().cloned())
            .collect(),
        interfaces: interfaces.cloned().collect(),
        reservations: reservations(scenario),
        route_tables: vec![super::eks::route_table(scenario)],
        ..Ec2Seed::default()
    }
}

fn vpc(scenario: &Scenario) -> Vpc {
    let spec = &scenario.file.vpc;
    let associated = |cidr| CidrAssociation { cidr, state: "associated".to_owned() };
    Vpc {
        id: Some(spec.id.clone()),
        cidr: spec.cidr,
        associations: spec.secondary_cidrs.iter().copied().map(associated).collect(),
        tags: Tags::from([("Name".to_owned(), scenario.cluster().to_owned())]),
    }
}

fn subnets(scenario: &Scenario) -> Vec<Subnet> {
    let subnet = |spec: &super::file::SubnetSpec| Subnet {
        id: Some(spec.id.clone()),
        vpc: Some(scenario.vpc().to_owned()),
        cidr: spec.cidr,
        zone: spec.zone.clone(),
        zone_id: None,
        tags: spec.tags.clone(),
        state: "available".to_owned(),
        owner: None,
    };
    scenario.file.subnets.iter().map(subnet).collect()
}

fn reservations(scenario: &Scenario) -> Vec<Reservation> {
    let of_subnet = |subnet: &super::file::SubnetSpec| {
        let id = subnet.id.clone();
        let reservation = move |spec: &super::file::ReservationSpec| Reservation {
            id: None,
            subnet: id.clone(),
            cidr: spec.cidr,
            kind: spec.kind,
            description: String::new(),
        };
        subnet.reservations.iter().map(reservation).collect::<Vec<_>>()
    };
    scenario.file.subnets.iter().flat_map(of_subnet).collect()
}

fn instance(scenario: &Scenario, node: &PlannedNode) -> Instance {
    let group = scenario.group(node);
    let tags = [
        ("Name".to_owned(), format!("{}-{}", scenario.cluster(), group.name)),
        ("eks:cluster-name".to_owned(), scenario.cluster().to_owned()),
        ("eks:nodegroup-name".to_owned(), group.name.clone()),
        (format!("kubernetes.io/cluster/{}", scenario.cluster()), "owned".to_owned()),
    ];
    Instance {
        id: Some(node.instance.clone()),
        instance_type: group.instance_type.clone(),
        subnet: scenario.subnet(node).id.clone(),
        zone: None,
        state: "running".to_owned(),
        tags: tags.into(),
    }
}

/// Instances that are no nodes: they exist because an interface of another owner is attached to them.
fn strangers(scenario: &Scenario) -> impl Iterator<Item = Instance> {
    scenario.plan.loose.iter().filter_map(|interface| {
        let instance = interface.attachment.as_ref()?.instance.clone()?;
        Some(Instance {
            id: Some(instance),
            instance_type: "m5.large".to_owned(),
            subnet: interface.subnet.clone(),
            zone: None,
            state: "running".to_owned(),
            tags: Tags::from([("Name".to_owned(), interface.description.clone())]),
        })
    })
}
