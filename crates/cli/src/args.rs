//! The command line. The help texts teach: each says what the command is for and shows a line to try.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser},
};
use ipam_audit_core::rights::Feature;

/// Where did the pod addresses of an EKS cluster go, who runs out next, and which change fixes it?
#[derive(Debug, Parser)]
#[command(name = "ipam-audit", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controller: audits the cluster as `IpamAudit` objects ask, and writes reports, conditions and events.
    ///
    /// Uses the in-cluster configuration, or else the current context of the kubeconfig. AWS credentials, region and
    /// endpoint come from the SDK's standard environment and profile files. All rights it needs are read-only but for
    /// its own kinds, events and its lease: see `ipam-audit rbac` and `ipam-audit iam-policy`.
    Run(RunOptions),
    /// Audit once, offline: say where every address went and what is wrong, from files that `kubectl` and `aws` printed.
    ///
    /// The directory holds `kubernetes/nodes.json`, `kubernetes/pods.json`, `ec2/subnets.json` and so on, exactly as
    /// `kubectl get nodes -o json` and `aws ec2 describe-subnets --output json` print them; docs/bundle.md lists them and
    /// has two commands that make a small one. What is absent is said and not guessed.
    ///
    /// Exit status: 0 nothing at or above the gate, 1 something, 2 wrong usage, 3 nothing but not everything could be
    /// looked at, 4 the program failed.
    ///
    /// Example:  ipam-audit audit --from ./bundle
    Audit(AuditOptions),
    /// Compute what ipamd of the VPC CNI would hold on nodes, without a cluster: JSON lines in, JSON lines out.
    ///
    /// Example:  echo '{"id":"a","instanceType":"m5.large","pods":10}' | ipam-audit simulate --batch -
    Simulate(SimulateOptions),
    /// Explain a finding: what it means, why it happens, what to do. Without a code, list all.
    ///
    /// Example:  ipam-audit explain IPAM101
    Explain(ExplainOptions),
    /// Take away what the controller wrote: conditions on nodes and reports. For an uninstallation, after the controller.
    ///
    /// It says what it finds and how much of it is gone; `--dry-run` only looks. `IpamAudit` objects are yours and stay;
    /// `kubectl delete -f crds/` takes them, too.
    ///
    /// Exit status: 0 all is gone, 2 a controller still runs, 3 something is left, 4 the program failed.
    ///
    /// Example:  ipam-audit cleanup --dry-run
    Cleanup(CleanupOptions),
    /// Print the CRDs, for `kubectl apply --server-side -f -`.
    Crd,
    /// Print the namespace, `ServiceAccount` and least roles that the controller needs, for `kubectl apply -f -`.
    ///
    /// Example:  ipam-audit rbac --with node-conditions | kubectl apply --server-side -f -
    Rbac(RightsOptions),
    /// Print the IAM policy that the controller needs: read-only.
    IamPolicy(RightsOptions),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// Namespace of the controller's lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "ipam-audit", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) namespace: String,
    /// Name of this replica in the lease, of which there must be one; host name and process id if not given.
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// Whether to act only while holding the lease. Switch off for a single replica that is never rolled.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) leader_elect: bool,
    /// Address of `/livez`, `/readyz`, `/metrics`, `/debug/state` and `/log-level`.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// How often EC2 is read, for example `30s` or `5m`; if not given, as often as each audit's `spec.interval` says.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) ec2_interval: Option<Duration>,
    /// How often to look which kinds of other programs are installed (`CNINode`, `ENIConfig`, Karpenter's, …), whether our
    /// own are, and what ConfigMaps say.
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub(crate) discovery_interval: Duration,
    /// How long changes in the cluster are gathered before they are audited.
    #[arg(long, default_value = "300ms", value_parser = duration, value_name = "DURATION")]
    pub(crate) debounce: Duration,
    /// Whether each node has metrics of its own: about 13 series a node.
    #[arg(long)]
    pub(crate) node_metrics: bool,
    /// What to log: a level, or filters such as `info,ipam_audit=debug`.
    #[arg(long, env = "IPAM_AUDIT_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How to log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Where to send a trace of each audit: an OpenTelemetry collector that takes OTLP over HTTP, `http://HOST:4318`.
    /// None are made without it. Headers, service name and attributes come from OpenTelemetry's standard variables.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log stores.
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AuditOptions {
    /// The directory to audit.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// A later look at the same cluster; may be given more than once, in order of time. What one look only suspects (an
    /// address on no interface, an interface that nobody cleans up) a second look some minutes later proves or drops.
    #[arg(long, value_name = "DIR")]
    pub(crate) then: Vec<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// An `IpamAudit` in YAML: its thresholds, exceptions, suppressions, gate and choice of nodes are used.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// From which severity on to exit with status 1; `critical` unless the policy has another gate.
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<FailOn>,
    /// Whether to colour severities.
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The answer, then what there is to fix, the subnets and the nodes that matter most.
    Table,
    /// The same with every node and every piece of information.
    Wide,
    /// A document of a versioned schema: docs/audit.schema.json.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Critical problems only.
    Critical,
    /// Warnings, too.
    Warning,
    /// Anything at all.
    Info,
    /// Nothing: the exit status is not about findings.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SimulateOptions {
    /// File of JSON lines, one node configuration each; `-` reads standard input. docs/simulate.md describes the lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) batch: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainOptions {
    /// A code or a name, for example `IPAM101` or `subnet-full`.
    pub(crate) code: Option<String>,
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "one flag each, and any of them goes with any other")]
pub(crate) struct CleanupOptions {
    /// Only say what there is.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take away events, too; they end by themselves after an hour.
    #[arg(long)]
    pub(crate) events: bool,
    /// Take away the controller's Lease, too.
    #[arg(long)]
    pub(crate) lease: bool,
    /// Go on although a controller seems to run.
    #[arg(long)]
    pub(crate) force: bool,
    /// Namespace of the controller's lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "ipam-audit", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) namespace: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RightsOptions {
    /// An optional part of the controller that needs more rights; may be given more than once. docs/rights.md lists them.
    #[arg(long, value_name = "FEATURE", value_parser = feature())]
    pub(crate) with: Vec<Feature>,
}

/// The name of a feature that is off unless somebody asks for it.
fn feature() -> impl TypedValueParser<Value = Feature> {
    let names = PossibleValuesParser::new(Feature::OPTIONAL.map(Feature::name));
    names.try_map(|name| Feature::optional(&name).ok_or("no such feature"))
}

/// A duration with its unit: `500ms`, `30s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("`{text}` is not a duration; write it like 30s, 5m or 1h");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| hint())?;
    let duration = Duration::try_from(signed).map_err(|_| hint())?;
    if duration.is_zero() { Err(format!("`{text}` is too short")) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        for text in ["", "5", "-5s", "0s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
