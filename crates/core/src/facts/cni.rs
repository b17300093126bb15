//! What is installed on a node: the limits of its type, and the CNI with its configuration.

use crate::{
    cni::{self, CniConfig, CniVersion, Variable},
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
    /// Those of the CNI among them, and those that an unread source may set.
    unknown: Vec<&'static str>,
    /// Asked for each node, told once.
    targets: String,
}

/// How a source of many variables that could not be read is called among them.
const IMPORT: &str = "envFrom ";

/// The variables that size the pool.
const SIZING: &[&str] = &[
    "WARM_ENI_TARGET",
    "WARM_IP_TARGET",
    "MINIMUM_IP_TARGET",
    "WARM_PREFIX_TARGET",
    "MAX_ENI",
    "ENABLE_PREFIX_DELEGATION",
    "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
    "ENABLE_POD_ENI",
    "DISABLE_NETWORK_RESOURCE_PROVISIONING",
    "ENABLE_IMDS_ONLY_MODE",
    "ENABLE_IPv4",
    "ENABLE_IPv6",
];

/// The CNI's variables whose values are not known: references that could not be read, and, where a whole source could
/// not be read, all that nothing else sets.
fn unknown(env: &AwsNodeEnv) -> impl Iterator<Item = &'static str> {
    let imports_unread = env.values.keys().any(|name| name.starts_with(IMPORT));
    let is_unknown = move |variable: &&Variable| match env.values.get(variable.name) {
        Some(EnvValue::Literal(_)) => false,
        Some(EnvValue::Unresolved(_)) => true,
        None => imports_unread,
    };
    cni::VARIABLES.iter().filter(is_unknown).map(|variable| variable.name)
}

/// Whether a pod runs what a template says. What is put into pods at their admission (credentials, regions) is no
/// difference, nor is another registry for the same tag; a reference that could not be read proves none.
pub(super) fn runs(pod: &AwsNodeEnv, template: &AwsNodeEnv) -> bool {
    let tag =
        |image: &str| image.split('@').next().and_then(|name| name.rsplit_once(':')).map(|(_, tag)| tag.to_owned());
    let same_image =
        pod.image == template.image || tag(&pod.image).is_some_and(|own| Some(own) == tag(&template.image));
    same_image && differences(pod, template).next().is_none()
}

/// The variables by which a pod differs from a template.
pub(crate) fn differences<'a>(pod: &'a AwsNodeEnv, template: &'a AwsNodeEnv) -> impl Iterator<Item = &'a str> {
    let known = |name: &str| Variable::find(name).is_some();
    let more = pod.values.keys().filter(move |name| known(name) && !template.values.contains_key(*name));
    let literal = |value: Option<&'a EnvValue>| match value {
        Some(EnvValue::Literal(text)) => Some(Some(text.as_str())),
        Some(EnvValue::Unresolved(_)) => None,
        None => Some(None),
    };
    let differs = move |name: &&String| {
        let (own, wanted) = (literal(pod.values.get(*name)), literal(template.values.get(*name)));
        own.zip(wanted).is_some_and(|(own, wanted)| own != wanted)
    };
    template.values.keys().chain(more).filter(differs).map(String::as_str)
}

impl Cni {
    /// From the effective environment of a running pod.
    pub fn of(env: &AwsNodeEnv) -> Self {
        let unread = |value: &EnvValue| matches!(value, EnvValue::Unresolved(_));
        let unresolved: Vec<String> =
            env.values.iter().filter(|(_, value)| unread(value)).map(|(name, _)| name.clone()).collect();
        let mut cni = Self {
            version: CniVersion::from_image(&env.image),
            config: CniConfig::from_map(&env.known()),
            unknown: unknown(env).collect(),
            unresolved,
            targets: String::new(),
        };
        cni.targets = cni.named_targets();
        cni
    }

    /// Whether the value of one of these variables is not known. Such a variable is neither set nor unset: whoever
    /// depends on it cannot tell.
    pub fn lacks(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.unknown.contains(name))
    }

    /// Whether the variables that size the pool are known.
    pub fn sizing_is_known(&self) -> bool {
        !self.lacks(SIZING)
    }

    /// Whether pods have IPv6 addresses only: then there is no pool of IPv4 addresses to look at.
    pub fn is_ipv6(&self) -> bool {
        self.config.ipv6.value_or(false) && !self.config.ipv4.value_or(false)
    }

    /// The configuration, in which what is not known counts as unset: ask [`Self::lacks`] first.
    pub fn config(&self) -> &CniConfig {
        &self.config
    }

    /// The version, if the image tells it.
    pub fn known_version(&self) -> Option<CniVersion> {
        self.version
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
        let interfaces = limits.and_then(Limits::interfaces).filter(|_| self.sizing_is_known());
        interfaces.map_or("?", |limits| self.config.sizing_mode(self.version(), &limits).as_str())
    }

    /// The targets that are set, as a user wrote them; the one in force by default if none is.
    pub fn targets_text(&self) -> String {
        self.targets.clone()
    }

    fn named_targets(&self) -> String {
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
        let set = named.iter().filter_map(|(name, target)| match target.raw() {
            _ if self.lacks(&[*name]) => Some(format!("{name}=?")),
            Some(raw) if decides(name) => Some(format!("{name}={raw}")),
            _ => None,
        });
        let texts: Vec<String> = set.collect();
        if texts.is_empty() { "defaults".to_owned() } else { texts.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(image: &str, values: &[(&str, &str)]) -> AwsNodeEnv {
        let value = |text: &str| match text {
            "?" => EnvValue::Unresolved("secret targets: Secrets are not read".into()),
            text => EnvValue::Literal(text.into()),
        };
        AwsNodeEnv {
            image: image.into(),
            values: values.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect(),
        }
    }

    #[test]
    fn what_cannot_be_read_is_neither_set_nor_unset() {
        let cni = Cni::of(&env("cni:v1.23.1", &[("WARM_IP_TARGET", "?"), ("MY_NODE_NAME", "?"), ("MAX_ENI", "3")]));
        assert!(cni.lacks(&["MAX_ENI", "WARM_IP_TARGET"]) && !cni.lacks(&["MAX_ENI", "WARM_ENI_TARGET"]));
        assert!(!cni.sizing_is_known());
        assert_eq!((cni.mode_name(None), cni.targets_text().as_str()), ("?", "WARM_IP_TARGET=?"));
        let imports = Cni::of(&env("cni:v1.23.1", &[("envFrom secret targets", "?"), ("MAX_ENI", "3")]));
        assert!(imports.lacks(&["WARM_ENI_TARGET"]) && !imports.lacks(&["MAX_ENI"]));
    }

    #[test]
    fn what_is_put_into_pods_at_their_admission_is_no_difference() {
        let template = env("registry/cni:v1.23.1-eksbuild.1", &[("WARM_IP_TARGET", "3"), ("MY_NODE_NAME", "?")]);
        let injected = [("WARM_IP_TARGET", "3"), ("MY_NODE_NAME", "?"), ("AWS_ROLE_ARN", "arn")];
        assert!(runs(&env("mirror:5000/cni:v1.23.1-eksbuild.1", &injected), &template));
        assert!(!runs(&env("registry/cni:v1.23.0", &injected), &template), "another version");
        let changed = env(&template.image, &[("WARM_IP_TARGET", "5"), ("MAX_ENI", "2"), ("MY_NODE_NAME", "?")]);
        assert_eq!(differences(&changed, &template).collect::<Vec<_>>(), ["WARM_IP_TARGET", "MAX_ENI"]);
        let unset = env(&template.image, &[]);
        assert_eq!(differences(&unset, &template).collect::<Vec<_>>(), ["WARM_IP_TARGET"]);
    }

    #[test]
    fn ipv6_alone_is_ipv6() {
        let is_ipv6 = |values: &[(&str, &str)]| Cni::of(&env("cni:v1.23.1", values)).is_ipv6();
        assert!(is_ipv6(&[("ENABLE_IPv6", "true")]) && !is_ipv6(&[("ENABLE_IPv4", "true")]));
        assert!(!is_ipv6(&[("ENABLE_IPv4", "true"), ("ENABLE_IPv6", "true")]));
    }
}
