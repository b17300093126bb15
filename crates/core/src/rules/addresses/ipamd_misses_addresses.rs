//! IPAM436: a node whose ipamd does not count addresses that EC2 has there.

use super::books;
use crate::{
    facts::{Books, Facts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// ipamd counts fewer addresses than EC2 has on the node's interfaces.
    ///
    /// ## What it means
    ///
    /// Addresses are taken from the subnet and no pod will ever get them. If ipamd misses a whole interface, the node
    /// serves fewer pods than its type allows, and may attach and detach interfaces without end.
    ///
    /// ## Why it happens
    ///
    /// An interface was attached, and the instance's metadata did not show it within ipamd's patience; or somebody added
    /// addresses by hand.
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
    /// least `spec.thresholds.settleSeconds` apart: attaching an interface takes ipamd up to three minutes. Nodes are
    /// left out as with IPAM435.
    pub IpamdMissesAddresses;
    code: "IPAM436",
    name: "ipamd-misses-addresses",
    severity: Warning,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces, Ipamd],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let differs = |books: &Books| books.total < books.in_ec2;
    let same = |books: &Books| format!("{} {}", books.total, books.in_ec2);
    let apart = |node: &_| policy.for_node(node).settle_seconds.max(policy.for_node(node).suspicion_seconds);
    books::judge(facts, found, (differs, same), apart, violation);
}

fn violation(books: &Books) -> sink::Violation {
    let fewer = books.in_ec2 - books.total;
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "ipamd counts {}, EC2 has {} on the node's interfaces: no pod will get {} of them",
            text::count(books.total, "pod address"),
            text::thousands(books.in_ec2),
            text::thousands(fewer),
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
    use crate::tests::{
        addresses::of,
        ipamd::{cluster, pool, twice},
    };

    const CODE: &str = "IPAM436";

    #[test]
    fn less_than_ec2_has_is_found_once_attaching_must_be_over() {
        let mut snapshot = cluster();
        pool(&mut snapshot, 1, |pool| pool.total = Some(4));
        assert_eq!(of(&twice(&snapshot, 299), CODE), []);
        let found = of(&twice(&snapshot, 300), CODE);
        assert_eq!(
            found[0].message,
            "ipamd counts 4 pod addresses, EC2 has 6 on the node's interfaces: no pod will get 2 of them"
        );
        assert_eq!(found[0].subject.name(), "node-1");
        assert!(of(&twice(&snapshot, 300), "IPAM435").is_empty());
    }
}
