//! IPAM219: a Ready node whose ipamd does not answer.

use jiff::SignedDuration;

use crate::{
    facts::{Answer, Facts},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::{Source, SourceFault},
};

rule! {
    /// ipamd on a Ready node does not answer when it is asked for its metrics.
    ///
    /// ## What it means
    ///
    /// ipamd gives pods their addresses. Where it hangs or is gone, no pod on the node starts, while kubelet goes on
    /// saying Ready. Where only the way to it is barred, pods are well and the audit cannot see ipamd's own books.
    ///
    /// ## Why it happens
    ///
    /// A connection that is refused: nobody listens, so ipamd does not run, or it has just started. No answer in time: a
    /// security group or a NetworkPolicy lets nobody through to the port, or ipamd hangs, for example in a call to EC2.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o wide --field-selector spec.nodeName=NODE
    /// kubectl get --raw /api/v1/namespaces/kube-system/pods/AWS-NODE-POD:61678/proxy/metrics | grep awscni_total_ip
    /// ```
    ///
    /// ## What to do
    ///
    /// If aws-node on it is not ready, look at its log and delete the pod. If it is ready, let the operator reach the
    /// port: in the nodes' security group and in NetworkPolicies for `NodeAddress`, from the control plane's security
    /// group for `PodProxy`.
    ///
    /// ## What it costs
    ///
    /// An open port between the operator, or the control plane, and the nodes.
    ///
    /// ## When it fires
    ///
    /// Only with `spec.ipamd.scrape`. The node is Ready, `DISABLE_METRICS` is not on, and ipamd did not answer at two
    /// looks at least `spec.thresholds.suspicionSeconds` apart. Where not a single node answers, IPAM901 says so once.
    pub IpamdUnreachable;
    code: "IPAM219",
    name: "ipamd-unreachable",
    severity: Warning,
    condition: IpamdReachable,
    sources: [Nodes, AwsNode, Ipamd],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    if facts.is_failing(Source::Ipamd) {
        return;
    }
    let Some(seen_at) = facts.as_of(Source::Ipamd) else { return };
    for node in &facts.nodes {
        let apart = SignedDuration::from_secs(policy.for_node(node.node).suspicion_seconds.into());
        match facts.ipamd_answer(node) {
            Answer::Silent(fault) if node.node.state.ready == Some(true) => {
                found.suspicion(Place::node(node), fault.category.name(), seen_at, apart, violation(fault));
            }
            Answer::CannotTell(_) | Answer::TooOld => found.lacks(Source::Ipamd),
            _ => found.well(Subject::Node(node.node.name.clone())),
        }
    }
}

fn violation(fault: &SourceFault) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!("the node is Ready and its ipamd does not answer: {}", fault.message),
        remediation:
            "Delete its aws-node pod if that is not ready; else let the operator reach the port in the nodes' \
                      security group and in NetworkPolicies."
                .to_owned(),
        evidence: vec![sink::evidence("category", fault.category.name())],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::{ConditionStatus, RuleAnswer},
        source::{FaultCategory, Reading},
        tests::{
            addresses::{answer, of, once},
            ipamd::{cluster, condition, proven, ready, row, silent, twice, with_env},
        },
    };

    const CODE: &str = "IPAM219";

    #[test]
    fn a_ready_node_whose_ipamd_is_silent_at_two_looks_is_found() {
        let mut snapshot = cluster();
        ready(&mut snapshot, 1, true);
        silent(&mut snapshot, 1, FaultCategory::Unreachable, "10.0.0.9:61678 refuses the connection");
        assert_eq!(answer(&once(&snapshot), CODE), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
        let outcome = twice(&snapshot, 60);
        let finding = &of(&outcome, CODE)[0];
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "the node is Ready and its ipamd does not answer: 10.0.0.9:61678 refuses the connection"
        );
        assert_eq!(condition(&outcome, 0), (ConditionStatus::True, "Answers"));
        assert_eq!(condition(&outcome, 1), (ConditionStatus::False, "Unreachable"));
    }

    #[test]
    fn what_says_nothing_of_ipamd_is_no_finding_and_is_told() {
        let all = [
            (FaultCategory::Denied, true, "", (ConditionStatus::Unknown, "Denied")),
            (FaultCategory::NotFound, true, "", (ConditionStatus::Unknown, "NotFound")),
            (FaultCategory::Unreachable, false, "", (ConditionStatus::Unknown, "NodeNotReady")),
            (FaultCategory::Unreachable, true, "true", (ConditionStatus::False, "MetricsOff")),
        ];
        for (category, is_ready, disabled, expected) in all {
            let mut snapshot = with_env(&[("DISABLE_METRICS", disabled)]);
            ready(&mut snapshot, 1, is_ready);
            silent(&mut snapshot, 1, category, "no");
            assert_eq!(proven(&snapshot, CODE), Vec::<String>::new(), "{category:?}");
            assert_eq!(condition(&once(&snapshot), 1), expected, "{category:?}");
        }
    }

    #[test]
    fn garbage_is_an_answer_that_ipamd_did_not_give() {
        let mut snapshot = cluster();
        ready(&mut snapshot, 0, true);
        silent(&mut snapshot, 0, FaultCategory::Malformed, "HTTP 404");
        assert_eq!(proven(&snapshot, CODE).len(), 1);
        assert_eq!(condition(&once(&snapshot), 0), (ConditionStatus::False, "Malformed"));
    }

    #[test]
    fn where_nobody_answers_or_nobody_asks_there_is_one_word_for_all() {
        let mut snapshot = cluster();
        ready(&mut snapshot, 1, true);
        silent(&mut snapshot, 1, FaultCategory::Unreachable, "no answer");
        snapshot.ipamd.fault = Some(crate::source::SourceFault {
            category: FaultCategory::Unreachable,
            message: "none of 2 nodes answers".into(),
        });
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
        let outcome = once(&snapshot);
        let complete = outcome.conditions.iter().find(|one| one.kind.name() == "DataComplete").unwrap();
        assert!(complete.message.starts_with("ipamd: none of 2 nodes answers"), "{}", complete.message);
        snapshot.ipamd = Reading::not_collected();
        let outcome = once(&snapshot);
        assert!(outcome.nodes.iter().all(|node| node.ipamd.is_none()));
        assert!(outcome.nodes[0].conditions.iter().all(|one| one.kind.name() != "IpamdReachable"));
        assert!(outcome.conditions.iter().all(|one| !one.message.contains("ipamd")), "{:?}", outcome.conditions);
    }

    #[test]
    fn an_answer_of_long_ago_proves_nothing() {
        let mut snapshot = cluster();
        let said = row(&mut snapshot, 0).said.last_good.as_mut().unwrap();
        said.as_of -= jiff::SignedDuration::from_mins(16);
        let outcome = once(&snapshot);
        assert_eq!(condition(&outcome, 0), (ConditionStatus::Unknown, "AnswerTooOld"));
        assert_eq!(outcome.nodes[0].ipamd.as_ref().unwrap().reachable, None);
        assert!(outcome.nodes[0].ipamd.as_ref().unwrap().said.is_some(), "what was known stays");
    }
}
