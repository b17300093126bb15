//! One environment of the CNI under a rule: the template's, or that of pods that run another one.

use std::sync::Arc;

use crate::{
    cni::{CniConfig, CniVersion},
    facts::{
        Facts, NodeFacts,
        installation::{Installation, Variant},
    },
    finding::{Home, Subject},
    rules::{
        Violations,
        sink::{Place, Violation},
    },
    source::Source,
};

/// One environment and where it runs.
pub(super) struct Environment<'e> {
    pub(super) facts: &'e Facts<'e>,
    pub(super) installation: &'e Installation<'e>,
    pub(super) variant: &'e Variant<'e>,
}

impl<'e> Environment<'e> {
    /// Who has it, as the beginning of a sentence: a node's finding does not repeat the node's name.
    pub(super) fn who(&self) -> &'e str {
        if self.variant.is_template { &self.installation.aws_node.daemon_set } else { "its aws-node pod" }
    }

    /// What the CNI makes of it.
    pub(super) fn config(&self) -> &CniConfig {
        self.variant.cni.config()
    }

    /// The version that it belongs to; the newest where the image does not tell.
    pub(super) fn version(&self) -> CniVersion {
        self.variant.cni.known_version().unwrap_or(CniVersion::NEWEST)
    }

    /// Whether ipamd sizes a pool of IPv4 addresses with it.
    pub(super) fn sizes_a_pool(&self) -> bool {
        !self.variant.cni.is_ipv6() && !self.config().adopts_only(self.version())
    }

    /// Whether an IP target is in force.
    pub(super) fn has_ip_targets(&self) -> bool {
        let CniConfig { warm_ip_target, minimum_ip_target, .. } = self.config();
        [warm_ip_target, minimum_ip_target].iter().any(|target| target.value_or(0) > 0)
    }

    /// The nodes whose pods run it.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &'e NodeFacts<'e>> {
        self.variant.nodes.iter().filter_map(|&at| self.facts.nodes.get(at))
    }
}

/// Asks a rule about every environment. What the template says is the DaemonSet's finding; what other pods run is that
/// of their nodes, and one problem with it. An environment of which a needed variable is not known is left out, and
/// the rule cannot say that all is well.
pub(super) fn each(
    facts: &Facts<'_>,
    found: &mut Violations<'_>,
    needs: &[&str],
    check: impl Fn(&Environment<'_>) -> Option<Violation>,
) {
    let Some(installation) = &facts.installation else { return };
    let daemon_set = &installation.aws_node.daemon_set;
    for variant in &installation.variants {
        if variant.cni.lacks(needs) {
            found.lacks(Source::AwsNode);
            continue;
        }
        let environment = Environment { facts, installation, variant };
        let Some(violation) = check(&environment) else { continue };
        if variant.is_template {
            found.subject(Subject::DaemonSet(daemon_set.clone()), violation);
            continue;
        }
        for node in environment.nodes() {
            found.at(on_node(node, daemon_set), violation.clone());
        }
    }
}

/// A node, as part of the DaemonSet's problem.
pub(super) fn on_node(node: &NodeFacts<'_>, daemon_set: &Arc<str>) -> Place {
    let name = node.node.name.clone();
    Place { subject: Subject::Node(name.clone()), home: Home::Node(name), group: daemon_set.clone() }
}
