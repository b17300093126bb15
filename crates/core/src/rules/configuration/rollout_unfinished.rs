//! IPAM630: a pod that does not run its template.

use crate::{
    facts::{
        Facts,
        installation::{Installation, Variant},
    },
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment,
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// The node's aws-node pod runs other settings than its DaemonSet's template.
    ///
    /// ## What it means
    ///
    /// What the manifest says is not what the node does: its pool is sized by other targets, or by another version.
    /// Advice that is right for the template is wrong for this node.
    ///
    /// ## Why it happens
    ///
    /// The DaemonSet replaces its pods only when they are deleted (`OnDelete`), its rollout is stuck behind a pod that
    /// does not become ready, or something rewrites pods at their admission.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl rollout status daemonset/aws-node -n kube-system --timeout=5s
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o wide
    /// kubectl get pod AWS_NODE_POD -n kube-system -o yaml
    /// ```
    ///
    /// ## What to do
    ///
    /// Finish the rollout: `kubectl rollout restart daemonset/aws-node -n kube-system`, or delete the pods that are
    /// behind one by one. If settings are meant to differ by node, accept the finding.
    ///
    /// ## What it costs
    ///
    /// A restart of the `aws-node` pod of each node that is behind. Running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// The image's tag or a variable of the CNI differs between the node's pod and the template, and the DaemonSet is
    /// not replacing its pods right now (some are not updated and one started within the last
    /// `spec.thresholds.settleSeconds`). What admission adds for credentials, another registry for the same tag, and
    /// references that cannot be read are no difference. Warning.
    pub RolloutUnfinished;
    code: "IPAM630",
    name: "rollout-unfinished",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(installation) = &facts.installation else { return };
    let settle = jiff::SignedDuration::from_secs(i64::from(policy.thresholds.settle_seconds));
    if installation.is_rolling_out(facts.snapshot.taken_at, settle) {
        return;
    }
    let nodes = u32::try_from(facts.nodes.len()).unwrap_or(u32::MAX);
    for variant in installation.variants.iter().filter(|variant| !variant.is_template) {
        let behind = u32::try_from(variant.nodes.len()).unwrap_or(u32::MAX);
        let violation = difference(installation, variant, behind, nodes);
        for node in variant.nodes.iter().filter_map(|&at| facts.nodes.get(at)) {
            found.at(environment::on_node(node, &installation.aws_node.daemon_set), violation.clone());
        }
    }
}

fn difference(installation: &Installation<'_>, variant: &Variant<'_>, behind: u32, nodes: u32) -> Violation {
    let (namespace, name) = installation.place();
    let own = variant.cni.version_text();
    let wanted = installation.template().map_or_else(|| "?".to_owned(), |template| template.cni.version_text());
    let version = (own != wanted).then(|| format!("version {own} instead of {wanted}"));
    let value = |env: &Variant<'_>, name: &str| env.text(name).map_or_else(|| "unset".to_owned(), ToOwned::to_owned);
    let settings = installation.differences(variant).into_iter().map(|name| {
        let wanted = installation.template().map_or_else(String::new, |template| value(template, name));
        format!("{name} {} instead of {wanted}", value(variant, name))
    });
    let mut differences: Vec<String> = version.into_iter().chain(settings).collect();
    if differences.is_empty() {
        differences.push("another image".to_owned());
    }
    Violation {
        severity: Severity::Warning,
        message: format!(
            "its aws-node pod does not run the template of {namespace}/{name}: {}; {} of {} {} behind",
            text::list(&differences, "and", 3),
            text::thousands(behind),
            text::count(nodes, "node"),
            text::verb(behind, "is", "are"),
        ),
        remediation: format!("Run `kubectl rollout restart daemonset/{name} -n {namespace}`."),
        evidence: vec![sink::evidence("nodes", behind), sink::evidence("differences", differences.len())],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, minutes_ago, only},
    };

    const CODE: &str = "IPAM630";

    fn behind() -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(&[("WARM_IP_TARGET", "5"), ("MINIMUM_IP_TARGET", "10")]);
        let env = [("WARM_IP_TARGET", "3"), ("ENABLE_IPv4", "true"), ("CLUSTER_NAME", "shop"), ("AWS_ROLE_ARN", "arn")];
        cluster::on_node(&mut snapshot, 1, &env);
        snapshot
    }

    #[test]
    fn a_pod_that_is_behind_says_in_what() {
        let finding = only(&behind(), CODE);
        assert_eq!((finding.severity, finding.subject.name()), (Severity::Warning, "node-1"));
        assert_eq!(
            finding.message,
            "its aws-node pod does not run the template of kube-system/aws-node: MINIMUM_IP_TARGET unset instead of 10 and \
             WARM_IP_TARGET 3 instead of 5; 1 of 2 nodes is behind"
        );
        let mut older = cluster::with(&[]);
        let pod = cluster::pod(&mut older, 0);
        std::sync::Arc::make_mut(&mut pod.env).image = "registry/amazon-k8s-cni:v1.20.4".into();
        assert!(only(&older, CODE).message.contains("version 1.20.4 instead of 1.23.1"));
    }

    #[test]
    fn a_rollout_under_way_and_injected_variables_are_left_alone() {
        let mut rolling = behind();
        let aws_node_of = aws_node(&mut rolling);
        (aws_node_of.manifest.desired, aws_node_of.manifest.updated) = (Some(2), Some(1));
        aws_node_of.pods[0].started_at = Some(minutes_ago(2));
        assert!(cluster::found(&rolling, CODE).is_empty());
        cluster::pod(&mut rolling, 0).started_at = Some(minutes_ago(20));
        assert_eq!(cluster::found(&rolling, CODE).len(), 1, "it is stuck");
        let mut injected = cluster::with(&[]);
        let env = [("ENABLE_IPv4", "true"), ("CLUSTER_NAME", "shop"), ("AWS_ROLE_ARN", "arn")];
        cluster::on_node(&mut injected, 1, &env);
        assert!(cluster::found(&injected, CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
