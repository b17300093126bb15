//! The rules: one file each, and one line each in its area's `RULES`.
//!
//! Everything else is derived from the registry: what the engine evaluates, `explain`, the pages of `docs/findings/`,
//! metric labels and the list of rules that a user may disable. A rule's page is its doc comment. A code is never
//! reused; [`AREAS`] says which codes an area has.

#[macro_use]
mod declare;
mod addresses;
mod branches;
mod configuration;
mod custom_networking;
mod data;
mod karpenter;
mod nodes;
mod sink;
mod subnets;
mod windows;

use std::sync::LazyLock;

use crate::{
    facts::{Facts, lookup::Map},
    finding::Severity,
    outcome::ConditionType,
    policy::AuditPolicy,
    source::Source,
};

pub(crate) use sink::Suspect;
pub use sink::Violations;

/// What is known of a rule without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMeta {
    /// Stable code: `IPAM` and three digits, the first of them its area's.
    pub code: &'static str,
    /// Stable name, `kebab-case`.
    pub name: &'static str,
    /// The name as a condition's or event's reason, `CamelCase`.
    pub reason: &'static str,
    /// The worst severity it gives.
    pub severity: Severity,
    /// The condition that its findings turn to `False`.
    pub condition: ConditionType,
    /// Sources without which it is inconclusive.
    pub sources: &'static [Source],
    /// Its doc comment: the first line, and the rest with a blank before each line.
    pub(crate) doc: (&'static str, &'static str),
}

impl RuleMeta {
    /// One line for lists, without a full stop.
    pub fn title(&self) -> &'static str {
        self.doc.0.trim().trim_end_matches('.')
    }

    /// The sections of its page in Markdown, in the order of [`SECTIONS`].
    pub fn sections(&self) -> Vec<Section> {
        let mut sections: Vec<Section> = Vec::new();
        for line in self.doc.1.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)) {
            match (line.strip_prefix("## "), sections.last_mut()) {
                (Some(heading), _) => sections.push(Section { heading: heading.to_owned(), body: String::new() }),
                (None, Some(section)) => section.body.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        for section in &mut sections {
            section.body = section.body.trim().to_owned();
        }
        sections
    }
}

/// A part of a rule's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// One of [`SECTIONS`].
    pub heading: String,
    /// Markdown.
    pub body: String,
}

/// The headings that every rule's page has, in this order.
pub const SECTIONS: [&str; 6] =
    ["What it means", "Why it happens", "How to confirm", "What to do", "What it costs", "When it fires"];

/// A check of the cluster. It answers for all subjects at once and returns no error: its inputs are typed.
pub trait Rule: Sync {
    /// What is known of it without running it.
    fn meta(&self) -> &'static RuleMeta;
    /// Looks at the facts and reports what violates the policy.
    fn evaluate(&self, facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>);
}

/// Rules of one subject.
pub struct Area {
    /// The first digit of its codes.
    pub digit: char,
    /// What it is about.
    pub title: &'static str,
    /// Its rules, sorted by code.
    pub rules: &'static [&'static dyn Rule],
}

/// Every area, sorted by code.
pub const AREAS: &[Area] = &[
    Area { digit: '1', title: "Subnets and the VPC", rules: subnets::RULES },
    Area { digit: '2', title: "Nodes and their warm pools", rules: nodes::RULES },
    Area { digit: '3', title: "Security groups for pods", rules: branches::RULES },
    Area { digit: '4', title: "Addresses that are lost or leaked", rules: addresses::RULES },
    Area { digit: '5', title: "Custom networking and subnet discovery", rules: custom_networking::RULES },
    Area { digit: '6', title: "Configuration of the VPC CNI", rules: configuration::RULES },
    Area { digit: '7', title: "Karpenter", rules: karpenter::RULES },
    Area { digit: '8', title: "Windows nodes", rules: windows::RULES },
    Area { digit: '9', title: "The audit's own sources", rules: data::RULES },
];

/// Every rule, sorted by code.
pub fn all() -> impl Iterator<Item = &'static dyn Rule> {
    AREAS.iter().flat_map(|area| area.rules).copied()
}

/// The rule of exactly this code: asked for each finding of each node.
pub(crate) fn by_code(code: &str) -> Option<&'static RuleMeta> {
    static BY_CODE: LazyLock<Map<&str, &RuleMeta>> =
        LazyLock::new(|| all().map(Rule::meta).map(|meta| (meta.code, meta)).collect());
    BY_CODE.get(code).copied()
}

/// The rule of a code or a name, in any case.
pub fn find(code_or_name: &str) -> Option<&'static RuleMeta> {
    let wanted = code_or_name.trim();
    let same = |meta: &&RuleMeta| {
        [meta.code, meta.name, meta.reason].iter().any(|candidate| candidate.eq_ignore_ascii_case(wanted))
    };
    all().map(Rule::meta).find(same)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_well_formed() {
        let codes: Vec<_> = all().map(|rule| rule.meta().code).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        let names: BTreeSet<_> = all().map(|rule| rule.meta().name).collect();
        assert_eq!((names.len(), codes.iter().collect::<BTreeSet<_>>().len()), (codes.len(), codes.len()));
        for area in AREAS {
            let own = |rule: &&dyn Rule| rule.meta().code.chars().nth(4) == Some(area.digit);
            assert!(area.rules.iter().all(own), "{}", area.title);
        }
        for code in codes {
            let digits = code.strip_prefix("IPAM").unwrap_or_default();
            assert!(digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        }
    }

    #[test]
    fn the_reason_is_the_name_in_camel_case() {
        for meta in all().map(Rule::meta) {
            let camel: String = meta.name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            assert_eq!(meta.reason, camel);
        }
    }

    #[test]
    fn every_rule_explains_itself() {
        for meta in all().map(Rule::meta) {
            assert!(meta.title().len() > 20 && !meta.title().contains('\n'), "{}", meta.code);
            let sections = meta.sections();
            let headings: Vec<&str> = sections.iter().map(|section| section.heading.as_str()).collect();
            assert_eq!(headings, SECTIONS, "{}", meta.code);
            for Section { heading, body } in &sections {
                assert!(!body.is_empty(), "{}: {heading}", meta.code);
            }
            assert!(sections[2].body.contains("```sh\n"), "{}: no command to confirm it with", meta.code);
        }
    }

    #[test]
    fn a_rule_is_found_by_code_name_or_reason() {
        for wanted in ["IPAM101", "ipam101", "subnet-full", "SubnetFull"] {
            assert_eq!(find(wanted).map(|meta| meta.code), Some("IPAM101"), "{wanted}");
        }
        assert_eq!(find("IPAM000"), None);
        assert!(all().all(|rule| by_code(rule.meta().code) == Some(rule.meta())));
        assert_eq!((by_code("IPAM1010"), by_code("x")), (None, None));
    }
}
