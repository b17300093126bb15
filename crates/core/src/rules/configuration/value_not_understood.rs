//! IPAM606: a value that the CNI takes for its default.

use crate::{
    cni::{CniVersion, Variable, VariableKind},
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// A variable has a value that the CNI does not understand; its default is in force.
    ///
    /// ## What it means
    ///
    /// The CNI logs one line and goes on with the default. What the manifest says is not what the nodes do.
    ///
    /// ## Why it happens
    ///
    /// Switches take Go's spellings only (`true`, `false`, `1`, `0`, `t`, `f` and their capitals); `yes`, `on` and a
    /// blank around the word are none of them. Numbers are whole, without blanks, units or decimals, and not negative.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}'
    /// kubectl logs -n kube-system -l k8s-app=aws-node -c aws-node --tail=200 | grep -i -E 'parse|invalid'
    /// ```
    ///
    /// ## What to do
    ///
    /// Correct the value. With the EKS add-on, set the value in its configuration (`aws eks update-addon
    /// --configuration-values`): a change of the DaemonSet alone is undone by the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// The setting that was meant comes into force with a restart of each `aws-node` pod: look at what it does first,
    /// `ipam-audit simulate` shows it for pool targets.
    ///
    /// ## When it fires
    ///
    /// A switch or a number of the CNI has a value that is not empty and that it does not understand, or that is below
    /// the least that it takes. Warning. Values that stop the start are IPAM603.
    pub ValueNotUnderstood;
    code: "IPAM606",
    name: "value-not-understood",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// Variables whose bad values stop the start, and since when.
const CHECKED_AT_START: [(&str, CniVersion); 3] = [
    ("IP_COOLDOWN_PERIOD", CniVersion::new(1, 15, 0)),
    ("AWS_VPC_ENI_MTU", CniVersion::new(1, 16, 4)),
    ("POD_MTU", CniVersion::new(1, 16, 4)),
];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &[], misread);
}

fn misread(environment: &Environment<'_>) -> Option<Violation> {
    let version = environment.version();
    let stops = |name: &str| CHECKED_AT_START.iter().any(|(checked, since)| *checked == name && version >= *since);
    let names = environment.variant.env.values.keys();
    let misread: Vec<(&Variable, &str)> = names
        .filter_map(|name| Some((Variable::find(name)?, environment.variant.text(name)?)))
        .filter(|(variable, value)| !value.is_empty() && !variable.understands(value) && !stops(variable.name))
        .collect();
    let (first, value) = misread.first()?;
    let described: Vec<String> = misread.iter().map(|(variable, value)| describe(variable, value)).collect();
    Some(Violation {
        severity: Severity::Warning,
        message: format!("{} sets {}", environment.who(), text::list(&described, "and", 4)),
        remediation: format!(
            "Correct the value, or remove it with `{}` to say what is in force.",
            environment.installation.set_env(&format!("{}-", first.name)),
        ),
        evidence: vec![
            sink::evidence("variable", first.name),
            sink::evidence("value", format!("`{value}`")),
            sink::evidence("inForce", first.default),
        ],
    })
}

fn describe(variable: &Variable, value: &str) -> String {
    let wanted = match variable.kind {
        VariableKind::Switch => "neither true nor false".to_owned(),
        VariableKind::Number { least } => format!("not a whole number of at least {least}"),
        VariableKind::Text => "not understood".to_owned(),
    };
    format!("{}=`{value}`, which is {wanted}: {} is in force", variable.name, variable.default)
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM606";

    #[test]
    fn the_default_in_force_is_named() {
        let finding = only(&cluster::with(&[("WARM_IP_TARGET", "five"), ("ENABLE_POD_ENI", "yes")]), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node sets ENABLE_POD_ENI=`yes`, which is neither true nor false: false is in force and \
             WARM_IP_TARGET=`five`, which is not a whole number of at least 0: 0 is in force"
        );
        let negative = only(&cluster::with(&[("MAX_ENI", "-1")]), CODE);
        assert!(negative.message.contains("the instance type's limit is in force"), "{}", negative.message);
    }

    #[test]
    fn empty_values_and_what_stops_the_start_are_left_alone() {
        let fine =
            [("WARM_IP_TARGET", ""), ("ENABLE_POD_ENI", "T"), ("WARM_ENI_TARGET", "+1"), ("IP_COOLDOWN_PERIOD", "x")];
        assert!(cluster::found(&cluster::with(&fine), CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
