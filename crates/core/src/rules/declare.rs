//! How a rule is declared: its doc comment is its page.

/// Declares a rule. The doc comment's first line is the title; the headings are those of
/// [`SECTIONS`](super::SECTIONS). `check` is a function of facts, policy and sink.
macro_rules! rule {
    (
        #[doc = $title:literal]
        $(#[doc = $page:literal])*
        pub $rule:ident;
        code: $code:literal,
        name: $name:literal,
        severity: $severity:ident,
        condition: $condition:ident,
        sources: [$($source:ident),* $(,)?],
        check: $check:path $(,)?
    ) => {
        #[doc = $title]
        $(#[doc = $page])*
        pub(in crate::rules) struct $rule;

        impl $crate::rules::Rule for $rule {
            fn meta(&self) -> &'static $crate::rules::RuleMeta {
                static META: $crate::rules::RuleMeta = $crate::rules::RuleMeta {
                    code: $code,
                    name: $name,
                    reason: stringify!($rule),
                    severity: $crate::finding::Severity::$severity,
                    condition: $crate::outcome::ConditionType::$condition,
                    sources: &[$($crate::source::Source::$source),*],
                    doc: ($title, concat!($($page, "\n"),*)),
                };
                &META
            }

            fn evaluate(
                &self,
                facts: &$crate::facts::Facts<'_>,
                policy: &$crate::policy::AuditPolicy,
                found: &mut $crate::rules::Violations<'_>,
            ) {
                $check(facts, policy, found);
            }
        }
    };
}
