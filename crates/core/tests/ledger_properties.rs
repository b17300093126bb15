//! What holds for the ledger of every cluster, however odd: every address has exactly one class, and the sums show it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    engine,
    ids::{InstanceId, NodeName},
    inventory::{
        Attachment, CidrReservation, Interface, InterfaceKind, InterfaceStatus, InterfaceTraits, Inventory,
        ReservationKind, Subnet,
    },
    memory::Memory,
    net::Prefix28,
    outcome::{AuditOutcome, SubnetLedger},
    policy::AuditPolicy,
    snapshot::{
        AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, BranchUse, ClusterObjects, ClusterSnapshot, EnvValue, Node,
        NodeState, Platform, Pod, PodFields, PodPhase, TrunkHints,
    },
    source::{FaultCategory, Reading},
    tags::Tags,
};
use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};

const NODES: usize = 3;
/// Two subnets of 1,024 addresses: single addresses are taken from below, prefixes from the upper half.
const SUBNETS: u32 = 2;
const SIZE: u32 = 1024;

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

#[derive(Debug, Clone)]
struct AnInterface {
    subnet: u32,
    node: Option<usize>,
    card: u32,
    kind: InterfaceKind,
    available: bool,
    description: &'static str,
    tags: Vec<(&'static str, String)>,
    created_minutes: Option<i64>,
    singles: u32,
    prefixes: u32,
}

#[derive(Debug, Clone)]
struct APod {
    node: usize,
    /// Which of all addresses of the cluster; none for one that nobody has.
    address: Option<usize>,
    phase: PodPhase,
    finished_seconds: Option<i64>,
    host_network: bool,
    terminating: bool,
}

#[derive(Debug, Clone)]
struct ACluster {
    env: Vec<(&'static str, &'static str)>,
    cni_seen: bool,
    types: Vec<&'static str>,
    interfaces: Vec<AnInterface>,
    pods: Vec<APod>,
    hidden: u32,
    reserved: bool,
}

fn an_interface() -> impl Strategy<Value = AnInterface> {
    let words = select(vec![
        "",
        "aws-K8S-i-0",
        "aws-K8S-i-9",
        "aws-k8s-trunk-eni",
        "aws-k8s-branch-eni",
        "ELB app/shop",
        "Amazon EKS prod",
        "VPC Endpoint Interface vpce-1",
        "database of somebody",
    ]);
    let kinds = select(vec![
        InterfaceKind::Interface,
        InterfaceKind::Interface,
        InterfaceKind::Trunk,
        InterfaceKind::Branch,
        InterfaceKind::EfaOnly,
        InterfaceKind::Other("nat_gateway".into()),
        InterfaceKind::Other("something_new".into()),
    ]);
    let tags = select(vec![
        vec![],
        vec![("node.k8s.amazonaws.com/no_manage", "true".to_owned())],
        vec![("cluster.k8s.amazonaws.com/name", "elsewhere".to_owned())],
    ]);
    let created = select(vec![None, Some(5), Some(180)]);
    let place = (0..SUBNETS, option::weighted(0.6, 0..=NODES), 0..2_u32, any::<bool>());
    (place, kinds, words, (tags, created), 0..12_u32, 0..3_u32).prop_map(
        |((subnet, node, card, available), kind, description, (tags, created_minutes), singles, prefixes)| {
            AnInterface { subnet, node, card, kind, available, description, tags, created_minutes, singles, prefixes }
        },
    )
}

fn a_pod() -> impl Strategy<Value = APod> {
    let phases = select(vec![PodPhase::Running, PodPhase::Pending, PodPhase::Finished]);
    (0..NODES, option::weighted(0.9, 0..400_usize), phases, option::of(0..100_i64), any::<[bool; 3]>()).prop_map(
        |(node, address, phase, finished_seconds, [a, b, terminating])| APod {
            node,
            address,
            phase,
            finished_seconds,
            host_network: a && b,
            terminating,
        },
    )
}

fn a_cluster() -> impl Strategy<Value = ACluster> {
    let env = vec(
        (
            select(vec![
                "ENABLE_PREFIX_DELEGATION",
                "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
                "ENABLE_MULTI_NIC",
                "MANAGE_UNTAGGED_ENI",
            ]),
            select(vec!["true", "false"]),
        ),
        0..4,
    );
    let types = vec(select(vec!["m5.large", "m4.large", "unheard.of"]), NODES);
    let interfaces = vec(an_interface(), 0..12);
    (env, any::<bool>(), types, interfaces, vec(a_pod(), 0..60), prop_oneof![Just(0_u32), 0..50_u32], any::<bool>())
        .prop_map(|(env, cni_seen, types, interfaces, pods, hidden, reserved)| ACluster {
            env,
            cni_seen,
            types,
            interfaces,
            pods,
            hidden,
            reserved,
        })
}

fn name(node: usize) -> NodeName {
    format!("node-{node}").into()
}

fn instance(node: usize) -> InstanceId {
    format!("i-{node}").into()
}

/// Gives every interface addresses that nobody else has.
fn interfaces(cluster: &ACluster) -> Vec<Interface> {
    let mut singles: Vec<u32> = (0..SUBNETS).map(|at| 0x0a00_0000 + at * SIZE + 4).collect();
    let mut prefixes: Vec<u32> = (0..SUBNETS).map(|at| 0x0a00_0000 + at * SIZE + SIZE / 2).collect();
    let row = |(at, spec): (usize, &AnInterface)| {
        let subnet = spec.subnet as usize;
        let mut single = || {
            singles[subnet] += 1;
            Ipv4Addr::from(singles[subnet] - 1)
        };
        let has_addresses = spec.kind != InterfaceKind::EfaOnly;
        let primary = has_addresses.then(&mut single);
        let secondary = (0..if has_addresses { spec.singles } else { 0 }).map(|_| single()).collect();
        let mut prefix = || {
            prefixes[subnet] += 16;
            Prefix28::containing(Ipv4Addr::from(prefixes[subnet] - 16))
        };
        let tags: Tags = spec.tags.iter().map(|(key, value)| ((*key).into(), value.as_str().into())).collect();
        Interface {
            id: format!("eni-{at:02}").into(),
            traits: Arc::new(InterfaceTraits {
                status: if spec.available { InterfaceStatus::Available } else { InterfaceStatus::InUse },
                ..InterfaceTraits::new(format!("subnet-{subnet}").into(), spec.kind.clone())
            }),
            description: spec.description.into(),
            primary,
            secondary,
            prefixes: (0..if has_addresses { spec.prefixes } else { 0 }).map(|_| prefix()).collect(),
            attachment: spec.node.filter(|_| spec.kind != InterfaceKind::Branch).map(|node| Attachment {
                instance: Some(instance(node)),
                device_index: u32::try_from(at).unwrap(),
                card_index: spec.card,
                delete_on_termination: Some(true),
                attached_at: None,
            }),
            created_at: spec.created_minutes.map(|ago| now() - SignedDuration::from_mins(ago)),
            tags,
        }
    };
    cluster.interfaces.iter().enumerate().map(row).collect()
}

fn pod(at: usize, spec: &APod, addresses: &[Ipv4Addr]) -> Pod {
    let fields = PodFields {
        namespace: "shop".into(),
        name: format!("pod-{at}").into(),
        uid: format!("uid-{at}").into(),
        workload: Some("Deployment shop".into()),
        node: Some(name(spec.node)),
        address: spec.address.map(|index| addresses.get(index).copied().unwrap_or(Ipv4Addr::new(192, 0, 2, 1))),
        host_network: spec.host_network,
        phase: spec.phase,
        terminating: spec.terminating,
        branch: BranchUse::No,
        created_at: None,
        scheduled_at: None,
        finished_at: spec.finished_seconds.map(|ago| now() - SignedDuration::from_secs(ago)),
        refused_at: None,
        traits: None,
    };
    fields.into()
}

fn node(at: usize, kind: &str) -> Arc<Node> {
    Arc::new(Node {
        name: name(at),
        uid: format!("uid-{at}").into(),
        instance: Some(instance(at)),
        instance_type: Some(kind.into()),
        zone: Some("eu-central-1a".into()),
        node_group: None,
        max_pods: Some(29),
        branch_slots: None,
        cordoned: false,
        // One of them is left alone.
        platform: if at == NODES - 1 { Platform::Windows } else { Platform::LinuxEc2 },
        created_at: None,
        trunk_hints: TrunkHints::default(),
        labels: Tags::default(),
        annotations: Tags::default(),
        state: NodeState::default(),
    })
}

fn subnet(at: u32, taken: u32) -> Subnet {
    let network = Ipv4Addr::from(0x0a00_0000 + at * SIZE);
    Subnet {
        id: format!("subnet-{at}").into(),
        vpc: "vpc-1".into(),
        cidr: format!("{network}/22").parse().ok(),
        zone: "eu-central-1a".into(),
        zone_id: None,
        available: SIZE - 5 - taken,
        state: "available".into(),
        owner: None,
        ipv6: false,
        outpost: false,
        tags: Tags::default(),
    }
}

/// The last 64 addresses of a subnet: nobody has any of them but AWS, which has the last.
fn reservation(at: u32) -> CidrReservation {
    let first = Ipv4Addr::from(0x0a00_0000 + (at + 1) * SIZE - 64);
    let cidr = format!("{first}/26").parse().unwrap();
    CidrReservation { subnet: format!("subnet-{at}").into(), cidr, kind: ReservationKind::Prefix }
}

fn snapshot(cluster: &ACluster) -> ClusterSnapshot {
    let interfaces = interfaces(cluster);
    let all: Vec<Ipv4Addr> = interfaces
        .iter()
        .flat_map(|row| {
            let in_prefixes = row.prefixes.iter().flat_map(|prefix| (0..16).map(|at| u32::from(prefix.first()) + at));
            row.primary.iter().chain(&row.secondary).copied().chain(in_prefixes.map(Ipv4Addr::from))
        })
        .collect();
    let taken = |at: u32| -> u32 {
        let here = interfaces.iter().filter(|row| row.subnet.as_str() == format!("subnet-{at}"));
        here.map(Interface::addresses).sum::<u32>() + cluster.hidden + if cluster.reserved { 63 } else { 0 }
    };
    let subnets = (0..SUBNETS).map(|at| subnet(at, taken(at))).collect();
    let literal = |(key, value): &(&str, &str)| ((*key).to_owned(), EnvValue::Literal((*value).to_owned()));
    let values: BTreeMap<String, EnvValue> = cluster.env.iter().map(literal).collect();
    let env = Arc::new(AwsNodeEnv { image: "registry/amazon-k8s-cni:v1.23.1".into(), values });
    let aws_pods = (0..NODES - 1).map(|at| AwsNodePod::running(name(at), Arc::clone(&env)));
    let reservations = if cluster.reserved { (0..SUBNETS).map(reservation).collect() } else { Vec::new() };
    ClusterSnapshot {
        taken_at: now(),
        nodes: Reading::fresh(cluster.types.iter().enumerate().map(|(at, kind)| node(at, kind)).collect(), now()),
        pods: Reading::fresh(cluster.pods.iter().enumerate().map(|(at, spec)| pod(at, spec, &all)).collect(), now()),
        aws_node: Reading::fresh(
            AwsNode {
                daemon_set: "kube-system/aws-node".into(),
                template: Arc::clone(&env),
                pods: if cluster.cni_seen { aws_pods.collect() } else { Vec::new() },
                manifest: AwsNodeManifest::default(),
            },
            now(),
        ),
        cni_nodes: Reading::missing(FaultCategory::NotFound, "none"),
        ipamd: Reading::not_collected(),
        objects: ClusterObjects::default(),
        ec2: Inventory {
            subnets: Reading::fresh(subnets, now()),
            interfaces: Reading::fresh(interfaces.into(), now()),
            reservations: Reading::fresh(reservations, now()),
            ..Inventory::default()
        },
    }
}

fn sum(ledger: &SubnetLedger) -> i64 {
    let SubnetLedger { reserved, own, pods, finished, warm, cooling, stranded, .. } = *ledger;
    let SubnetLedger { branches, leaked, other, reserved_ranges, unaccounted, .. } = *ledger;
    let classes = [reserved, own, pods, finished, warm, cooling, stranded, branches, leaked, other, reserved_ranges]
        .map(i64::from);
    classes.iter().sum::<i64>() + unaccounted
}

fn check_subnets(cluster: &ACluster, outcome: &AuditOutcome) {
    for subnet in &outcome.subnets {
        let ledger = subnet.ledger.unwrap();
        assert_eq!(sum(&ledger) + i64::from(subnet.free), i64::from(SIZE), "{ledger:?}");
        assert_eq!(subnet.others.iter().map(|(_, addresses)| addresses).sum::<u32>(), ledger.other);
        assert_eq!(ledger.unaccounted, i64::from(cluster.hidden), "all but the hidden is visible: {ledger:?}");
        assert_eq!(ledger.reserved_ranges, if cluster.reserved { 63 } else { 0 });
    }
}

fn check_nodes(snapshot: &ClusterSnapshot, outcome: &AuditOutcome) {
    for node in &outcome.nodes {
        let addresses = node.addresses.unwrap();
        let id = node.name.as_str().replace("node-", "i-");
        let attached = snapshot.ec2.interfaces.value().unwrap().iter().filter(|row| {
            row.attachment.as_ref().and_then(|at| at.instance.as_ref()).is_some_and(|at| at.as_str() == id)
        });
        assert_eq!(attached.map(Interface::addresses).sum::<u32>(), addresses.own + addresses.held);
        assert_eq!(addresses.held, addresses.used + addresses.idle);
        let idle = [addresses.finished, addresses.warm, addresses.cooling, addresses.stranded];
        assert_eq!(addresses.idle, idle.iter().sum::<u32>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_address_has_exactly_one_class(cluster in a_cluster()) {
        let snapshot = snapshot(&cluster);
        let outcome = engine::evaluate(&snapshot, &AuditPolicy::default(), &Memory::default());
        check_subnets(&cluster, &outcome);
        check_nodes(&snapshot, &outcome);
    }
}
