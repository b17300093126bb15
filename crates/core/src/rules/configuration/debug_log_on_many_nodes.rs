//! IPAM645: a log of every step on many nodes.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// The CNI logs at level DEBUG on many nodes.
    ///
    /// ## What it means
    ///
    /// Each node writes several lines for every pod that starts or ends, and some every five seconds. On hundreds of
    /// nodes that is gigabytes a day where logs are shipped.
    ///
    /// ## Why it happens
    ///
    /// The shipped manifest sets `AWS_VPC_K8S_CNI_LOGLEVEL=DEBUG`.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep LOGLEVEL
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `AWS_VPC_K8S_CNI_LOGLEVEL=INFO`. With the EKS add-on, set the value in its configuration (`aws eks
    /// update-addon --configuration-values`): a change of the DaemonSet alone is undone by the next update of the
    /// add-on.
    ///
    /// ## What it costs
    ///
    /// Less to read when a cause is looked for; the level can be raised again at any time.
    ///
    /// ## When it fires
    ///
    /// The level is DEBUG and the cluster has more than 200 nodes. Information.
    pub DebugLogOnManyNodes;
    code: "IPAM645",
    name: "debug-log-on-many-nodes",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const MANY_NODES: usize = 200;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["AWS_VPC_K8S_CNI_LOGLEVEL"], debug);
}

fn debug(environment: &Environment<'_>) -> Option<Violation> {
    let nodes = environment.facts.nodes.len();
    let level = environment.variant.text("AWS_VPC_K8S_CNI_LOGLEVEL")?;
    if !environment.variant.is_template || nodes <= MANY_NODES || !level.eq_ignore_ascii_case("debug") {
        return None;
    }
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    Some(Violation {
        severity: Severity::Info,
        message: format!("{} logs at level DEBUG on {}", environment.who(), text::count(nodes, "node")),
        remediation: format!("Run `{}`.", environment.installation.set_env("AWS_VPC_K8S_CNI_LOGLEVEL=INFO")),
        evidence: vec![sink::evidence("nodes", nodes)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM645";

    const DEBUG: &[(&str, &str)] = &[("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG")];

    #[test]
    fn debug_on_many_nodes_is_told() {
        let finding = only(&cluster::nodes(DEBUG, 201), CODE);
        assert_eq!(
            (finding.severity, finding.message.as_str()),
            (Severity::Info, "kube-system/aws-node logs at level DEBUG on 201 nodes")
        );
    }

    #[test]
    fn few_nodes_and_other_levels_are_left_alone() {
        assert!(cluster::found(&cluster::nodes(DEBUG, 200), CODE).is_empty());
        assert!(cluster::found(&cluster::nodes(&[("AWS_VPC_K8S_CNI_LOGLEVEL", "INFO")], 201), CODE).is_empty());
    }

    #[test]
    fn an_unread_level_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "AWS_VPC_K8S_CNI_LOGLEVEL");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
