//! IPAM435: a node whose ipamd counts addresses that EC2 does not have there.

use super::books;
use crate::{
    facts::{Books, Facts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// ipamd counts more addresses than EC2 has on the node's interfaces.
    ///
    /// ## What it means
    ///
    /// ipamd will give pods addresses that are not the node's. Such a pod runs, and nothing reaches it; EC2 may have
    /// given the address to another node.
    ///
    /// ## Why it happens
    ///
    /// ipamd reads its interfaces from the instance's metadata, which lag behind or stay stale; or somebody took an
    /// address or an interface away behind its back.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get --raw /api/v1/namespaces/kube-system/pods/AWS-NODE-POD:61678/proxy/metrics | grep -E 'total_ip|eni_allocated'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,length(PrivateIpAddresses),length(Ipv4Prefixes||`[]`)]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the node's aws-node pod: at its start ipamd reads everything anew. If the difference comes back, replace
    /// the node.
    ///
    /// ## What it costs
    ///
    /// Some seconds without new pods on the node; running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// Only with `spec.ipamd.scrape`. The very same two numbers were there at two looks, of ipamd and of EC2, that are at
    /// least `spec.thresholds.suspicionSeconds` apart. Nodes are left out that are younger than
    /// `spec.thresholds.settleSeconds`, use several network cards, or have addresses of a kind that the CNI does not use
    /// now.
    pub IpamdCountsMore;
    code: "IPAM435",
    name: "ipamd-counts-more",
    severity: Warning,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces, Ipamd],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let differs = |books: &Books| books.total > books.in_ec2;
    let same = |books: &Books| format!("{} {}", books.total, books.in_ec2);
    books::judge(facts, found, (differs, same), |node| policy.for_node(node).suspicion_seconds, violation);
}

fn violation(books: &Books) -> sink::Violation {
    let more = books.total - books.in_ec2;
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "ipamd counts {}, EC2 has {} on the node's interfaces: pods may get {} of the {more} that are not there",
            text::count(books.total, "pod address"),
            text::thousands(books.in_ec2),
            text::verb(more, "the one", "some"),
        ),
        remediation:
            "Delete the node's aws-node pod, so that ipamd reads its interfaces anew; replace the node if the \
                      difference comes back."
                .to_owned(),
        evidence: books::evidence(books),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        engine,
        memory::Memory,
        outcome::RuleAnswer,
        policy::AuditPolicy,
        source::{FaultCategory, Source},
        tests::{
            addresses::{answer, interfaces, later, of, once},
            ipamd::{cluster, pool, proven, silent, stand, twice, with_env},
        },
    };

    const CODE: &str = "IPAM435";

    #[test]
    fn more_than_ec2_has_is_found_at_the_second_look_at_the_same_numbers() {
        let mut snapshot = cluster();
        pool(&mut snapshot, 0, |pool| pool.total = Some(8));
        assert_eq!(answer(&once(&snapshot), CODE), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
        let found = of(&twice(&snapshot, 60), CODE);
        assert_eq!(
            found[0].message,
            "ipamd counts 8 pod addresses, EC2 has 6 on the node's interfaces: pods may get some of the 2 that are not \
             there"
        );
        let evidence: Vec<String> = found[0].evidence.iter().map(|one| format!("{}={}", one.name, one.value)).collect();
        assert_eq!(evidence, ["ipamdTotal=8", "ec2=6", "ipamdAssigned=3", "pods=3", "ipamdInterfaces=1"]);
    }

    #[test]
    fn numbers_that_move_between_the_looks_prove_nothing() {
        let mut first = cluster();
        pool(&mut first, 0, |pool| pool.total = Some(8));
        let memory = once(&first).memory;
        let mut second = later(&first, 120);
        stand(&mut second, 120);
        pool(&mut second, 0, |pool| pool.total = Some(9));
        let outcome = engine::evaluate(&second, &AuditPolicy::default(), &memory);
        assert!(of(&outcome, CODE).is_empty());
        // A new answer of ipamd beside the same old reading of EC2 is no second look.
        let mut half = later(&first, 120);
        stand(&mut half, 120);
        half.ec2.interfaces = first.ec2.interfaces.clone();
        let outcome = engine::evaluate(&half, &AuditPolicy::default(), &memory);
        assert!(of(&outcome, CODE).is_empty());
    }

    #[test]
    fn equal_books_pass_and_those_of_different_things_are_not_compared() {
        let snapshot = cluster();
        assert_eq!(answer(&once(&snapshot), CODE), RuleAnswer::Passed);
        for env in [("ENABLE_MULTI_NIC", "true"), ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")] {
            let mut snapshot = with_env(&[env]);
            pool(&mut snapshot, 0, |pool| pool.total = Some(8));
            assert_eq!(proven(&snapshot, CODE), Vec::<String>::new(), "{env:?}");
        }
        // A prefix beside single addresses: ipamd counts it, and gives pods nothing of it.
        let mut mixed = cluster();
        interfaces(&mut mixed)[0].prefixes = ["10.0.0.96/28".parse().unwrap()].into();
        pool(&mut mixed, 0, |pool| pool.total = Some(23));
        assert_eq!(proven(&mixed, CODE), Vec::<String>::new());
    }

    #[test]
    fn a_node_that_is_well_again_is_told_though_another_gives_no_answer() {
        let mut snapshot = cluster();
        silent(&mut snapshot, 1, FaultCategory::Unreachable, "no answer");
        let outcome = once(&snapshot);
        let of = |name: &str| crate::finding::fingerprint(CODE, &crate::finding::Subject::Node(name.into()));
        assert!(outcome.over.contains(&of("node-0")) && !outcome.over.contains(&of("node-1")), "{:?}", outcome.over);
    }

    #[test]
    fn without_an_answer_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.ipamd.last_good.as_mut().unwrap().value.pop();
        let answer = answer(&engine::evaluate(&snapshot, &AuditPolicy::default(), &Memory::default()), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Ipamd], suspects: 0 });
    }
}
