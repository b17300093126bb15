//! What the entry point of the `aws-node` container refuses before ipamd ever runs.
//!
//! The container then restarts for ever, so each refusal is a crash loop on every node. The checks differ between
//! versions: a shell script until 1.12.0, a Go program since, which compares the targets as *texts*.

use thiserror::Error;

use super::{CniConfig, CniVersion, EnforcingMode, Setting, parse};

/// Why the entry point exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryPointRefusal {
    /// The plugin has no standard output to log to.
    #[error("AWS_VPC_K8S_PLUGIN_LOG_FILE must not be `stdout`")]
    PluginLogFile,
    /// Interface names have 15 characters, 11 of which are a hash; `eth`, `lo` and `vlan` belong to the host.
    #[error("AWS_VPC_K8S_CNI_VETHPREFIX must have at most 4 characters and not be `eth`, `lo` or `vlan`")]
    VethPrefix,
    /// An unknown mode of security groups for pods.
    #[error("POD_SECURITY_GROUP_ENFORCING_MODE must be `strict` or `standard`")]
    EnforcingMode,
    /// A cool-down that is no number, or negative.
    #[error("IP_COOLDOWN_PERIOD must be a whole number of seconds, 0 or more")]
    IpCooldown,
    /// An MTU that is no number or out of range.
    #[error("AWS_VPC_ENI_MTU and POD_MTU must be whole numbers from 576 (1280 with IPv6) to 9001")]
    Mtu,
    /// Prefix delegation without any target above zero.
    #[error(
        "ENABLE_PREFIX_DELEGATION needs WARM_PREFIX_TARGET, WARM_IP_TARGET or MINIMUM_IP_TARGET above 0 \
         (compared as text, so `+5` and an empty value count as 0)"
    )]
    PrefixTargets,
}

impl EntryPointRefusal {
    /// Whether the refusal comes from a variable that also decides about addresses, as opposed to names and files.
    pub fn concerns_addresses(self) -> bool {
        matches!(self, Self::EnforcingMode | Self::IpCooldown | Self::PrefixTargets)
    }
}

/// Since this version the entry point is a Go program.
const GO_ENTRY_POINT: CniVersion = CniVersion::new(1, 12, 1);
/// Since this version the entry point reads its booleans as ipamd does; before, only `true` counted.
const PARSED_BOOLEANS: CniVersion = CniVersion::new(1, 13, 0);

impl CniConfig {
    /// Everything the entry point of this version refuses, in the order in which it checks; it exits at the first.
    pub fn entry_point_refusals(&self, version: CniVersion) -> Vec<EntryPointRefusal> {
        let checks = [
            (self.plugin_log_file_refused(version), EntryPointRefusal::PluginLogFile),
            (self.veth_prefix_refused(), EntryPointRefusal::VethPrefix),
            (self.enforcing_mode_refused(version), EntryPointRefusal::EnforcingMode),
            (self.ip_cooldown_refused(version), EntryPointRefusal::IpCooldown),
            (self.mtu_refused(version), EntryPointRefusal::Mtu),
            (self.prefix_targets_refused(version), EntryPointRefusal::PrefixTargets),
        ];
        checks.into_iter().filter_map(|(refused, refusal)| refused.then_some(refusal)).collect()
    }

    fn plugin_log_file_refused(&self, version: CniVersion) -> bool {
        let Some(file) = self.plugin_log_file.as_deref() else {
            return false;
        };
        file == "stdout" || version < GO_ENTRY_POINT && file.eq_ignore_ascii_case("stdout")
    }

    fn veth_prefix_refused(&self) -> bool {
        let Some(prefix) = self.veth_prefix.as_deref() else {
            return false;
        };
        prefix.len() > 4 || matches!(prefix, "eth" | "lo" | "vlan")
    }

    /// The mode exists since 1.11.0; the script looked at it even without security groups for pods.
    fn enforcing_mode_refused(&self, version: CniVersion) -> bool {
        let invalid = match &self.enforcing_mode {
            Setting::Invalid { raw } => version >= GO_ENTRY_POINT || !raw.is_empty(),
            Setting::Unset | Setting::Set { value: EnforcingMode::Strict | EnforcingMode::Standard, .. } => false,
        };
        let looked_at = if version < GO_ENTRY_POINT {
            version >= CniVersion::new(1, 11, 0)
        } else {
            switched_on(&self.pod_eni, version)
        };
        invalid && looked_at
    }

    /// The variable exists since 1.15.0.
    fn ip_cooldown_refused(&self, version: CniVersion) -> bool {
        version >= CniVersion::new(1, 15, 0) && self.ip_cooldown.is_invalid()
    }

    fn mtu_refused(&self, version: CniVersion) -> bool {
        let lowest = if self.ipv6.value_or(false) { 1280 } else { 576 };
        let refused = |mtu: &Setting<i64>| match mtu {
            Setting::Unset => false,
            Setting::Set { value, .. } => !(lowest..=9001).contains(value),
            Setting::Invalid { .. } => true,
        };
        version >= CniVersion::new(1, 16, 4) && (refused(&self.eni_mtu) || refused(&self.pod_mtu))
    }

    /// Checked before it is known whether the instance type can have prefixes at all.
    fn prefix_targets_refused(&self, version: CniVersion) -> bool {
        let zero = |target: &Setting<i64>| zero_for_entry_point(target.raw(), version);
        switched_on(&self.prefix_delegation, version)
            && zero(&self.warm_prefix_target)
            && zero(&self.warm_ip_target)
            && zero(&self.minimum_ip_target)
    }
}

fn switched_on(switch: &Setting<bool>, version: CniVersion) -> bool {
    if version < PARSED_BOOLEANS { switch.raw() == Some("true") } else { switch.value_or(false) }
}

/// Whether a target counts as "not above 0". The Go program compares texts byte by byte: `"+5" <= "0"`, but
/// `"abc" > "0"`. The script before it compared numbers, for which anything but a number failed the test; the script
/// of 1.9.0 asked for the very text `0`.
fn zero_for_entry_point(raw: Option<&str>, version: CniVersion) -> bool {
    let text = raw.unwrap_or("0");
    if version >= GO_ENTRY_POINT {
        return text <= "0";
    }
    let text = if text.is_empty() { "0" } else { text };
    if version < CniVersion::new(1, 9, 1) {
        return text == "0";
    }
    let shell_blanks = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];
    parse::atoi(text.trim_matches(shell_blanks)).is_some_and(|number| number <= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(env: &[(&str, &'static str)]) -> CniConfig {
        CniConfig::from_env(|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    fn refusals(version: &str, env: &[(&str, &'static str)]) -> Vec<EntryPointRefusal> {
        config(env).entry_point_refusals(CniVersion::parse(version).unwrap())
    }

    #[test]
    fn targets_are_compared_as_text() {
        for target in ["0", "-1", "", "+5", " 1", "!"] {
            let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", target)];
            assert_eq!(refusals("1.23.2", &env), [EntryPointRefusal::PrefixTargets], "{target:?}");
        }
        for target in ["1", "00", "abc", "0x", "1 "] {
            let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("MINIMUM_IP_TARGET", target)];
            assert_eq!(refusals("1.23.2", &env), [], "{target:?}");
        }
    }

    #[test]
    fn the_script_compared_numbers() {
        let env = |target| [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", target)];
        for (version, target, refused) in [
            ("1.12.0", "+5", false),
            ("1.12.0", " 0 ", true),
            ("1.12.0", "abc", false),
            ("1.12.0", "", true),
            ("1.9.0", "-1", false),
            ("1.9.0", "0", true),
        ] {
            assert_eq!(!refusals(version, &env(target)).is_empty(), refused, "{version} {target:?}");
        }
    }

    #[test]
    fn switches_of_old_entry_points_know_only_true() {
        let env = [("ENABLE_PREFIX_DELEGATION", "1")];
        assert_eq!(refusals("1.12.6", &env), []);
        assert_eq!(refusals("1.13.0", &env), [EntryPointRefusal::PrefixTargets]);
    }

    #[test]
    fn enforcing_mode_matters_with_pod_eni_only() {
        let mode = ("POD_SECURITY_GROUP_ENFORCING_MODE", "Strict");
        assert_eq!(refusals("1.23.2", &[mode]), []);
        assert_eq!(refusals("1.23.2", &[mode, ("ENABLE_POD_ENI", "1")]), [EntryPointRefusal::EnforcingMode]);
        assert_eq!(refusals("1.12.0", &[mode]), [EntryPointRefusal::EnforcingMode]);
        assert_eq!(refusals("1.10.4", &[mode]), []);
    }

    #[test]
    fn the_remaining_checks() {
        assert_eq!(refusals("1.23.2", &[("IP_COOLDOWN_PERIOD", "")]), [EntryPointRefusal::IpCooldown]);
        assert_eq!(refusals("1.23.2", &[("IP_COOLDOWN_PERIOD", "-1")]), [EntryPointRefusal::IpCooldown]);
        assert_eq!(refusals("1.14.1", &[("IP_COOLDOWN_PERIOD", "")]), []);
        assert_eq!(refusals("1.23.2", &[("AWS_VPC_K8S_CNI_VETHPREFIX", "vlan")]), [EntryPointRefusal::VethPrefix]);
        assert_eq!(refusals("1.23.2", &[("AWS_VPC_K8S_CNI_VETHPREFIX", "eni12")]), [EntryPointRefusal::VethPrefix]);
        assert_eq!(
            refusals("1.23.2", &[("AWS_VPC_K8S_PLUGIN_LOG_FILE", "stdout")]),
            [EntryPointRefusal::PluginLogFile]
        );
        assert_eq!(refusals("1.23.2", &[("POD_MTU", "575")]), [EntryPointRefusal::Mtu]);
        assert_eq!(refusals("1.23.2", &[("AWS_VPC_ENI_MTU", "9001")]), []);
    }
}
