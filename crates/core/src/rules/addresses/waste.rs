//! What rules about wasted addresses share.

use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
};

/// Warning where a subnet of the node needs the addresses, information elsewhere.
pub(super) fn severity(facts: &Facts<'_>, node: &NodeFacts<'_>) -> Severity {
    let short = |id| facts.subnet(id).is_some_and(|subnet| subnet.is_full() || subnet.is_low());
    let in_need = node.interfaces.iter().flatten().any(|interface| short(&interface.subnet));
    if in_need { Severity::Warning } else { Severity::Info }
}
