//! `docs/api.md`, from the schemas: for each kind its columns and its fields.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
};

const INTRO: &str = include_str!("intro.md");

/// The whole page.
pub(crate) fn page(crds: &[CustomResourceDefinition]) -> String {
    let kinds: Vec<String> = crds.iter().map(kind).collect();
    format!("{INTRO}{}", kinds.concat())
}

fn kind(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let short = names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(version) = crd.spec.versions.first() else { return String::new() };
    let Some(root) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) else {
        return String::new();
    };
    let part = |part: &str| {
        let schema = root.properties.as_ref().and_then(|properties| properties.get(part));
        let table =
            |schema| format!("{}\n\n| Field | Type | |\n| --- | --- | --- |\n{}", prose(schema), fields(schema, ""));
        format!("\n### {} {part}\n\n{}", names.kind, schema.map(table).unwrap_or_default())
    };
    let columns = columns(version);
    format!("\n## {}\n\n{}\n\nShort: {short}.\n{columns}{}{}", names.kind, prose(root), part("spec"), part("status"))
}

fn columns(version: &CustomResourceDefinitionVersion) -> String {
    let rows = version.additional_printer_columns.iter().flatten().map(|column| {
        let wide = if column.priority.unwrap_or_default() > 0 { " (`-o wide`)" } else { "" };
        let text = column.description.as_deref().unwrap_or("Since when the object exists");
        format!("| {}{wide} | {text} |\n", column.name.to_uppercase())
    });
    format!("\n| Column | |\n| --- | --- |\n{}", rows.collect::<String>())
}

/// A row for each field, each with those within it.
fn fields(schema: &JSONSchemaProps, prefix: &str) -> String {
    let row = |(name, field): (&String, &JSONSchemaProps)| {
        let path = format!("{prefix}{name}");
        let within = match items(field) {
            // What Kubernetes documents, and cells that another kind has too, are not said again.
            _ if is_known(field) || path.ends_with("].display") => String::new(),
            Some(item) if is_known(item) => String::new(),
            Some(item) => fields(item, &format!("{path}[].")),
            None => fields(field, &format!("{path}.")),
        };
        format!("| `{path}` | {} | {} |\n{within}", type_name(field), prose(field).replace('|', "\\|"))
    };
    schema.properties.iter().flatten().map(row).collect()
}

fn type_name(field: &JSONSchemaProps) -> String {
    if has(field, "matchLabels") {
        return "label selector".to_owned();
    }
    if let Some(item) = items(field) {
        return if has(item, "lastTransitionTime") {
            "conditions".to_owned()
        } else {
            format!("list of {}", type_name(item))
        };
    }
    if let Some(values) = &field.enum_ {
        let names = values.iter().filter_map(|value| value.0.as_str()).map(|name| format!("`{name}`"));
        return names.collect::<Vec<_>>().join(", ");
    }
    match (field.type_.as_deref(), field.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some(name), _) => name.to_owned(),
        (None, _) => String::new(),
    }
}

fn items(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match field.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// A type of Kubernetes itself, documented there.
fn is_known(field: &JSONSchemaProps) -> bool {
    has(field, "matchLabels") || has(field, "lastTransitionTime")
}

fn has(field: &JSONSchemaProps, property: &str) -> bool {
    field.properties.as_ref().is_some_and(|properties| properties.contains_key(property))
}

/// A description on one line.
fn prose(schema: &JSONSchemaProps) -> String {
    schema.description.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
