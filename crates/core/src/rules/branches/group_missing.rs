//! IPAM319: a policy names a security group that cannot be used.

use std::collections::BTreeMap;

use super::common;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    inventory::SecurityGroup,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The SecurityGroupPolicy names a security group that does not exist in the VPC.
    ///
    /// ## What it means
    ///
    /// EC2 refuses the branch of every new pod that the policy selects; these pods stay in `ContainerCreating`. Pods
    /// that run already are not touched.
    ///
    /// ## Why it happens
    ///
    /// A typing error, a group that was deleted, or a manifest that was copied from a cluster in another VPC.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-security-groups --group-ids GROUP --query 'SecurityGroups[].[GroupId,VpcId,GroupName]'
    /// kubectl get securitygrouppolicy NAME -n NAMESPACE -o jsonpath='{.spec.securityGroups.groupIds}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Correct the id.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A group of the policy is not among the security groups that EC2 lists: critical if the policy selects a pod,
    /// else a warning. A group of another VPC: a warning, since groups can be shared between VPCs.
    pub GroupMissing;
    code: "IPAM319",
    name: "group-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_policies(facts, found);
    if facts.pod_groups.effective().next().is_none() {
        return;
    }
    let Some(groups) = facts.snapshot.ec2.security_groups.value() else {
        return found.lacks(Source::SecurityGroups);
    };
    let known: BTreeMap<&str, &SecurityGroup> = groups.iter().map(|group| (&*group.id, group)).collect();
    let vpc = facts.subnets.first().map(|subnet| &subnet.subnet.vpc);
    for policy in facts.pod_groups.effective() {
        let named = || policy.groups.iter().map(|id| &**id);
        let missing: Vec<String> = named().filter(|id| !known.contains_key(id)).map(str::to_owned).collect();
        let foreign = named().filter(|id| known.get(id).is_some_and(|group| vpc.is_some_and(|vpc| group.vpc != *vpc)));
        let foreign: Vec<String> = foreign.map(str::to_owned).collect();
        if missing.is_empty() && foreign.is_empty() {
            continue;
        }
        let pods = common::number(facts.pod_groups.pods.iter().filter(|pod| pod.is_selected_by(policy)).count());
        let name = format!("{}/{}", policy.namespace, policy.name);
        let (ids, state) = if missing.is_empty() {
            (&foreign, "which belongs to another VPC")
        } else {
            (&missing, "which EC2 does not have")
        };
        let violation = sink::Violation {
            severity: if missing.is_empty() || pods == 0 { Severity::Warning } else { Severity::Critical },
            message: format!(
                "SecurityGroupPolicy {name} names {}, {state}; it selects {}",
                text::list(ids, "and", common::NAMED),
                text::count(pods, "pod"),
            ),
            remediation: "Correct the group ids of the policy.".to_owned(),
            evidence: vec![sink::evidence("pods", pods)],
        };
        found.subject(Subject::SecurityGroupPolicy(name.into()), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{finding::Severity, outcome::RuleAnswer, source::Source, tests::branches::*};

    #[test]
    fn a_group_that_is_not_there_stops_pods() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM319"), RuleAnswer::Passed);
        edit(&mut snapshot.objects.security_group_policies)[0].groups = ["sg-1".into(), "sg-7".into()].into();
        let found = findings(&snapshot, "IPAM319");
        assert_eq!(
            found[0].message,
            "SecurityGroupPolicy shop/db-access names sg-7, which EC2 does not have; it selects 1 pod"
        );
        assert_eq!(found[0].severity, Severity::Critical);
    }

    #[test]
    fn a_group_of_another_vpc_is_a_warning() {
        let mut snapshot = cluster("m5.large", 1);
        edit(&mut snapshot.ec2.security_groups)[0].vpc = "vpc-2".into();
        let found = findings(&snapshot, "IPAM319");
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
    }

    #[test]
    fn without_the_groups_it_cannot_tell() {
        let mut snapshot = cluster("m5.large", 1);
        snapshot.ec2.security_groups = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::SecurityGroups], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM319"), lacks);
    }
}
