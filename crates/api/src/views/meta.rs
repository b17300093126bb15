//! Lean metadata: an `ObjectMeta` that never holds `managedFields`, and only the labels and annotations asked for.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::core::ObjectMeta;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// Which keys of a map are worth an allocation.
pub(super) trait Keep {
    fn keeps(key: &str) -> bool;
}

/// Every key.
pub(super) struct All;

impl Keep for All {
    fn keeps(_: &str) -> bool {
        true
    }
}

/// No key.
pub(super) struct Nothing;

impl Keep for Nothing {
    fn keeps(_: &str) -> bool {
        false
    }
}

/// The one extended resource and annotation of security groups for pods.
pub(super) struct PodEni;

/// Name of the extended resource and of the annotation of security groups for pods.
pub(super) const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";
/// The label by which the name of a Deployment is read off its ReplicaSet's name.
pub(super) const POD_TEMPLATE_HASH: &str = "pod-template-hash";

impl Keep for PodEni {
    fn keeps(key: &str) -> bool {
        key == POD_ENI
    }
}

/// The annotation by which a ServiceAccount has a role.
pub(super) struct RoleArn;

/// Its name.
pub(super) const ROLE_ARN: &str = "eks.amazonaws.com/role-arn";

impl Keep for RoleArn {
    fn keeps(key: &str) -> bool {
        key == ROLE_ARN
    }
}

/// A map of texts of which only some keys are kept.
pub(super) struct Kept<K> {
    pub(super) entries: BTreeMap<String, String>,
    which: PhantomData<K>,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), which: PhantomData }
    }
}

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), which: PhantomData }
    }
}

impl<K> fmt::Debug for Kept<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

impl<'de, K: Keep> Deserialize<'de> for Kept<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(KeptVisitor(PhantomData))
    }
}

struct KeptVisitor<K>(PhantomData<K>);

impl<'de, K: Keep> Visitor<'de> for KeptVisitor<K> {
    type Value = Kept<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Kept::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Kept::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kept = Kept::default();
        while let Some(Key(key)) = map.next_key()? {
            if K::keeps(&key) {
                kept.entries.insert(key.into_owned(), map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(kept)
    }
}

/// A key that is borrowed from the input wherever the input allows it.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "L: Keep, A: Keep")]
struct LeanMeta<L, A> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    owner_references: Option<Vec<OwnerReference>>,
    #[serde(default)]
    labels: Kept<L>,
    #[serde(default)]
    annotations: Kept<A>,
}

/// Metadata with the labels that `L` and the annotations that `A` keeps.
fn lean<'de, D: Deserializer<'de>, L: Keep, A: Keep>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let lean = LeanMeta::<L, A>::deserialize(deserializer)?;
    let some = |entries: BTreeMap<String, String>| (!entries.is_empty()).then_some(entries);
    Ok(ObjectMeta {
        name: lean.name,
        namespace: lean.namespace,
        uid: lean.uid,
        resource_version: lean.resource_version,
        creation_timestamp: lean.creation_timestamp,
        deletion_timestamp: lean.deletion_timestamp,
        owner_references: lean.owner_references,
        labels: some(lean.labels.entries),
        annotations: some(lean.annotations.entries),
        ..ObjectMeta::default()
    })
}

/// Metadata with all labels and annotations.
pub(super) fn all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    lean::<D, All, All>(deserializer)
}

/// Metadata with all labels and no annotations.
pub(super) fn labelled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    lean::<D, All, Nothing>(deserializer)
}

/// Metadata without labels and annotations.
pub(super) fn bare<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    lean::<D, Nothing, Nothing>(deserializer)
}

/// Metadata of a pod.
pub(super) fn pod<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    lean::<D, All, PodEni>(deserializer)
}

/// Metadata of a ServiceAccount.
pub(super) fn service_account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    lean::<D, All, RoleArn>(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Lean {
        #[serde(deserialize_with = "pod")]
        metadata: ObjectMeta,
    }

    #[derive(Deserialize)]
    struct Bare {
        #[serde(deserialize_with = "bare")]
        metadata: ObjectMeta,
    }

    #[test]
    fn only_the_asked_for_keys_survive_and_managed_fields_never() {
        let text = r#"{"metadata": {"name": "a", "uid": "u", "labels": {"app": "x", "pod-template-hash": "7d"},
            "annotations": {"note": "long"}, "managedFields": [{"fieldsV1": {"f:a": {}}}]}}"#;
        let meta = serde_json::from_str::<Lean>(text).unwrap().metadata;
        assert_eq!(meta.name.as_deref(), Some("a"));
        assert_eq!(meta.labels.map(|labels| labels.len()), Some(2));
        assert_eq!((meta.annotations, meta.managed_fields), (None, None));
        let bare = serde_json::from_str::<Bare>(text).unwrap().metadata;
        assert_eq!((bare.labels, bare.annotations, bare.uid.as_deref()), (None, None, Some("u")));
    }
}
