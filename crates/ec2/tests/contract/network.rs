//! VPCs, subnets, free counts and reservations.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::inventory::{CidrReservation, ReservationKind};

use crate::check::Check;
use crate::rig::{ZONES, both};
use crate::setup::{Builder, refusal, scope_of, subnet};

#[tokio::test]
async fn a_vpc_has_all_its_ranges_the_primary_first() {
    for ec2 in both() {
        let mut check = Check::new("vpc", &ec2);
        let build = Builder::new(&ec2).await;
        let vpc = build.vpc("10.10.0.0/16").await;
        let more = build.client.associate_vpc_cidr_block().vpc_id(&vpc).cidr_block("100.64.0.0/16");
        more.send().await.unwrap();
        build.subnet(&vpc, "10.10.0.0/24", 0).await;
        let secondary = build.subnet(&vpc, "100.64.0.0/24", 0).await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        let vpcs = inventory.vpcs.value().unwrap();
        check.expect("one VPC is read", vpcs.len(), 1);
        let ranges: Vec<String> = vpcs[0].cidrs.iter().map(ToString::to_string).collect();
        check.expect("both ranges, the primary first", ranges, ["10.10.0.0/16", "100.64.0.0/16"].map(str::to_owned));
        let in_secondary = subnet(&inventory, &secondary);
        check.expect("a subnet in the second range", in_secondary.cidr, "100.64.0.0/24".parse().ok());
        check.finish();
    }
}

#[tokio::test]
async fn an_empty_subnet_has_its_size_less_five_free() {
    for ec2 in both() {
        let mut check = Check::new("empty subnets", &ec2);
        let build = Builder::new(&ec2).await;
        let vpc = build.vpc("10.11.0.0/16").await;
        let mut ids = Vec::new();
        for (zone, cidr) in ["10.11.0.0/24", "10.11.1.0/26", "10.11.2.0/28"].into_iter().enumerate() {
            ids.push(build.subnet(&vpc, cidr, zone).await);
        }
        build.tag(&ids[1], "tier", "pods").await;
        build.tag(&ids[1], "Name", "pods-1b").await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        let read: Vec<_> = ids.iter().map(|id| subnet(&inventory, id)).collect();
        check.expect("nothing else is read", inventory.subnets.value().map(Vec::len), Some(3));
        let free: Vec<u32> = read.iter().map(|subnet| subnet.available).collect();
        check.expect("free addresses of /24, /26 and /28", free, [251, 59, 11]);
        let zones: Vec<&str> = read.iter().map(|subnet| subnet.zone.as_str()).collect();
        check.expect("zones by name", zones, ZONES);
        check.expect("zones by id", read.iter().all(|subnet| subnet.zone_id.is_some()), true);
        check.expect("the VPC", read.iter().all(|subnet| subnet.vpc.as_str() == vpc), true);
        check.expect("the state", &*read[0].state, "available");
        check.expect("an owner", read[0].owner.as_ref().map(|owner| owner.len()), Some(12));
        let keys: Vec<&str> = read[1].tags.iter().map(|(key, _)| &**key).collect();
        check.expect("tags, sorted", keys, ["Name", "tier"]);
        check.expect("the value of a tag", read[1].tag("tier"), Some("pods"));
        check.expect("no tags", read[0].tags.len(), 0);
        check.finish();
    }
}

#[tokio::test]
async fn free_addresses_follow_every_change() {
    for ec2 in both() {
        let mut check = Check::new("free addresses", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, id) = build.vpc_and_subnet("10.12.0.0/24").await;
        let free = async || subnet(&ec2.read(&scope_of(&vpc)).await, &id).available;

        let eni = build.interface(&id, &["10.12.0.10", "10.12.0.20", "10.12.0.21"]).await;
        check.expect("an interface takes its addresses", free().await, 248);
        let assign = build.client.assign_private_ip_addresses().network_interface_id(&eni);
        assign.private_ip_addresses("10.12.0.30").send().await.unwrap();
        check.expect("an assigned address is taken", free().await, 247);
        let unassign = build.client.unassign_private_ip_addresses().network_interface_id(&eni);
        unassign.private_ip_addresses("10.12.0.20").send().await.unwrap();
        check.expect("an unassigned address is free again", free().await, 248);
        build.client.delete_network_interface().network_interface_id(&eni).send().await.unwrap();
        check.expect("a deleted interface gives all back", free().await, 251);

        let instance = build.instance(&id, "m6a.xlarge").await;
        check.expect("an instance takes one", free().await, 250);
        build.client.terminate_instances().instance_ids(&instance).send().await.unwrap();
        check.expect("a terminated instance gives it back", free().await, 251);
        check.finish();
    }
}

#[tokio::test]
async fn a_full_subnet_refuses_more() {
    for ec2 in both() {
        let mut check = Check::new("full subnet", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, id) = build.vpc_and_subnet("10.13.0.0/28").await;
        let all: Vec<String> = (4..15).map(|host| format!("10.13.0.{host}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        build.interface(&id, &all).await;

        check.expect("nothing is free", subnet(&ec2.read(&scope_of(&vpc)).await, &id).available, 0);
        let more = build.client.create_network_interface().subnet_id(&id).send().await;
        check.expect("one more interface", refusal(more).as_deref(), Some("InsufficientFreeAddressesInSubnet"));
        for (aspect, address, code) in [
            ("an address that EC2 keeps", "10.13.0.2", "InvalidParameterValue"),
            ("an address in use", "10.13.0.9", "InvalidIPAddress.InUse"),
        ] {
            let request = build.client.create_network_interface().subnet_id(&id).private_ip_address(address);
            check.expect(aspect, refusal(request.send().await).as_deref(), Some(code));
        }
        check.finish();
    }
}

#[tokio::test]
async fn reservations_are_read_with_their_kind() {
    for ec2 in both() {
        let mut check = Check::new("reservations", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, id) = build.vpc_and_subnet("10.14.0.0/24").await;
        for (cidr, kind) in [
            ("10.14.0.64/26", sdk::SubnetCidrReservationType::Prefix),
            ("10.14.0.128/28", sdk::SubnetCidrReservationType::Explicit),
        ] {
            let request = build.client.create_subnet_cidr_reservation().subnet_id(&id);
            request.cidr(cidr).reservation_type(kind).send().await.unwrap();
        }

        let mut scope = scope_of(&vpc);
        scope.reservation_subnets = vec![id.as_str().into()];
        let inventory = ec2.read(&scope).await;

        let reservation =
            |cidr: &str, kind| CidrReservation { subnet: id.as_str().into(), cidr: cidr.parse().unwrap(), kind };
        check.expect(
            "both kinds",
            inventory.reservations.value().cloned(),
            Some(vec![
                reservation("10.14.0.64/26", ReservationKind::Prefix),
                reservation("10.14.0.128/28", ReservationKind::Explicit),
            ]),
        );
        check.expect("no fault", inventory.reservations.fault.clone(), None);
        check.expect("a prefix reservation is not free", subnet(&inventory, &id).available, 251 - 64);
        check.finish();
    }
}
