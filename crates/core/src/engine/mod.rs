//! Evaluate: snapshot and policy in, outcome out. Infallible and deterministic; two runs give the same bytes.

mod complete;
mod conditions;
mod problems;
mod run;
mod summary;
mod totals;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    facts::{Blocks, Facts, NodeFacts, Pool, PoolInterface, SubnetFacts, lookup::Map},
    finding::{Finding, Home},
    ids::VpcId,
    intern::{self, Interner},
    memory::Memory,
    outcome::{
        AuditOutcome, CniSeen, Condition, InterfaceOutcome, IpamdOutcome, NodeAddresses, NodeOutcome, SubnetOutcome,
    },
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, Platform},
};

/// One audit, knowing what earlier ones left in memory. A first one starts with an empty memory; the outcome holds the
/// memory for the next.
pub fn evaluate(snapshot: &ClusterSnapshot, policy: &AuditPolicy, memory: &Memory) -> AuditOutcome {
    let mut facts = Facts::of(snapshot, policy, memory);
    let run::Answers { rules, findings, suppressed, suspects, over, memory } = run::all(&facts, policy, memory);
    let problems = problems::of(&findings);
    let totals = totals::of(&facts, &problems);
    let trust = conditions::Trust::of(&facts, policy);
    let mut by_home = by_home(findings);
    let answer = summary::of(&facts, policy, &totals, &problems);
    let conditions = conditions::of_audit(&facts, &trust, &problems, &rules);
    let subnets = subnet_outcomes(&facts, &trust, &mut by_home);
    AuditOutcome {
        taken_at: snapshot.taken_at,
        answer,
        conditions,
        totals,
        cluster: facts.cluster.clone(),
        vpc: vpc(snapshot),
        sources: facts.sources.clone(),
        rules,
        problems,
        suppressed,
        over,
        left_alone: left_alone(&facts),
        suspects,
        memory,
        subnets,
        // At last, because the facts of a node are given up for its outcome.
        nodes: node_outcomes(&mut facts, &trust, &mut by_home),
        findings: left_over(by_home),
    }
}

/// Findings by what reports them, in lists that have no room to spare: there are thousands of them.
fn by_home(findings: Vec<Finding>) -> Map<Home, Vec<Finding>> {
    let mut counts: Map<&Home, usize> = Map::default();
    for finding in &findings {
        *counts.entry(&finding.home).or_default() += 1;
    }
    let lists = counts.into_iter().map(|(home, count)| (home.clone(), Vec::with_capacity(count)));
    let mut by_home: Map<Home, Vec<Finding>> = lists.collect();
    for finding in findings {
        by_home.entry(finding.home.clone()).or_default().push(finding);
    }
    by_home
}

/// Those of all nodes; the facts that only a node's own outcome needs are given up one node after the other, so that both
/// together never take much more than one of them.
fn node_outcomes(
    facts: &mut Facts<'_>,
    trust: &conditions::Trust,
    by_home: &mut Map<Home, Vec<Finding>>,
) -> Vec<NodeOutcome> {
    let mut shared = Shared::default();
    let next = facts.next_subnets();
    let mut outcomes = Vec::with_capacity(next.len());
    for (at, next_subnets) in next.into_iter().enumerate() {
        let Some(node) = facts.nodes.get(at) else { break };
        let findings = of_home(by_home, &Home::Node(node.node.name.clone()));
        let outcome = node_outcome(facts, trust, node, findings, &mut shared);
        outcomes.push(NodeOutcome { next_subnets, ..outcome });
        if let Some(node) = facts.nodes.get_mut(at) {
            node.give_up_addresses();
        }
    }
    outcomes
}

/// Those of all subnets, sorted by id.
fn subnet_outcomes(
    facts: &Facts<'_>,
    trust: &conditions::Trust,
    by_home: &mut Map<Home, Vec<Finding>>,
) -> Vec<SubnetOutcome> {
    let mut subnets: Vec<SubnetOutcome> = facts
        .every_subnet()
        .map(|subnet| subnet_outcome(trust, subnet, of_home(by_home, &Home::Subnet(subnet.subnet.id.clone()))))
        .collect();
    subnets.sort_by(|a, b| a.id.cmp(&b.id));
    subnets
}

/// What the outcomes of many nodes have in common, held once.
#[derive(Default)]
struct Shared {
    texts: Interner,
    conditions: HashSet<Arc<[Condition]>>,
    cni: HashSet<Arc<CniSeen>>,
}

impl Shared {
    fn conditions(&mut self, mut conditions: Vec<Condition>) -> Arc<[Condition]> {
        if let Some(known) = self.conditions.get(conditions.as_slice()) {
            return known.clone();
        }
        for condition in &mut conditions {
            condition.message = self.texts.text(&condition.message);
        }
        let list: Arc<[Condition]> = conditions.into();
        self.conditions.insert(list.clone());
        list
    }

    fn cni(&mut self, seen: CniSeen) -> Arc<CniSeen> {
        intern::shared(&mut self.cni, seen)
    }
}

/// The VPC that the view of EC2 is of.
fn vpc(snapshot: &ClusterSnapshot) -> Option<VpcId> {
    let of_vpcs = snapshot.ec2.vpcs.value().and_then(|vpcs| vpcs.first()).map(|vpc| &vpc.id);
    let of_subnets = || snapshot.ec2.subnets.value().and_then(|subnets| subnets.first()).map(|subnet| &subnet.vpc);
    of_vpcs.or_else(of_subnets).cloned()
}

/// Nodes whose addresses the VPC CNI does not manage, or whose pods have no IPv4 addresses: recognised, counted and left
/// alone.
fn left_alone(facts: &Facts<'_>) -> BTreeMap<&'static str, u32> {
    let mut counts = BTreeMap::new();
    for _ in facts.nodes.iter().filter(|node| node.ipv6) {
        *counts.entry("ipv6").or_default() += 1;
    }
    for node in facts.snapshot.nodes.value().into_iter().flatten().filter(|node| node.platform != Platform::LinuxEc2) {
        *counts.entry(node.platform.name()).or_default() += 1;
    }
    counts
}

/// What is about a node or a subnet that has no report of its own is not lost.
fn left_over(by_home: Map<Home, Vec<Finding>>) -> Vec<Finding> {
    let by_home: BTreeMap<Home, Vec<Finding>> = by_home.into_iter().collect();
    by_home.into_values().flatten().collect()
}

fn of_home(by_home: &mut Map<Home, Vec<Finding>>, home: &Home) -> Vec<Finding> {
    by_home.remove(home).unwrap_or_default()
}

fn node_outcome(
    facts: &Facts<'_>,
    trust: &conditions::Trust,
    node: &NodeFacts<'_>,
    findings: Vec<Finding>,
    shared: &mut Shared,
) -> NodeOutcome {
    let source = node.node;
    let attached = node.interfaces.as_ref().and_then(|list| u32::try_from(list.len()).ok());
    NodeOutcome {
        name: source.name.clone(),
        uid: source.uid.clone(),
        node_group: source.node_group.clone(),
        instance_type: source.instance_type.clone(),
        zone: source.zone.clone(),
        subnet: node.home().cloned(),
        cordoned: source.cordoned,
        max_pods: source.max_pods,
        capacity: node.pod_capacity(),
        interfaces: attached,
        interface_limit: node.limits.as_ref().and_then(crate::facts::interface_limit),
        addresses: node.pool.as_ref().map(|pool| NodeAddresses {
            held: pool.held,
            used: pool.used,
            idle: pool.idle,
            own: pool.own,
            prefixes: pool.prefixes,
            finished: pool.finished,
            warm: pool.warm,
            cooling: pool.cooling,
            stranded: pool.stranded,
        }),
        by_interface: node.pool.as_ref().map_or_else(Vec::new, by_interface),
        pool_pods: node.pool_pods,
        waiting_pods: node.pool_pods.map(|_| u32::try_from(node.waiting.len()).unwrap_or(u32::MAX)),
        branches: node.branch_slots().map(Box::new),
        cni: node.cni.as_ref().map(|cni| {
            shared.cni(CniSeen {
                version: cni.version_text(),
                mode: cni.mode_name(node.limits.as_ref()),
                targets: cni.targets_text(),
            })
        }),
        ipamd: ipamd_outcome(facts, node),
        next_subnets: Arc::default(),
        conditions: shared.conditions(conditions::of_node(facts, trust, node, &findings)),
        findings,
    }
}

fn ipamd_outcome(facts: &Facts<'_>, node: &NodeFacts<'_>) -> Option<Box<IpamdOutcome>> {
    facts.asks_ipamd().then(|| {
        let said = node.ipamd.and_then(|ipamd| ipamd.said.last_good.as_ref());
        Box::new(IpamdOutcome {
            reachable: facts.ipamd_answer(node).reachable(),
            said: said.map(|seen| seen.value.clone()),
            as_of: said.map(|seen| seen.as_of),
        })
    })
}

fn by_interface(pool: &Pool<'_>) -> Vec<InterfaceOutcome> {
    let outcome = |on: &PoolInterface<'_>, serves_pods: bool| {
        let uses = on.uses();
        InterfaceOutcome {
            id: on.interface.id.clone(),
            subnet: on.interface.subnet.clone(),
            serves_pods,
            addresses: NodeAddresses {
                held: uses.held(),
                used: uses.pods,
                idle: uses.idle(),
                own: uses.own,
                prefixes: u32::try_from(on.interface.prefixes.len()).unwrap_or(u32::MAX),
                finished: uses.finished,
                warm: uses.warm,
                cooling: uses.cooling,
                stranded: uses.stranded,
            },
        }
    };
    let serving = pool.interfaces.iter().map(|on| outcome(on, true));
    serving.chain(pool.apart.iter().map(|on| outcome(on, false))).collect()
}

fn subnet_outcome(trust: &conditions::Trust, facts: &SubnetFacts<'_>, findings: Vec<Finding>) -> SubnetOutcome {
    let subnet = facts.subnet;
    let blocks = facts.blocks.as_ref();
    SubnetOutcome {
        id: subnet.id.clone(),
        zone: subnet.zone.clone(),
        cidr: subnet.cidr.map(|cidr| cidr.to_string()),
        nodes: u32::try_from(facts.nodes.len()).unwrap_or(u32::MAX),
        usable: facts.usable,
        free: subnet.available,
        free_prefixes: facts.free_prefixes,
        free_prefixes_min: facts.free_prefixes_min,
        largest_free: blocks.and_then(Blocks::largest_free).map(|range| range.prefix_len()),
        fragmentation_percent: blocks.and_then(Blocks::fragmentation_percent),
        block_map: blocks.map(Blocks::map).filter(|map| !map.is_empty()),
        roles: facts.roles(),
        needs: facts.needs(),
        ledger: facts.ledger,
        others: facts.others.clone(),
        new_node_takes: facts.new_node_takes,
        runway: facts.is_full().then_some("now"),
        conditions: conditions::of_subnet(trust, facts, &findings),
        findings,
    }
}
