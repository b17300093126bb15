//! The environment of a container as its manifest writes it, and what it comes to.
//!
//! Kubernetes' rule: `envFrom` first, `env` on top, the last of a name wins. ConfigMaps are looked up in what the
//! caller could read; Secrets are never read; what is not known stays named as such.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipam_audit_core::snapshot::{ConfigMap, EnvValue};
use k8s_openapi::api::core::v1::ConfigMap as FullConfigMap;
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{Interner, Malformed, meta};

/// A ConfigMap's data.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullConfigMap)]
pub struct ConfigMapView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    /// Its entries.
    pub data: Option<BTreeMap<String, String>>,
}

/// The namespace whose ConfigMaps matter for addresses.
const SYSTEM_NAMESPACE: &str = "kube-system";
/// Those that do.
const SYSTEM_MAPS: [&str; 3] = ["amazon-vpc-cni", "aws-node", "kube-proxy-config"];

impl ConfigMapView {
    /// Where it is.
    pub fn key(&self) -> Result<ConfigMapKey, Malformed> {
        let meta = &self.metadata;
        let name = meta.name.clone().ok_or_else(|| Malformed::missing("ConfigMap", meta, "metadata.name"))?;
        Ok(ConfigMapKey { namespace: meta.namespace.as_deref().unwrap_or_default().into(), name })
    }

    /// The row of a snapshot; none for a ConfigMap that does not matter.
    pub fn row(&self, interner: &mut Interner) -> Result<Option<ConfigMap>, Malformed> {
        let key = self.key()?;
        let matters = *key.namespace == *SYSTEM_NAMESPACE && SYSTEM_MAPS.contains(&key.name.as_str());
        Ok(matters.then(|| ConfigMap { name: interner.text(&key.name), data: interner.tags(self.data.as_ref()) }))
    }
}

/// The ConfigMaps that decide about addresses, whatever the VPC CNI's environment says.
pub fn system_config_maps() -> impl Iterator<Item = ConfigMapKey> {
    SYSTEM_MAPS.into_iter().map(|name| key(&SYSTEM_NAMESPACE.into(), name))
}

/// Where a ConfigMap is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigMapKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: String,
}

/// What is known of each ConfigMap: its data, or in words why not.
pub type ConfigMaps = BTreeMap<ConfigMapKey, Result<BTreeMap<String, String>, String>>;

/// `env` and `envFrom` of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvView {
    env: Option<Vec<Variable>>,
    env_from: Option<Vec<Import>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variable {
    #[serde(default)]
    name: String,
    value: Option<String>,
    value_from: Option<ValueFrom>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
struct ValueFrom {
    #[serde(rename = "configMapKeyRef")]
    config_map: Option<KeyRef>,
    #[serde(rename = "secretKeyRef")]
    secret: Option<KeyRef>,
    #[serde(rename = "fieldRef")]
    field: Option<FieldRef>,
    #[serde(rename = "resourceFieldRef")]
    resource: Option<ResourceRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
struct KeyRef {
    #[serde(default)]
    name: String,
    #[serde(default)]
    key: String,
    optional: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldRef {
    #[serde(default)]
    field_path: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
struct ResourceRef {
    #[serde(default)]
    resource: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Import {
    prefix: Option<String>,
    config_map_ref: Option<MapRef>,
    secret_ref: Option<MapRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
struct MapRef {
    #[serde(default)]
    name: String,
    optional: Option<bool>,
}

impl EnvView {
    /// The effective variables in a namespace, as far as `maps` tells.
    pub(super) fn resolve(&self, namespace: &Arc<str>, maps: &ConfigMaps) -> BTreeMap<String, EnvValue> {
        let lookup = Lookup { namespace, maps };
        let mut values = BTreeMap::new();
        for import in self.env_from.iter().flatten() {
            values.extend(lookup.import(import));
        }
        for variable in self.env.iter().flatten() {
            match lookup.value(variable) {
                Some(value) => values.insert(variable.name.clone(), value),
                None => values.remove(&variable.name),
            };
        }
        values
    }

    /// The names of the ConfigMaps that it refers to.
    fn config_maps(&self) -> impl Iterator<Item = &str> {
        let imports = self.env_from.iter().flatten().filter_map(|import| import.config_map_ref.as_ref());
        let variables = self.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        let keys = variables.filter_map(|from| from.config_map.as_ref());
        imports.map(|map| map.name.as_str()).chain(keys.map(|key| key.name.as_str()))
    }
}

/// The ConfigMaps that environments in a namespace refer to.
pub fn config_maps_of<'a>(
    namespace: &Arc<str>,
    environments: impl IntoIterator<Item = &'a EnvView>,
) -> BTreeSet<ConfigMapKey> {
    let names = environments.into_iter().flat_map(EnvView::config_maps);
    names.map(|name| key(namespace, name)).collect()
}

fn key(namespace: &Arc<str>, name: &str) -> ConfigMapKey {
    ConfigMapKey { namespace: namespace.clone(), name: name.to_owned() }
}

struct Lookup<'a> {
    namespace: &'a Arc<str>,
    maps: &'a ConfigMaps,
}

impl Lookup<'_> {
    fn map(&self, name: &str) -> Result<&BTreeMap<String, String>, String> {
        match self.maps.get(&key(self.namespace, name)) {
            Some(Ok(data)) => Ok(data),
            Some(Err(why)) => Err(why.clone()),
            None => Err("not read yet".to_owned()),
        }
    }

    /// All that one `envFrom` brings. The names that an unread source would bring are not known: it stands for them.
    fn import(&self, import: &Import) -> Vec<(String, EnvValue)> {
        let unknown = |source: String, why: String| vec![(format!("envFrom {source}"), EnvValue::Unresolved(why))];
        if let Some(secret) = &import.secret_ref {
            return unknown(format!("secret {}", secret.name), "Secrets are not read".to_owned());
        }
        let Some(reference) = &import.config_map_ref else {
            return Vec::new();
        };
        let prefix = import.prefix.as_deref().unwrap_or_default();
        match self.map(&reference.name) {
            Ok(data) => {
                data.iter().map(|(name, value)| (format!("{prefix}{name}"), EnvValue::Literal(value.clone()))).collect()
            }
            Err(why) => unknown(format!("configMap {}", reference.name), why),
        }
    }

    /// The value of a variable; none where an optional reference leads nowhere, which leaves it unset.
    fn value(&self, variable: &Variable) -> Option<EnvValue> {
        let Some(from) = &variable.value_from else {
            return Some(EnvValue::Literal(variable.value.clone().unwrap_or_default()));
        };
        if let Some(reference) = &from.config_map {
            return self.config_map_value(reference);
        }
        Some(EnvValue::Unresolved(if let Some(secret) = &from.secret {
            format!("secret {}, key {}: Secrets are not read", secret.name, secret.key)
        } else if let Some(field) = &from.field {
            format!("field {}, which differs by pod", field.field_path)
        } else if let Some(resource) = &from.resource {
            format!("resource {}", resource.resource)
        } else {
            "a reference of an unknown kind".to_owned()
        }))
    }

    fn config_map_value(&self, reference: &KeyRef) -> Option<EnvValue> {
        let place = format!("configMap {}, key {}", reference.name, reference.key);
        match self.map(&reference.name) {
            Ok(data) => match data.get(&reference.key) {
                Some(value) => Some(EnvValue::Literal(value.clone())),
                None if reference.optional == Some(true) => None,
                None => Some(EnvValue::Unresolved(format!("{place}: there is no such key"))),
            },
            Err(why) => Some(EnvValue::Unresolved(format!("{place}: {why}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolve(view: serde_json::Value, maps: &ConfigMaps) -> BTreeMap<String, EnvValue> {
        serde_json::from_value::<EnvView>(view).unwrap().resolve(&"kube-system".into(), maps)
    }

    fn literal(text: &str) -> EnvValue {
        EnvValue::Literal(text.into())
    }

    #[test]
    fn the_last_of_a_name_wins_and_env_wins_over_env_from() {
        let maps =
            [(key(&"kube-system".into(), "cni"), Ok([("A".into(), "map".into()), ("B".into(), "map".into())].into()))]
                .into();
        let view = json!({
            "envFrom": [{"configMapRef": {"name": "cni"}}],
            "env": [{"name": "A", "value": "one"}, {"name": "A", "value": "two"},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cni", "key": "B"}}}, {"name": "D"}],
        });
        let want = [("A", "two"), ("B", "map"), ("C", "map"), ("D", "")];
        assert_eq!(resolve(view, &maps), want.map(|(name, value)| (name.to_owned(), literal(value))).into());
    }

    #[test]
    fn only_the_maps_that_matter_are_rows() {
        let row = |namespace: &str, name: &str| {
            let object = json!({"metadata": {"namespace": namespace, "name": name}, "data": {"warm-ip-target": "1"}});
            serde_json::from_value::<ConfigMapView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        assert_eq!(row("kube-system", "amazon-vpc-cni").unwrap().get("warm-ip-target"), Some("1"));
        assert_eq!((row("kube-system", "coredns"), row("shop", "amazon-vpc-cni")), (None, None));
    }

    #[test]
    fn what_cannot_be_read_is_unresolved_with_the_reason() {
        let maps = [(key(&"kube-system".into(), "cni"), Err("may not be read".to_owned()))].into();
        let view = json!({
            "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "cni"}}],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cni", "key": "B"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        });
        let values = resolve(view, &maps);
        let unresolved =
            |name: &str, why: &str| assert_eq!(values.get(name), Some(&EnvValue::Unresolved(why.into())), "{name}");
        unresolved("envFrom secret s", "Secrets are not read");
        unresolved("envFrom configMap cni", "may not be read");
        unresolved("A", "configMap cni, key B: may not be read");
        unresolved("NODE", "field spec.nodeName, which differs by pod");
    }

    #[test]
    fn an_optional_key_that_is_not_there_leaves_the_variable_unset() {
        let maps = [(key(&"kube-system".into(), "cni"), Ok(BTreeMap::new()))].into();
        let reference = |optional: bool| json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cni", "key": "B", "optional": optional}}}]});
        assert_eq!(resolve(reference(true), &maps), BTreeMap::new());
        assert!(matches!(resolve(reference(false), &maps).get("A"), Some(EnvValue::Unresolved(_))));
    }
}
