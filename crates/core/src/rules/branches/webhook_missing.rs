//! IPAM327: the webhook that puts branch requests on pods is not there.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
};

/// The configuration that EKS installs.
const CONFIGURATION: &str = "vpc-resource-mutating-webhook";
/// The webhook in it that looks at pods.
const WEBHOOK: &str = "mpod.vpc.k8s.aws";

rule! {
    /// The webhook that gives pods their branches is missing.
    ///
    /// ## What it means
    ///
    /// New pods that a SecurityGroupPolicy selects start without the request for a branch, and so with the security
    /// groups of their node. Nothing fails and nothing says so.
    ///
    /// ## Why it happens
    ///
    /// EKS installs a mutating webhook configuration named `vpc-resource-mutating-webhook`. Somebody deleted it, or a
    /// tool that removes webhooks it does not know.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get mutatingwebhookconfiguration vpc-resource-mutating-webhook -o jsonpath='{.webhooks[*].name}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Restore it: apply the copy of another cluster of the same version, or ask AWS support. Then restart the
    /// workloads that IPAM313 names.
    ///
    /// ## What it costs
    ///
    /// A restart of the pods that were created meanwhile.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on, a policy with selector and groups exists, and no webhook `mpod.vpc.k8s.aws` does.
    pub WebhookMissing;
    code: "IPAM327",
    name: "webhook-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if facts.pod_groups.enabled != Some(true) || facts.pod_groups.effective().next().is_none() {
        return;
    }
    let Some(webhooks) = facts.snapshot.objects.mutating_webhooks.value() else {
        return found.lacks(Source::MutatingWebhooks);
    };
    if webhooks.iter().any(|name| [CONFIGURATION, WEBHOOK].iter().any(|ours| name.contains(ours))) {
        return;
    }
    let violation = sink::Violation {
        severity: Severity::Critical,
        message: format!("webhook {WEBHOOK} is missing: new pods get no branch, whatever policy selects them"),
        remediation: format!(
            "Restore MutatingWebhookConfiguration {CONFIGURATION}, then restart the selected workloads."
        ),
        evidence: vec![sink::evidence("mutatingWebhooks", webhooks.len())],
    };
    found.subject(Subject::Object("MutatingWebhookConfiguration", CONFIGURATION.into()), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{Reading, Source},
        tests::{branches::*, fixtures::now},
    };

    #[test]
    fn a_missing_webhook_is_silent_for_everybody_else() {
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM327"), RuleAnswer::Passed);
        snapshot.objects.mutating_webhooks = Reading::fresh(vec!["sidecar.istio.io".into()], now());
        assert_eq!(
            messages(&snapshot, "IPAM327"),
            ["webhook mpod.vpc.k8s.aws is missing: new pods get no branch, whatever policy selects them"]
        );
        set_env(&mut snapshot, "ENABLE_POD_ENI", "false");
        assert_eq!(answer(&snapshot, "IPAM327"), RuleAnswer::Passed, "the feature is off");
    }

    #[test]
    fn webhooks_that_were_not_read_are_not_missing() {
        let mut snapshot = cluster("m5.large", 1);
        snapshot.objects.mutating_webhooks = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::MutatingWebhooks], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM327"), lacks);
    }
}
