//! What is installed on a node: the limits of its type, and the CNI with its configuration.

use crate::{
    cni::{CniConfig, CniVersion},
    ids::InstanceType,
    inventory::InstanceTypeFacts,
    limits::{self, Limits, Trunking},
    snapshot::{AwsNodeEnv, EnvValue},
};

/// The limits of a type, if anybody knows them.
pub(super) fn limits(name: &InstanceType, from_ec2: Option<&InstanceTypeFacts>) -> Option<Limits> {
    match limits::resolve(name.as_str(), from_ec2) {
        Limits::Unknown => None,
        known => Some(known),
    }
}

/// Branches that a trunk of the type carries; none where that is not known.
pub fn branch_limit(limits: &Limits) -> Option<u32> {
    match limits.trunking() {
        Trunking::Supported { branches } => Some(branches),
        Trunking::Unsupported | Trunking::Unknown => None,
    }
}

/// Interfaces that the type allows on its default card.
pub fn interface_limit(limits: &Limits) -> Option<u32> {
    limits.interfaces().map(|interfaces| interfaces.enis)
}

/// The CNI on a node: its version and configuration, parsed once for all nodes that run the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cni {
    version: Option<CniVersion>,
    pub(super) config: CniConfig,
    unresolved: Vec<String>,
}

impl Cni {
    /// From the effective environment of a running pod.
    pub fn of(env: &AwsNodeEnv) -> Self {
        let unresolved = env.values.iter().filter(|(_, value)| matches!(value, EnvValue::Unresolved(_)));
        Self {
            version: CniVersion::from_image(&env.image),
            config: CniConfig::from_map(&env.known()),
            unresolved: unresolved.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The version, or `?` for an image without one in its tag.
    pub fn version_text(&self) -> String {
        self.version.map_or_else(|| "?".to_owned(), |version| version.to_string())
    }

    /// Variables whose values could not be read.
    pub fn unresolved(&self) -> &[String] {
        &self.unresolved
    }

    /// Whether interfaces without the CNI's tags are taken over.
    pub fn manages_untagged(&self) -> bool {
        self.config.manage_untagged.value_or(true)
    }

    /// The version whose behaviour is assumed: the newest where the image does not tell.
    pub(super) fn version(&self) -> CniVersion {
        self.version.unwrap_or(CniVersion::NEWEST)
    }

    /// The algorithm that sizes the pool on a node of these limits.
    pub fn mode_name(&self, limits: Option<&Limits>) -> &'static str {
        let interfaces = limits.and_then(Limits::interfaces);
        interfaces.map_or("?", |limits| self.config.sizing_mode(self.version(), &limits).as_str())
    }

    /// The targets that are set, as a user wrote them; the one in force by default if none is.
    pub fn targets_text(&self) -> String {
        let CniConfig { warm_eni_target, warm_ip_target, minimum_ip_target, warm_prefix_target, .. } = &self.config;
        let named = [
            ("MINIMUM_IP_TARGET", minimum_ip_target),
            ("WARM_IP_TARGET", warm_ip_target),
            ("WARM_PREFIX_TARGET", warm_prefix_target),
            ("WARM_ENI_TARGET", warm_eni_target),
        ];
        let by_address = [minimum_ip_target, warm_ip_target].iter().any(|target| target.value_or(0) != 0);
        let by_prefix = self.config.prefix_delegation.value_or(false);
        // Only what decides is named: the manifest sets targets of other modes too.
        let decides = |name: &str| match name {
            "MINIMUM_IP_TARGET" | "WARM_IP_TARGET" => by_address,
            "WARM_PREFIX_TARGET" => by_prefix && !by_address,
            _ => !by_prefix && !by_address,
        };
        let set = named.iter().filter(|(name, _)| decides(name)).filter_map(|(name, target)| {
            let raw = target.raw()?;
            Some(format!("{name}={raw}"))
        });
        let texts: Vec<String> = set.collect();
        if texts.is_empty() { "defaults".to_owned() } else { texts.join(" ") }
    }
}
