//! IPAM410: an interface of the CNI or the resource controller that is attached to nothing.

use jiff::SignedDuration;

use super::leak::{self, Leak};
use crate::{
    facts::{Facts, Owner},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// An interface made for pods is attached to nothing and keeps its addresses.
    ///
    /// ## What it means
    ///
    /// The interface takes addresses of its subnet, serves nobody, and keeps its security groups and its subnet from
    /// being deleted.
    ///
    /// ## Why it happens
    ///
    /// A node ended between the creation of an interface and its attachment, between the attachment and the setting
    /// that deletes it with the instance, or between detaching and deleting it: spot nodes and forced terminations do
    /// that. Two cleaners remove such interfaces: the CNI on each node at its start and hourly, and the VPC resource
    /// controller, which deletes what it sees in two looks half an hour apart. Each finds only what carries its tags:
    /// without `CLUSTER_NAME` on `aws-node` the controller's are missing; with it, the CNI passes over what was made
    /// before.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --network-interface-ids INTERFACE \
    ///     --query 'NetworkInterfaces[0].[Status,Description,Attachment,TagSet]'
    /// kubectl get daemonset -n kube-system aws-node -o yaml | grep -A1 -e CLUSTER_NAME -e DISABLE_LEAKED_ENI_CLEANUP
    /// ```
    ///
    /// ## What to do
    ///
    /// If the first command still says `available`, delete the interface with the command of the finding. Then let the
    /// cleaners work: set `CLUSTER_NAME`, and do not disable the clean-up.
    ///
    /// ## What it costs
    ///
    /// Nothing: an unattached interface serves nobody. Only its address is lost to whoever planned to attach it again.
    ///
    /// ## When it fires
    ///
    /// An interface whose description or tags say that the CNI or the resource controller made or took it is
    /// unattached in two readings at least `spec.thresholds.leakSeconds` (default 600) apart and was created longer ago
    /// than ten minutes. Info while a cleaner may still come (within two hours of its creation), and for interfaces that the CNI
    /// only took over; warning otherwise. Interfaces with another cluster's tag, or made for an instance that runs and
    /// is no node of this cluster, are not judged.
    pub InterfaceLeaked;
    code: "IPAM410",
    name: "interface-leaked",
    severity: Warning,
    condition: AddressesReconciled,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    let apart = SignedDuration::from_secs(policy.thresholds.leak_seconds.into());
    let interfaces = facts.snapshot.ec2.interfaces.value().into_iter().flatten().zip(&facts.owners);
    for (interface, _) in interfaces.filter(|(_, owner)| **owner == Owner::Leaked) {
        let subject = Subject::Interface(interface.id.clone());
        let since = found.suspected_since(&subject, "").unwrap_or(seen_at);
        let leak = Leak::of(facts, interface, since, seen_at);
        let place = Place::in_subnet(&interface.subnet, subject);
        let place = Place { group: format!("{} {}", interface.subnet, leak.cause.name()).into(), ..place };
        found.suspicion(place, "", seen_at, apart, violation(facts, &leak));
    }
}

fn violation(facts: &Facts<'_>, leak: &Leak<'_>) -> sink::Violation {
    let interface = leak.interface;
    let ours = crate::facts::owner::is_made(interface);
    let cluster =
        leak.cluster().map_or_else(|| "no cluster's tag".to_owned(), |name| format!("the tag of cluster {name}"));
    let cni = facts.nodes.iter().find_map(|node| node.cni.as_deref());
    let addresses = text::count(interface.addresses(), "address");
    sink::Violation {
        severity: if leak.cause.passes() || !ours { Severity::Info } else { Severity::Warning },
        message: format!(
            "{} {}, {}, with {cluster}, is attached to nothing and holds {addresses} of {}; {}; {}",
            leak.kind(),
            interface.id,
            leak::aged(leak.age),
            interface.subnet,
            leak.made_for(facts),
            leak.cause.why(),
        ),
        remediation: format!(
            "If aws ec2 describe-network-interfaces --network-interface-ids {0} --query 'NetworkInterfaces[0].Status' \
             still says available, aws ec2 delete-network-interface --network-interface-id {0} gives {addresses} back.{1}",
            interface.id,
            leak.cause.cure(cni),
        ),
        evidence: vec![
            sink::evidence("addresses", interface.addresses()),
            sink::evidence("ageSeconds", leak.age.map_or_else(|| "?".to_owned(), |age| age.as_secs().to_string())),
            sink::evidence("instance", leak.instance.as_ref().map_or("?", |instance| instance.as_str())),
            sink::evidence("cluster", leak.cluster().unwrap_or("?")),
            sink::evidence("cause", leak.cause.name()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        inventory::InterfaceKind,
        outcome::{ConditionStatus, ConditionType, RuleAnswer},
        source::{FaultCategory, Reading, Source},
        tests::{
            addresses::{answer, cluster, instance, interfaces, leaked, of, once, proven, twice, with_env},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM410";
    const CLUSTER: (&str, &str) = ("cluster.k8s.amazonaws.com/name", "prod");
    const OWNER: (&str, &str) = ("eks:eni:owner", "amazon-vpc-cni");

    #[test]
    fn a_leak_that_no_cleaner_sees_says_so_and_how_to_remove_it() {
        let mut snapshot = cluster();
        interfaces(&mut snapshot).push(leaked("eni-leak", 300, &[]));
        snapshot.ec2.instances = Reading::fresh(vec![instance("i-gone", "terminated", None)].into(), now());
        let outcome = twice(&snapshot, 900);
        let finding = &of(&outcome, CODE)[0];
        assert_eq!(
            finding.message,
            "interface eni-leak, created 5 h ago, with no cluster's tag, is attached to nothing and holds 6 addresses of \
             subnet-1; it was made for i-gone, which is terminated for good; the CNI does not see it: CLUSTER_NAME is set and the \
             interface has no cluster's tag"
        );
        assert!(finding.remediation.contains("aws ec2 delete-network-interface --network-interface-id eni-leak gives"));
        assert_eq!(finding.severity, Severity::Warning);
        let subnet = &outcome.subnets[0];
        let condition = subnet.conditions.iter().find(|one| one.kind == ConditionType::AddressesReconciled).unwrap();
        assert_eq!((condition.status, condition.reason), (ConditionStatus::False, "InterfaceLeaked"));
        assert_eq!(subnet.ledger.unwrap().leaked, 6);
    }

    #[test]
    fn a_leak_that_a_cleaner_will_find_is_information_until_it_is_overdue() {
        for (minutes, severity, why) in [(60, Severity::Info, "within the hour"), (180, Severity::Warning, "have not")]
        {
            let mut snapshot = cluster();
            interfaces(&mut snapshot).push(leaked("eni-leak", minutes, &[CLUSTER, OWNER]));
            let finding = of(&twice(&snapshot, 600), CODE).remove(0);
            assert_eq!(finding.severity, severity, "{minutes}");
            assert!(
                finding.message.contains(why) && finding.message.contains("the tag of cluster prod"),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn a_trunk_that_says_no_age_is_overdue_by_how_long_it_was_seen() {
        let mut snapshot = cluster();
        let mut trunk = leaked("eni-trunk", 0, &[CLUSTER, ("eks:eni:owner", "eks-vpc-resource-controller")]);
        trunk.kind = InterfaceKind::Trunk;
        trunk.created_at = None;
        interfaces(&mut snapshot).push(trunk);
        for (seconds, severity) in [(900, Severity::Info), (7_200, Severity::Warning)] {
            let finding = of(&twice(&snapshot, seconds), CODE).remove(0);
            assert_eq!(finding.severity, severity);
            assert!(finding.message.starts_with("trunk eni-trunk, of unknown age, with"), "{finding:?}");
        }
    }

    #[test]
    fn every_reason_of_a_cni_that_does_not_clean_up_is_named() {
        for (env, why) in [
            (&[("DISABLE_LEAKED_ENI_CLEANUP", "true")][..], "DISABLE_LEAKED_ENI_CLEANUP is true"),
            (&[("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")], "it provisions nothing here"),
            (&[("ENABLE_IPv6", "true"), ("ENABLE_IPv4", "false")], "no such clean-up with IPv6"),
        ] {
            let mut snapshot = with_env(env);
            interfaces(&mut snapshot).push(leaked("eni-leak", 300, &[]));
            let findings = of(&twice(&snapshot, 900), CODE);
            assert!(findings[0].message.ends_with(why), "{findings:?}");
        }
    }

    #[test]
    fn young_interfaces_and_those_of_others_are_not_judged() {
        let foreign = ("cluster.k8s.amazonaws.com/name", "staging");
        let kept = ("node.k8s.amazonaws.com/no_manage", "true");
        for row in [leaked("eni-a", -10, &[]), leaked("eni-b", 300, &[foreign]), leaked("eni-c", 300, &[kept])] {
            let mut snapshot = cluster();
            interfaces(&mut snapshot).push(row);
            assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
        }
        let mut snapshot = cluster();
        interfaces(&mut snapshot).push(leaked("eni-d", 300, &[]));
        snapshot.ec2.instances = Reading::fresh(vec![instance("i-gone", "running", None)].into(), now());
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new(), "its instance runs and is another cluster's");
    }

    #[test]
    fn one_look_proves_nothing_and_no_look_tells_nothing() {
        let mut snapshot = cluster();
        interfaces(&mut snapshot).push(leaked("eni-leak", 300, &[]));
        assert_eq!((of(&once(&snapshot), CODE), of(&twice(&snapshot, 599), CODE)), (Vec::new(), Vec::new()));
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::NetworkInterfaces], suspects: 0 });
    }
}
