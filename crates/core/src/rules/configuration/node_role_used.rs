//! IPAM634: a CNI with the rights of its nodes.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    source::Source,
};

rule! {
    /// The CNI has no role of its own and uses that of its nodes.
    ///
    /// ## What it means
    ///
    /// Every pod that can reach the instance metadata then has the rights to attach interfaces and to take addresses.
    ///
    /// ## Why it happens
    ///
    /// The add-on was installed without a role; the policy is attached to the nodes' role, as EKS does by default.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get serviceaccount aws-node -n kube-system -o yaml
    /// aws eks list-pod-identity-associations --cluster-name CLUSTER --namespace kube-system
    /// ```
    ///
    /// ## What to do
    ///
    /// Give the add-on a role by IAM roles for service accounts or by EKS Pod Identity, then take
    /// `AmazonEKS_CNI_Policy` from the nodes' role.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// The service account of the DaemonSet is known and has no annotation `eks.amazonaws.com/role-arn`, and no
    /// `aws-node` pod carries credentials of a role or of Pod Identity. Information: an association made after the pods
    /// started cannot be seen.
    pub NodeRoleUsed;
    code: "IPAM634",
    name: "node-role-used",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode, ServiceAccounts],
    check: check,
}

/// What admission gives pods with a role of their own.
const CREDENTIALS: [&str; 2] = ["AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let (Some(installation), Some(accounts)) = (&facts.installation, facts.snapshot.objects.service_accounts.value())
    else {
        return;
    };
    let (namespace, _) = installation.place();
    let manifest = &installation.aws_node.manifest;
    let Some(name) = manifest.service_account.as_deref() else {
        found.lacks(Source::AwsNode);
        return;
    };
    let account = accounts.iter().find(|account| *account.namespace == *namespace && *account.name == *name);
    let Some(account) = account.filter(|account| account.role.is_none()) else { return };
    let has_credentials = |name: &&str| installation.aws_node.pods.iter().any(|pod| pod.env.values.contains_key(*name));
    if CREDENTIALS.iter().any(has_credentials) {
        return;
    }
    let daemon_set = installation.aws_node.daemon_set.clone();
    let violation = Violation {
        severity: Severity::Info,
        message: format!(
            "{daemon_set} has no role of its own: service account {namespace}/{} names none",
            account.name
        ),
        remediation: "Give the add-on a role, then take AmazonEKS_CNI_Policy from the nodes' role.".to_owned(),
        evidence: vec![sink::evidence("serviceAccount", format!("{namespace}/{}", account.name))],
    };
    found.subject(Subject::DaemonSet(daemon_set), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, only},
    };

    const CODE: &str = "IPAM634";

    use crate::{
        snapshot::{ClusterSnapshot, ServiceAccount},
        source::Reading,
        tests::fixtures::now,
    };

    fn with_role(role: Option<&str>) -> ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        aws_node(&mut snapshot).manifest.service_account = Some("aws-node".into());
        let account = ServiceAccount {
            namespace: "kube-system".into(),
            name: "aws-node".into(),
            labels: crate::tags::Tags::default(),
            role: role.map(Into::into),
        };
        snapshot.objects.service_accounts = Reading::fresh(vec![account], now());
        snapshot
    }

    #[test]
    fn a_service_account_without_a_role_is_named() {
        let finding = only(&with_role(None), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node has no role of its own: service account kube-system/aws-node names none"
        );
    }

    #[test]
    fn a_role_or_credentials_in_its_pods_are_enough() {
        assert!(cluster::found(&with_role(Some("arn:aws:iam::1:role/cni")), CODE).is_empty());
        let mut identity = with_role(None);
        let env = [("ENABLE_IPv4", "true"), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23")];
        cluster::on_node(&mut identity, 0, &env);
        assert!(cluster::found(&identity, CODE).is_empty());
    }

    #[test]
    fn without_service_accounts_it_cannot_tell() {
        let mut nameless = with_role(None);
        aws_node(&mut nameless).manifest.service_account = None;
        assert!(is_inconclusive(&answer(&nameless, CODE)));
        assert!(is_inconclusive(&answer(&cluster::with(&[]), CODE)));
    }
}
