//! Which algorithm sizes the pool of a node, and with which figures.

use super::{CniConfig, CniVersion};
use crate::limits::{Hypervisor, InterfaceLimits};

/// The algorithm that sizes the pool of pod addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SizingMode {
    /// Secondary addresses, whole interfaces warm (`WARM_ENI_TARGET`): the default.
    EniTarget,
    /// Secondary addresses, single addresses warm (`WARM_IP_TARGET`, `MINIMUM_IP_TARGET`).
    IpTarget,
    /// Prefixes, whole prefixes warm (`WARM_PREFIX_TARGET`).
    PrefixTarget,
    /// Prefixes, single addresses warm (`WARM_IP_TARGET`, `MINIMUM_IP_TARGET`).
    PrefixIpTarget,
    /// Nothing is sized (`DISABLE_NETWORK_RESOURCE_PROVISIONING`, `ENABLE_IMDS_ONLY_MODE`).
    ProvisioningDisabled,
}

impl SizingMode {
    /// The name used in reports and by `simulate --batch`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EniTarget => "eni-target",
            Self::IpTarget => "ip-target",
            Self::PrefixTarget => "prefix-target",
            Self::PrefixIpTarget => "prefix-ip-target",
            Self::ProvisioningDisabled => "provisioning-disabled",
        }
    }
}

/// The figures in force on one node, after parsing and capping; those the mode ignores included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// `WARM_ENI_TARGET`.
    pub warm_eni: i64,
    /// `WARM_IP_TARGET`.
    pub warm_ip: i64,
    /// `MINIMUM_IP_TARGET`.
    pub minimum_ip: i64,
    /// `WARM_PREFIX_TARGET`.
    pub warm_prefix: i64,
    /// `MAX_ENI`, capped by the instance type.
    pub max_eni: i64,
    /// Addresses or prefixes one interface can hold beside its own address.
    pub slots_per_eni: i64,
}

impl Targets {
    /// Either IP target, once not zero, takes over from `WARM_ENI_TARGET` and `WARM_PREFIX_TARGET`; the other counts as 0.
    pub fn ip_targets_defined(&self) -> bool {
        self.warm_ip != 0 || self.minimum_ip != 0
    }
}

impl CniConfig {
    /// The figures in force on a node of this type.
    pub fn targets(&self, limits: &InterfaceLimits) -> Targets {
        let type_limit = i64::from(limits.enis);
        Targets {
            warm_eni: self.warm_eni_target.value_or(1),
            warm_ip: self.warm_ip_target.value_or(0),
            minimum_ip: self.minimum_ip_target.value_or(0),
            warm_prefix: self.warm_prefix_target.value_or(0),
            max_eni: self.max_eni.value().map_or(type_limit, |cap| cap.min(type_limit)),
            slots_per_eni: i64::from(limits.ipv4_per_eni) - 1,
        }
    }

    /// Whether pods get addresses out of prefixes. On a type that cannot have them the CNI falls back to secondary
    /// addresses in silence; bare metal can since 1.10.3.
    pub fn uses_prefixes(&self, version: CniVersion, hypervisor: Hypervisor) -> bool {
        let capable = match hypervisor {
            Hypervisor::Nitro => true,
            Hypervisor::BareMetal => version >= CniVersion::new(1, 10, 3),
            Hypervisor::Xen | Hypervisor::Other => false,
        };
        capable && self.prefix_delegation.value_or(false)
    }

    /// Whether ipamd only adopts what others attach. IMDS-only mode implies it.
    pub fn adopts_only(&self, version: CniVersion) -> bool {
        self.provisioning_disabled.value_or(false) || self.sees_metadata_only(version)
    }

    /// Whether ipamd asks EC2 nothing about its interfaces, and so knows neither their tags nor a trunk.
    pub fn sees_metadata_only(&self, version: CniVersion) -> bool {
        version >= CniVersion::new(1, 19, 6) && self.imds_only.value_or(false)
    }

    /// The algorithm that sizes the pool of a node of this type.
    pub fn sizing_mode(&self, version: CniVersion, limits: &InterfaceLimits) -> SizingMode {
        let by_address = self.targets(limits).ip_targets_defined();
        match (self.adopts_only(version), self.uses_prefixes(version, limits.hypervisor), by_address) {
            (true, _, _) => SizingMode::ProvisioningDisabled,
            (false, true, true) => SizingMode::PrefixIpTarget,
            (false, true, false) => SizingMode::PrefixTarget,
            (false, false, true) => SizingMode::IpTarget,
            (false, false, false) => SizingMode::EniTarget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(env: &[(&str, &'static str)], version: CniVersion, hypervisor: Hypervisor) -> SizingMode {
        let config = CniConfig::from_env(|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| *value));
        config.sizing_mode(version, &InterfaceLimits { enis: 3, ipv4_per_eni: 10, hypervisor, trunking: true })
    }

    #[test]
    fn precedence() {
        let newest = |env| mode(env, CniVersion::NEWEST, Hypervisor::Nitro);
        assert_eq!(newest(&[]), SizingMode::EniTarget);
        assert_eq!(newest(&[("WARM_ENI_TARGET", "3"), ("MINIMUM_IP_TARGET", "1")]), SizingMode::IpTarget);
        assert_eq!(newest(&[("WARM_IP_TARGET", "0")]), SizingMode::EniTarget, "zero is off");
        assert_eq!(newest(&[("WARM_IP_TARGET", "x")]), SizingMode::EniTarget, "and so is what is no number");
        assert_eq!(newest(&[("ENABLE_PREFIX_DELEGATION", "1")]), SizingMode::PrefixTarget);
        let both = [("ENABLE_PREFIX_DELEGATION", "T"), ("WARM_PREFIX_TARGET", "1"), ("WARM_IP_TARGET", "1")];
        assert_eq!(newest(&both), SizingMode::PrefixIpTarget);
        assert_eq!(
            newest(&[("WARM_IP_TARGET", "1"), ("ENABLE_IMDS_ONLY_MODE", "true")]),
            SizingMode::ProvisioningDisabled
        );
    }

    #[test]
    fn types_and_versions() {
        let prefixes = [("ENABLE_PREFIX_DELEGATION", "true")];
        assert_eq!(mode(&prefixes, CniVersion::NEWEST, Hypervisor::Xen), SizingMode::EniTarget);
        assert_eq!(mode(&prefixes, CniVersion::NEWEST, Hypervisor::BareMetal), SizingMode::PrefixTarget);
        assert_eq!(mode(&prefixes, CniVersion::new(1, 10, 2), Hypervisor::BareMetal), SizingMode::EniTarget);
        let metadata = [("ENABLE_IMDS_ONLY_MODE", "true")];
        assert_eq!(mode(&metadata, CniVersion::new(1, 19, 5), Hypervisor::Nitro), SizingMode::EniTarget);
    }

    #[test]
    fn the_cap_of_interfaces() {
        let limits = InterfaceLimits { enis: 4, ipv4_per_eni: 15, hypervisor: Hypervisor::Nitro, trunking: true };
        for (cap, interfaces) in [("2", 2), ("4", 4), ("9", 4), ("0", 4), ("x", 4)] {
            let config = CniConfig::from_env(|name| (name == "MAX_ENI").then_some(cap));
            assert_eq!(config.targets(&limits).max_eni, interfaces, "{cap}");
        }
    }
}
