//! Instances, security groups and route tables.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::ids::SubnetId;

use crate::check::Check;
use crate::rig::both;
use crate::setup::{Builder, scope_of};

#[tokio::test]
async fn instances_tell_their_state_and_their_cluster() {
    for ec2 in both() {
        let mut check = Check::new("instances", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.50.0.0/24").await;
        let (_, elsewhere) = build.vpc_and_subnet("10.50.0.0/24").await;
        let instance = build.instance(&subnet, "m6a.xlarge").await;
        build.instance(&elsewhere, "m6a.xlarge").await;
        build.tag(&instance, "kubernetes.io/cluster/shop", "owned").await;
        build.tag(&instance, "Name", "worker").await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        assert_eq!(inventory.instances.fault, None);
        let instances = inventory.instances.value().unwrap();
        let ids: Vec<&str> = instances.iter().map(|instance| instance.id.as_str()).collect();
        check.expect("those of the VPC", ids, [instance.as_str()]);
        check.expect("the state", &*instances[0].state, "running");
        check.expect("the type", instances[0].instance_type.clone(), Some("m6a.xlarge".into()));
        check.expect("the launch", instances[0].launched_at.is_some(), true);
        let cluster = instances[0].tags.get("kubernetes.io/cluster/shop");
        check.expect("the cluster", cluster, Some("owned"));
        check.expect("no other tag", instances[0].tags.get("Name"), None);
        check.finish();
    }
}

#[tokio::test]
async fn groups_of_the_vpc_are_read_by_name() {
    for ec2 in both() {
        let mut check = Check::new("groups", &ec2);
        let build = Builder::new(&ec2).await;
        let vpc = build.vpc("10.51.0.0/24").await;
        let request = build.client.create_security_group().group_name("pods").description("pods").vpc_id(&vpc);
        let made = request.send().await.unwrap().group_id.unwrap();

        let inventory = ec2.read(&scope_of(&vpc)).await;

        assert_eq!(inventory.security_groups.fault, None);
        let groups = inventory.security_groups.value().unwrap();
        let found = groups.iter().find(|group| &*group.id == made.as_str()).map(|group| &*group.name);
        check.expect("the group that was made", found, Some("pods"));
        let mut names: Vec<&str> = groups.iter().map(|group| &*group.name).collect();
        names.sort_unstable();
        check.expect("and the VPC's own", names, ["default", "pods"]);
        check.expect("their VPC", groups.iter().all(|group| group.vpc.as_str() == vpc), true);
        check.finish();
    }
}

#[tokio::test]
async fn route_tables_tell_where_routes_lead() {
    for ec2 in both() {
        let mut check = Check::new("route tables", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.52.0.0/24").await;
        let made = build.client.create_route_table().vpc_id(&vpc).send().await.unwrap();
        let table = made.route_table.unwrap().route_table_id.unwrap();
        let associate = build.client.associate_route_table().route_table_id(&table).subnet_id(&subnet);
        associate.send().await.unwrap();
        let eni = build.interface(&subnet, &["10.52.0.10"]).await;
        let route = build.client.create_route().route_table_id(&table).destination_cidr_block("0.0.0.0/0");
        route.network_interface_id(&eni).send().await.unwrap();

        let inventory = ec2.read(&scope_of(&vpc)).await;

        assert_eq!(inventory.route_tables.fault, None);
        let tables = inventory.route_tables.value().unwrap();
        check.expect("the main one and the one that was made", tables.len(), 2);
        check.expect("one is the main one", tables.iter().filter(|table| table.main).count(), 1);
        let row = tables.iter().find(|row| &*row.id == table.as_str()).unwrap();
        check.expect("its subnet", row.subnets.iter().map(SubnetId::as_str).collect::<Vec<_>>(), [subnet.as_str()]);
        let targets: Vec<(String, &str)> =
            row.routes.iter().map(|(destination, target)| (destination.to_string(), &**target)).collect();
        let local = ("10.52.0.0/24".to_owned(), "local");
        check.expect("the VPC's own route", targets.contains(&local), true);
        check.expect("the way out", targets.contains(&("0.0.0.0/0".to_owned(), eni.as_str())), true);
        check.finish();
    }
}

#[tokio::test]
async fn a_trial_call_is_answered_but_not_made() {
    for ec2 in both() {
        let mut check = Check::new("dry run", &ec2);
        let build = Builder::new(&ec2).await;
        let request = build.client.describe_instances().dry_run(true);
        let code = crate::setup::refusal(request.send().await);
        check.expect("the answer that it would have worked", code.as_deref(), Some("DryRunOperation"));
        let filter = sdk::Filter::builder().name("vpc-id").values("vpc-none").build();
        let request = build.client.describe_route_tables().filters(filter).dry_run(true);
        let code = crate::setup::refusal(request.send().await);
        check.expect("whatever it asks for", code.as_deref(), Some("DryRunOperation"));
        check.finish();
    }
}
