//! Pods whose traffic always leaves the node: those with a branch, where the CNI enforces strictly.

use std::collections::BTreeMap;

use crate::{
    facts::{Facts, NodeFacts, sgp::GroupedPod},
    snapshot::{BranchUse, PodTraits},
};

/// They and their nodes.
pub(super) fn pods<'s, 'a>(facts: &'s Facts<'a>) -> impl Iterator<Item = (&'s NodeFacts<'a>, &'s GroupedPod<'a>)> {
    facts.pod_groups.on_nodes(&facts.nodes).filter(|(node, pod)| {
        let strict = node.cni.as_ref().is_some_and(|cni| cni.pod_groups() && cni.enforces_strictly());
        strict && *pod.pod.branch() != BranchUse::No
    })
}

/// Their templates by namespace, each once: services and network policies select them.
pub(super) fn templates<'a>(facts: &Facts<'a>) -> BTreeMap<&'a str, Vec<&'a PodTraits>> {
    let mut templates: BTreeMap<&str, Vec<&PodTraits>> = BTreeMap::new();
    for (_, pod) in pods(facts) {
        let Some(traits) = pod.traits() else { continue };
        let known = templates.entry(pod.pod.namespace()).or_default();
        if !known.iter().any(|one| std::ptr::eq(*one, traits)) {
            known.push(traits);
        }
    }
    templates
}
