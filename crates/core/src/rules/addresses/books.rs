//! Judging ipamd's books beside EC2's and the pods': what differs has to differ by the same numbers at two looks, since
//! the three are never read at one instant.

use jiff::SignedDuration;

use crate::{
    facts::{Answer, Books, Facts},
    finding::{Evidence, Subject},
    rules::{
        Violations,
        sink::{self, Place, Violation},
    },
    snapshot::Node,
    source::Source,
};

/// Suspects every node whose books differ; `same` says what has to be unchanged at the second look, `apart` how many
/// seconds later that is.
pub(super) fn judge(
    facts: &Facts<'_>,
    found: &mut Violations<'_>,
    (differs, same): (impl Fn(&Books) -> bool, impl Fn(&Books) -> String),
    apart: impl Fn(&Node) -> u32,
    violation: impl Fn(&Books) -> Violation,
) {
    for node in &facts.nodes {
        let Some(books) = facts.books(node) else {
            if !matches!(facts.ipamd_answer(node), Answer::Answers(_)) {
                found.lacks(Source::Ipamd);
            }
            continue;
        };
        if differs(&books) {
            let apart = SignedDuration::from_secs(apart(node.node).into());
            found.suspicion(Place::node(node), &same(&books), books.seen_at, apart, violation(&books));
        } else {
            found.well(Subject::Node(node.node.name.clone()));
        }
    }
}

/// The three numbers, and ipamd's own two.
pub(super) fn evidence(books: &Books) -> Vec<Evidence> {
    let mut evidence = vec![
        sink::evidence("ipamdTotal", books.total),
        sink::evidence("ec2", books.in_ec2),
        sink::evidence("ipamdAssigned", books.assigned),
        sink::evidence("pods", books.pods),
    ];
    evidence.extend(books.interfaces.map(|count| sink::evidence("ipamdInterfaces", count)));
    evidence
}
