//! The environment of an `aws-node` container, read the way the CNI reads it.

use std::collections::BTreeMap;

use super::parse::{atoi, parse_bool};

/// One environment variable: absent, present with a meaning, or present without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting<T> {
    /// The variable is not in the environment.
    Unset,
    /// The CNI understands the value.
    Set {
        /// What the CNI takes it for.
        value: T,
        /// The text as it stands in the environment: the entry point compares texts.
        raw: Box<str>,
    },
    /// The CNI does not understand the value, or it is out of range; it uses its default or refuses to start.
    Invalid {
        /// The text as it stands in the environment.
        raw: Box<str>,
    },
}

impl<T: Copy> Setting<T> {
    fn read(raw: Option<&str>, meaning: impl FnOnce(&str) -> Option<T>) -> Self {
        match raw {
            None => Self::Unset,
            Some(text) => match meaning(text) {
                Some(value) => Self::Set { value, raw: text.into() },
                None => Self::Invalid { raw: text.into() },
            },
        }
    }

    /// The value the CNI understands, if there is one.
    pub fn value(&self) -> Option<T> {
        match self {
            Self::Set { value, .. } => Some(*value),
            Self::Unset | Self::Invalid { .. } => None,
        }
    }

    /// The value in force: the default stands in for an absent and for an invalid value alike.
    pub fn value_or(&self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    /// The text in the environment, valid or not.
    pub fn raw(&self) -> Option<&str> {
        match self {
            Self::Unset => None,
            Self::Set { raw, .. } | Self::Invalid { raw } => Some(raw),
        }
    }

    /// Whether there is a value that the CNI does not understand.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }
}

/// `POD_SECURITY_GROUP_ENFORCING_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnforcingMode {
    /// Traffic of branch pods passes the VPC, so that security groups hold on the node too.
    Strict,
    /// Traffic inside the node stays there.
    Standard,
}

/// `NETWORK_POLICY_ENFORCING_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkPolicyMode {
    /// No enforcement.
    None,
    /// Deny by default.
    Strict,
    /// Allow until a policy applies.
    Standard,
}

/// The variables of `aws-node` that decide about addresses, interfaces and whether the container starts.
///
/// Read with [`CniConfig::from_env`] from an effective environment (`env` and `envFrom` already resolved, the last of
/// equal names). A variable that the shipped manifest sets but this environment does not is unset here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniConfig {
    /// `WARM_ENI_TARGET`: free interfaces' worth of addresses to keep.
    pub warm_eni_target: Setting<i64>,
    /// `WARM_IP_TARGET`: free addresses to keep.
    pub warm_ip_target: Setting<i64>,
    /// `MINIMUM_IP_TARGET`: floor of all pod addresses.
    pub minimum_ip_target: Setting<i64>,
    /// `WARM_PREFIX_TARGET`: free prefixes' worth of addresses to keep.
    pub warm_prefix_target: Setting<i64>,
    /// `MAX_ENI`: cap of attached interfaces.
    pub max_eni: Setting<i64>,
    /// `ENABLE_PREFIX_DELEGATION`.
    pub prefix_delegation: Setting<bool>,
    /// `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`.
    pub custom_networking: Setting<bool>,
    /// `ENABLE_POD_ENI`: security groups for pods.
    pub pod_eni: Setting<bool>,
    /// `POD_SECURITY_GROUP_ENFORCING_MODE`.
    pub enforcing_mode: Setting<EnforcingMode>,
    /// `ENABLE_SUBNET_DISCOVERY`.
    pub subnet_discovery: Setting<bool>,
    /// `DISABLE_NETWORK_RESOURCE_PROVISIONING`.
    pub provisioning_disabled: Setting<bool>,
    /// `ENABLE_IMDS_ONLY_MODE`.
    pub imds_only: Setting<bool>,
    /// `AWS_MANAGE_ENIS_NON_SCHEDULABLE`.
    pub manage_non_schedulable: Setting<bool>,
    /// `MANAGE_UNTAGGED_ENI`.
    pub manage_untagged: Setting<bool>,
    /// `ENABLE_MULTI_NIC`.
    pub multi_nic: Setting<bool>,
    /// `DISABLE_LEAKED_ENI_CLEANUP`.
    pub leak_cleanup_disabled: Setting<bool>,
    /// `ANNOTATE_POD_IP`.
    pub annotate_pod_ip: Setting<bool>,
    /// `ENABLE_IPv4`.
    pub ipv4: Setting<bool>,
    /// `ENABLE_IPv6`.
    pub ipv6: Setting<bool>,
    /// `IP_COOLDOWN_PERIOD` in seconds.
    pub ip_cooldown: Setting<i64>,
    /// `NETWORK_POLICY_ENFORCING_MODE`.
    pub network_policy_mode: Setting<NetworkPolicyMode>,
    /// `CLUSTER_NAME`; the CNI takes an empty one for none.
    pub cluster_name: Option<Box<str>>,
    /// `ENI_CONFIG_ANNOTATION_DEF`, the default if unset or empty.
    pub eni_config_annotation: Box<str>,
    /// `ENI_CONFIG_LABEL_DEF`, the default if unset or empty.
    pub eni_config_label: Box<str>,
    /// `AWS_VPC_K8S_CNI_VETHPREFIX` as written.
    pub veth_prefix: Option<Box<str>>,
    /// `AWS_VPC_K8S_PLUGIN_LOG_FILE` as written.
    pub plugin_log_file: Option<Box<str>>,
    /// `AWS_VPC_ENI_MTU`.
    pub eni_mtu: Setting<i64>,
    /// `POD_MTU`.
    pub pod_mtu: Setting<i64>,
}

const ENI_CONFIG_KEY: &str = "k8s.amazonaws.com/eniConfig";

impl CniConfig {
    /// Reads the variables through `get`, which answers `None` for a name that is absent.
    pub fn from_env<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let target = |name| Setting::read(get(name), |text| atoi(text).filter(|value| *value >= 0));
        let number = |name| Setting::read(get(name), atoi);
        let switch = |name| Setting::read(get(name), parse_bool);
        let text = |name| get(name).map(Box::from);
        let non_empty = |name| get(name).filter(|value| !value.is_empty()).map(Box::from);
        Self {
            warm_eni_target: target("WARM_ENI_TARGET"),
            warm_ip_target: target("WARM_IP_TARGET"),
            minimum_ip_target: target("MINIMUM_IP_TARGET"),
            warm_prefix_target: target("WARM_PREFIX_TARGET"),
            max_eni: Setting::read(get("MAX_ENI"), |text| atoi(text).filter(|value| *value >= 1)),
            prefix_delegation: switch("ENABLE_PREFIX_DELEGATION"),
            custom_networking: switch("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"),
            pod_eni: switch("ENABLE_POD_ENI"),
            enforcing_mode: Setting::read(get("POD_SECURITY_GROUP_ENFORCING_MODE"), enforcing_mode),
            subnet_discovery: switch("ENABLE_SUBNET_DISCOVERY"),
            provisioning_disabled: switch("DISABLE_NETWORK_RESOURCE_PROVISIONING"),
            imds_only: switch("ENABLE_IMDS_ONLY_MODE"),
            manage_non_schedulable: switch("AWS_MANAGE_ENIS_NON_SCHEDULABLE"),
            manage_untagged: switch("MANAGE_UNTAGGED_ENI"),
            multi_nic: switch("ENABLE_MULTI_NIC"),
            leak_cleanup_disabled: switch("DISABLE_LEAKED_ENI_CLEANUP"),
            annotate_pod_ip: switch("ANNOTATE_POD_IP"),
            ipv4: switch("ENABLE_IPv4"),
            ipv6: switch("ENABLE_IPv6"),
            ip_cooldown: target("IP_COOLDOWN_PERIOD"),
            network_policy_mode: Setting::read(get("NETWORK_POLICY_ENFORCING_MODE"), network_policy_mode),
            cluster_name: non_empty("CLUSTER_NAME"),
            eni_config_annotation: non_empty("ENI_CONFIG_ANNOTATION_DEF").unwrap_or_else(|| ENI_CONFIG_KEY.into()),
            eni_config_label: non_empty("ENI_CONFIG_LABEL_DEF").unwrap_or_else(|| ENI_CONFIG_KEY.into()),
            veth_prefix: text("AWS_VPC_K8S_CNI_VETHPREFIX"),
            plugin_log_file: text("AWS_VPC_K8S_PLUGIN_LOG_FILE"),
            eni_mtu: number("AWS_VPC_ENI_MTU"),
            pod_mtu: number("POD_MTU"),
        }
    }

    /// Reads the variables from a map of names to values.
    pub fn from_map(env: &BTreeMap<String, String>) -> Self {
        Self::from_env(|name| env.get(name).map(String::as_str))
    }
}

fn enforcing_mode(text: &str) -> Option<EnforcingMode> {
    match text {
        "strict" => Some(EnforcingMode::Strict),
        "standard" => Some(EnforcingMode::Standard),
        _ => None,
    }
}

/// Unlike the security-group mode, the network-policy mode is compared without regard to case.
fn network_policy_mode(text: &str) -> Option<NetworkPolicyMode> {
    if text.eq_ignore_ascii_case("none") {
        Some(NetworkPolicyMode::None)
    } else if text.eq_ignore_ascii_case("strict") {
        Some(NetworkPolicyMode::Strict)
    } else if text.eq_ignore_ascii_case("standard") {
        Some(NetworkPolicyMode::Standard)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(env: &[(&str, &str)]) -> CniConfig {
        CniConfig::from_map(&env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn unset_set_and_invalid_stay_apart() {
        assert_eq!(config(&[]).warm_ip_target, Setting::Unset);
        let set = config(&[("WARM_IP_TARGET", "+5")]).warm_ip_target;
        assert_eq!((set.value(), set.raw(), set.is_invalid()), (Some(5), Some("+5"), false));
        for text in ["", "five", "-1", "5 "] {
            let invalid = config(&[("WARM_IP_TARGET", text)]).warm_ip_target;
            assert_eq!((invalid.value(), invalid.raw(), invalid.is_invalid()), (None, Some(text), true), "{text:?}");
            assert_eq!(invalid.value_or(0), 0);
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(config(&[("MAX_ENI", "0")]).max_eni.value(), None);
        assert_eq!(config(&[("MAX_ENI", "1")]).max_eni.value(), Some(1));
        assert_eq!(config(&[("WARM_ENI_TARGET", "0")]).warm_eni_target.value(), Some(0));
        assert!(config(&[("IP_COOLDOWN_PERIOD", "-5")]).ip_cooldown.is_invalid());
        assert_eq!(config(&[("POD_MTU", "-5")]).pod_mtu.value(), Some(-5), "its range depends on the address family");
    }

    #[test]
    fn words() {
        assert!(config(&[("POD_SECURITY_GROUP_ENFORCING_MODE", "Strict")]).enforcing_mode.is_invalid());
        let policy = |text| config(&[("NETWORK_POLICY_ENFORCING_MODE", text)]).network_policy_mode;
        assert_eq!(policy("StandarD").value(), Some(NetworkPolicyMode::Standard));
        assert_eq!(policy("NONE").value(), Some(NetworkPolicyMode::None));
        assert!(policy("").is_invalid());
    }

    #[test]
    fn empty_names_mean_the_default() {
        let empty = config(&[("CLUSTER_NAME", ""), ("ENI_CONFIG_LABEL_DEF", "")]);
        assert_eq!((empty.cluster_name, &*empty.eni_config_label), (None, ENI_CONFIG_KEY));
        let zone = config(&[("ENI_CONFIG_LABEL_DEF", "topology.kubernetes.io/zone")]);
        assert_eq!(
            (&*zone.eni_config_label, &*zone.eni_config_annotation),
            ("topology.kubernetes.io/zone", ENI_CONFIG_KEY)
        );
    }
}
