//! IPAM431: addresses on a node that no pod can get in the CNI's present mode.

use jiff::SignedDuration;

use super::waste;
use crate::{
    facts::{Facts, NodeFacts, Pool, PoolInterface},
    finding::Severity,
    inventory::InterfaceKind,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// Addresses on the node can be used by no pod in the CNI's present mode.
    ///
    /// ## What it means
    ///
    /// The CNI gives pods either single addresses or addresses out of /28 prefixes, never both on one node. What is
    /// left of the other kind stays with the node and serves nobody.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_PREFIX_DELEGATION` was switched while the node ran: what pods used at that moment is left over when they
    /// end, because the CNI looks for leftovers only when it starts. With custom networking prefixes on the primary
    /// interface are left over as well. Old versions could also put addresses on a trunk.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,PrivateIpAddresses[?!Primary].PrivateIpAddress,Ipv4Prefixes]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node; nodes should always be replaced after a change of mode. If leftovers of the other kind are all,
    /// a restart of the CNI's pod on the node gives them back, too.
    ///
    /// ## What it costs
    ///
    /// A restart of the CNI's pod does not touch pods that run; a new node moves them.
    ///
    /// ## When it fires
    ///
    /// A node has single addresses without a pod in prefix mode, prefixes without a pod in the other mode or on the
    /// primary interface under custom networking, or addresses on its trunk, in two readings at least
    /// `spec.thresholds.suspicionSeconds` (default 60) apart. Warning if they are more than `spec.thresholds.idleAddresses` (default 16)
    /// and the subnet is low or full, info otherwise. Addresses on interfaces that the CNI does not manage are not
    /// judged: they are somebody's.
    pub AddressesStranded;
    code: "IPAM431",
    name: "addresses-stranded",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

/// Left over on one node, by why.
#[derive(Debug, Default, Clone, Copy)]
struct Leftovers {
    singles: u32,
    in_prefixes: u32,
    on_primary: u32,
    on_trunk: u32,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    let settled = facts.nodes.iter().filter(|node| !facts.is_young(node));
    for (node, pool) in settled.filter_map(|node| Some((node, node.pool.as_ref()?))) {
        let left = Leftovers::of(pool);
        if left.all() > 0 {
            let thresholds = policy.for_node(node.node);
            let apart = SignedDuration::from_secs(thresholds.suspicion_seconds.into());
            let many = left.all() > thresholds.idle_addresses;
            found.suspicion(Place::node(node), "", seen_at, apart, violation(facts, node, pool, left, many));
        }
    }
}

impl Leftovers {
    fn of(pool: &Pool<'_>) -> Self {
        let mut left = Self::default();
        for on in &pool.interfaces {
            let stranded = on.uses().stranded;
            match (on.singles_serve, on.prefixes_serve) {
                (false, true) => left.singles += stranded,
                (true, false) if is_primary(on) && serves_prefixes(pool) => left.on_primary += stranded,
                (true, false) => left.in_prefixes += stranded,
                _ => left.on_primary += stranded,
            }
        }
        let trunks = pool.apart.iter().filter(|on| on.interface.kind == InterfaceKind::Trunk);
        left.on_trunk = trunks.map(|on| on.uses().stranded).sum();
        left
    }

    const fn all(self) -> u32 {
        self.singles + self.in_prefixes + self.on_primary + self.on_trunk
    }

    fn text(self) -> String {
        let parts = [
            (self.singles, "single, while pods get theirs out of prefixes"),
            (self.in_prefixes, "in prefixes, while pods get single ones"),
            (self.on_primary, "on the primary interface, which custom networking leaves aside"),
            (self.on_trunk, "on the trunk"),
        ];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        let texts: Vec<String> = parts.map(|(number, why)| format!("{} {why}", text::thousands(*number))).collect();
        text::list(&texts, "and", texts.len())
    }
}

fn is_primary(on: &PoolInterface<'_>) -> bool {
    on.interface.attachment.as_ref().is_some_and(crate::inventory::Attachment::is_primary)
}

fn serves_prefixes(pool: &Pool<'_>) -> bool {
    pool.interfaces.iter().any(|on| on.prefixes_serve)
}

fn violation(facts: &Facts<'_>, node: &NodeFacts<'_>, pool: &Pool<'_>, left: Leftovers, many: bool) -> sink::Violation {
    let by_restart = left.singles + left.in_prefixes;
    let pod = node.aws_node.map(|pod| &*pod.name).filter(|name| !name.is_empty());
    let namespace = facts.snapshot.aws_node.value().and_then(|aws_node| aws_node.daemon_set.split_once('/'));
    let restart = match (pod, namespace) {
        (Some(pod), Some((namespace, _))) if by_restart > 0 => {
            format!(" kubectl delete pod -n {namespace} {pod} makes the CNI look for its leftovers at once.")
        }
        _ => String::new(),
    };
    sink::Violation {
        severity: if many { waste::severity(facts, node) } else { Severity::Info },
        message: format!(
            "{} of {} can be used by no pod: {}",
            text::thousands(left.all()),
            text::count(pool.held, "pod address"),
            left.text(),
        ),
        remediation: format!("Replace the node: that gives {} back.{restart}", text::count(left.all(), "address")),
        evidence: vec![
            sink::evidence("stranded", left.all()),
            sink::evidence("held", pool.held),
            sink::evidence("mode", node.cni.as_ref().map_or("?", |cni| cni.mode_name(node.limits.as_ref()))),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            addresses::{answer, interfaces, of, once, proven, twice},
            fixtures::Cluster,
        },
    };

    const CODE: &str = "IPAM431";

    /// A node with eight single addresses, three of them with pods, and a prefix.
    fn mixed(env: &[(&str, &str)]) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", env).node("m5.large", 29, &[8], 3).snapshot();
        interfaces(&mut snapshot)[0].prefixes = ["10.0.0.64/28".parse().unwrap()].into();
        snapshot
    }

    #[test]
    fn single_addresses_without_pods_are_stranded_in_prefix_mode() {
        let snapshot = mixed(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")]);
        let messages = proven(&snapshot, CODE);
        assert_eq!(
            messages,
            ["5 of 24 pod addresses can be used by no pod: 5 single, while pods get theirs out of prefixes"]
        );
        assert_eq!(of(&once(&snapshot), CODE), []);
        let addresses = twice(&snapshot, 60).nodes[0].addresses.unwrap();
        assert_eq!((addresses.used, addresses.warm, addresses.stranded), (3, 16, 5));
    }

    #[test]
    fn prefixes_are_stranded_in_the_other_mode() {
        let messages = proven(&mixed(&[]), CODE);
        assert_eq!(
            messages,
            ["16 of 24 pod addresses can be used by no pod: 16 in prefixes, while pods get single ones"]
        );
    }

    #[test]
    fn one_kind_is_right() {
        let snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[8], 3).snapshot();
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
    }

    #[test]
    fn under_custom_networking_prefixes_of_the_primary_are_left_over() {
        let env = [
            ("ENABLE_PREFIX_DELEGATION", "true"),
            ("WARM_PREFIX_TARGET", "1"),
            ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"),
        ];
        let mut snapshot = Cluster::new("10.0.0.0/24", &env).node("m5.large", 29, &[0, 0], 0).snapshot();
        for (row, prefix) in interfaces(&mut snapshot).iter_mut().zip(["10.0.0.64/28", "10.0.0.80/28"]) {
            row.prefixes = [prefix.parse().unwrap()].into();
        }
        let messages = proven(&snapshot, CODE);
        assert_eq!(
            messages,
            [
                "16 of 32 pod addresses can be used by no pod: 16 on the primary interface, which custom networking leaves \
              aside"
            ]
        );
    }

    #[test]
    fn without_the_cni_it_cannot_tell() {
        let mut snapshot = mixed(&[]);
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::AwsNode], suspects: 0 });
    }
}
