//! Pages for a terminal: 100 columns, no markup.

use ipam_audit_core::rules::{self, Rule, RuleMeta};

/// Columns of a terminal page.
const WIDTH: usize = 100;

/// All findings, a line each.
pub fn catalogue() -> String {
    let metas: Vec<&RuleMeta> = rules::all().map(Rule::meta).collect();
    let width = metas.iter().map(|meta| meta.name.len()).max().unwrap_or_default();
    let row = |meta: &&RuleMeta| {
        let RuleMeta { code, name, severity, .. } = meta;
        format!("{code:<9} {:<10} {name:<width$} {}\n", severity.name(), meta.title())
    };
    let rows: String = metas.iter().map(row).collect();
    format!(
        "CODE      SEVERITY   {:<width$} TITLE\n{rows}\n\
         `ipam-audit explain CODE` says what one means, how to confirm it and what to do.\n",
        "NAME"
    )
}

/// The page of one finding.
pub fn explain(meta: &RuleMeta) -> String {
    let sections = meta.sections();
    let pages = sections.iter().map(|section| format!("\n{}\n{}\n", section.heading, plain(&section.body)));
    let body: String = pages.collect();
    let names: Vec<&str> = meta.sources.iter().map(|source| source.name()).collect();
    let needs = if names.is_empty() { String::new() } else { format!("\nNeeds\n  {}\n", names.join(", ")) };
    format!(
        "{} {} ({})\n{}\n{body}\nCondition\n  {} turns False with reason {}.\n{needs}",
        meta.code,
        meta.name,
        meta.severity,
        meta.title(),
        meta.condition.name(),
        meta.reason
    )
}

/// Markdown for a terminal: paragraphs and list items wrapped, code as it is.
fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut code = false;
    for line in markdown.lines() {
        let fence = line.trim_start().starts_with("```");
        let item = line.starts_with("- ") || line.starts_with("| ");
        if fence || code || item || line.trim().is_empty() {
            out.push_str(&wrap(&std::mem::take(&mut paragraph)));
        }
        match (fence, code) {
            (true, _) => code = !code,
            (false, true) => out.extend(["    ", line, "\n"]),
            (false, false) => paragraph.extend([line, " "]),
        }
    }
    out.push_str(&wrap(&paragraph));
    out
}

/// Indented lines no wider than the terminal, without the backticks that Markdown needs.
fn wrap(paragraph: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace().map(|word| word.replace('`', "")) {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_listed_and_explained_within_the_width() {
        let list = catalogue();
        for meta in rules::all().map(Rule::meta) {
            assert!(list.contains(meta.code) && list.contains(meta.title()), "{}", meta.code);
            let page = explain(meta);
            assert!(page.contains(meta.condition.name()), "{page}");
            for line in page.lines().chain(list.lines()) {
                let command = line.starts_with("    ");
                assert!(command || line.chars().count() <= 170, "{line}");
            }
        }
    }

    #[test]
    fn code_is_shown_as_it_is_written() {
        let page = plain("Look `here`:\n\n```sh\naws ec2 \\\n    describe-subnets\n```\n\nThen\nstop.");
        assert_eq!(page, "  Look here:\n    aws ec2 \\\n        describe-subnets\n  Then stop.\n");
    }

    #[test]
    fn long_texts_are_wrapped_at_words() {
        let wrapped = wrap(&"word ".repeat(60));
        assert!(wrapped.lines().count() > 2);
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH && line.ends_with("word")), "{wrapped}");
    }
}
