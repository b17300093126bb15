//! IPAM206: an instance type whose limits are not known, here or to the CNI.

use std::collections::BTreeMap;

use crate::{
    facts::{Facts, NodeFacts},
    finding::{Severity, Subject},
    ids::InstanceType,
    limits,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The limits of an instance type are not known, here or to the CNI.
    ///
    /// ## What it means
    ///
    /// What a node can hold follows from the limits of its type: how many interfaces, how many addresses on each. If
    /// nobody here knows them, the audit leaves the capacity and the warm pool of such nodes open. If only the CNI does
    /// not know them, it asks EC2 at its start and takes the sum over all network cards for the limit of the one card
    /// that it uses: on types with several cards it asks for interfaces that cannot be attached.
    ///
    /// ## Why it happens
    ///
    /// The type is newer than the table in this program, or than the one in the CNI.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-instance-types --instance-types TYPE \
    ///     --query 'InstanceTypes[].NetworkInfo.[MaximumNetworkInterfaces,NetworkCards[].MaximumNetworkInterfaces]' --output text
    /// kubectl get nodes -L node.kubernetes.io/instance-type
    /// ```
    ///
    /// ## What to do
    ///
    /// Allow `ec2:DescribeInstanceTypes` to the audit, which then asks EC2; or upgrade it. For the CNI: upgrade it, or
    /// set `MAX_ENI` to the limit of the type's first card.
    ///
    /// ## What it costs
    ///
    /// A right to read, or a rollout of aws-node, during which running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// A node's type is neither described by EC2 nor in the table of this program (info); or the table of the CNI lacks a
    /// type with several network cards (warning).
    pub UnknownInstanceType;
    code: "IPAM206",
    name: "unknown-instance-type",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut types: BTreeMap<&InstanceType, Vec<&NodeFacts<'_>>> = BTreeMap::new();
    for node in &facts.nodes {
        if let Some(name) = &node.node.instance_type {
            types.entry(name).or_default().push(node);
        }
    }
    for (name, nodes) in types {
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        let unknown_here = nodes.iter().all(|node| node.limits.is_none());
        let violation = if unknown_here { Some(unknown(facts, name, count)) } else { unknown_to_cni(name, count) };
        if let Some(violation) = violation {
            found.subject(Subject::Object("InstanceType", name.as_str().into()), violation);
        }
    }
}

fn unknown(facts: &Facts<'_>, name: &InstanceType, nodes: u32) -> sink::Violation {
    let remedy = if facts.is_missing(Source::InstanceTypes) {
        "Allow ec2:DescribeInstanceTypes to the audit, or upgrade it."
    } else {
        "Check the instance type in the nodes' label; EC2 does not describe it either."
    };
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "the limits of {name} are not known: capacity and warm pool of {} are left open",
            text::count(nodes, "node")
        ),
        remediation: remedy.to_owned(),
        evidence: vec![sink::evidence("instanceType", name), sink::evidence("nodes", nodes)],
    }
}

fn unknown_to_cni(name: &InstanceType, nodes: u32) -> Option<sink::Violation> {
    let row = limits::lookup(name.as_str()).filter(|row| !row.known_to_cni && row.enis_all_cards > row.enis)?;
    Some(sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "the CNI does not know {name} and takes {} interfaces for its limit, where {} can be attached ({})",
            text::thousands(row.enis_all_cards),
            text::thousands(row.enis),
            text::count(nodes, "node"),
        ),
        remediation: format!("Upgrade the CNI, or set MAX_ENI={} where such nodes run.", row.enis),
        evidence: vec![
            sink::evidence("instanceType", name),
            sink::evidence("nodes", nodes),
            sink::evidence("limit", row.enis),
            sink::evidence("takenForLimit", row.enis_all_cards),
        ],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    #[test]
    fn a_type_that_nobody_knows_is_said_once() {
        let cluster = Cluster::new("10.0.0.0/20", &[]).node("m99.large", 29, &[9], 2).node("m99.large", 29, &[9], 2);
        let found = findings("IPAM206", &cluster.snapshot());
        assert_eq!(found.len(), 1);
        let want = "the limits of m99.large are not known: capacity and warm pool of 2 nodes are left open";
        assert_eq!(found[0].message, want);
        assert!(found[0].remediation.contains("ec2:DescribeInstanceTypes"), "{}", found[0].remediation);
    }

    #[test]
    fn a_type_of_the_table_is_known() {
        assert!(
            findings("IPAM206", &Cluster::new("10.0.0.0/20", &[]).node("m5.large", 29, &[9], 2).snapshot()).is_empty()
        );
    }

    #[test]
    fn a_type_with_several_cards_that_the_cni_lacks() {
        let lacking = crate::limits::types().iter().find(|row| !row.known_to_cni && row.enis_all_cards > row.enis);
        let Some(row) = lacking else { return };
        let cluster = Cluster::new("10.0.0.0/20", &[]).node(row.name, 29, &[1], 0);
        let found = findings("IPAM206", &cluster.snapshot());
        assert!(found[0].remediation.contains(&format!("MAX_ENI={}", row.enis)), "{}", found[0].remediation);
    }

    #[test]
    fn without_nodes_it_cannot_tell() {
        let mut snapshot = Cluster::new("10.0.0.0/20", &[]).node("m99.large", 29, &[9], 2).snapshot();
        snapshot.nodes = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::Nodes];
        assert_eq!(answer("IPAM206", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
