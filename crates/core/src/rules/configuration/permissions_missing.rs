//! IPAM633: rights that the CNI lacks.

use jiff::SignedDuration;

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    snapshot::Event,
    text,
};

rule! {
    /// EC2 refuses calls of the CNI for want of a right.
    ///
    /// ## What it means
    ///
    /// ipamd says so in an event, `MissingIAMPermissions`, that names the call. Depending on the call, nodes take no
    /// interfaces or addresses, or the container does not start.
    ///
    /// ## Why it happens
    ///
    /// The role of the CNI lacks a policy, or has that of another address family; or an update needs a new right:
    /// `ec2:DescribeSubnets` since 1.18 and above all 1.22, `ec2:DescribeSecurityGroups` in 1.22.0 and 1.22.1.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get events -n kube-system --field-selector reason=MissingIAMPermissions
    /// kubectl get serviceaccount aws-node -n kube-system -o yaml
    /// ```
    ///
    /// ## What to do
    ///
    /// Attach `AmazonEKS_CNI_Policy` (or `AmazonEKS_CNI_IPv6_Policy` for IPv6) to the role of the CNI, or add the
    /// action that the finding names.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// An event of that reason is younger than an hour. Critical.
    pub PermissionsMissing;
    code: "IPAM633",
    name: "permissions-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [AwsNode, Events],
    check: check,
}

const REASON: &str = "MissingIAMPermissions";
/// Events are kept for an hour; what is older is no news.
const NEWS: SignedDuration = SignedDuration::from_hours(1);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let (Some(installation), Some(events)) = (&facts.installation, facts.snapshot.objects.events.value()) else {
        return;
    };
    let now = facts.snapshot.taken_at;
    let recent =
        |event: &&Event| *event.reason == *REASON && event.last_at.is_some_and(|at| now.duration_since(at) <= NEWS);
    let events: Vec<&Event> = events.iter().filter(recent).collect();
    if events.is_empty() {
        return;
    }
    let mut actions: Vec<String> = events
        .iter()
        .map(|event| event.action.as_deref().unwrap_or("a call that the event names").to_owned())
        .collect();
    actions.sort_unstable();
    actions.dedup();
    let mut pods: Vec<&str> = events.iter().map(|event| &*event.name).filter(|name| !name.is_empty()).collect();
    pods.sort_unstable();
    pods.dedup();
    let pods = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    let on = if pods == 0 { String::new() } else { format!(" by {}", text::count(pods, "aws-node pod")) };
    let daemon_set = installation.aws_node.daemon_set.clone();
    let violation = Violation {
        severity: Severity::Critical,
        message: format!(
            "{daemon_set} may not call {}: EC2 refused it{on} within the last hour",
            text::list(&actions, "and", 4)
        ),
        remediation:
            "Attach AmazonEKS_CNI_Policy (AmazonEKS_CNI_IPv6_Policy for IPv6) to the role of the CNI, or add these \
                      actions to it."
                .to_owned(),
        evidence: vec![sink::evidence("actions", actions.join(" ")), sink::evidence("pods", pods)],
    };
    found.subject(Subject::DaemonSet(daemon_set), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, minutes_ago, only},
    };

    const CODE: &str = "IPAM633";

    use crate::{
        snapshot::{ClusterSnapshot, Event},
        source::Reading,
        tests::fixtures::now,
    };

    fn with_event(reason: &str, minutes: i64) -> ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        let event = Event {
            kind: "Pod".into(),
            namespace: "kube-system".into(),
            name: "aws-node-x".into(),
            reason: reason.into(),
            severity: "Warning".into(),
            action: Some("ec2:DescribeSubnets".into()),
            message: "".into(),
            last_at: Some(minutes_ago(minutes)),
        };
        snapshot.objects.events = Reading::fresh(vec![event.clone(), event], now());
        snapshot
    }

    #[test]
    fn the_refused_call_is_named() {
        let finding = only(&with_event("MissingIAMPermissions", 5), CODE);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            finding.message,
            "kube-system/aws-node may not call ec2:DescribeSubnets: EC2 refused it by 1 aws-node pod within the last hour"
        );
    }

    #[test]
    fn old_and_other_events_are_left_alone() {
        assert!(cluster::found(&with_event("MissingIAMPermissions", 61), CODE).is_empty());
        assert!(cluster::found(&with_event("Pulled", 5), CODE).is_empty());
    }

    #[test]
    fn without_events_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::with(&[]), CODE)));
    }
}
