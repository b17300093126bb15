//! The rules: one file each, and one line each in [`RULES`].
//!
//! Everything else is derived from the registry: what the engine evaluates, `explain`, the pages of `docs/findings/`,
//! metric labels and the list of rules that a user may disable. A code is never reused.

mod branches;
mod data;
mod nodes;
mod sink;
mod subnets;

use crate::{facts::Facts, finding::Severity, outcome::ConditionType, policy::AuditPolicy, source::Source};

pub use sink::Violations;

/// What is known of a rule without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMeta {
    /// Stable code, `IPAM` and three digits: 1xx subnets, 2xx nodes and warm pools, 3xx branches, 9xx data.
    pub code: &'static str,
    /// Stable name, `kebab-case`.
    pub name: &'static str,
    /// The name as a condition's or event's reason, `CamelCase`.
    pub reason: &'static str,
    /// One line for lists.
    pub title: &'static str,
    /// The worst severity it gives.
    pub severity: Severity,
    /// The condition that its findings turn to `False`.
    pub condition: ConditionType,
    /// Sources without which it is inconclusive.
    pub sources: &'static [Source],
    /// What it means, for the finding's page. Markdown.
    pub meaning: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do, with the cost of it.
    pub fix: &'static str,
    /// Exactly when it fires, with the names of the thresholds.
    pub fires_when: &'static str,
}

/// A check of the cluster. It answers for all subjects at once and returns no error: its inputs are typed.
pub trait Rule: Sync {
    /// What is known of it without running it.
    fn meta(&self) -> &'static RuleMeta;
    /// Looks at the facts and reports what violates the policy.
    fn evaluate(&self, facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations);
}

/// Every rule, sorted by code.
pub const RULES: &[&dyn Rule] = &[
    &subnets::full::SubnetFull,
    &subnets::low::SubnetLow,
    &nodes::pods_waiting::PodsWaiting,
    &nodes::warm_pool_too_large::WarmPoolTooLarge,
    &nodes::warm_pool_too_small::WarmPoolTooSmall,
    &branches::limit_near::BranchLimitNear,
    &data::source_missing::SourceMissing,
    &data::source_stale::SourceStale,
];

/// The rule of a code or a name, in any case.
pub fn find(code_or_name: &str) -> Option<&'static RuleMeta> {
    let wanted = code_or_name.trim();
    let same = |meta: &&RuleMeta| {
        [meta.code, meta.name, meta.reason].iter().any(|candidate| candidate.eq_ignore_ascii_case(wanted))
    };
    RULES.iter().map(|rule| rule.meta()).find(same)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_well_formed() {
        let codes: Vec<_> = RULES.iter().map(|rule| rule.meta().code).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.meta().name).collect();
        assert_eq!((names.len(), codes.iter().collect::<BTreeSet<_>>().len()), (RULES.len(), RULES.len()));
        for code in codes {
            let digits = code.strip_prefix("IPAM").unwrap_or_default();
            assert!(digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        }
    }

    #[test]
    fn the_reason_is_the_name_in_camel_case() {
        for meta in RULES.iter().map(|rule| rule.meta()) {
            let camel: String = meta.name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            assert_eq!(meta.reason, camel);
        }
    }

    #[test]
    fn every_rule_explains_itself() {
        for meta in RULES.iter().map(|rule| rule.meta()) {
            for text in [meta.title, meta.meaning, meta.cause, meta.fix, meta.fires_when] {
                assert!(text.len() > 20, "{}: {text:?}", meta.code);
            }
        }
    }

    #[test]
    fn a_rule_is_found_by_code_name_or_reason() {
        for wanted in ["IPAM101", "ipam101", "subnet-full", "SubnetFull"] {
            assert_eq!(find(wanted).map(|meta| meta.code), Some("IPAM101"), "{wanted}");
        }
        assert_eq!(find("IPAM000"), None);
    }
}
