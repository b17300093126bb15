//! Pages for `docs/findings/`.

use ipam_audit_core::rules::{AREAS, RuleMeta};

/// The page of one finding.
pub fn finding_page(meta: &RuleMeta) -> String {
    let sources = match meta.sources {
        [] => "nothing but the state of the sources".to_owned(),
        sources => sources.iter().map(|source| format!("`{source}`")).collect::<Vec<_>>().join(", "),
    };
    let sections: Vec<String> =
        meta.sections().iter().map(|section| format!("## {}\n\n{}\n\n", section.heading, section.body)).collect();
    let sections = sections.concat();
    format!(
        "# {code} {name}\n\n{title}.\n\n\
         | | |\n| --- | --- |\n| Severity | {severity} at most |\n| Condition | `{condition}` turns `False`, reason `{reason}` |\n\
         | Needs | {sources} |\n\n\
         {sections}## Switching it off\n\n```yaml\nspec:\n  disabledRules: [{code}]\n```\n",
        code = meta.code,
        name = meta.name,
        title = meta.title(),
        severity = meta.severity,
        condition = meta.condition.name(),
        reason = meta.reason,
    )
}

/// The list of all findings.
pub fn index_page() -> String {
    let row = |meta: &RuleMeta| {
        let RuleMeta { code, name, severity, .. } = meta;
        format!("| [{code}]({code}.md) | {name} | {severity} | {} |\n", meta.title())
    };
    let areas = AREAS.iter().map(|area| {
        let rows: String = area.rules.iter().map(|rule| row(rule.meta())).collect();
        format!(
            "\n## {}xx {}\n\n| Code | Name | Severity | Title |\n| --- | --- | --- | --- |\n{rows}",
            area.digit, area.title
        )
    });
    format!(
        "# Findings\n\nGenerated from the rules by `make crds`. Codes are stable and never reused; the first digit is the area.\n{}",
        areas.collect::<String>()
    )
}
