//! Where a node's next interface would be made, in words, for its report.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Facts,
    discovery::{Outlook, ROLE_TAG},
    eni_config::Choice,
};
use crate::{outcome::SubnetChoice, text};

/// Subnets that one node's report names.
const SHOWN: usize = 8;

impl Facts<'_> {
    /// The choices of every node, in the nodes' order; nodes that choose alike share one list.
    pub(crate) fn next_subnets(&self) -> Vec<Arc<[SubnetChoice]>> {
        let discovered: Vec<Arc<[SubnetChoice]>> = self.discovery.outlooks().iter().map(by_discovery).collect();
        let mut configured: BTreeMap<(&str, String), Arc<[SubnetChoice]>> = BTreeMap::new();
        let nothing: Arc<[SubnetChoice]> = Arc::default();
        let choices = self.nodes.iter().enumerate().map(|(at, node)| {
            if let (Some(choice), Some(cni)) = (self.custom_networking.of_node(at), &node.cni) {
                let known = configured.entry((choice.name, choice.by.text(cni)));
                return Arc::clone(known.or_insert_with_key(|(_, by)| by_eni_config(choice, by)));
            }
            let kind = self.discovery.kind_of(at).and_then(|kind| discovered.get(kind));
            Arc::clone(kind.unwrap_or(&nothing))
        });
        choices.collect()
    }
}

/// Custom networking leaves no choice.
fn by_eni_config(choice: &Choice<'_>, by: &str) -> Arc<[SubnetChoice]> {
    let only = |subnet| SubnetChoice { subnet, chosen: true, why: format!("ENIConfig {} by {by}", choice.name) };
    choice.config.map(|config| only(config.subnet.clone())).into_iter().collect()
}

fn by_discovery(outlook: &Outlook<'_>) -> Arc<[SubnetChoice]> {
    let tried = outlook.tried.iter().enumerate().map(|(rank, subnet)| {
        let free = text::thousands(subnet.available);
        let which = if subnet.id == outlook.home.id {
            "the node's own subnet".to_owned()
        } else {
            format!("tagged {ROLE_TAG}")
        };
        let why = match rank {
            0 if outlook.tried.len() == 1 => format!("{which}, {free} free"),
            0 => format!("{which}, {free} free: the most"),
            _ => format!("{which}, {free} free: tried if those before it fail"),
        };
        SubnetChoice { subnet: subnet.id.clone(), chosen: rank == 0, why }
    });
    let excluded = outlook.excluded.iter().map(|(subnet, why)| {
        let why = format!("{why}; {} free", text::thousands(subnet.available));
        SubnetChoice { subnet: subnet.id.clone(), chosen: false, why }
    });
    tried.chain(excluded).take(SHOWN).collect()
}
