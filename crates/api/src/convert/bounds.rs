//! Bounds that keep every object small: etcd refuses what is larger than 1.5 MB, and readers load all of it.
//!
//! Texts are clipped, lists end at a number of entries, and what was left out is counted. Lists are sorted with the
//! worst first, so the least severe entries go first.

use serde::Serialize;

use crate::v1alpha1::{Finding, IpamAuditStatus};

/// The most nodes and the most subnets that the status of an audit lists.
pub const MAX_WORST: usize = 25;
/// The most bytes of a status as JSON: 256 KiB less what the API server adds.
pub const MAX_STATUS_BYTES: usize = 240_000;

pub(super) const MAX_PROBLEMS: usize = 50;
pub(super) const MAX_FINDINGS: usize = 50;
pub(super) const MAX_EVIDENCE: usize = 16;

/// Lengths of texts, in bytes.
pub(super) mod text {
    pub(in crate::convert) const SUMMARY: usize = 4096;
    pub(in crate::convert) const MESSAGE: usize = 1024;
    pub(in crate::convert) const CELL: usize = 256;
}

/// A text of at most so many bytes, without control characters, cut between characters.
pub(crate) fn clip(text: &str, most: usize) -> String {
    let clean = |c: &char| !c.is_control() || *c == '\n';
    if text.len() <= most && text.chars().all(|c| clean(&c)) {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(most);
    for c in text.chars().filter(clean) {
        if kept.len() + c.len_utf8() + '…'.len_utf8() > most {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept
}

/// Keeps the first entries of a list; says how many it cut.
pub(super) fn truncate<T>(list: &mut Vec<T>, most: usize) -> i64 {
    let cut = list.len().saturating_sub(most);
    list.truncate(most);
    i64::try_from(cut).unwrap_or(i64::MAX)
}

/// Cuts the least important entries of an audit's status until it is small enough.
///
/// Nodes and subnets have reports of their own, so that nothing is lost; a few entries of each list stay, and the first
/// one whatever the texts are.
pub(super) fn fit_audit(status: &mut IpamAuditStatus) {
    for least in [5, 1] {
        while bytes(status) > MAX_STATUS_BYTES {
            if cut_some(status, least) == 0 {
                break;
            }
        }
    }
}

/// Cuts something of the lists, first of those whose entries have reports of their own; how many entries.
fn cut_some(status: &mut IpamAuditStatus, least: usize) -> i64 {
    let nodes = shorten(&mut status.worst_nodes, least);
    let subnets = shorten(&mut status.worst_subnets, least);
    let (problems, findings) = match nodes + subnets {
        0 => (shorten(&mut status.problems, least), shorten(&mut status.findings, least)),
        _ => (0, 0),
    };
    status.truncated.nodes += nodes;
    status.truncated.subnets += subnets;
    status.truncated.problems += problems;
    status.truncated.findings += findings;
    nodes + subnets + problems + findings
}

/// Cuts the least severe findings of a report until they are few and small enough; says how many it cut.
pub(super) fn fit_findings(findings: &mut Vec<Finding>) -> i64 {
    let mut cut = truncate(findings, MAX_FINDINGS);
    // Clipped texts make the first few small enough whatever they say; measuring every report would cost too much.
    while findings.len() > 8 && bytes(findings) > MAX_STATUS_BYTES / 2 {
        cut += shorten(findings, 8);
    }
    cut
}

/// Cuts a fifth of a list from its end, at least one entry, unless so few are left.
fn shorten<T>(list: &mut Vec<T>, least: usize) -> i64 {
    let keep = (list.len() - list.len().div_ceil(5)).max(least.min(list.len()));
    truncate(list, keep)
}

/// The length of a value as JSON.
pub(super) fn bytes(value: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    // The types have no maps with odd keys and counting does not fail.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        self.0 += written.len();
        Ok(written.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_carry_no_controls() {
        assert_eq!(clip("short", 10), "short");
        assert_eq!(clip("a\u{7}b\nc", 10), "ab\nc");
        let cut = clip(&"ä".repeat(100), 20);
        assert!(cut.len() <= 20 && cut.ends_with('…'), "{cut}");
    }

    #[test]
    fn lists_are_cut_at_their_end_and_counted() {
        let mut list = vec![1, 2, 3, 4];
        assert_eq!((truncate(&mut list, 3), list.as_slice()), (1, [1, 2, 3].as_slice()));
        assert_eq!((shorten(&mut list, 3), list.len()), (0, 3));
        assert_eq!((shorten(&mut list, 1), list.len()), (1, 2));
    }
}
