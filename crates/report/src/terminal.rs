//! Pages for a terminal: 100 columns, no markup.

use ipam_audit_core::rules::{RULES, RuleMeta};

/// Columns of a terminal page.
const WIDTH: usize = 100;

/// All findings, a line each.
pub fn catalogue() -> String {
    let row = |meta: &RuleMeta| {
        let RuleMeta { code, name, title, severity, .. } = meta;
        format!("{code:<9} {:<10} {name:<22} {title}\n", severity.name())
    };
    let rows: String = RULES.iter().map(|rule| row(rule.meta())).collect();
    format!(
        "CODE      SEVERITY   NAME                   TITLE\n{rows}\n\
         `ipam-audit explain CODE` says what one means and what to do.\n"
    )
}

/// The page of one finding.
pub fn explain(meta: &RuleMeta) -> String {
    let sections = [
        ("What it means", meta.meaning),
        ("Why it happens", meta.cause),
        ("What to do", meta.fix),
        ("When it fires", meta.fires_when),
    ];
    let pages: Vec<String> = sections.iter().map(|(heading, text)| format!("\n{heading}\n{}", wrap(text))).collect();
    let body = pages.concat();
    let names: Vec<&str> = meta.sources.iter().map(|source| source.name()).collect();
    let needs = if names.is_empty() { String::new() } else { format!("\nNeeds\n  {}\n", names.join(", ")) };
    format!(
        "{} {} ({})\n{}\n{body}\nCondition\n  {} turns False with reason {}.\n{needs}",
        meta.code,
        meta.name,
        meta.severity,
        meta.title,
        meta.condition.name(),
        meta.reason
    )
}

/// Indented lines no wider than the terminal, without the backticks that Markdown needs.
fn wrap(body: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in body.split_whitespace().map(|word| word.replace('`', "")) {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_listed_and_explained_within_the_width() {
        let list = catalogue();
        for meta in RULES.iter().map(|rule| rule.meta()) {
            assert!(list.contains(meta.code) && list.contains(meta.title), "{}", meta.code);
            let page = explain(meta);
            assert!(page.contains(meta.condition.name()), "{page}");
            for line in page.lines().chain(list.lines()) {
                assert!(line.chars().count() <= 120, "{line}");
            }
        }
    }

    #[test]
    fn long_texts_are_wrapped_at_words() {
        let wrapped = wrap(&"word ".repeat(60));
        assert!(wrapped.lines().count() > 2);
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH && line.ends_with("word")), "{wrapped}");
    }
}
