//! IPAM325: a cool-down of branches that does not do what it says.

use crate::{
    facts::{Facts, sgp::Cooldown},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
};

/// Beyond this a branch slot is blocked for long after each pod.
const LONG: u32 = 300;

rule! {
    /// The cool-down of branches is not a sound number.
    ///
    /// ## What it means
    ///
    /// A freed branch is not given away before its cool-down is over. Below 30 seconds the resource controller takes
    /// 30; a text that is no whole number counts as 60, or as what was there before; above 300, every pod that goes
    /// blocks its slot for minutes.
    ///
    /// ## Why it happens
    ///
    /// Key `branch-eni-cooldown` of ConfigMap `amazon-vpc-cni` was set by hand, often with a unit (`30s`).
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get configmap amazon-vpc-cni -n kube-system -o jsonpath='{.data.branch-eni-cooldown}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set a whole number of seconds from 30 to 120.
    ///
    /// ## What it costs
    ///
    /// A short cool-down gives an address to the next pod sooner, which peers with old connections may notice.
    ///
    /// ## When it fires
    ///
    /// Security groups for pods are on, and the value is above 300 (warning), below 30 or no whole number
    /// (information).
    pub BranchCooldown;
    code: "IPAM325",
    name: "branch-cooldown",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if facts.pod_groups.enabled != Some(true) {
        return;
    }
    let Some(cooldown) = facts.pod_groups.cooldown else {
        return found.lacks(Source::ConfigMaps);
    };
    let Some(raw) = cooldown.raw else { return };
    let (severity, state) = match raw.trim().parse::<i64>() {
        Err(_) => (Severity::Info, format!("is no whole number: {} seconds count", Cooldown::DEFAULT)),
        Ok(seconds) if seconds < Cooldown::LEAST.into() => {
            (Severity::Info, format!("is too short: {} seconds count", Cooldown::LEAST))
        }
        Ok(seconds) if seconds > LONG.into() => {
            (Severity::Warning, format!("blocks each freed branch slot for {} minutes", seconds / 60))
        }
        Ok(_) => return,
    };
    let violation = sink::Violation {
        severity,
        message: format!("branch-eni-cooldown `{raw}` {state}"),
        remediation: "Set branch-eni-cooldown of ConfigMap kube-system/amazon-vpc-cni to 60.".to_owned(),
        evidence: vec![sink::evidence("value", raw), sink::evidence("seconds", cooldown.seconds)],
    };
    found.subject(Subject::Object("ConfigMap", "kube-system/amazon-vpc-cni".into()), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::{ClusterSnapshot, ConfigMap},
        source::Source,
        tests::branches::*,
    };

    fn with(value: &str) -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        let data = [("branch-eni-cooldown".into(), value.into())].into();
        edit(&mut snapshot.objects.config_maps).push(ConfigMap { name: "amazon-vpc-cni".into(), data });
        snapshot
    }

    #[test]
    fn a_value_that_means_something_else_is_said() {
        for (value, severity, message) in [
            ("10", Severity::Info, "branch-eni-cooldown `10` is too short: 30 seconds count"),
            ("30s", Severity::Info, "branch-eni-cooldown `30s` is no whole number: 60 seconds count"),
            ("600", Severity::Warning, "branch-eni-cooldown `600` blocks each freed branch slot for 10 minutes"),
        ] {
            let found = findings(&with(value), "IPAM325");
            assert_eq!((found[0].severity, found[0].message.as_str()), (severity, message));
        }
    }

    #[test]
    fn a_sound_value_or_none_is_nothing() {
        assert_eq!(answer(&with("60"), "IPAM325"), RuleAnswer::Passed);
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM325"), RuleAnswer::Passed);
        snapshot.objects.config_maps = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::ConfigMaps], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM325"), lacks);
    }
}
