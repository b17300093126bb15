//! IPAM901: a source that was never read.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rights,
    rules::{Violations, sink},
    source::{FaultCategory, Source, SourceState},
};

rule! {
    /// A source of data could not be read.
    ///
    /// ## What it means
    ///
    /// The audit reads Kubernetes and EC2. Without one of its sources some rules cannot answer; they say so
    /// (`Inconclusive`) and never pass. Conditions that need it are `Unknown`.
    ///
    /// ## Why it happens
    ///
    /// A missing right, missing credentials, a wrong region or VPC, an endpoint that cannot be reached, or an
    /// `aws-node` DaemonSet under another name.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipamaudit -o jsonpath='{range .items[*].status.sources[*]}{.name}{"\t"}{.message}{"\n"}{end}'
    /// aws ec2 describe-subnets --max-results 5
    /// ```
    ///
    /// ## What to do
    ///
    /// The finding names the source, the exact right or setting, and where it goes. `ipam-audit iam-policy` and
    /// `ipam-audit rbac` print all that is needed; it is read-only.
    ///
    /// ## What it costs
    ///
    /// One read-only right.
    ///
    /// ## When it fires
    ///
    /// A required source, or ipamd where `spec.ipamd` asks for it, has never been read successfully since the
    /// controller started, and not merely not yet. It is
    /// information where only the `aws-node` DaemonSet is not there and no node needs it: on Fargate alone, in Auto Mode,
    /// without nodes.
    pub SourceMissing;
    code: "IPAM901",
    name: "source-missing",
    severity: Warning,
    condition: DataComplete,
    sources: [],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for state in facts.sources.iter().filter(|state| state.is_missing() && state.source.is_missed()) {
        let Some(fault) = state.fault.as_ref().filter(|fault| fault.category != FaultCategory::Pending) else {
            continue;
        };
        let violation = sink::Violation {
            severity: if is_unneeded(facts, state.source, fault.category) { Severity::Info } else { Severity::Warning },
            message: format!("{} could not be read: {}", state.source, fault.message),
            remediation: remedy(state, fault.category),
            evidence: vec![sink::evidence("category", fault.category.name())],
        };
        found.subject(Subject::Source(state.source), violation);
    }
}

/// Whether it is the VPC CNI that is not there, and no node that it would serve.
fn is_unneeded(facts: &Facts<'_>, source: Source, category: FaultCategory) -> bool {
    let absent = source == Source::AwsNode && category == FaultCategory::NotFound;
    absent && !facts.is_missing(Source::Nodes) && facts.nodes.is_empty()
}

/// What to do, by the kind of fault; the fault's own message has the details.
pub(super) fn remedy(state: &SourceState, category: FaultCategory) -> String {
    let of_ec2 = state.source.iam_action();
    match (category, of_ec2) {
        (FaultCategory::Denied, Some(action)) => {
            format!("Allow {action} in the operator's IAM policy; `ipam-audit iam-policy` prints the whole policy.")
        }
        (_, None) if state.source == Source::Ipamd => ipamd_remedy(category),
        (FaultCategory::Denied, None) => "Apply the shipped ClusterRole again; `ipam-audit rbac` prints it.".to_owned(),
        (FaultCategory::Credentials, _) => {
            "Give the operator's ServiceAccount an IAM role, by IRSA or EKS Pod Identity; if it has one, check the role's trust \
             policy or the association."
                .to_owned()
        }
        (FaultCategory::NotFound, Some(_)) => "Check spec.scope.vpcId and spec.aws.region.".to_owned(),
        (FaultCategory::NotFound, None) if state.source == Source::AwsNode => {
            "Set spec.cni.namespace and spec.cni.daemonSet to where the VPC CNI runs.".to_owned()
        }
        (FaultCategory::NotProvided, _) => "Add the file, and audit again.".to_owned(),
        (FaultCategory::Throttled, _) => "Nothing: it is read again later, more slowly.".to_owned(),
        (FaultCategory::Unreachable, Some(_)) => {
            "Check the region, the EC2 endpoint (in private clusters interface endpoints for ec2 and sts) and egress rules."
                .to_owned()
        }
        _ => "Nothing: it is read again. If it lasts, look at the operator's log.".to_owned(),
    }
}

/// ipamd is asked only where a spec says so.
fn ipamd_remedy(category: FaultCategory) -> String {
    match category {
        FaultCategory::Denied => format!(
            "Apply the right to ask ipamd through the API server: `{}` prints it; or set spec.ipamd.scrape to NodeAddress \
             or Disabled.",
            rights::command_for("get", "pods/proxy")
        ),
        _ => "Let the operator reach spec.ipamd.port (61678) of the nodes in their security groups and in \
              NetworkPolicies, or set spec.ipamd.scrape to PodProxy or Disabled."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        source::{FaultCategory, Reading},
        tests::{fixtures::Cluster, nodes::findings},
    };

    #[test]
    fn the_cni_is_only_missed_where_nodes_need_it() {
        let severity = |cluster: Cluster, category| {
            let mut snapshot = cluster.snapshot();
            snapshot.aws_node = Reading::missing(category, "no DaemonSet kube-system/aws-node");
            findings("IPAM901", &snapshot)[0].severity
        };
        let empty = || Cluster::new("10.0.0.0/20", &[]);
        assert_eq!(severity(empty(), FaultCategory::NotFound), Severity::Info);
        assert_eq!(severity(empty(), FaultCategory::Denied), Severity::Warning);
        assert_eq!(severity(empty().node("m5.large", 29, &[9], 2), FaultCategory::NotFound), Severity::Warning);
    }
}
