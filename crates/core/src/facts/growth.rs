//! Which subnets can pay for the growth of a node's pool.

use super::{Facts, NodeFacts, SubnetFacts};
use crate::ids::SubnetId;

/// Where a node's pool can grow.
#[derive(Debug)]
pub(crate) enum Growth<'f, 'a> {
    /// Nowhere: the ENIConfig of this name does not exist.
    NoEniConfig(&'a str),
    /// In these, in the order in which they are tried.
    In(Vec<&'f SubnetFacts<'a>>),
    /// In one of which nothing is known.
    Unknown,
}

impl<'a> Facts<'a> {
    /// Interfaces that have room are filled in their own subnets; then another is made where custom networking or
    /// discovery says, else in the node's own subnet.
    pub(crate) fn growth(&self, node: &NodeFacts<'a>) -> Growth<'_, 'a> {
        let Ok(at) = self.nodes.binary_search_by(|other| other.node.name.cmp(&node.node.name)) else {
            return Growth::Unknown;
        };
        let next: Vec<&SubnetId> = match self.custom_networking.of_node(at) {
            Some(choice) => match choice.config {
                Some(config) => vec![&config.subnet],
                None if self.custom_networking.configs().is_some() => return Growth::NoEniConfig(choice.name),
                None => return Growth::Unknown,
            },
            None => self.discovered(at).or_else(|| Some(vec![node.home()?])).unwrap_or_default(),
        };
        let mut ids = with_room(node);
        for id in next {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().map(|id| self.subnet(id)).collect::<Option<_>>().map_or(Growth::Unknown, Growth::In)
    }

    fn discovered(&self, at: usize) -> Option<Vec<&SubnetId>> {
        let outlook = self.discovery.outlooks().get(self.discovery.kind_of(at)?)?;
        Some(outlook.tried.iter().map(|subnet| &subnet.id).collect())
    }
}

/// Subnets of the interfaces for pods that could hold more.
fn with_room<'f>(node: &'f NodeFacts<'_>) -> Vec<&'f SubnetId> {
    let limits = node.limits.as_ref().and_then(crate::limits::Limits::interfaces);
    let slots = limits.map_or(0, |limits| limits.slots_per_eni() as usize);
    let mut ids = Vec::new();
    for on in node.pool.iter().flat_map(|pool| &pool.interfaces) {
        let has_room = on.interface.secondary.len() + on.interface.prefixes.len() < slots;
        if has_room && !ids.contains(&&on.interface.subnet) {
            ids.push(&on.interface.subnet);
        }
    }
    ids
}
