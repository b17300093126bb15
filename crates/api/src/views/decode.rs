//! Objects that do not fit their view: who they are and what is wrong with them, and never what is in them.
//!
//! An error of serde may quote the value that it stumbled over, and that value may be secret: the environment of a
//! container, an annotation. Here an error becomes the field's path and what should have been there, nothing else.

use std::fmt::Write;

use kube::core::ObjectMeta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;

/// An object that is left out because it does not fit its view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unfit {
    /// Who it is: names, uid and version, as far as it has them.
    pub meta: Box<ObjectMeta>,
    /// What is wrong, without any of its values.
    pub what: String,
}

/// An object's text as its view; where it does not fit, who it is and why.
///
/// The text is decoded once, as it comes. Only where that fails it is looked at again.
pub fn decode<K: DeserializeOwned>(text: &str) -> Result<K, Unfit> {
    serde_json::from_str(text).map_err(|error| Unfit::new(text, &error))
}

impl Unfit {
    /// From an object's text and the error of decoding this very text.
    pub fn new(text: &str, error: &serde_json::Error) -> Self {
        let why = why(error);
        let field = field_at(text, offset(text, error.line(), error.column()));
        let what = if field.is_empty() { why } else { format!("{field}: {why}") };
        Self { meta: Box::new(identity(text)), what }
    }

    /// `namespace/name`, or the name alone for objects outside of namespaces.
    pub fn object(&self) -> String {
        super::qualified_name(&self.meta)
    }
}

/// Who an object is, whatever the rest of it is like.
fn identity(text: &str) -> ObjectMeta {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Identity {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        metadata: Identity,
    }
    let Identity { name, namespace, uid, resource_version } =
        serde_json::from_str::<Named>(text).unwrap_or_default().metadata;
    ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
}

/// What an error of decoding means, in words and without any value.
pub fn why(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Io => match error.io_error_kind() {
            Some(kind) => format!("it cannot be read further: {kind}"),
            None => "it cannot be read further".to_owned(),
        },
        Category::Eof => "it ends too early".to_owned(),
        Category::Syntax => "it is not JSON".to_owned(),
        Category::Data => {
            let text = error.to_string();
            match (expected(&text), missing(&text)) {
                (Some(expected), _) => format!("expected {expected}"),
                (None, Some(field)) => format!("{field} is missing"),
                (None, None) => "a value makes no sense".to_owned(),
            }
        }
    }
}

/// What should have been there, from `invalid type: string "…", expected a map at line 1 column 2`. Other texts may have
/// a piece of the value in them.
fn expected(text: &str) -> Option<&str> {
    let told = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "))?;
    let (_, expected) = told.rsplit_once(", expected ")?;
    Some(match expected.split(" at line ").next()? {
        "a map" => "an object",
        "a sequence" => "a list",
        "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        other if other.starts_with("struct ") => "an object",
        other => other,
    })
}

/// The name of a field that is not there: one of a view, never of the object.
fn missing(text: &str) -> Option<&str> {
    text.strip_prefix("missing field `")?.split('`').next()
}

/// The byte that a line and a column are of, both counted from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    before + column
}

/// Where in an object a scan is.
enum Level<'a> {
    Object { key: Option<&'a str>, wants_key: bool },
    Array { index: usize },
}

/// The field that a place in an object is of, such as `spec.securityGroups[1]`. Keys only.
fn field_at(text: &str, end: usize) -> String {
    let mut levels: Vec<Level<'_>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at).filter(|_| at < end) {
        at += 1;
        match (byte, levels.last_mut()) {
            (b'{', _) => levels.push(Level::Object { key: None, wants_key: true }),
            (b'[', _) => levels.push(Level::Array { index: 0 }),
            (b'}' | b']', _) => drop(levels.pop()),
            (b':', Some(Level::Object { wants_key, .. })) => *wants_key = false,
            (b',', Some(Level::Object { key, wants_key })) => (*key, *wants_key) = (None, true),
            (b',', Some(Level::Array { index })) => *index += 1,
            (b'"', level) => {
                let length = string_length(&text.as_bytes()[at..]);
                if let Some(Level::Object { key, wants_key: true }) = level {
                    *key = text.get(at..at + length);
                }
                at += length + 1;
            }
            _ => {}
        }
    }
    path(&levels)
}

/// The bytes of a string up to its closing quote.
fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    let closes = |byte: &u8| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    };
    bytes.iter().position(closes).unwrap_or(bytes.len())
}

fn path(levels: &[Level<'_>]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object { key: Some(key), .. } => {
                let dot = if path.is_empty() { "" } else { "." };
                path.push_str(dot);
                path.push_str(key);
            }
            Level::Object { key: None, .. } => {}
            // Writing into a text cannot fail.
            Level::Array { index } => write!(path, "[{index}]").unwrap_or_default(),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::views::{
        AwsNodePodView, CniNodeView, ConfigMapView, DaemonSetView, DeploymentView, EniConfigView, EventView,
        MutatingWebhooksView, NetworkPolicyView, NodeClaimView, NodeClassView, NodePoolView, NodeView, PodView,
        SecurityGroupPolicyView, ServiceAccountView, ServiceView,
    };

    const SECRET: &str = "hunter2, expected at line 7 `metadata`";

    fn unfit<K: DeserializeOwned>(mut object: Value) -> Unfit {
        object["metadata"]["name"] = json!("odd");
        object["metadata"]["resourceVersion"] = json!("7");
        decode::<K>(&object.to_string()).err().expect("it fits")
    }

    #[test]
    fn the_field_is_named_and_what_should_be_there() {
        let cases: [(Unfit, &str); 5] = [
            (unfit::<EniConfigView>(json!({"spec": {"subnet": [SECRET]}})), "spec.subnet: expected a string"),
            (
                unfit::<SecurityGroupPolicyView>(
                    json!({"spec": {"securityGroups": {"groupIds": ["sg-1", {"a": SECRET}]}}}),
                ),
                "spec.securityGroups.groupIds[1]: expected a string",
            ),
            (
                unfit::<NodePoolView>(
                    json!({"spec": {"template": {"spec": {"requirements": [{"operator": SECRET}]}}}}),
                ),
                "spec.template.spec.requirements[0]: key is missing",
            ),
            (unfit::<NodeClaimView>(json!({"status": SECRET})), "status: expected an object"),
            (unfit::<DeploymentView>(json!({"spec": {"replicas": SECRET}})), "spec.replicas: expected a whole number"),
        ];
        for (unfit, what) in cases {
            assert_eq!((unfit.object().as_str(), unfit.what.as_str()), ("odd", what));
            assert_eq!(unfit.meta.resource_version.as_deref(), Some("7"));
        }
    }

    #[test]
    fn no_value_of_any_kind_gets_into_the_words() {
        let env = json!({"name": "PASSWORD", "value": {"inner": SECRET}});
        let container = json!({"name": "aws-node", "env": [{"name": "OTHER", "value": SECRET}, env]});
        let template = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let annotated = json!({"metadata": {"annotations": {"vpc.amazonaws.com/pod-eni": [SECRET],
            "eks.amazonaws.com/role-arn": [SECRET]}, "labels": {"a": {"b": SECRET}}}});
        let time = json!({"metadata": {"creationTimestamp": SECRET}});
        let all = [
            unfit::<PodView>(annotated.clone()),
            unfit::<PodView>(json!({"status": {"podIP": {"a": SECRET}}})),
            unfit::<PodView>(json!({"spec": {"containers": [{"resources": SECRET}]}})),
            unfit::<AwsNodePodView>(json!({"spec": {"containers": [container]}})),
            unfit::<DaemonSetView>(template.clone()),
            unfit::<DeploymentView>(template),
            unfit::<NodeView>(annotated.clone()),
            unfit::<NodeView>(time.clone()),
            unfit::<EventView>(json!({"note": [SECRET]})),
            unfit::<ConfigMapView>(json!({"data": {"a": {"b": SECRET}}})),
            unfit::<ServiceAccountView>(annotated),
            unfit::<ServiceView>(json!({"spec": {"selector": SECRET}})),
            unfit::<NetworkPolicyView>(json!({"spec": {"podSelector": SECRET}})),
            unfit::<MutatingWebhooksView>(json!({"webhooks": SECRET})),
            unfit::<EniConfigView>(json!({"spec": SECRET})),
            unfit::<SecurityGroupPolicyView>(json!({"spec": {"securityGroups": SECRET}})),
            unfit::<CniNodeView>(json!({"spec": {"tags": {"a": [SECRET]}}})),
            unfit::<NodePoolView>(json!({"spec": {"limits": {"nodes": [SECRET]}}})),
            unfit::<NodeClassView>(json!({"spec": {"kubelet": {"maxPods": {"a": SECRET}}}})),
            unfit::<NodeClaimView>(json!({"status": {"conditions": SECRET}})),
            unfit::<NodeClaimView>(time),
        ];
        for unfit in all {
            let words = format!("{unfit:?}");
            assert!(words.contains("odd") && !words.contains("hunter2"), "{words}");
            assert!(unfit.what.contains(": "), "the field is named: {words}");
        }
    }

    #[test]
    fn keys_that_look_like_structure_do_not_lead_astray() {
        let text = r#"{"a\"{": {"b,[": ["x\\", {"c": "#;
        assert_eq!(field_at(text, text.len()), r#"a\"{.b,[[1].c"#);
        assert_eq!(field_at(r#"{"a": {"b": 1}, "c": [1, 2"#, 27), "c[1]");
        assert_eq!(field_at("not json", 99), "");
    }
}
