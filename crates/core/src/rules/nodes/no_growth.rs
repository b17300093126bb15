//! Why a node's pool does not grow: shared by the rules that find one that should.

use crate::{
    facts::{Facts, NodeFacts},
    text,
};

/// Why a node's pool does not grow, and what would make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoGrowth {
    /// The state, as the end of a sentence.
    pub(super) state: String,
    /// What to do.
    pub(super) remedy: String,
}

impl NoGrowth {
    fn new(state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: state.into(), remedy: remedy.into() }
    }
}

/// The first cause that applies, from the surest to the least sure.
pub(super) fn why(facts: &Facts<'_>, node: &NodeFacts<'_>) -> NoGrowth {
    let Some(cni) = &node.cni else {
        return NoGrowth::new(
            "no aws-node pod is seen on the node",
            "Look at the aws-node pod of this node: without it no pod gets an address.",
        );
    };
    if node.settings_stop_growth() {
        let now = cni.targets_text();
        return NoGrowth::new(
            format!("its settings ({now}) stop the pool from growing"),
            format!("Set {}: the pool then follows its pods.", facts.advice.settings()),
        );
    }
    if node.room() == Some(0) {
        return NoGrowth::new(
            "the node is at the limit of its instance type",
            "Lower the node's max-pods to what its type can address, or use a larger type.",
        );
    }
    if node.node.cordoned {
        return NoGrowth::new(
            "the node is cordoned, and ipamd adds nothing to a cordoned node",
            "Uncordon or drain it.",
        );
    }
    match node.home().and_then(|id| facts.subnet(id)).filter(|subnet| subnet.is_full()) {
        Some(subnet) => NoGrowth::new(
            format!("{} has {}", subnet.subnet.id, text::count(subnet.subnet.available, "free address")),
            format!("Free addresses in {}: see its own finding and IPAM210.", subnet.subnet.id),
        ),
        None => NoGrowth::new(
            "its subnet has addresses",
            "The pool grows within seconds as a rule; if this lasts, look for refused EC2 calls in the log of its aws-node pod.",
        ),
    }
}
