//! A spec as the program uses it: parsed, checked and with every default filled in.

use std::{collections::BTreeSet, fmt, time::Duration};

use ipam_audit_core::{
    finding::Severity,
    ids::VpcId,
    policy::{AuditPolicy, Exception, Pattern, Suppression, Thresholds},
    rules,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use thiserror::Error;

use crate::{
    duration,
    names::{DEFAULT_TRUNK_ANNOTATION, IPAMD_PORT},
    v1alpha1::{
        AwsSpec, CniSpec, Gate, IpamAuditSpec, IpamdScrape, IpamdSpec, NodeConditionSpec, NodeReports, OutputsSpec,
        OverrideSpec, SuppressionSpec, ThresholdsSpec,
    },
};

/// Everything that a spec decides.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// How often EC2 is read.
    pub interval: Duration,
    /// Whether the audit is stopped.
    pub suspend: bool,
    /// Thresholds, gate and disabled rules.
    pub policy: AuditPolicy,
    /// The VPC; none for that of the nodes.
    pub vpc: Option<VpcId>,
    /// How AWS is reached.
    pub aws: AwsSettings,
    /// The nodes in scope; matches all unless the spec says otherwise.
    pub nodes: Selector,
    /// Where the VPC CNI is.
    pub cni: CniSettings,
    /// How ipamd is asked; none for not at all.
    pub ipamd: Option<IpamdSettings>,
    /// Which nodes get a report.
    pub node_reports: NodeReports,
    /// Whether events are written.
    pub events: bool,
    /// The largest share of nodes, in percent, that may say that they are under pressure; none for no such condition.
    pub node_condition: Option<u32>,
    /// How often `lastAuditTime` is written at least; none for only with other changes.
    pub heartbeat: Option<Duration>,
}

/// How AWS is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AwsSettings {
    /// The region; none for that of the environment or the nodes.
    pub region: Option<String>,
    /// Where EC2 is asked; none for AWS' own endpoint or what the environment says.
    pub endpoint: Option<String>,
    /// The role to assume; none to go as who the environment says.
    pub role: Option<AssumedRole>,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssumedRole {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// How the other account's records name the session.
    pub session_name: Option<String>,
}

/// Where the VPC CNI is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniSettings {
    /// The namespace of its DaemonSet.
    pub namespace: String,
    /// The name of its DaemonSet.
    pub daemon_set: String,
    /// The node annotation that names the trunk interface.
    pub trunk_annotation: String,
}

/// How ipamd is asked for its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpamdSettings {
    /// Through the API server, at the aws-node pod; else at the node's address.
    pub through_api_server: bool,
    /// The port of its metrics.
    pub port: u16,
    /// How often each node is asked.
    pub interval: Duration,
    /// How long one may take to answer.
    pub timeout: Duration,
    /// How many are asked at the same time.
    pub concurrency: usize,
}

/// A field of a spec that makes no sense. The API server refuses most of them already; a CRD of another version may not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {value:?}: {instead}")]
pub struct SpecError {
    /// The field, as `spec.interval`.
    pub field: String,
    /// What it says.
    pub value: String,
    /// What to write instead.
    pub instead: String,
}

impl SpecError {
    fn new(field: &str, value: &dyn fmt::Display, instead: impl Into<String>) -> Self {
        Self { field: field.to_owned(), value: value.to_string(), instead: instead.into() }
    }
}

impl NodeReports {
    /// Whether a node with so many findings gets a report.
    pub const fn include(self, findings: usize) -> bool {
        match self {
            Self::All => true,
            Self::WithFindings => findings > 0,
            Self::None => false,
        }
    }
}

impl TryFrom<&IpamAuditSpec> for AuditSettings {
    type Error = SpecError;

    fn try_from(spec: &IpamAuditSpec) -> Result<Self, SpecError> {
        let scope = spec.scope.clone().unwrap_or_default();
        let outputs = spec.outputs.clone().unwrap_or_default();
        let OutputsSpec { node_reports, events, node_condition, heartbeat } = outputs;
        let interval = time("spec.interval", spec.interval.as_deref(), (10, "10s"))?.unwrap_or(Duration::from_mins(1));
        let policy = policy(spec)?;
        if interval.as_secs() > policy.thresholds.stale_seconds.into() {
            let instead = "write one that is not longer than spec.thresholds.staleAfter (15m unless set)";
            return Err(SpecError::new("spec.interval", &spec.interval.as_deref().unwrap_or_default(), instead));
        }
        Ok(Self {
            interval,
            suspend: spec.suspend.unwrap_or_default(),
            vpc: scope.vpc_id.map(VpcId::from),
            aws: aws(spec.aws.clone().unwrap_or_default())?,
            nodes: selector(scope.node_selector)?,
            cni: spec.cni.clone().unwrap_or_default().into(),
            ipamd: ipamd(spec.ipamd.as_ref(), policy.thresholds.stale_seconds)?,
            node_reports: node_reports.unwrap_or_default(),
            events: events.unwrap_or(true),
            node_condition: share(node_condition)?,
            heartbeat: time("spec.outputs.heartbeat", heartbeat.as_deref(), (60, "1m"))?,
            policy,
        })
    }
}

/// The share of nodes that may say that they are under pressure, if any shall say so.
fn share(spec: Option<NodeConditionSpec>) -> Result<Option<u32>, SpecError> {
    const DEFAULT: u32 = 20;
    let spec = spec.unwrap_or_default();
    let percent = number("spec.outputs.nodeCondition.maxPercent", spec.max_percent, (1, 100))?.unwrap_or(DEFAULT);
    Ok(spec.enabled.unwrap_or_default().then_some(percent))
}

impl From<CniSpec> for CniSettings {
    fn from(spec: CniSpec) -> Self {
        Self {
            namespace: spec.namespace.unwrap_or_else(|| "kube-system".to_owned()),
            daemon_set: spec.daemon_set.unwrap_or_else(|| "aws-node".to_owned()),
            trunk_annotation: spec.trunk_eni_annotation.unwrap_or_else(|| DEFAULT_TRUNK_ANNOTATION.to_owned()),
        }
    }
}

/// None unless ipamd is to be asked.
fn ipamd(spec: Option<&IpamdSpec>, stale_seconds: u32) -> Result<Option<IpamdSettings>, SpecError> {
    let through_api_server = match spec.and_then(|spec| spec.scrape).unwrap_or_default() {
        IpamdScrape::Disabled => return Ok(None),
        IpamdScrape::NodeAddress => false,
        IpamdScrape::PodProxy => true,
    };
    let spec = spec.cloned().unwrap_or_default();
    let port = number("spec.ipamd.port", spec.port, (1, u16::MAX.into()))?;
    let concurrency = number("spec.ipamd.concurrency", spec.concurrency, (1, 128))?;
    let interval = between("spec.ipamd.interval", spec.interval.as_deref(), (10, "10s"), (900, "15m"))?;
    let interval = interval.unwrap_or(Duration::from_mins(1));
    if interval.as_secs() > stale_seconds.into() {
        let instead = "write one that is not longer than spec.thresholds.staleAfter";
        return Err(SpecError::new("spec.ipamd.interval", &spec.interval.unwrap_or_default(), instead));
    }
    let timeout = between("spec.ipamd.timeout", spec.timeout.as_deref(), (1, "1s"), (30, "30s"))?;
    Ok(Some(IpamdSettings {
        through_api_server,
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(IPAMD_PORT),
        interval,
        timeout: timeout.unwrap_or(Duration::from_secs(5)),
        concurrency: concurrency.and_then(|count| usize::try_from(count).ok()).unwrap_or(16),
    }))
}

fn aws(spec: AwsSpec) -> Result<AwsSettings, SpecError> {
    let is_url = |text: &&String| text.starts_with("https://") || text.starts_with("http://");
    if let Some(endpoint) = spec.endpoint.as_ref().filter(|endpoint| !is_url(endpoint)) {
        let instead = "write a URL, for example https://ec2.eu-central-1.amazonaws.com";
        return Err(SpecError::new("spec.aws.endpoint", endpoint, instead));
    }
    if let Some(role) = spec.assume_role.as_ref().filter(|role| !is_role(&role.role_arn)) {
        let instead = "write the ARN of a role, for example arn:aws:iam::111122223333:role/ipam-audit";
        return Err(SpecError::new("spec.aws.assumeRole.roleArn", &role.role_arn, instead));
    }
    let role = spec.assume_role.map(|role| AssumedRole {
        arn: role.role_arn,
        external_id: role.external_id,
        session_name: role.session_name,
    });
    Ok(AwsSettings { region: spec.region, endpoint: spec.endpoint, role })
}

/// Whether an ARN is a role's, in whichever partition.
fn is_role(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, role) = (next(), next(), next(), next(), next(), next());
    let is_of_aws = partition == "aws" || partition.starts_with("aws-");
    let is_account = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit());
    arn == "arn" && is_of_aws && service == "iam" && region.is_empty() && is_account && role.starts_with("role/")
}

fn policy(spec: &IpamAuditSpec) -> Result<AuditPolicy, SpecError> {
    let gate = match spec.gate.unwrap_or(Gate::Critical) {
        Gate::None => None,
        Gate::Critical => Some(Severity::Critical),
        Gate::Warning => Some(Severity::Warning),
    };
    let own = spec.thresholds.clone().unwrap_or_default();
    let thresholds = thresholds("spec.thresholds", &own, &Thresholds::default())?;
    let exceptions = |pick: fn(&OverrideSpec) -> Option<&String>| {
        let named = spec.overrides.iter().enumerate().filter_map(|(at, one)| Some((at, pick(one)?, &one.thresholds)));
        named.map(|(at, names, own)| exception(at, names, own, &thresholds)).collect::<Result<Vec<_>, _>>()
    };
    Ok(AuditPolicy {
        gate,
        node_groups: exceptions(|one| one.node_group.as_ref())?,
        subnets: exceptions(|one| one.subnet.as_ref())?,
        disabled_rules: disabled(&spec.disabled_rules)?,
        suppressions: spec.suppressions.iter().enumerate().map(suppression).collect::<Result<_, _>>()?,
        cluster: spec.scope.as_ref().and_then(|scope| scope.cluster_name.as_deref()).map(Into::into),
        thresholds,
    })
}

fn exception(at: usize, names: &str, own: &ThresholdsSpec, base: &Thresholds) -> Result<Exception, SpecError> {
    let thresholds = thresholds(&format!("spec.overrides[{at}].thresholds"), own, base)?;
    Ok(Exception { names: Pattern::new(names), thresholds })
}

fn suppression((at, spec): (usize, &SuppressionSpec)) -> Result<Suppression, SpecError> {
    Ok(Suppression {
        rule: code(&format!("spec.suppressions[{at}].rule"), &spec.rule)?,
        subjects: spec.subject.as_deref().map(Pattern::new),
        reason: spec.reason.clone(),
        until: spec.until.as_ref().map(|until| until.0),
    })
}

/// Codes of the rules that are switched off.
fn disabled(names: &[String]) -> Result<BTreeSet<String>, SpecError> {
    names.iter().enumerate().map(|(at, name)| code(&format!("spec.disabledRules[{at}]"), name)).collect()
}

/// The code of a rule. One that is not known is a mistake and not a wish: what it names would stay on.
fn code(field: &str, name: &str) -> Result<String, SpecError> {
    let unknown = || SpecError::new(field, &name, "no such rule; `ipam-audit explain` lists them");
    rules::find(name).map(|meta| meta.code.to_owned()).ok_or_else(unknown)
}

/// The thresholds of a field; what it leaves out is as in `base`.
fn thresholds(field: &str, spec: &ThresholdsSpec, base: &Thresholds) -> Result<Thresholds, SpecError> {
    let percent = (1, 99);
    let age = |name: &str, value: Option<&str>, default: u32| {
        let age = time(&format!("{field}.{name}"), value, (60, "1m"))?;
        Ok(age.and_then(|age| u32::try_from(age.as_secs()).ok()).unwrap_or(default))
    };
    let number = |name: &str, value: Option<i32>, range: (u32, u32), default: u32| {
        number(&format!("{field}.{name}"), value, range).map(|value| value.unwrap_or(default))
    };
    Ok(Thresholds {
        subnet_free_percent: number("subnetFreePercent", spec.subnet_free_percent, percent, base.subnet_free_percent)?,
        subnet_free_addresses: number(
            "subnetFreeAddresses",
            spec.subnet_free_addresses,
            (0, 65536),
            base.subnet_free_addresses,
        )?,
        surge_percent: number("surgePercent", spec.surge_percent, (0, 100), base.surge_percent)?,
        burst_pods: number("burstPods", spec.burst_pods, (1, 1000), base.burst_pods)?,
        idle_addresses: number("idleAddresses", spec.idle_addresses, (0, 65536), base.idle_addresses)?,
        warm_floor: number("warmFloor", spec.warm_floor, (0, 1000), base.warm_floor)?,
        branch_used_percent: number("branchUsedPercent", spec.branch_used_percent, percent, base.branch_used_percent)?,
        cordoned_seconds: number("cordonedSeconds", spec.cordoned_seconds, (60, 604_800), base.cordoned_seconds)?,
        settle_seconds: number("settleSeconds", spec.settle_seconds, (0, 86_400), base.settle_seconds)?,
        suspicion_seconds: number("suspicionSeconds", spec.suspicion_seconds, (10, 86_400), base.suspicion_seconds)?,
        leak_seconds: number("leakSeconds", spec.leak_seconds, (60, 86_400), base.leak_seconds)?,
        leaked_percent: number("leakedPercent", spec.leaked_percent, (1, 99), base.leaked_percent)?,
        fragmentation_percent: number(
            "fragmentationPercent",
            spec.fragmentation_percent,
            (1, 99),
            base.fragmentation_percent,
        )?,
        others_percent: number("othersPercent", spec.others_percent, (1, 99), base.others_percent)?,
        subnet_hysteresis_percent: number(
            "subnetHysteresisPercent",
            spec.subnet_hysteresis_percent,
            (0, 50),
            base.subnet_hysteresis_percent,
        )?,
        control_plane_addresses: number(
            "controlPlaneAddresses",
            spec.control_plane_addresses,
            (0, 64),
            base.control_plane_addresses,
        )?,
        stale_seconds: age("staleAfter", spec.stale_after.as_deref(), base.stale_seconds)?,
    })
}

fn number(field: &str, value: Option<i32>, (least, most): (u32, u32)) -> Result<Option<u32>, SpecError> {
    let Some(value) = value else { return Ok(None) };
    let good = u32::try_from(value).ok().filter(|value| (least..=most).contains(value));
    let bad = || SpecError::new(field, &value, format!("write a number from {least} to {most}"));
    good.map(Some).ok_or_else(bad)
}

/// A duration of at least so many seconds and at most a day.
fn time(field: &str, value: Option<&str>, least: (u64, &str)) -> Result<Option<Duration>, SpecError> {
    between(field, value, least, (86_400, "24h"))
}

/// A duration of so many seconds at least and at most, and how people write both.
fn between(
    field: &str,
    value: Option<&str>,
    (least, shortest): (u64, &str),
    (most, longest): (u64, &str),
) -> Result<Option<Duration>, SpecError> {
    let Some(value) = value else { return Ok(None) };
    let good = duration::parse(value).filter(|time| (least..=most).contains(&time.as_secs()));
    let bad = || SpecError::new(field, &value, format!("write a duration from {shortest} to {longest}"));
    good.map(Some).ok_or_else(bad)
}

fn selector(labels: Option<LabelSelector>) -> Result<Selector, SpecError> {
    let labels = labels.unwrap_or_default();
    let shown = serde_json::to_string(&labels).unwrap_or_default();
    let instead = "write matchLabels, or matchExpressions with In, NotIn (both with values), Exists or DoesNotExist";
    Selector::try_from(labels).map_err(|_| SpecError::new("spec.scope.nodeSelector", &shown, instead))
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt;
    use serde_json::json;

    use super::*;

    fn settings(spec: serde_json::Value) -> Result<AuditSettings, SpecError> {
        AuditSettings::try_from(&serde_json::from_value::<IpamAuditSpec>(spec).unwrap())
    }

    #[test]
    fn an_empty_spec_is_the_default_policy() {
        let settings = settings(json!({})).unwrap();
        assert_eq!(settings.policy, AuditPolicy::default());
        assert_eq!((settings.interval, settings.suspend), (Duration::from_mins(1), false));
        assert_eq!((settings.node_reports, settings.events, settings.heartbeat), (NodeReports::All, true, None));
        assert_eq!((settings.cni.namespace.as_str(), settings.cni.daemon_set.as_str()), ("kube-system", "aws-node"));
        assert_eq!(settings.cni.trunk_annotation, "vpc.k8s.aws/trunk-eni-id");
        assert!(settings.nodes.matches(&std::collections::BTreeMap::new()), "every node is in scope");
    }

    #[test]
    fn what_a_spec_says_is_what_counts() {
        let settings = settings(json!({
            "interval": "1m30s",
            "gate": "None",
            "scope": {"vpcId": "vpc-1", "nodeSelector": {"matchLabels": {"pool": "batch"}}},
            "aws": {"region": "eu-central-1"},
            "thresholds": {"burstPods": 20, "staleAfter": "1h"},
            "disabledRules": ["IPAM210", "subnet-low"],
            "outputs": {"nodeReports": "WithFindings", "events": false, "heartbeat": "10m"},
        }))
        .unwrap();
        assert_eq!((settings.interval.as_secs(), settings.policy.gate), (90, None));
        assert_eq!((settings.policy.thresholds.burst_pods, settings.policy.thresholds.stale_seconds), (20, 3600));
        assert_eq!(settings.policy.thresholds.idle_addresses, Thresholds::default().idle_addresses);
        let disabled: Vec<_> = settings.policy.disabled_rules.iter().map(String::as_str).collect();
        assert_eq!(disabled.len(), 2);
        assert!(disabled.contains(&"IPAM210") && disabled.iter().all(|code| code.starts_with("IPAM")), "{disabled:?}");
        assert_eq!((settings.vpc, settings.aws.region.as_deref()), (Some("vpc-1".into()), Some("eu-central-1")));
        assert!(!settings.nodes.matches(&std::collections::BTreeMap::new()));
        assert!(!settings.node_reports.include(0) && settings.node_reports.include(1));
    }

    #[test]
    fn ipamd_is_asked_only_where_the_spec_says_how() {
        for spec in [json!({}), json!({"ipamd": {}}), json!({"ipamd": {"scrape": "Disabled", "port": 1}})] {
            assert_eq!(settings(spec).unwrap().ipamd, None);
        }
        let defaults = IpamdSettings {
            through_api_server: true,
            port: 61678,
            interval: Duration::from_mins(1),
            timeout: Duration::from_secs(5),
            concurrency: 16,
        };
        let ipamd = |spec: serde_json::Value| settings(json!({"ipamd": spec})).unwrap().ipamd;
        assert_eq!(ipamd(json!({"scrape": "PodProxy"})), Some(defaults));
        let own = json!({"scrape": "NodeAddress", "port": 9100, "interval": "5m", "timeout": "1s", "concurrency": 1});
        let own = ipamd(own).unwrap();
        assert_eq!((own.through_api_server, own.port, own.concurrency), (false, 9100, 1));
        assert_eq!((own.interval, own.timeout), (Duration::from_mins(5), Duration::from_secs(1)));
    }

    #[test]
    fn the_way_to_aws_is_as_stated_and_nonsense_is_refused() {
        let arn = "arn:aws-us-gov:iam::111122223333:role/audit";
        let stated = settings(json!({
            "scope": {"clusterName": "shop"},
            "aws": {
                "region": "us-iso-east-1", "endpoint": "https://ec2.us-iso-east-1.c2s.ic.gov",
                "assumeRole": {"roleArn": arn, "externalId": "secret"},
            },
        }))
        .unwrap();
        assert_eq!(stated.policy.cluster.as_deref(), Some("shop"));
        assert_eq!(stated.aws.endpoint.as_deref(), Some("https://ec2.us-iso-east-1.c2s.ic.gov"));
        let role = stated.aws.role.unwrap();
        assert_eq!((role.arn.as_str(), role.external_id.as_deref(), role.session_name), (arn, Some("secret"), None));
        for (aws, field) in [
            (json!({"endpoint": "ec2.eu-central-1.amazonaws.com"}), "spec.aws.endpoint"),
            (json!({"assumeRole": {"roleArn": "ipam-audit"}}), "spec.aws.assumeRole.roleArn"),
        ] {
            assert_eq!(settings(json!({"aws": aws})).unwrap_err().field, field);
        }
    }

    #[test]
    fn a_role_may_be_of_any_partition_and_has_to_be_a_role() {
        for partition in ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"] {
            assert!(is_role(&format!("arn:{partition}:iam::111122223333:role/audit/ipam-audit")), "{partition}");
        }
        for arn in [
            "",
            "arn:aws-cn:iam::111122223333:user/ipam-audit",
            "arn:aws-iso:sts::111122223333:assumed-role/ipam-audit/session",
            "arn:aws-us-gov:iam::1111:role/ipam-audit",
            "arn:awsome:iam::111122223333:role/ipam-audit",
            "arn:aws:iam:eu-central-1:111122223333:role/ipam-audit",
        ] {
            assert!(!is_role(arn), "{arn}");
        }
    }

    #[test]
    fn exceptions_build_on_the_own_thresholds_and_suppressions_are_of_codes() {
        let policy = settings(json!({
            "thresholds": {"burstPods": 20},
            "overrides": [
                {"nodeGroup": "batch-*", "thresholds": {"idleAddresses": 100}},
                {"subnet": "subnet-1", "thresholds": {"subnetFreePercent": 5}},
            ],
            "suppressions": [
                {"rule": "warm-pool-too-large", "subject": "batch-*", "reason": "bursts", "until": "2027-01-31T00:00:00Z"},
            ],
        }))
        .unwrap()
        .policy;
        assert_eq!((policy.node_groups.len(), policy.subnets.len()), (1, 1));
        let group = &policy.node_groups[0];
        assert!(group.names.matches("batch-a") && !group.names.matches("web"));
        assert_eq!((group.thresholds.idle_addresses, group.thresholds.burst_pods), (100, 20));
        assert_eq!(policy.subnets[0].thresholds.subnet_free_percent, 5);
        assert_eq!(policy.suppressions[0].rule, "IPAM210");
        assert!(policy.suppressions[0].is_expired("2027-02-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn an_error_names_the_field_and_says_what_to_write() {
        for (spec, field) in [
            (json!({"interval": "5"}), "spec.interval"),
            (json!({"interval": "5s"}), "spec.interval"),
            (json!({"interval": "16m"}), "spec.interval"),
            (json!({"thresholds": {"staleAfter": "10s"}}), "spec.thresholds.staleAfter"),
            (json!({"thresholds": {"subnetFreePercent": 100}}), "spec.thresholds.subnetFreePercent"),
            (json!({"thresholds": {"burstPods": 0}}), "spec.thresholds.burstPods"),
            (json!({"thresholds": {"warmFloor": -1}}), "spec.thresholds.warmFloor"),
            (json!({"ipamd": {"scrape": "PodProxy", "interval": "5s"}}), "spec.ipamd.interval"),
            (json!({"ipamd": {"scrape": "PodProxy", "timeout": "1m"}}), "spec.ipamd.timeout"),
            (json!({"ipamd": {"scrape": "PodProxy", "port": 0}}), "spec.ipamd.port"),
            (json!({"ipamd": {"scrape": "PodProxy", "concurrency": 129}}), "spec.ipamd.concurrency"),
            (
                json!({"ipamd": {"scrape": "PodProxy", "interval": "2m"}, "thresholds": {"staleAfter": "1m"}}),
                "spec.ipamd.interval",
            ),
            (json!({"disabledRules": ["subnet-full", "IPAM999"]}), "spec.disabledRules[1]"),
            (json!({"suppressions": [{"rule": "IPAM999", "reason": "x"}]}), "spec.suppressions[0].rule"),
            (
                json!({"overrides": [{"subnet": "a", "thresholds": {"warmFloor": -1}}]}),
                "spec.overrides[0].thresholds.warmFloor",
            ),
            (json!({"outputs": {"heartbeat": "1s"}}), "spec.outputs.heartbeat"),
            (
                json!({"scope": {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}}),
                "spec.scope.nodeSelector",
            ),
        ] {
            let error = settings(spec).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().starts_with(field) && error.instead.len() > 15, "{error}");
        }
    }
}
