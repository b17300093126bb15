//! Custom networking: the ENIConfig by which each node's next interface is made, found the way ipamd finds it.
//!
//! Presence of a key decides, even with an empty value. Without any node under custom networking nothing is computed
//! and no ENIConfig is needed. A switch that could not be read is neither on nor off: see
//! [`CustomNetworking::is_unknown`].

use std::collections::BTreeMap;

use super::{Cni, Facts, NodeFacts};
use crate::{
    ids::SubnetId,
    snapshot::{ClusterSnapshot, EniConfig, Node},
    source::{FaultCategory, Reading, Source},
};

/// The label that comes before everything else.
const EXTERNAL_LABEL: &str = "vpc.amazonaws.com/externalEniConfig";
/// What a node without any key asks for.
pub(crate) const DEFAULT_NAME: &str = "default";
/// Variables without which the choice is not known.
const VARIABLES: [&str; 3] =
    ["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "ENI_CONFIG_ANNOTATION_DEF", "ENI_CONFIG_LABEL_DEF"];

/// Which ENIConfig each node uses.
#[derive(Debug)]
pub(crate) struct CustomNetworking<'a> {
    configs: Option<&'a [EniConfig]>,
    not_installed: bool,
    unknown: bool,
    choices: Vec<Option<Choice<'a>>>,
    uses: Vec<Use<'a>>,
}

/// The ENIConfig that a node asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What on the node says so.
    pub(crate) by: ChosenBy,
    /// The object; none if there is none of that name, or ENIConfigs are not known.
    pub(crate) config: Option<&'a EniConfig>,
    /// A key of less weight that names another one: what it is, and the name.
    pub(crate) overruled: Option<(ChosenBy, &'a str)>,
}

/// What on a node chooses the ENIConfig, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    /// The label `vpc.amazonaws.com/externalEniConfig`.
    ExternalLabel,
    /// The annotation of `ENI_CONFIG_ANNOTATION_DEF`.
    Annotation,
    /// The label of `ENI_CONFIG_LABEL_DEF`.
    Label,
    /// None of them: the name is `default`.
    Nothing,
}

impl ChosenBy {
    /// The key in words.
    pub(crate) fn text(self, cni: &Cni) -> String {
        match self {
            Self::ExternalLabel => format!("label {EXTERNAL_LABEL}"),
            Self::Annotation => format!("annotation {}", cni.config.eni_config_annotation),
            Self::Label => format!("label {}", cni.config.eni_config_label),
            Self::Nothing => "no label or annotation".to_owned(),
        }
    }
}

impl Facts<'_> {
    /// Whether an ENIConfig's subnet is in another zone than a node: no interface made there can be attached to it. Zones
    /// are compared by id where both are known, since names differ between accounts.
    pub(crate) fn is_out_of_reach(&self, node: &NodeFacts<'_>, config: &EniConfig) -> bool {
        let Some(there) = self.subnet_row(&config.subnet) else { return false };
        let by_home =
            node.home().and_then(|id| self.subnet_row(id)).map(|home| match (&home.zone_id, &there.zone_id) {
                (Some(home), Some(there)) => home != there,
                _ => home.zone != there.zone,
            });
        by_home.unwrap_or_else(|| node.node.zone.as_ref().is_some_and(|zone| *zone != there.zone))
    }
}

/// An ENIConfig's name and the nodes that ask for it.
#[derive(Debug)]
pub(crate) struct Use<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// The object, if there is one.
    pub(crate) config: Option<&'a EniConfig>,
    nodes: Vec<usize>,
}

impl<'a> Use<'a> {
    /// The nodes that ask for it, in the nodes' order.
    pub(crate) fn nodes<'f>(&'f self, facts: &'f Facts<'a>) -> impl Iterator<Item = &'f NodeFacts<'a>> {
        self.nodes.iter().filter_map(|&at| facts.nodes.get(at))
    }

    /// The nodes with their choices.
    pub(crate) fn choices<'f>(
        &'f self,
        facts: &'f Facts<'a>,
    ) -> impl Iterator<Item = (&'f NodeFacts<'a>, &'f Choice<'a>)> {
        let networking = &facts.custom_networking;
        self.nodes.iter().filter_map(|&at| Some((facts.nodes.get(at)?, networking.of_node(at)?)))
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }
}

impl<'a> CustomNetworking<'a> {
    /// From the snapshot and its nodes.
    pub(super) fn of(snapshot: &'a ClusterSnapshot, nodes: &[NodeFacts<'a>]) -> Self {
        let reading = &snapshot.objects.eni_configs;
        let not_installed = is_not_installed(reading);
        let configs = reading.value().map(Vec::as_slice).or(if not_installed { Some(&[]) } else { None });
        let unknown = nodes.iter().filter_map(|node| node.cni.as_ref()).any(|cni| !knows_choice(cni));
        let by_name: BTreeMap<&str, &EniConfig> =
            configs.unwrap_or_default().iter().map(|config| (&*config.name, config)).collect();
        let choices: Vec<Option<Choice<'a>>> = nodes.iter().map(|node| choice(node, &by_name)).collect();
        let mut uses: BTreeMap<&str, Use<'a>> = BTreeMap::new();
        for (at, choice) in choices.iter().enumerate() {
            if let Some(Choice { name, config, .. }) = choice {
                let asked = uses.entry(name).or_insert_with(|| Use { name, config: *config, nodes: Vec::new() });
                asked.nodes.push(at);
            }
        }
        Self { configs, not_installed, unknown, choices, uses: uses.into_values().collect() }
    }

    /// All ENIConfigs, sorted by name; none while they are not known. There are none where their CRD is not installed.
    pub(crate) fn configs(&self) -> Option<&'a [EniConfig]> {
        self.configs
    }

    /// Whether the CRD of ENIConfigs is not installed.
    pub(crate) fn is_not_installed(&self) -> bool {
        self.not_installed
    }

    /// Whether a node runs with custom networking.
    pub(crate) fn is_on(&self) -> bool {
        !self.uses.is_empty()
    }

    /// Whether some node's settings of custom networking could not be read.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// The choice of the node of this index; none where custom networking is off.
    pub(crate) fn of_node(&self, at: usize) -> Option<&Choice<'a>> {
        self.choices.get(at)?.as_ref()
    }

    /// The ENIConfigs that nodes ask for, sorted by name.
    pub(crate) fn uses(&self) -> &[Use<'a>] {
        &self.uses
    }

    /// Subnets that nodes' ENIConfigs name.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = &'a SubnetId> {
        self.uses.iter().filter_map(|used| Some(&used.config?.subnet))
    }
}

impl Facts<'_> {
    /// What a rule about ENIConfigs in use would have to know and does not: the settings of some node, or the
    /// ENIConfigs while a node runs with custom networking.
    pub(crate) fn unknown_of_custom_networking(&self) -> Option<Source> {
        let networking = &self.custom_networking;
        if networking.is_unknown() {
            return Some(Source::AwsNode);
        }
        (networking.is_on() && networking.configs().is_none()).then_some(Source::EniConfigs)
    }
}

/// The CRD is absent, as opposed to not readable.
fn is_not_installed<T>(reading: &Reading<T>) -> bool {
    let not_found = reading.fault.as_ref().is_some_and(|fault| fault.category == FaultCategory::NotFound);
    not_found && reading.value().is_none()
}

fn knows_choice(cni: &Cni) -> bool {
    !cni.lacks(&VARIABLES)
}

/// Whether ipamd on such a node ever makes an interface for pods.
pub(super) fn makes_interfaces(cni: &Cni) -> bool {
    let off = [&cni.config.provisioning_disabled, &cni.config.imds_only];
    !cni.is_ipv6() && off.iter().all(|setting| !setting.value_or(false))
}

/// The choice of a node that runs with custom networking and stays.
fn choice<'a>(facts: &NodeFacts<'a>, by_name: &BTreeMap<&str, &'a EniConfig>) -> Option<Choice<'a>> {
    let cni = facts.cni.as_ref()?;
    let on = cni.config.custom_networking.value_or(false) && makes_interfaces(cni) && knows_choice(cni);
    if !on || facts.node.state.deleted_at.is_some() {
        return None;
    }
    let mut keys = keys(facts.node, cni);
    let (by, name) = keys.next().unwrap_or((ChosenBy::Nothing, DEFAULT_NAME));
    let overruled = keys.find(|(_, other)| *other != name);
    Some(Choice { name, by, config: by_name.get(name).copied(), overruled })
}

/// The keys that are on the node, the weightiest first.
fn keys<'a>(node: &'a Node, cni: &Cni) -> impl Iterator<Item = (ChosenBy, &'a str)> {
    let keys = [
        (ChosenBy::ExternalLabel, node.label(EXTERNAL_LABEL)),
        (ChosenBy::Annotation, node.annotation(&cni.config.eni_config_annotation)),
        (ChosenBy::Label, node.label(&cni.config.eni_config_label)),
    ];
    keys.into_iter().filter_map(|(by, name)| Some((by, name?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::Memory,
        policy::AuditPolicy,
        snapshot::EnvValue,
        tags::Tags,
        tests::custom_networking::{change_env, custom, named, set},
    };

    /// The name that a node with these labels and annotations asks for, by what.
    fn asked(labels: &Tags, annotations: &Tags, env: &[(&str, &str)]) -> (String, ChosenBy) {
        let mut snapshot = custom(1, |node| {
            node.labels.clone_from(labels);
            node.annotations.clone_from(annotations);
        });
        for (name, value) in env {
            set(&mut snapshot, name, value);
        }
        let (policy, memory) = (AuditPolicy::default(), Memory::default());
        let facts = Facts::of(&snapshot, &policy, &memory);
        let choice = facts.custom_networking.of_node(0).unwrap();
        (choice.name.to_owned(), choice.by)
    }

    #[test]
    fn the_order_is_external_label_annotation_label_default() {
        let zone = || -> Tags { named("topology.kubernetes.io/zone", "eu-central-1a") };
        let annotation = || named("k8s.amazonaws.com/eniConfig", "special");
        let both: Tags =
            [(EXTERNAL_LABEL.into(), "outside".into()), ("topology.kubernetes.io/zone".into(), "a".into())].into();
        let of = |name: &str, by| (name.to_owned(), by);
        assert_eq!(asked(&both, &annotation(), &[]), of("outside", ChosenBy::ExternalLabel));
        assert_eq!(asked(&zone(), &annotation(), &[]), of("special", ChosenBy::Annotation));
        assert_eq!(asked(&zone(), &Tags::default(), &[]), of("eu-central-1a", ChosenBy::Label));
        assert_eq!(asked(&Tags::default(), &Tags::default(), &[]), of("default", ChosenBy::Nothing));
    }

    #[test]
    fn presence_decides_and_an_empty_variable_is_the_default_key() {
        let zone = named("topology.kubernetes.io/zone", "eu-central-1a");
        let empty = named("k8s.amazonaws.com/eniConfig", "");
        assert_eq!(asked(&zone, &empty, &[]), (String::new(), ChosenBy::Annotation));
        let by_default_key =
            asked(&named("k8s.amazonaws.com/eniConfig", "x"), &Tags::default(), &[("ENI_CONFIG_LABEL_DEF", "")]);
        assert_eq!(by_default_key, ("x".to_owned(), ChosenBy::Label));
        let own_annotation = [("ENI_CONFIG_ANNOTATION_DEF", "example.com/eni")];
        assert_eq!(asked(&zone, &named("example.com/eni", "y"), &own_annotation).0, "y");
    }

    #[test]
    fn a_switch_that_cannot_be_read_is_neither_on_nor_off() {
        let mut snapshot = custom(1, |_| {});
        change_env(&mut snapshot, |env| {
            let unread = EnvValue::Unresolved("ConfigMap cni".into());
            env.values.insert("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG".into(), unread);
        });
        let (policy, memory) = (AuditPolicy::default(), Memory::default());
        let facts = Facts::of(&snapshot, &policy, &memory);
        assert!(!facts.custom_networking.is_on() && facts.custom_networking.is_unknown());
        assert_eq!(facts.unknown_of_custom_networking(), Some(Source::AwsNode));
    }
}
