//! IPAM607: a variable whose value is not known.

use crate::{
    cni::Variable,
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    snapshot::EnvValue,
    text,
};

rule! {
    /// A setting of the CNI comes from where the audit cannot read it.
    ///
    /// ## What it means
    ///
    /// The variable is set, to a value that is not known. What follows from it is not audited: the checks that depend
    /// on it say that they cannot tell, and the pool's size cannot be explained.
    ///
    /// ## Why it happens
    ///
    /// `valueFrom` or `envFrom` names a Secret, a ConfigMap that may not be read, or a key that is not there.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.containers[?(@.name=="aws-node")]}' | grep -E -A6 'valueFrom|envFrom'
    /// ```
    ///
    /// ## What to do
    ///
    /// Write the value into the DaemonSet (none of the CNI's settings is secret), or let the audit read the ConfigMap.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A variable of the CNI has a reference that could not be read, or a whole `envFrom` could not. Information. Names
    /// and fields of the pod itself are left alone.
    pub SettingUnread;
    code: "IPAM607",
    name: "setting-unread",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// The pod's own fields, which every manifest refers to.
const OF_THE_POD: [&str; 2] = ["MY_NODE_NAME", "MY_POD_NAME"];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &[], unread);
}

fn unread(environment: &Environment<'_>) -> Option<Violation> {
    let matters =
        |name: &str| name.starts_with("envFrom ") || Variable::find(name).is_some() && !OF_THE_POD.contains(&name);
    let unread: Vec<(&str, &str)> = environment
        .variant
        .env
        .values
        .iter()
        .filter_map(|(name, value)| match value {
            EnvValue::Unresolved(from) if matters(name) => Some((name.as_str(), from.as_str())),
            _ => None,
        })
        .collect();
    let (first, from) = unread.first()?;
    let listed: Vec<String> = unread.iter().map(|(name, from)| format!("{name} ({from})")).collect();
    Some(Violation {
        severity: Severity::Info,
        message: format!(
            "{} takes {} from where it could not be read: what depends on it is not audited",
            environment.who(),
            text::list(&listed, "and", 3)
        ),
        remediation: "Write the value into the DaemonSet itself, or let the audit read the ConfigMap.".to_owned(),
        evidence: vec![sink::evidence("variable", first), sink::evidence("from", from)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM607";

    #[test]
    fn the_variable_and_its_place_are_named() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "MINIMUM_IP_TARGET");
        let finding = only(&snapshot, CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node takes MINIMUM_IP_TARGET (secret cni, key x: Secrets are not read) from where it could \
             not be read: what depends on it is not audited"
        );
        let mut imports = cluster::with(&[]);
        cluster::unread(&mut imports, "envFrom secret targets");
        assert!(only(&imports, CODE).message.contains("envFrom secret targets"));
    }

    #[test]
    fn the_pods_own_fields_are_left_alone() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "MY_NODE_NAME");
        cluster::unread(&mut snapshot, "TEAM_TOKEN");
        assert!(cluster::found(&snapshot, CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
