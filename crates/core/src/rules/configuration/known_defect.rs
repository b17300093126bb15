//! IPAM622: a version with a known defect.

use crate::{
    facts::Facts,
    inventory::InterfaceKind,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::{
            environment::{self, Environment},
            known_bad::{DEFECTS, Defect, Matters},
        },
        sink::{self, Violation},
    },
    source::Source,
    text,
};

rule! {
    /// The installed version of the CNI has a known defect that concerns this cluster.
    ///
    /// ## What it means
    ///
    /// The finding says what breaks, in which version it is mended and where it is described. Only defects that concern
    /// addresses and interfaces are listed, and only where the cluster uses what they break.
    ///
    /// ## Why it happens
    ///
    /// The version was current when the cluster was made; the add-on is not updated by itself.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.containers[*].image}{"\n"}{.spec.template.spec.initContainers[*].image}{"\n"}'
    /// aws eks describe-addon-versions --addon-name vpc-cni --kubernetes-version VERSION --query 'addons[].addonVersions[].addonVersion'
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the CNI to the version that the finding names or a newer one.
    ///
    /// ## What it costs
    ///
    /// An update of the CNI: a restart of each `aws-node` pod.
    ///
    /// ## When it fires
    ///
    /// The version is known and in the table of defects, and the cluster uses the feature that the defect is about. The
    /// table gives the severity, critical at most.
    pub KnownDefect;
    code: "IPAM622",
    name: "known-defect",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] =
    &["ENABLE_POD_ENI", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "ENABLE_SUBNET_DISCOVERY", "ANNOTATE_POD_IP"];
/// Tag of interfaces that the CNI is told to leave alone.
const UNMANAGED: &str = "node.k8s.amazonaws.com/no_manage";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let versions = facts.installation.iter().flat_map(|installation| &installation.variants);
    let mut versions = versions.filter_map(|variant| variant.cni.known_version());
    let asks_ec2 = |defect: &&Defect| defect.matters == Matters::UnmanagedInterfaces;
    if facts.is_missing(Source::NetworkInterfaces)
        && versions.any(|version| DEFECTS.iter().filter(asks_ec2).any(|defect| defect.is_in(version)))
    {
        found.lacks(Source::NetworkInterfaces);
    }
    environment::each(facts, found, NEEDS, defective);
}

fn defective(environment: &Environment<'_>) -> Option<Violation> {
    let version = environment.variant.cni.known_version()?;
    let mut defects: Vec<&Defect> =
        DEFECTS.iter().filter(|defect| defect.is_in(version) && concerns(environment, defect.matters)).collect();
    defects.sort_by_key(|defect| std::cmp::Reverse(defect.severity));
    let worst = defects.first()?;
    let fixed = defects.iter().map(|defect| defect.fixed).max()?;
    let breaks: Vec<String> = defects.iter().map(|defect| defect.breaks.to_owned()).collect();
    let sources: Vec<&str> = defects.iter().map(|defect| defect.source).collect();
    Some(Violation {
        severity: worst.severity,
        message: format!(
            "{} runs {version}, which is known for this: {}",
            environment.who(),
            text::list(&breaks, "and", 3)
        ),
        remediation: format!("Update the CNI to {fixed} or newer; see {}.", sources.join(" and ")),
        evidence: vec![sink::evidence("version", version), sink::evidence("fixedIn", fixed)],
    })
}

fn concerns(environment: &Environment<'_>, matters: Matters) -> bool {
    let config = environment.config();
    match matters {
        Matters::Always => !environment.variant.cni.is_ipv6(),
        Matters::SubnetDiscovery => {
            config.subnet_discovery.value_or(true)
                && !config.custom_networking.value_or(false)
                && !config.adopts_only(environment.version())
        }
        Matters::AnnotatedPods => config.annotate_pod_ip.value_or(false),
        Matters::TrunkOrCustomNetworking => config.pod_eni.value_or(false) || config.custom_networking.value_or(false),
        Matters::UnmanagedInterfaces => environment
            .facts
            .nodes
            .iter()
            .flat_map(|node| node.interfaces.iter().flatten())
            .any(|interface| interface.kind != InterfaceKind::Trunk && interface.tag(UNMANAGED) == Some("true")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only, run_version},
    };

    const CODE: &str = "IPAM622";

    fn of(tag: &str, env: &[(&str, &str)]) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(env);
        run_version(&mut snapshot, tag);
        snapshot
    }

    #[test]
    fn a_defect_says_what_breaks_and_where_it_is_mended() {
        let finding = only(&of("v1.22.1-eksbuild.1", &[]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node runs 1.22.1, which is known for this: it needs ec2:DescribeSecurityGroups and does not \
             start without that right"
        );
        assert!(finding.remediation.starts_with("Update the CNI to 1.22.2 or newer; see https://"));
    }

    #[test]
    fn only_what_the_cluster_uses_concerns_it() {
        assert!(cluster::found(&of("v1.22.4", &[]), CODE).is_empty(), "no unmanaged interface");
        let mut unmanaged = of("v1.22.4", &[]);
        let interfaces = &mut unmanaged.ec2.interfaces.last_good.as_mut().unwrap().value;
        interfaces[0].tags = [("node.k8s.amazonaws.com/no_manage".into(), "true".into())].into();
        assert!(only(&unmanaged, CODE).message.contains("miscounts"));
        assert_eq!(only(&of("v1.16.0", &[]), CODE).severity, Severity::Info);
        assert_eq!(only(&of("v1.16.0", &[("ENABLE_POD_ENI", "true")]), CODE).severity, Severity::Warning);
        assert!(cluster::found(&of("v1.23.1", &[]), CODE).is_empty());
        assert!(cluster::found(&of("v1.22.1", &[("ENABLE_SUBNET_DISCOVERY", "false")]), CODE).is_empty());
        assert_eq!(only(&of("v1.11.0", &[("ANNOTATE_POD_IP", "true")]), CODE).severity, Severity::Warning);
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = of("v1.22.4", &[]);
        snapshot.ec2.interfaces = crate::source::Reading::default();
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
