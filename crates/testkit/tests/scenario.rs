//! Scenarios hang together: every address lies where it should, the sums are right, and the API server takes them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails is the failure of its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::Result;
use ipam_audit_testkit::controlplane::{ControlPlane, Options};
use ipam_audit_testkit::ec2::World;
use ipam_audit_testkit::ec2::seed::{Assigned, Ec2Seed, Interface, InterfaceKind, ReservationKind};
use ipam_audit_testkit::scenario::{AwsNodeChange, Place, Scenario, delete_pods};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::core::gvk::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, ResourceExt};

fn scenario(name: &str) -> Scenario {
    let at: Timestamp = "2026-03-02T09:30:00Z".parse().unwrap();
    Scenario::named(name).unwrap().at(at).unwrap()
}

fn listed<T: Clone>(assigned: &Assigned<T>) -> Vec<T> {
    match assigned {
        Assigned::List(list) => list.clone(),
        Assigned::Count(0) => Vec::new(),
        Assigned::Count(count) => panic!("{count} addresses are left to the simulator: no pod can have one of them"),
    }
}

/// Every address that an interface takes from its subnet.
fn addresses(interface: &Interface) -> Vec<Ipv4Addr> {
    let mut all: Vec<Ipv4Addr> = interface.primary.into_iter().chain(listed(&interface.secondary)).collect();
    all.extend(
        listed(&interface.prefixes)
            .iter()
            .flat_map(|block| block.network().into()..=block.broadcast().into())
            .map(|n: u32| Ipv4Addr::from(n)),
    );
    all
}

/// Free addresses by subnet id: the size without the five that AWS keeps, less what interfaces take, less what is kept for
/// prefixes and not taken.
fn free(seed: &Ec2Seed) -> BTreeMap<String, i64> {
    let size = |prefix: u8| (1_i64 << (32 - prefix)) - 5;
    let id = |id: &Option<String>| id.clone().unwrap();
    let mut free: BTreeMap<_, _> = seed.subnets.iter().map(|s| (id(&s.id), size(s.cidr.prefix_len()))).collect();
    for interface in &seed.interfaces {
        *free.get_mut(&interface.subnet).unwrap() -= i64::try_from(addresses(interface).len()).unwrap();
    }
    for reservation in seed.reservations.iter().filter(|one| one.kind == ReservationKind::Prefix) {
        let all = seed.interfaces.iter().filter(|interface| interface.subnet == reservation.subnet);
        let inside = all.flat_map(addresses).filter(|address| reservation.cidr.contains(address)).count();
        let cidr = seed.subnets.iter().find(|subnet| subnet.id.as_ref() == Some(&reservation.subnet)).unwrap().cidr;
        let first = u32::from(cidr.network());
        let by_aws = (first..first + 4).map(Ipv4Addr::from).chain([cidr.broadcast()]);
        let inside = inside + by_aws.filter(|address| reservation.cidr.contains(address)).count();
        let kept = (1_i64 << (32 - reservation.cidr.prefix_len())) - i64::try_from(inside).unwrap();
        *free.get_mut(&reservation.subnet).unwrap() -= kept;
    }
    free
}

#[test]
fn every_address_is_usable_unique_and_in_its_subnet() {
    for name in Scenario::names() {
        let seed = scenario(name).to_ec2_seed();
        let cidrs: BTreeMap<_, _> = seed.subnets.iter().map(|s| (s.id.clone().unwrap(), s.cidr)).collect();
        let mut given = BTreeSet::new();
        for interface in &seed.interfaces {
            let cidr = cidrs[&interface.subnet];
            for address in addresses(interface) {
                let offset = u32::from(address) - u32::from(cidr.network());
                assert!(cidr.contains(&address) && offset >= 4 && address != cidr.broadcast(), "{name}: {address}");
                assert!(given.insert(address), "{name}: {address} is given out twice");
            }
        }
        let ids: BTreeSet<_> = seed.interfaces.iter().map(|interface| interface.id.clone().unwrap()).collect();
        assert_eq!(ids.len(), seed.interfaces.len(), "{name}: an interface id is given out twice");
    }
}

#[test]
fn every_pod_has_an_address_of_its_own_node() {
    for name in Scenario::names() {
        let scenario = scenario(name);
        for node in &scenario.plan().nodes {
            let ordinary = node.interfaces.iter().filter(|interface| interface.kind == InterfaceKind::Interface);
            let not_own = |interface: &Interface| {
                let own = interface.primary;
                addresses(interface).into_iter().filter(move |address| Some(*address) != own).collect::<Vec<_>>()
            };
            let pool: BTreeSet<Ipv4Addr> = ordinary.flat_map(not_own).collect();
            let mut used = BTreeSet::new();
            for pod in &node.pods {
                match pod.place {
                    Place::Pool(address) => {
                        assert!(pool.contains(&address), "{name}: {} is not on {}", pod.name, node.name);
                        assert!(used.insert(address), "{name}: {address} has two pods");
                    }
                    Place::Branch(index) => assert_eq!(node.interfaces[index].kind, InterfaceKind::Branch),
                    Place::HostNetwork | Place::Waiting => {}
                }
            }
        }
    }
}

#[test]
fn the_incident_is_the_one_that_was_reported() {
    let scenario = scenario("incident");
    let free: Vec<i64> = free(&scenario.to_ec2_seed()).into_values().collect();
    assert_eq!(free, [13, 14, 14]);

    let batch: Vec<_> = scenario.nodes_of("batch").collect();
    assert_eq!(batch.len(), 120);
    for node in batch {
        assert_eq!(node.interfaces.iter().map(|one| addresses(one).len()).sum::<usize>(), 100);
        assert_eq!(node.pods.iter().filter(|pod| matches!(pod.place, Place::Pool(_))).count(), 1);
    }
    let pods: Vec<_> = scenario.plan().nodes.iter().flat_map(|node| &node.pods).collect();
    assert_eq!((scenario.plan().nodes.len(), pods.len()), (123, 422));
    assert_eq!(pods.iter().filter(|pod| pod.place == Place::Waiting).count(), 14);
    // They wait where no address is left: on nodes whose every pod address is in use.
    for node in scenario.plan().nodes.iter().filter(|node| node.pods.iter().any(|pod| pod.place == Place::Waiting)) {
        let used = node.pods.iter().filter(|pod| matches!(pod.place, Place::Pool(_))).count();
        assert_eq!(used, listed(&node.interfaces[0].secondary).len());
    }
}

#[test]
fn the_branch_scenario_has_trunks_at_and_below_their_own_limit() {
    let scenario = scenario("branch-limit");
    let branches = |group| -> Vec<usize> {
        let nodes = scenario.nodes_of(group);
        nodes.map(|node| node.interfaces.iter().filter(|one| one.kind == InterfaceKind::Branch).count()).collect()
    };
    assert_eq!(branches("payments"), [8, 8, 8, 9]);
    assert_eq!(branches("settlement"), [50]);
    let seed = scenario.to_ec2_seed();
    let trunks = seed.interfaces.iter().filter(|one| one.kind == InterfaceKind::Trunk);
    let trunks: BTreeSet<_> = trunks.map(|trunk| trunk.id.clone().unwrap()).collect();
    for branch in seed.interfaces.iter().filter(|one| one.kind == InterfaceKind::Branch) {
        assert!(trunks.contains(&branch.trunk.as_ref().unwrap().trunk));
        assert_eq!(branch.tags["vpcresources.k8s.aws/trunk-eni-id"], branch.trunk.as_ref().unwrap().trunk);
        assert!(branch.attachment.is_none(), "a branch has no attachment");
    }
}

#[test]
fn interfaces_carry_what_the_cni_writes_on_them() {
    let scenario = scenario("incident");
    let node = scenario.nodes_of("batch").next().unwrap();
    let [primary, second] = node.interfaces.as_slice() else { panic!("two interfaces") };
    assert_eq!(primary.description, "");
    assert_eq!(second.description, format!("aws-K8S-{}", node.instance));
    assert_eq!(second.tags["node.k8s.amazonaws.com/instance_id"], node.instance);
    assert_eq!(second.tags["cluster.k8s.amazonaws.com/name"], "shop-prod");
    assert_eq!(second.tags["node.k8s.amazonaws.com/createdAt"], "2026-03-01T03:30:00Z");
    assert!(!second.tags.contains_key("eks:eni:owner"), "only since v1.19.4");
    assert!(!primary.tags.contains_key("node.k8s.amazonaws.com/createdAt"), "nobody but ipamd's create writes it");
    let healthy = self::scenario("healthy");
    assert_eq!(healthy.plan().nodes[0].interfaces[0].tags["eks:eni:owner"], "amazon-vpc-cni");
}

#[test]
fn a_scenario_is_the_same_on_every_run() {
    for name in Scenario::names() {
        assert_eq!(scenario(name).to_ec2_seed(), scenario(name).to_ec2_seed());
    }
}

#[test]
fn released_addresses_are_those_that_no_pod_uses() {
    let scenario = scenario("incident");
    let mut seed = scenario.to_ec2_seed();
    let before = free(&seed);
    scenario.release_addresses(&mut seed, 10);
    let gained: Vec<i64> = free(&seed).iter().map(|(subnet, free)| free - before[subnet]).collect();
    // 88 of 98 pod addresses of each of 40 nodes, and the primary address of the interface that becomes empty. The web
    // nodes use all of theirs.
    assert_eq!(gained, [40 * 89, 40 * 89, 40 * 89]);
    let left: BTreeSet<Ipv4Addr> = seed.interfaces.iter().flat_map(addresses).collect();
    for pod in scenario.plan().nodes.iter().flat_map(|node| &node.pods) {
        assert!(
            !matches!(pod.place, Place::Pool(address) if !left.contains(&address)),
            "{} lost its address",
            pod.name
        );
    }
}

/// The simulator counts addresses in its own way and refuses what EC2 would: over limits, across zones, twice.
#[test]
fn the_simulator_takes_every_scenario_and_counts_the_same() {
    for name in Scenario::names() {
        let seed = scenario(name).to_ec2_seed();
        let world = World::load(seed.clone()).unwrap();
        for (subnet, free) in free(&seed) {
            assert_eq!(world.available(&subnet).map(i64::from), Some(free), "{name}: {subnet}");
        }
    }
}

/// Everything that the file format has and the shipped scenarios do without.
const UNUSUAL: &str = r"
name: unusual
region: us-east-1
cluster: lab
vpc: {id: vpc-1, cidr: 10.0.0.0/16, secondaryCidrs: [100.64.0.0/16]}
subnets:
- {name: nodes, id: subnet-1, zone: us-east-1a, cidr: 10.0.0.0/24, tags: {kubernetes.io/role/cni: '0'}}
- name: pods
  id: subnet-2
  zone: us-east-1a
  cidr: 100.64.0.0/24
  reservations: [{cidr: 100.64.0.64/26, kind: prefix}]
awsNode: {name: cni, version: v1.18.0, env: {ENABLE_PREFIX_DELEGATION: 'true'}}
daemonSets:
- {workload: logging/collector}
nodeGroups:
- name: workers
  instanceType: m5.large
  cpu: 2
  memory: 8Gi
  nodes: {nodes: 1}
  maxPods: 29
  labels: {team: lab}
  cordoned: true
  interfaces: [{}, {prefixes: 2, subnet: pods}, {secondary: 3, unmanaged: true}]
  pods: {lab/probe: 17}
leaked:
- {subnet: pods, count: 2, secondary: 4, prefixes: 1, ageHours: 5}
others:
- {owner: instance, name: jump host, count: {nodes: 1}}
";

#[test]
fn prefixes_custom_networking_leaks_and_strangers_are_placed_too() {
    let scenario = Scenario::from_yaml(UNUSUAL).unwrap().at("2026-03-02T09:30:00Z".parse().unwrap()).unwrap();
    let seed = scenario.to_ec2_seed();
    let world = World::load(seed.clone()).unwrap();
    let [node] = scenario.plan().nodes.as_slice() else { panic!("one node") };
    let [_, second, unmanaged] = node.interfaces.as_slice() else { panic!("three interfaces") };

    // Prefixes come out of the reservation first; pods have addresses of prefixes, never unmanaged ones.
    let reserved = "100.64.0.64/26".parse::<ipnet::Ipv4Net>().unwrap();
    let blocks = listed(&second.prefixes);
    assert!(blocks.len() == 2 && blocks.iter().all(|block| reserved.contains(block)), "{blocks:?}");
    let places = node.pods.iter().filter_map(|pod| match pod.place {
        Place::Pool(address) => Some(address),
        _ => None,
    });
    let places: BTreeSet<Ipv4Addr> = places.collect();
    assert_eq!(places.len(), 17 + 1, "the collector has an address of its own");
    assert!(places.iter().all(|address| blocks.iter().any(|block| block.contains(address))));
    assert_eq!(unmanaged.tags["node.k8s.amazonaws.com/no_manage"], "true");
    assert!(!second.tags.contains_key("cluster.k8s.amazonaws.com/name"), "without CLUSTER_NAME");

    // 251 usable. Nodes: the primary, the unmanaged one with three, the stranger. Pods: one primary, the reservation
    // as a whole with all prefixes in it, and twice one primary with four.
    assert_eq!(world.available("subnet-1"), Some(251 - 1 - 4 - 1));
    assert_eq!(world.available("subnet-2"), Some(251 - 1 - 64 - 2 * 5));
    let leaked: Vec<_> = seed.interfaces.iter().filter(|one| one.attachment.is_none()).collect();
    assert_eq!(leaked.len(), 2);
    assert!(leaked.iter().all(|one| one.description.starts_with("aws-K8S-i-")));
    assert_eq!(leaked[0].tags["node.k8s.amazonaws.com/createdAt"], "2026-03-02T04:30:00Z");
    assert_eq!(seed.instances.len(), 2, "the stranger's instance exists");
}

#[test]
fn mistakes_in_a_file_are_named() {
    let failure = |yaml: &str| format!("{:#}", Scenario::from_yaml(yaml).unwrap_err());
    let small = include_str!("../../../tests/scenarios/healthy.yaml");
    let too_many = failure(&small.replace("tea/kettle: 3", "tea/kettle: 30"));
    assert!(too_many.contains("node general/a/1") && too_many.contains("fewer addresses than its pods"), "{too_many}");
    let nowhere = failure(&small.replace("nodes: {a: 2", "nodes: {x: 2"));
    assert!(nowhere.contains("no subnet called \"x\""), "{nowhere}");
    let typo = failure(&small.replace("maxPods:", "maxPod:"));
    assert!(typo.contains("maxPod"), "{typo}");
    let workload = failure(&small.replace("tea/kettle", "kettle"));
    assert!(workload.contains("namespace/name"), "{workload}");
    let unknown = format!("{:#}", Scenario::named("incidnet").unwrap_err());
    assert!(unknown.contains("branch-limit, healthy, incident"), "{unknown}");
}

/// The largest shipped scenario, and what tests do to it afterwards.
#[tokio::test]
async fn the_incident_loads_into_a_real_api_server() -> Result<()> {
    // With the garbage collector: a pod whose owner did not exist would not survive it.
    let plane = ControlPlane::start(Options { controller_manager: true, ..Options::default() }).await?;
    let client = plane.client().await?;
    let mut scenario = Scenario::named("incident")?;
    scenario.load_into(&client).await?;
    nodes_look_like_those_of_eks(&scenario, &client).await?;
    pods_have_the_addresses_of_the_plan(&scenario, &client).await?;
    waiting_pods_say_why(&client).await?;
    aws_node_can_be_changed(&mut scenario, &client).await?;
    let gone = delete_pods(&client, "shop", "app=resizer").await?;
    let left = Api::<Pod>::namespaced(client, "shop").list(&ListParams::default().labels("app=resizer")).await?;
    assert_eq!((gone, left.items.len()), (120, 0));
    Ok(())
}

async fn nodes_look_like_those_of_eks(scenario: &Scenario, client: &Client) -> Result<()> {
    let planned = scenario.nodes_of("batch").next().unwrap();
    let node = Api::<Node>::all(client.clone()).get(&planned.name).await?;
    assert_eq!(node.labels()["eks.amazonaws.com/nodegroup"], "batch");
    assert_eq!(node.labels()["node.kubernetes.io/instance-type"], "m6a.32xlarge");
    let spec = node.spec.unwrap();
    assert_eq!(spec.provider_id, Some(format!("aws:///eu-central-1a/{}", planned.instance)));
    assert_eq!(spec.taints, None, "the taint of a node that is not ready is gone");
    let status = node.status.unwrap();
    assert_eq!(status.allocatable.unwrap()["pods"].0, "250");
    let ready = status.conditions.unwrap().into_iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    Ok(())
}

async fn pods_have_the_addresses_of_the_plan(scenario: &Scenario, client: &Client) -> Result<()> {
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?;
    assert_eq!(pods.items.len(), 422);
    let planned = scenario.plan().nodes.iter().flat_map(|node| &node.pods);
    let planned: BTreeMap<_, _> = planned.map(|pod| (pod.name.as_str(), &pod.place)).collect();
    for pod in &pods {
        let status = pod.status.clone().unwrap();
        let name = pod.name_any();
        match planned[name.as_str()] {
            Place::Pool(address) => assert_eq!(status.pod_ip, Some(address.to_string()), "{name}"),
            Place::HostNetwork => assert_eq!(status.pod_ip, status.host_ip, "{name}"),
            Place::Waiting => assert_eq!((status.phase.as_deref(), status.pod_ip), (Some("Pending"), None), "{name}"),
            Place::Branch(_) => panic!("{name}: there are no branches in this scenario"),
        }
    }
    Ok(())
}

async fn waiting_pods_say_why(client: &Client) -> Result<()> {
    let events = Api::<Event>::all(client.clone()).list(&ListParams::default()).await?;
    let sandbox = events.items.iter().filter(|event| event.reason.as_deref() == Some("FailedCreatePodSandBox"));
    let notes: Vec<_> = sandbox.map(|event| event.note.clone().unwrap()).collect();
    assert_eq!(notes.len(), 14);
    let end =
        "plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container";
    assert!(notes.iter().all(|note| note.ends_with(end)), "{notes:?}");
    Ok(())
}

async fn aws_node_can_be_changed(scenario: &mut Scenario, client: &Client) -> Result<()> {
    let env = [("WARM_IP_TARGET", Some("3")), ("WARM_ENI_TARGET", None)];
    scenario.set_aws_node_env(client, &env, AwsNodeChange::TemplateOnly).await?;
    let set = Api::<DaemonSet>::namespaced(client.clone(), "kube-system").get("aws-node").await?;
    let template = set.spec.unwrap().template.spec.unwrap();
    assert_eq!(
        (env_of(&template, "WARM_IP_TARGET"), env_of(&template, "WARM_ENI_TARGET")),
        (Some("3".to_owned()), None)
    );
    assert_eq!(pod_values(client, "WARM_IP_TARGET").await?, BTreeMap::from([(None, 123)]));

    scenario.set_aws_node_env(client, &env, AwsNodeChange::RolledOut).await?;
    assert_eq!(pod_values(client, "WARM_IP_TARGET").await?, BTreeMap::from([(Some("3".to_owned()), 123)]));
    assert_eq!(pod_values(client, "WARM_ENI_TARGET").await?, BTreeMap::from([(None, 123)]));
    Ok(())
}

/// How many aws-node pods run with which value of a variable.
async fn pod_values(client: &Client, name: &str) -> Result<BTreeMap<Option<String>, usize>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let mut values = BTreeMap::new();
    for pod in pods.list(&ListParams::default().labels("k8s-app=aws-node")).await? {
        *values.entry(env_of(&pod.spec.unwrap(), name)).or_default() += 1;
    }
    Ok(values)
}

fn env_of(spec: &k8s_openapi::api::core::v1::PodSpec, name: &str) -> Option<String> {
    let container = spec.containers.iter().find(|container| container.name == "aws-node")?;
    container.env.iter().flatten().find(|variable| variable.name == name)?.value.clone()
}

#[tokio::test]
async fn branches_and_trunks_show_in_kubernetes() -> Result<()> {
    let plane = ControlPlane::start(Options::default()).await?;
    let client = plane.client().await?;
    let scenario = Scenario::named("branch-limit")?;
    scenario.load_into(&client).await?;
    a_second_scenario_may_share_the_cluster(&client).await?;

    let planned = scenario.nodes_of("settlement").next().unwrap();
    let node = Api::<Node>::all(client.clone()).get(&planned.name).await?;
    assert_eq!(node.status.unwrap().allocatable.unwrap()["vpc.amazonaws.com/pod-eni"].0, "54");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("vpcresources.k8s.aws", "v1alpha1", "CNINode"));
    let cni_node = Api::<DynamicObject>::all_with(client.clone(), &resource).get(&planned.name).await?;
    assert_eq!(cni_node.data["spec"]["features"][0]["name"], "SecurityGroupsForPods");

    let pods = Api::<Pod>::namespaced(client, "ledger").list(&ListParams::default().labels("app=settlement")).await?;
    assert_eq!(pods.items.len(), 50);
    for pod in pods {
        let annotation: serde_json::Value = serde_json::from_str(&pod.annotations()["vpc.amazonaws.com/pod-eni"])?;
        assert_eq!(annotation[0]["privateIp"].as_str(), pod.status.unwrap().pod_ip.as_deref());
        let limits = pod.spec.unwrap().containers[0].resources.clone().unwrap().limits.unwrap();
        assert_eq!(limits["vpc.amazonaws.com/pod-eni"].0, "1");
    }
    Ok(())
}

/// With its own names: a renamed aws-node, which keeps its label, and a cordoned node.
async fn a_second_scenario_may_share_the_cluster(client: &Client) -> Result<()> {
    let scenario = Scenario::from_yaml(UNUSUAL)?;
    scenario.load_into(client).await?;
    let node = Api::<Node>::all(client.clone()).get(&scenario.plan().nodes[0].name).await?;
    assert_eq!(node.labels()["team"], "lab");
    let spec = node.spec.unwrap();
    assert_eq!(spec.unschedulable, Some(true));
    let taints: Vec<_> = spec.taints.unwrap().into_iter().map(|taint| taint.key).collect();
    assert_eq!(taints, ["node.kubernetes.io/unschedulable"]);
    let sets = Api::<DaemonSet>::namespaced(client.clone(), "kube-system");
    let found = sets.list(&ListParams::default().labels("k8s-app=aws-node")).await?;
    let names: Vec<_> = found.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["aws-node", "cni"]);
    Ok(())
}
