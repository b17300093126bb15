//! What is read: one VPC, found through the nodes if need be, in one region.

use ipam_audit_core::ids::VpcId;
use ipam_audit_core::inventory::InventoryScope;
use ipam_audit_core::rows::Rows;
use ipam_audit_core::source::FaultCategory;

use crate::check::Check;
use crate::rig::{both, config, read};
use crate::setup::{Builder, scope_of};

#[tokio::test]
async fn only_the_vpc_asked_for_is_read() {
    for ec2 in both() {
        let mut check = Check::new("other VPC", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.30.0.0/24").await;
        let (_, other) = build.vpc_and_subnet("10.30.0.0/24").await;
        let ours = build.interface(&subnet, &["10.30.0.10"]).await;
        build.interface(&other, &["10.30.0.10"]).await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        let ids: Vec<&str> = inventory.interfaces.value().unwrap().iter().map(|eni| eni.id.as_str()).collect();
        check.expect("interfaces", ids, [ours.as_str()]);
        let ids: Vec<&str> = inventory.subnets.value().unwrap().iter().map(|subnet| subnet.id.as_str()).collect();
        check.expect("subnets", ids, [subnet.as_str()]);
        check.expect(
            "no fault anywhere",
            inventory.states().iter().all(|state| state.fault.is_none() || state.is_not_collected()),
            true,
        );
        check.finish();
    }
}

#[tokio::test]
async fn the_vpc_is_found_through_the_nodes() {
    for ec2 in both() {
        let mut check = Check::new("discovery", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.31.0.0/24").await;
        let instance = build.instance(&subnet, "m6a.xlarge").await;
        build.vpc_and_subnet("10.31.0.0/24").await;

        let scope = InventoryScope {
            instances: vec!["i-00000000000000000".into(), instance.as_str().into()],
            ..InventoryScope::default()
        };
        let inventory = ec2.read(&scope).await;

        let vpcs = inventory.vpcs.value().map(|vpcs| vpcs.iter().map(|vpc| vpc.id.clone()).collect::<Vec<_>>());
        check.expect("the nodes' VPC", vpcs, Some(vec![VpcId::new(vpc)]));
        check.expect("its interfaces", inventory.interfaces.value().map(Rows::len), Some(1));
        check.expect("reservations of the subnet in use", inventory.reservations.value().map(Vec::len), Some(0));
        check.finish();
    }
}

#[tokio::test]
async fn an_unknown_vpc_is_said_to_be_unknown() {
    for ec2 in both() {
        let mut check = Check::new("unknown VPC", &ec2);
        let inventory = ec2.read(&scope_of("vpc-0123456789abcdef0")).await;
        for (aspect, fault, has_view) in [
            ("VPCs", &inventory.vpcs.fault, inventory.vpcs.last_good.is_some()),
            ("subnets", &inventory.subnets.fault, inventory.subnets.last_good.is_some()),
            ("interfaces", &inventory.interfaces.fault, inventory.interfaces.last_good.is_some()),
        ] {
            let fault = fault.as_ref().unwrap();
            check.expect(aspect, (fault.category, has_view), (FaultCategory::NotFound, false));
            assert!(fault.message.contains("vpc-0123456789abcdef0 is not in eu-central-1"), "{}", fault.message);
        }
        check.finish();
    }
}

#[tokio::test]
async fn a_vpc_of_another_region_is_not_found_and_the_region_is_named() {
    for ec2 in both() {
        let mut check = Check::new("wrong region", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.32.0.0/24").await;
        let instance = build.instance(&subnet, "m6a.xlarge").await;
        let elsewhere = config(ec2.endpoint(), "eu-west-1").await;

        let inventory = read(&elsewhere, &scope_of(&vpc)).await;
        let fault = inventory.subnets.fault.unwrap();
        check.expect("a VPC by id", fault.category, FaultCategory::NotFound);
        assert!(fault.message.contains(&format!("{vpc} is not in eu-west-1")), "{}", fault.message);

        let scope = InventoryScope { instances: vec![instance.as_str().into()], ..InventoryScope::default() };
        let fault = read(&elsewhere, &scope).await.interfaces.fault.unwrap();
        check.expect("a VPC by its nodes", fault.category, FaultCategory::NotFound);
        assert!(fault.message.contains(&instance) && fault.message.contains("is in eu-west-1"), "{}", fault.message);
        check.finish();
    }
}

#[tokio::test]
async fn nothing_to_go_by_is_said_so_without_a_call() {
    for ec2 in both() {
        let mut check = Check::new("no VPC", &ec2);
        let inventory = ec2.read(&InventoryScope::default()).await;
        let fault = inventory.subnets.fault.unwrap();
        check.expect("subnets", fault.category, FaultCategory::NotFound);
        assert!(fault.message.starts_with("no VPC to read"), "{}", fault.message);
        check.expect("instance types, for none was asked", inventory.instance_types.value(), Some(&vec![]));
        check.finish();
    }
}
