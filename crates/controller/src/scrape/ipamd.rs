//! What only ipamd counts, where a spec has it asked: of the whole cluster, of each subnet's nodes, of each node.
//!
//! ipamd counts from its own start. One node's counts are a counter; a sum over nodes that come and go is none, so that
//! the sums are gauges. A node that has not answered is in no sum.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use ipam_audit_core::snapshot::{IpamdNode, IpamdSaid};

use super::out::Out;
use crate::metrics::{AuditFigures, Figures};

/// What each audit's nodes have said.
pub(crate) type Said = BTreeMap<String, Vec<Arc<IpamdNode>>>;

type OfAnswer = fn(&IpamdSaid) -> Option<u32>;

/// The end of the name, the figure, and what it is.
const COUNTS: [(&str, OfAnswer, &str); 12] = [
    ("refused", |said| said.troubles.refused, "Pods that ipamd had no address for"),
    ("errors", |said| said.troubles.errors, "Errors that ipamd counted"),
    ("aws_errors", |said| said.troubles.aws_errors, "Calls to AWS that failed for ipamd"),
    ("ec2_errors", |said| said.troubles.ec2_errors, "Calls to EC2 that failed for ipamd"),
    ("ec2_requests", |said| said.activity.ec2_requests, "Calls to EC2 by ipamd"),
    ("cleanup_errors", |said| said.troubles.cleanup_errors, "Interfaces that ipamd could not give back"),
    ("branch_errors", |said| said.troubles.pod_eni_errors, "Errors of ipamd about security groups for pods"),
    ("forced_interfaces", |said| said.troubles.forced_interfaces, "Interfaces that ipamd took away under pods"),
    ("forced_addresses", |said| said.troubles.forced_addresses, "Addresses that ipamd took away under pods"),
    ("added", |said| said.activity.added, "Addresses that pods asked ipamd for"),
    ("deleted", |said| said.activity.deleted, "Addresses that pods gave back to ipamd"),
    ("reconciled", |said| said.activity.reconciled, "Differences between its books and EC2 that ipamd mended"),
];

/// Writes the series of every audit whose spec has ipamd asked.
pub(super) fn write(out: &mut Out<'_, '_>, audits: &Figures, said: &Said) -> fmt::Result {
    let audits: Vec<Of<'_>> = audits.iter().filter_map(|(name, figures)| Of::new(name, figures, said)).collect();
    for (name, figure, help) in COUNTS {
        let sums = audits.iter().filter_map(|of| Some(([("audit", of.audit)], of.sum(figure)?)));
        out.gauge(&format!("ipam_audit_cluster_ipamd_{name}"), help, sums)?;
        let sums = audits.iter().flat_map(|of| {
            of.by_subnet(figure).into_iter().filter_map(|(place, sum)| {
                let subnet = of.figures.subnets.get(place)?;
                Some(([("audit", of.audit), ("subnet", subnet.id.as_str()), ("zone", subnet.zone.as_str())], sum))
            })
        });
        out.gauge(&format!("ipam_audit_subnet_ipamd_{name}"), help, sums)?;
        let named = audits.iter().filter(|of| !of.figures.nodes.is_empty());
        let counts = named.flat_map(|of| {
            of.answers.iter().filter_map(move |answer| {
                let labels = [("audit", of.audit), ("node", answer.node.node.as_str())];
                Some((labels, figure(answer.said)?.into()))
            })
        });
        out.counter(&format!("ipam_audit_node_ipamd_{name}"), help, counts)?;
    }
    Ok(())
}

/// One audit and what its nodes have said.
struct Of<'a> {
    audit: &'a str,
    figures: &'a AuditFigures,
    answers: Vec<Answer<'a>>,
}

struct Answer<'a> {
    node: &'a IpamdNode,
    said: &'a IpamdSaid,
    /// Its subnet's place among the audit's.
    home: Option<usize>,
}

impl<'a> Of<'a> {
    fn new(audit: &'a str, figures: &'a AuditFigures, said: &'a Said) -> Option<Self> {
        let answers = said.get(audit)?.iter().filter_map(|node| {
            // Audits that ask in the same way share the answers: those of other nodes are not this one's.
            let home = *figures.homes.get(&node.node)?;
            Some(Answer { node, said: node.said.value()?, home })
        });
        Some(Self { audit, figures, answers: answers.collect() })
    }

    fn sum(&self, figure: OfAnswer) -> Option<f64> {
        let known = self.answers.iter().filter_map(|answer| figure(answer.said));
        known.map(f64::from).reduce(|sum, more| sum + more)
    }

    fn by_subnet(&self, figure: OfAnswer) -> HashMap<usize, f64> {
        let mut sums = HashMap::new();
        for answer in &self.answers {
            if let (Some(home), Some(count)) = (answer.home, figure(answer.said)) {
                *sums.entry(home).or_default() += f64::from(count);
            }
        }
        sums
    }
}
