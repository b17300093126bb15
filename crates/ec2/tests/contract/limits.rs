//! Instance types and their limits.

use std::collections::BTreeMap;

use ipam_audit_core::ids::InstanceType;
use ipam_audit_core::inventory::{InstanceTypeFacts, InventoryScope};
use ipam_audit_core::source::FaultCategory;

use crate::check::Check;
use crate::rig::{Ec2, both};

/// The types that the simulator knows, by the name of its own table.
const TABLE: &str = include_str!("../../../testkit/data/instance-types.csv");

fn scope(types: &[&str]) -> InventoryScope {
    InventoryScope {
        instance_types: types.iter().copied().map(InstanceType::from).collect(),
        ..InventoryScope::default()
    }
}

#[tokio::test]
async fn limits_are_those_of_the_default_card() {
    for ec2 in both() {
        let mut check = Check::new("limits", &ec2);
        let inventory = ec2.read(&scope(&["p4d.24xlarge", "m6a.32xlarge", "m5.metal"])).await;
        assert_eq!(inventory.instance_types.fault, None);
        let facts = inventory.instance_types.value().unwrap();
        let names: Vec<&str> = facts.iter().map(|facts| facts.name.as_str()).collect();
        check.expect("sorted by name", names, ["m5.metal", "m6a.32xlarge", "p4d.24xlarge"]);
        let limits = |place: usize| {
            let facts = &facts[place];
            (facts.default_card_interfaces, facts.all_card_interfaces, facts.ipv4_per_interface)
        };
        check.expect("one card", limits(1), (15, 15, 50));
        check.expect("four cards", limits(2), (15, 60, 50));
        check.expect("bare metal", (facts[0].bare_metal, facts[0].hypervisor.as_deref()), (true, None));
        check.expect("virtual", (facts[1].bare_metal, facts[1].hypervisor.as_deref()), (false, Some("nitro")));
        check.expect("virtual processors", facts[1].vcpus, Some(128));
        check.finish();
    }
}

#[tokio::test]
async fn a_type_that_ec2_does_not_know_is_named_and_spoils_nothing() {
    for ec2 in both() {
        let mut check = Check::new("unknown type", &ec2);
        let inventory = ec2.read(&scope(&["c5.large", "m6a.xlarge", "x9.unheard-of", "c5.xlarge", "t3.small"])).await;
        let known = inventory.instance_types.value().map(|facts| {
            let names = facts.iter().map(|facts| facts.name.to_string());
            names.collect::<Vec<_>>().join(" ")
        });
        check.expect("the known ones", known.as_deref(), Some("c5.large c5.xlarge m6a.xlarge t3.small"));
        let fault = inventory.instance_types.fault.unwrap();
        check.expect("the fault", fault.category, FaultCategory::NotFound);
        assert!(fault.message.contains("does not know the instance types x9.unheard-of:"), "{}", fault.message);
        check.finish();
    }
}

/// Every type of the simulator's table, as both describe it: moto's data come from AWS.
#[tokio::test]
async fn the_simulators_table_is_what_moto_took_from_aws() {
    let names: Vec<&str> = TABLE.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert!(names.len() > 100, "{}", names.len());
    let [moto, simulator] = both();
    let theirs = describe(&moto, &names).await;
    let ours = describe(&simulator, &names).await;
    assert_eq!(ours.len(), names.len());
    let differing: Vec<String> = ours
        .iter()
        .filter(|(name, facts)| theirs.get(*name) != Some(facts))
        .map(|(name, facts)| format!("{name}: {facts:?}, moto {:?}", theirs.get(name)))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

async fn describe(ec2: &Ec2, names: &[&str]) -> BTreeMap<InstanceType, InstanceTypeFacts> {
    let facts = ec2.read(&scope(names)).await.instance_types;
    let facts = facts.last_good.unwrap_or_else(|| panic!("{:?}: {:?}", ec2.actor, facts.fault));
    facts.value.into_iter().map(|facts| (facts.name.clone(), facts)).collect()
}
