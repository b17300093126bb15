//! IPAM220: failures that ipamd counts while the audit looks on.

use super::super::sink;
use crate::{
    facts::{Answer, Facts, NodeFacts},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::Violations,
    snapshot::{IpamdNode, IpamdTroubles},
    source::Source,
    text,
};

rule! {
    /// ipamd on the node counts failures: calls to EC2 that are refused, addresses that it does not get.
    ///
    /// ## What it means
    ///
    /// The node's pool does not become what its settings ask for, or only slowly. Pods wait for as long as that lasts, or
    /// will with the next burst.
    ///
    /// ## Why it happens
    ///
    /// A right that the CNI's role lacks; an account that EC2 throttles, mostly because a small `WARM_IP_TARGET` without
    /// a minimum makes a call for each pod; a subnet without room, or without a whole /28 block; interfaces that could
    /// not be given back.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get --raw /api/v1/namespaces/kube-system/pods/AWS-NODE-POD:61678/proxy/metrics | grep -E 'error_count|no_available'
    /// ```
    ///
    /// ## What to do
    ///
    /// The finding names the kind that counts most. Missing rights: give the CNI's role the policy
    /// `AmazonEKS_CNI_Policy`.
    /// Throttling: set `MINIMUM_IP_TARGET` beside `WARM_IP_TARGET`, or use prefixes. No room: see the findings of the
    /// node's subnet.
    ///
    /// ## What it costs
    ///
    /// Looking at the labels of the counters, which name the call and AWS' own word.
    ///
    /// ## When it fires
    ///
    /// Only with `spec.ipamd.scrape`. One of `awscni_ipamd_error_count` (as far as it is about growing the pool),
    /// `awscni_aws_api_error_count`, `awscni_ec2api_error_count`, `awscni_aws_utils_error_count` or
    /// `awscni_no_available_ip_addresses` has grown since a look ten to twenty minutes ago. It is information unless
    /// rights are missing, EC2 throttles, or pods were refused; where pods wait, IPAM201 says so instead.
    pub IpamdErrors;
    code: "IPAM220",
    name: "ipamd-errors",
    severity: Warning,
    condition: CapacityAvailable,
    sources: [Nodes, Pods, Ipamd],
    check: check,
}

/// One kind of failure.
struct Trouble {
    counter: fn(&IpamdTroubles) -> Option<u32>,
    metric: &'static str,
    severity: Severity,
    /// What failed, and for what.
    what: (&'static str, &'static str, &'static str),
    remedy: &'static str,
}

/// The one that explains the others comes first.
const TROUBLES: &[Trouble] = &[
    Trouble {
        counter: |troubles| troubles.denied,
        metric: "awscni_aws_api_error_count",
        severity: Severity::Warning,
        what: ("call", "to AWS", "for want of a right"),
        remedy: "Give the role of aws-node the policy AmazonEKS_CNI_Policy.",
    },
    Trouble {
        counter: |troubles| troubles.throttled,
        metric: "awscni_aws_api_error_count",
        severity: Severity::Warning,
        what: ("call", "to AWS", "because AWS throttles them"),
        remedy: "Set MINIMUM_IP_TARGET beside WARM_IP_TARGET, so that not every pod costs a call.",
    },
    Trouble {
        counter: |troubles| troubles.refused,
        metric: "awscni_no_available_ip_addresses",
        severity: Severity::Warning,
        what: ("request", "by pods", "for want of an address"),
        remedy: "Raise WARM_IP_TARGET or MINIMUM_IP_TARGET to what comes at once, and see the findings of its subnet.",
    },
    Trouble {
        counter: |troubles| troubles.growth_errors,
        metric: "awscni_ipamd_error_count",
        severity: Severity::Info,
        what: ("attempt", "to get addresses or an interface", ""),
        remedy: "See the findings of its subnet; the labels of the counter name the call.",
    },
    Trouble {
        counter: |troubles| troubles.aws_errors,
        metric: "awscni_aws_api_error_count",
        severity: Severity::Info,
        what: ("call", "to AWS", ""),
        remedy: "Look at the labels of the counter: they name the call and AWS' own word.",
    },
    Trouble {
        counter: |troubles| troubles.ec2_errors,
        metric: "awscni_ec2api_error_count",
        severity: Severity::Info,
        what: ("call", "to EC2", ""),
        remedy: "Look at the labels of the counter: they name the call.",
    },
    Trouble {
        counter: |troubles| troubles.cleanup_errors,
        metric: "awscni_aws_utils_error_count",
        severity: Severity::Info,
        what: ("attempt", "to give an interface back", ""),
        remedy: "Look for interfaces without an instance; IPAM410 names those that leaked.",
    },
];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        let Answer::Answers(ipamd) = facts.ipamd_answer(node) else {
            found.lacks(Source::Ipamd);
            continue;
        };
        if ipamd.before.is_none() {
            found.lacks(Source::Ipamd);
        } else if node.waiting.is_empty()
            && let Some((trouble, grown)) = worst(ipamd)
        {
            found.node(node, violation(facts, node, ipamd, trouble, grown));
        } else {
            found.well(Subject::Node(node.node.name.clone()));
        }
    }
}

fn worst(ipamd: &IpamdNode) -> Option<(&'static Trouble, u32)> {
    TROUBLES.iter().find_map(|trouble| {
        let (grown, _) = ipamd.growth(trouble.counter)?;
        (grown > 0).then_some((trouble, grown))
    })
}

fn violation(
    facts: &Facts<'_>,
    node: &NodeFacts<'_>,
    ipamd: &IpamdNode,
    trouble: &Trouble,
    grown: u32,
) -> sink::Violation {
    let at_least = roughly(grown);
    let young = facts.is_young(node);
    let (noun, of, why) = trouble.what;
    let more = if at_least < grown { "at least " } else { "" };
    let mut evidence =
        vec![sink::evidence("metric", trouble.metric), sink::evidence("grownByAtLeast", text::thousands(at_least))];
    let total = ipamd.said.value().map(|said| said.pool);
    evidence.extend(total.and_then(|pool| pool.total).map(|total| sink::evidence("ipamdTotal", total)));
    sink::Violation {
        // A node that is being filled meets refusals that pass.
        severity: if young { Severity::Info } else { trouble.severity },
        message: format!(
            "ipamd counts failures: within the last quarter of an hour {more}{} {of} failed{}{why}",
            text::count(at_least, noun),
            if why.is_empty() { "" } else { " " },
        ),
        remediation: trouble.remedy.to_owned(),
        evidence,
    }
}

/// The largest of 1, 2, 5, 10, 20, 50, … that is not above a number: what grows with every look is not worth a write
/// with every look.
fn roughly(number: u32) -> u32 {
    let mut step = 1_u32;
    loop {
        for factor in [2, 5, 10] {
            match step.checked_mul(factor) {
                Some(next) if next <= number => {}
                _ => return step * (factor / 2).max(1),
            }
        }
        step *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        tests::{
            addresses::{answer, of, once},
            ipamd::{cluster, grown},
        },
    };

    const CODE: &str = "IPAM220";

    #[test]
    fn numbers_are_rounded_down_to_what_people_say() {
        for (number, said) in
            [(1, 1), (2, 2), (4, 2), (5, 5), (9, 5), (10, 10), (19, 10), (49, 20), (50, 50), (99, 50), (4_321, 2_000)]
        {
            assert_eq!(roughly(number), said, "{number}");
        }
        assert_eq!(roughly(u32::MAX), 2_000_000_000);
    }

    #[test]
    fn what_grows_is_found_by_the_kind_that_explains_the_others() {
        type Change = fn(&mut IpamdTroubles);
        let all: [(Change, Severity, &str); 3] = [
            (
                |troubles| {
                    (troubles.aws_errors, troubles.denied, troubles.throttled) = (Some(14), Some(7), Some(7));
                },
                Severity::Warning,
                "ipamd counts failures: within the last quarter of an hour at least 5 calls to AWS failed for want of a \
                 right",
            ),
            (
                |troubles| troubles.refused = Some(1),
                Severity::Warning,
                "ipamd counts failures: within the last quarter of an hour 1 request by pods failed for want of an address",
            ),
            (
                |troubles| troubles.growth_errors = Some(200),
                Severity::Info,
                "ipamd counts failures: within the last quarter of an hour 200 attempts to get addresses or an interface \
                 failed",
            ),
        ];
        for (change, severity, message) in all {
            let mut snapshot = cluster();
            grown(&mut snapshot, 0, change);
            let found = of(&once(&snapshot), CODE);
            assert_eq!(found.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(), [message]);
            assert_eq!(found[0].severity, severity);
        }
    }

    #[test]
    fn what_stands_still_is_none_and_one_look_cannot_tell() {
        let mut snapshot = cluster();
        for at in [0, 1] {
            grown(&mut snapshot, at, |_| ());
        }
        assert_eq!(answer(&once(&snapshot), CODE), RuleAnswer::Passed);
        let first = answer(&once(&cluster()), CODE);
        assert_eq!(first, RuleAnswer::Inconclusive { missing: vec![Source::Ipamd], suspects: 0 });
    }
}
