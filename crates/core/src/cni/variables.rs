//! The environment variables that the VPC CNI knows, with what it takes for a value and since when.
//!
//! A name that is not in the list is nobody's business, unless it is so close to one of them that it must be meant.

use super::{CniVersion, parse};
use crate::text::edits;

/// One variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name, exactly.
    pub name: &'static str,
    /// What the CNI takes for a value.
    pub kind: VariableKind,
    /// The value in force where it is unset or not understood; empty where there is none.
    pub default: &'static str,
    /// The first version that heeds it, where audits still meet older ones.
    pub since: Option<CniVersion>,
}

/// What the CNI takes for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// One of Go's twelve spellings of true and false.
    Switch,
    /// A whole number of at least so much.
    Number {
        /// The least.
        least: i64,
    },
    /// Any text.
    Text,
}

const fn switch(name: &'static str, default: &'static str) -> Variable {
    Variable { name, kind: VariableKind::Switch, default, since: None }
}

const fn number(name: &'static str, least: i64, default: &'static str) -> Variable {
    Variable { name, kind: VariableKind::Number { least }, default, since: None }
}

const fn text(name: &'static str) -> Variable {
    Variable { name, kind: VariableKind::Text, default: "", since: None }
}

impl Variable {
    const fn since(self, major: u16, minor: u16, patch: u16) -> Self {
        Self { since: Some(CniVersion::new(major, minor, patch)), ..self }
    }

    /// The variable of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|variable| variable.name == name)
    }

    /// The variable that a name which is none of them must mean: written in another case, with a letter or two wrong,
    /// or with a word cut short. Names that anything else may use are not guessed at.
    pub fn meant_by(name: &str) -> Option<&'static Self> {
        if Self::find(name).is_some() || name.len() < SHORTEST {
            return None;
        }
        let candidates = || ALL.iter().filter(|variable| variable.name.len() >= SHORTEST);
        let same_letters = |variable: &&Self| letters(variable.name) == letters(name);
        let upper = name.to_ascii_uppercase();
        candidates()
            .find(same_letters)
            .or_else(|| candidates().find(|variable| shortened(&upper, variable.name)))
            .or_else(|| candidates().find(|variable| edits(&upper, &variable.name.to_ascii_uppercase()) <= SLIPS))
    }

    /// Whether the CNI understands a value.
    pub fn understands(&self, value: &str) -> bool {
        match self.kind {
            VariableKind::Switch => parse::parse_bool(value).is_some(),
            VariableKind::Number { least } => parse::atoi(value).is_some_and(|number| number >= least),
            VariableKind::Text => true,
        }
    }

    /// Whether a value asks for something else than what versions before it do.
    pub fn asks_for_more(&self, value: &str) -> bool {
        // The one feature that is on by default and was not there at all before.
        let before = if self.name == "ENABLE_SUBNET_DISCOVERY" { "false" } else { self.default };
        match self.kind {
            VariableKind::Switch => parse::parse_bool(value).is_some_and(|on| Some(on) != parse::parse_bool(before)),
            VariableKind::Number { .. } => self.understands(value) && parse::atoi(value) != parse::atoi(self.default),
            VariableKind::Text => !value.is_empty() && !value.eq_ignore_ascii_case(self.default),
        }
    }
}

/// Shorter names are close to too much.
const SHORTEST: usize = 7;
/// Wrong letters in a name that still must mean another.
const SLIPS: usize = 2;

/// A name without case and separators.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

/// Whether two names have the same words, one of which is cut short in one of them: `MIN_IP_TARGET`.
fn shortened(name: &str, known: &str) -> bool {
    const LEAST: usize = 3;
    let (words, known): (Vec<&str>, Vec<&str>) = (name.split('_').collect(), known.split('_').collect());
    let same = |(one, other): (&&str, &&str)| one == other || (one.len() >= LEAST && other.starts_with(*one));
    words.len() == known.len() && words.len() > 1 && words.iter().zip(&known).all(same)
}

/// Every variable, sorted by name.
pub const ALL: &[Variable] = &[
    text("ADDITIONAL_ENI_TAGS"),
    switch("ANNOTATE_POD_IP", "false").since(1, 9, 3),
    text("AWS_EC2_ENDPOINT"),
    switch("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "false").since(1, 12, 6),
    switch("AWS_VPC_CNI_NODE_PORT_SUPPORT", "true"),
    number("AWS_VPC_ENI_MTU", 0, "9001"),
    text("AWS_VPC_K8S_CNI_BACKING_STORE"),
    switch("AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER", "true"),
    switch("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
    text("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"),
    switch("AWS_VPC_K8S_CNI_EXTERNALSNAT", "false"),
    text("AWS_VPC_K8S_CNI_LOGLEVEL"),
    text("AWS_VPC_K8S_CNI_LOG_FILE"),
    text("AWS_VPC_K8S_CNI_RANDOMIZESNAT"),
    text("AWS_VPC_K8S_CNI_VETHPREFIX"),
    text("AWS_VPC_K8S_EGRESS_V4_PLUGIN_LOG_FILE"),
    text("AWS_VPC_K8S_EGRESS_V6_PLUGIN_LOG_FILE"),
    text("AWS_VPC_K8S_PLUGIN_LOG_FILE"),
    text("AWS_VPC_K8S_PLUGIN_LOG_LEVEL"),
    text("CLUSTER_ENDPOINT"),
    text("CLUSTER_NAME"),
    switch("DISABLE_INTROSPECTION", "false"),
    switch("DISABLE_LEAKED_ENI_CLEANUP", "false").since(1, 13, 0),
    switch("DISABLE_METRICS", "false"),
    switch("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false").since(1, 9, 1),
    switch("DISABLE_POD_V6", "false"),
    switch("DISABLE_TCP_EARLY_DEMUX", "false"),
    switch("ENABLE_BANDWIDTH_PLUGIN", "false"),
    switch("ENABLE_IMDS_ONLY_MODE", "false").since(1, 19, 6),
    switch("ENABLE_IPv4", "false"),
    switch("ENABLE_IPv6", "false").since(1, 10, 0),
    switch("ENABLE_MULTI_NIC", "false").since(1, 20, 0),
    switch("ENABLE_NFTABLES", "false"),
    switch("ENABLE_POD_ENI", "false").since(1, 7, 7),
    switch("ENABLE_PREFIX_DELEGATION", "false").since(1, 9, 0),
    switch("ENABLE_SUBNET_DISCOVERY", "true").since(1, 18, 0),
    switch("ENABLE_V4_EGRESS", "true"),
    switch("ENABLE_V6_EGRESS", "false"),
    text("ENI_CONFIG_ANNOTATION_DEF"),
    text("ENI_CONFIG_LABEL_DEF"),
    number("HTTP_TIMEOUT", 10, "10"),
    text("INTROSPECTION_BIND_ADDRESS"),
    number("IP_COOLDOWN_PERIOD", 0, "30").since(1, 15, 0),
    switch("MANAGE_UNTAGGED_ENI", "true").since(1, 9, 3),
    number("MAX_ENI", 1, "the instance type's limit"),
    number("MINIMUM_IP_TARGET", 0, "0"),
    text("MY_NODE_NAME"),
    text("MY_POD_NAME"),
    Variable {
        name: "NETWORK_POLICY_ENFORCING_MODE",
        kind: VariableKind::Text,
        default: "standard",
        since: Some(CniVersion::new(1, 17, 1)),
    },
    number("POD_MTU", 0, "9001"),
    Variable {
        name: "POD_SECURITY_GROUP_ENFORCING_MODE",
        kind: VariableKind::Text,
        default: "strict",
        since: Some(CniVersion::new(1, 11, 0)),
    },
    text("VPC_CNI_VERSION"),
    text("VPC_ID"),
    number("WARM_ENI_TARGET", 0, "1"),
    number("WARM_IP_TARGET", 0, "0"),
    number("WARM_PREFIX_TARGET", 0, "0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let meant = |name: &str| Variable::meant_by(name).map(|variable| variable.name);
        for (name, wanted) in [
            ("ENABLE_IPV4", "ENABLE_IPv4"),
            ("warm_ip_target", "WARM_IP_TARGET"),
            ("WARM-IP-TARGET", "WARM_IP_TARGET"),
            ("WARM_IP_TARGETS", "WARM_IP_TARGET"),
            ("MIN_IP_TARGET", "MINIMUM_IP_TARGET"),
            ("MAX_ENIS", "MAX_ENI"),
            ("ENABLE_PREFIX_DELAGATION", "ENABLE_PREFIX_DELEGATION"),
        ] {
            assert_eq!(meant(name), Some(wanted), "{name}");
        }
        for stranger in [
            "WARM_IP_TARGET",
            "HTTP_PROXY",
            "AWS_REGION",
            "AWS_ROLE_ARN",
            "NODE_NAME",
            "LOG_LEVEL",
            "MY_ZONE",
            "MAX_PODS",
        ] {
            assert_eq!(meant(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn values_are_understood_as_go_understands_them() {
        let understands = |name: &str, value: &str| Variable::find(name).unwrap().understands(value);
        assert!(understands("ENABLE_POD_ENI", "T") && !understands("ENABLE_POD_ENI", "yes"));
        assert!(understands("WARM_IP_TARGET", "+5") && !understands("WARM_IP_TARGET", "-1"));
        assert!(!understands("MAX_ENI", "0") && understands("CLUSTER_NAME", "anything"));
        let more = |name: &str, value: &str| Variable::find(name).unwrap().asks_for_more(value);
        assert!(more("ENABLE_SUBNET_DISCOVERY", "true") && !more("ENABLE_SUBNET_DISCOVERY", "0"));
        assert!(more("MANAGE_UNTAGGED_ENI", "false") && !more("MANAGE_UNTAGGED_ENI", "1"));
        assert!(!more("IP_COOLDOWN_PERIOD", "030") && more("IP_COOLDOWN_PERIOD", "10"));
        assert!(!more("NETWORK_POLICY_ENFORCING_MODE", "Standard"));
    }
}
