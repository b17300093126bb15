//! IPAM413: a branch interface whose trunk no longer exists.

use jiff::SignedDuration;

use super::branches;
use crate::{
    facts::{Facts, Owner, lookup::Set},
    finding::{Severity, Subject},
    inventory::Interface,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// A branch interface names a trunk that no longer exists.
    ///
    /// ## What it means
    ///
    /// Nothing can be sent over the branch any more, and it keeps its address.
    ///
    /// ## Why it happens
    ///
    /// The node ended, and the resource controller did not delete the branches of its trunk, which it does a minute
    /// later: EC2 refused it, or the branch is in the subnet of an ENIConfig that the controller no longer looks at.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --network-interface-ids INTERFACE --query 'NetworkInterfaces[0].[Status,TagSet]'
    /// aws ec2 describe-network-interfaces --network-interface-ids TRUNK
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the branch with the command of the finding, once the second command says that the trunk does not exist.
    ///
    /// ## What it costs
    ///
    /// Nothing: no pod can use it.
    ///
    /// ## When it fires
    ///
    /// EC2 shows the branch and not the trunk of its tag `vpcresources.k8s.aws/trunk-eni-id`, in two complete readings at least
    /// `spec.thresholds.leakSeconds` (default 600) apart.
    pub BranchWithoutTrunk;
    code: "IPAM413",
    name: "branch-without-trunk",
    severity: Warning,
    condition: AddressesReconciled,
    sources: [Nodes, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    let branches = branches::with_owner(facts, Owner::Branch);
    if branches.is_empty() {
        return;
    }
    let apart = SignedDuration::from_secs(policy.thresholds.leak_seconds.into());
    let all = facts.snapshot.ec2.interfaces.value().into_iter().flatten();
    let existing: Set<&str> = all.map(|interface| interface.id.as_str()).collect();
    for branch in branches {
        let Some(trunk) = branches::trunk_of(branch).filter(|trunk| !existing.contains(trunk)) else { continue };
        let subject = Subject::Interface(branch.id.clone());
        if super::pods::may_accuse(facts, found, &subject) {
            let place = Place {
                group: format!("{} {trunk}", branch.subnet).into(),
                ..Place::in_subnet(&branch.subnet, subject)
            };
            found.suspicion(place, trunk, seen_at, apart, violation(branch, trunk));
        }
    }
}

fn violation(branch: &Interface, trunk: &str) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "branch interface {} holds {} of {}, and its trunk {trunk} no longer exists",
            branch.id,
            text::count(branch.addresses(), "address"),
            branch.subnet,
        ),
        remediation: format!(
            "If aws ec2 describe-network-interfaces --network-interface-ids {trunk} finds nothing, aws ec2 \
             delete-network-interface --network-interface-id {} gives the address back.",
            branch.id,
        ),
        evidence: vec![
            sink::evidence("trunk", trunk),
            sink::evidence("instance", branch.tag("node.k8s.amazonaws.com/instance_id").unwrap_or("?")),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::addresses::{answer, cluster, interfaces, once, proven, with_branch},
    };

    const CODE: &str = "IPAM413";

    #[test]
    fn a_branch_of_a_trunk_that_is_gone_is_a_finding() {
        let mut snapshot = cluster();
        with_branch(&mut snapshot, true);
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
        interfaces(&mut snapshot).retain(|row| row.id.as_str() != "eni-trunk");
        let messages = proven(&snapshot, CODE);
        assert_eq!(
            messages,
            ["branch interface eni-branch holds 1 address of subnet-1, and its trunk eni-trunk no longer exists"]
        );
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::NetworkInterfaces], suspects: 0 });
    }
}
