//! IPAM635: probes and requests below what is shipped.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// The CNI's container has tighter probes or less CPU than it is shipped with.
    ///
    /// ## What it means
    ///
    /// Under load, the probe's answer takes longer than the time-out or the share of CPU allows; kubelet then restarts
    /// a container that was only slow, and pods wait meanwhile.
    ///
    /// ## Why it happens
    ///
    /// Resource requests were trimmed, or the manifest is older than the longer time-outs.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")]}{.livenessProbe.timeoutSeconds} {.readinessProbe.timeoutSeconds} {.resources.requests.cpu}{"\n"}{end}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `timeoutSeconds` to 10 and request 25m of CPU at least, as the shipped manifest does.
    ///
    /// ## What it costs
    ///
    /// 25 thousandths of a processor on each node.
    ///
    /// ## When it fires
    ///
    /// A probe's time-out is below 10 seconds, or the CPU request below 25m; what the template does not say is left
    /// alone. Information.
    pub ProbesTooTight;
    code: "IPAM635",
    name: "probes-too-tight",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// What the manifest is shipped with, at least.
const TIMEOUT: u32 = 10;
const CPU_MILLIS: u32 = 25;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(installation) = &facts.installation else { return };
    let manifest = &installation.aws_node.manifest;
    let timeout = manifest.probe_timeout_seconds.filter(|seconds| *seconds < TIMEOUT);
    let cpu = manifest.cpu_request_millis.filter(|millis| *millis < CPU_MILLIS);
    let states: Vec<String> = [
        timeout.map(|seconds| format!("gives its probes {} of {TIMEOUT}", text::count(seconds, "second"))),
        cpu.map(|millis| format!("requests {millis}m of CPU, less than {CPU_MILLIS}m")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if states.is_empty() {
        return;
    }
    let daemon_set = installation.aws_node.daemon_set.clone();
    let violation = Violation {
        severity: Severity::Info,
        message: format!("{daemon_set} {}", text::list(&states, "and", 2)),
        remediation: format!("Set timeoutSeconds to {TIMEOUT} and request {CPU_MILLIS}m of CPU at least."),
        evidence: [
            timeout.map(|value| sink::evidence("timeoutSeconds", value)),
            cpu.map(|value| sink::evidence("cpuMillis", value)),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    found.subject(Subject::DaemonSet(daemon_set), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, only},
    };

    const CODE: &str = "IPAM635";

    fn of(timeout: u32, cpu: u32) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        let manifest = &mut aws_node(&mut snapshot).manifest;
        (manifest.probe_timeout_seconds, manifest.cpu_request_millis) = (Some(timeout), Some(cpu));
        snapshot
    }

    #[test]
    fn tight_probes_and_little_cpu_are_told() {
        let finding = only(&of(1, 10), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node gives its probes 1 second of 10 and requests 10m of CPU, less than 25m"
        );
    }

    #[test]
    fn what_is_shipped_and_what_is_not_said_are_left_alone() {
        assert!(cluster::found(&of(10, 25), CODE).is_empty());
        assert!(cluster::found(&cluster::with(&[]), CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
