//! The CRDs, as `crds/` and `ipam-audit crd` have them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use crate::v1alpha1::{IpamAudit, NodeIpamReport, SubnetIpamReport};

/// All kinds, in the order in which to read about them.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![IpamAudit::crd(), NodeIpamReport::crd(), SubnetIpamReport::crd()];
    for schema in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions).filter_map(|version| version.schema.as_mut()) {
        if let Some(root) = schema.open_api_v3_schema.as_mut() {
            plain(root);
        }
    }
    crds
}

/// One CRD as a YAML document.
///
/// # Errors
/// If it cannot be written as YAML, which a test excludes.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// All CRDs as one YAML stream, for `kubectl apply --server-side -f -`.
///
/// # Errors
/// If one cannot be written as YAML, which a test excludes.
pub fn manifest() -> Result<String, serde_saphyr::ser::Error> {
    let documents: Vec<String> = all_crds().iter().map(to_yaml).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

/// Removes what is an artefact of Rust: defaults that only serve reading older objects, and number formats that the API
/// server does not know. What a user leaves out stays out, so that a later version can choose better.
///
/// `nullable` goes too: without it the API server drops nulls, and a section whose lines are all commented out is null.
fn plain(schema: &mut JSONSchemaProps) {
    schema.default = None;
    schema.nullable = None;
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        plain(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        plain(items);
    }
}
