//! IPAM437: a node whose ipamd holds addresses for pods that are gone.

use super::books;
use crate::{
    facts::{Books, Facts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// ipamd says that more pods have an address than there are pods.
    ///
    /// ## What it means
    ///
    /// Addresses stay assigned to pods that are gone: the node gives out fewer than it holds, takes more from the subnet
    /// than its pods need, and in the end has none left for new pods.
    ///
    /// ## Why it happens
    ///
    /// The container runtime lost a sandbox without a word to the CNI, a pod was deleted by force while its node was
    /// away, or kubelet retries the removal without success.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get --raw /api/v1/namespaces/kube-system/pods/AWS-NODE-POD:61678/proxy/metrics | grep assigned_ip_addresses
    /// kubectl get pods -A --field-selector spec.nodeName=NODE -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the node's aws-node pod: at its start ipamd drops addresses whose pods have no network interface on the
    /// node any more. If they stay, drain and replace the node.
    ///
    /// ## What it costs
    ///
    /// Some seconds without new pods on the node; running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// Only with `spec.ipamd.scrape`. ipamd has more than three addresses assigned beyond the pods that have or want one,
    /// and both numbers were the same at two looks at least `spec.thresholds.settleSeconds` apart. Nodes are left out as
    /// with IPAM435.
    pub AssignmentsLeaked;
    code: "IPAM437",
    name: "assignments-leaked",
    severity: Warning,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces, Ipamd],
    check: check,
}

/// A few pods are always between coming and going.
const BETWEEN: u32 = 3;

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let differs = |books: &Books| books.assigned > books.pods + BETWEEN;
    let same = |books: &Books| format!("{} {}", books.assigned, books.pods);
    let apart = |node: &_| policy.for_node(node).settle_seconds.max(policy.for_node(node).suspicion_seconds);
    books::judge(facts, found, (differs, same), apart, violation);
}

fn violation(books: &Books) -> sink::Violation {
    let leaked = books.assigned - books.pods;
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "ipamd has {} assigned for {}: {} held for pods that are gone",
            text::count(books.assigned, "address"),
            text::count(books.pods, "pod"),
            text::verb(leaked, "1 is", &format!("{} are", text::thousands(leaked))),
        ),
        remediation:
            "Delete the node's aws-node pod, so that ipamd drops what no pod has; drain and replace the node if \
                      they stay."
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

    const CODE: &str = "IPAM437";

    #[test]
    fn assignments_beyond_the_pods_are_found_and_a_few_are_not() {
        let mut snapshot = cluster();
        pool(&mut snapshot, 0, |pool| pool.assigned = Some(6));
        assert_eq!(of(&twice(&snapshot, 900), CODE), [], "three are between coming and going");
        pool(&mut snapshot, 0, |pool| pool.assigned = Some(7));
        assert_eq!(of(&twice(&snapshot, 299), CODE), []);
        let found = of(&twice(&snapshot, 300), CODE);
        assert_eq!(found[0].message, "ipamd has 7 addresses assigned for 3 pods: 4 are held for pods that are gone");
    }
}
