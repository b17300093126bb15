//! Pages for `docs/findings/`.

use ipam_audit_core::rules::{RULES, RuleMeta};

/// The page of one finding.
pub fn finding_page(meta: &RuleMeta) -> String {
    let sources = match meta.sources {
        [] => "nothing but the state of the sources".to_owned(),
        sources => sources.iter().map(|source| format!("`{source}`")).collect::<Vec<_>>().join(", "),
    };
    format!(
        "# {code} {name}\n\n{title}.\n\n\
         | | |\n| --- | --- |\n| Severity | {severity} at most |\n| Condition | `{condition}` turns `False`, reason `{reason}` |\n\
         | Needs | {sources} |\n\n\
         ## What it means\n\n{meaning}\n\n## Why it happens\n\n{cause}\n\n## What to do\n\n{fix}\n\n## When it fires\n\n{fires}\n\n\
         ## Switching it off\n\n```yaml\nspec:\n  disabledRules: [{code}]\n```\n",
        code = meta.code,
        name = meta.name,
        title = meta.title,
        severity = meta.severity,
        condition = meta.condition.name(),
        reason = meta.reason,
        meaning = meta.meaning,
        cause = meta.cause,
        fix = meta.fix,
        fires = meta.fires_when,
    )
}

/// The list of all findings.
pub fn index_page() -> String {
    let heading = "# Findings\n\nGenerated from the rules by `make crds`. Codes are stable and never reused: 1xx subnets, 2xx nodes and \
                   warm pools, 3xx security groups for pods, 9xx the audit's own sources.\n\n\
                   | Code | Name | Severity | Title |\n| --- | --- | --- | --- |\n";
    let row = |meta: &RuleMeta| {
        let RuleMeta { code, name, title, severity, .. } = meta;
        format!("| [{code}]({code}.md) | {name} | {severity} | {title} |\n")
    };
    let rows: String = RULES.iter().map(|rule| row(rule.meta())).collect();
    format!("{heading}{rows}")
}
