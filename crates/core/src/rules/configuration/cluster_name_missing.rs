//! IPAM640: a CNI without its cluster's name.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    source::Source,
};

rule! {
    /// The CNI does not know its cluster's name and tags no interface with it.
    ///
    /// ## What it means
    ///
    /// Interfaces carry neither the cluster's name nor their owner. What a node leaves behind cannot be told from what
    /// another cluster needs: the controller of EKS does not clean it up, and the nodes' own clean-up takes that of
    /// every cluster in the VPC.
    ///
    /// ## Why it happens
    ///
    /// The manifest of the CNI's repository and the Helm chart leave `CLUSTER_NAME` out; the EKS add-on sets it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep CLUSTER_NAME
    /// aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=VPC Name=tag-key,Values=cluster.k8s.amazonaws.com/name --query 'NetworkInterfaces[].TagSet[?Key==`cluster.k8s.amazonaws.com/name`].Value' --output text | sort | uniq -c
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `CLUSTER_NAME` to the name of the EKS cluster. With the EKS add-on, set the value in its configuration (`aws
    /// eks update-addon --configuration-values`): a change of the DaemonSet alone is undone by the next update of the
    /// add-on.
    ///
    /// ## What it costs
    ///
    /// A restart of each `aws-node` pod; interfaces are tagged as it starts.
    ///
    /// ## When it fires
    ///
    /// `CLUSTER_NAME` is absent or empty: information; warning where interfaces in the VPC carry the name of another
    /// cluster.
    pub ClusterNameMissing;
    code: "IPAM640",
    name: "cluster-name-missing",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// Tag with the name of the cluster whose CNI made an interface.
const CLUSTER: &str = "cluster.k8s.amazonaws.com/name";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let template = facts.installation.as_ref().and_then(|installation| installation.template());
    let nameless = template.is_some_and(|template| template.cni.config().cluster_name.is_none());
    if nameless && facts.is_missing(Source::NetworkInterfaces) {
        found.lacks(Source::NetworkInterfaces);
    }
    environment::each(facts, found, &["CLUSTER_NAME"], nameless_cni);
}

fn nameless_cni(environment: &Environment<'_>) -> Option<Violation> {
    if environment.config().cluster_name.is_some() {
        return None;
    }
    let interfaces = environment.facts.snapshot.ec2.interfaces.value();
    // Its own interfaces still carry this cluster's name where the variable was there before.
    let named = interfaces.into_iter().flatten().filter_map(|interface| interface.tag(CLUSTER));
    let other = named.into_iter().find(|name| !environment.facts.cluster_names.contains(*name));
    let (severity, consequence) = match other {
        Some(other) => (
            Severity::Warning,
            format!("its clean-up cannot tell what is its own from what cluster {other} left in the same VPC"),
        ),
        None => (Severity::Info, "the controller of EKS cannot clean up what its nodes leave behind".to_owned()),
    };
    Some(Violation {
        severity,
        message: format!("{} has no CLUSTER_NAME: {consequence}", environment.who()),
        remediation: format!(
            "Run `{}` with the name of the EKS cluster.",
            environment.installation.set_env("CLUSTER_NAME=NAME")
        ),
        evidence: other.map(|other| sink::evidence("otherCluster", other)).into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::{
            configuration::{self as cluster, answer, is_inconclusive, only},
            fixtures::interface,
        },
    };

    const CODE: &str = "IPAM640";

    const NAMELESS: &[(&str, &str)] = &[("CLUSTER_NAME", "")];

    #[test]
    fn a_name_matters_more_where_clusters_share_a_vpc() {
        let mut snapshot = cluster::with(NAMELESS);
        let finding = only(&snapshot, CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node has no CLUSTER_NAME: the controller of EKS cannot clean up what its nodes leave behind"
        );
        let tagged = |name: &str| [("cluster.k8s.amazonaws.com/name".into(), name.into())].into();
        let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
        interfaces[0].tags = tagged("shop");
        let mut left_behind = interface("eni-left", "subnet-1");
        left_behind.tags = tagged("shop");
        interfaces.push(left_behind);
        assert_eq!(only(&snapshot, CODE).severity, Severity::Info, "its own name, from when it was set");
        snapshot.ec2.interfaces.last_good.as_mut().unwrap().value[2].tags = tagged("bank");
        let shared = only(&snapshot, CODE);
        assert_eq!(shared.severity, Severity::Warning);
        assert!(shared.message.contains("what cluster bank left in the same VPC"), "{}", shared.message);
    }

    #[test]
    fn a_name_is_enough() {
        assert!(cluster::found(&cluster::with(&[("CLUSTER_NAME", "shop")]), CODE).is_empty());
    }

    #[test]
    fn an_unread_name_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "CLUSTER_NAME");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
