//! IPAM803: settings of the Windows warm pool that do not mean what they say.

use super::{CONFIG_MAP, Settings, nodes};
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
};

/// Each key has an older name, which wins where both are set.
const KEYS: [(&str, &str); 3] = [
    ("warm-ip-target", "windows-warm-ip-target"),
    ("minimum-ip-target", "windows-minimum-ip-target"),
    ("warm-prefix-target", "windows-warm-prefix-target"),
];

rule! {
    /// Settings of the Windows warm pool are not numbers or contradict each other.
    ///
    /// ## What it means
    ///
    /// The controller takes a default for a value that is no number. Each target has two names, with and without
    /// `windows-`; where both are set, the one without wins.
    ///
    /// ## Why it happens
    ///
    /// A newer manifest was laid over an older one.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl -n kube-system get configmap amazon-vpc-cni -o jsonpath='{.data}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Keep one name of each target, with a number.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Windows nodes are present, and a target of the ConfigMap is no number from 0 on, or is set under both names with
    /// different values.
    pub WindowsWarmKeys;
    code: "IPAM803",
    name: "windows-warm-keys",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if nodes(facts).is_empty() {
        return;
    }
    let Some(settings) = Settings::of(facts, found) else { return };
    let faults: Vec<String> = KEYS.iter().flat_map(|(old, new)| faults(&settings, old, new)).collect();
    if faults.is_empty() {
        return;
    }
    let violation = sink::Violation {
        severity: Severity::Info,
        message: format!("ConfigMap {CONFIG_MAP}: {}", faults.join("; ")),
        remediation: "Keep one name of each target, with a number.".to_owned(),
        evidence: vec![sink::evidence("faults", faults.len())],
    };
    found.subject(Subject::Object("ConfigMap", CONFIG_MAP.into()), violation);
}

fn faults(settings: &Settings<'_>, old: &str, new: &str) -> Vec<String> {
    let (first, second) = (settings.get(old), settings.get(new));
    let mut faults: Vec<String> = [(old, first), (new, second)]
        .iter()
        .filter_map(|(key, value)| Some((key, value.filter(|text| text.trim().parse::<u32>().is_err())?)))
        .map(|(key, value)| format!("{key} is {value:?}, which is no number"))
        .collect();
    if let (Some(wins), Some(ignored)) = (first, second)
        && wins.trim() != ignored.trim()
    {
        faults.push(format!("{new} {ignored} is ignored, because {old} {wins} is set, too"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use crate::{
        source::{Reading, Source},
        tests::{karpenter::answers, windows::windows},
    };

    const CODE: &str = "IPAM803";

    #[test]
    fn no_number_and_two_names() {
        let data = [("warm-ip-target", "3"), ("windows-warm-ip-target", "5"), ("windows-minimum-ip-target", "many")];
        assert_eq!(
            answers(&windows(&data, |_| {}), CODE).messages(),
            ["ConfigMap kube-system/amazon-vpc-cni: windows-warm-ip-target 5 is ignored, because warm-ip-target 3 is \
                 set, too; windows-minimum-ip-target is \"many\", which is no number"]
        );
    }

    #[test]
    fn one_name_or_equal_values_are_none() {
        let data = [("windows-warm-ip-target", "5"), ("minimum-ip-target", "3"), ("windows-minimum-ip-target", "3")];
        assert!(answers(&windows(&data, |_| {}), CODE).passed());
    }

    #[test]
    fn without_config_maps_it_cannot_tell() {
        let mut snapshot = windows(&[], |_| {});
        snapshot.objects.config_maps = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::ConfigMaps]);
    }
}
