//! `DataComplete`: whether everything could be read, and if not, what is missing, in one message that can be acted on.
//!
//! Faults that differ in nothing but the call they befell are one sentence: whoever lacks eight rights reads one list of
//! eight actions, not eight paragraphs.

use crate::{
    facts::Facts,
    outcome::{Condition, ConditionStatus, ConditionType, RuleAnswer, RuleResult},
    source::{FaultCategory, Source, SourceFault, SourceState},
    text,
};

/// Stands for the name of the call in a message.
const CALL: &str = "\u{0}";
/// Rules that a message names.
const NAMED_RULES: usize = 8;

/// Every source read: the message names what was not, and what could not be answered for it.
pub(super) fn condition(facts: &Facts<'_>, rules: &[RuleResult]) -> Condition {
    let mut faults: Vec<(Source, &SourceFault)> = facts.sources.iter().filter_map(broken).collect();
    // What an audit cannot do without is said first, and gives the reason.
    faults.sort_by_key(|(source, _)| source.is_optional());
    let Some((_, first)) = faults.first() else {
        return Condition {
            kind: ConditionType::DataComplete,
            status: ConditionStatus::True,
            reason: "AllSourcesRead",
            message: "every source was read".into(),
        };
    };
    Condition {
        kind: ConditionType::DataComplete,
        status: ConditionStatus::False,
        reason: first.category.name(),
        message: format!("{}{}", sentences(&faults).join("; "), unanswered(rules)).into(),
    }
}

/// A source with its fault; one that is optional and not there, or not read yet, lacks nothing.
fn broken(state: &SourceState) -> Option<(Source, &SourceFault)> {
    let fault = state.fault.as_ref()?;
    let absent = matches!(
        fault.category,
        FaultCategory::NotFound | FaultCategory::NotProvided | FaultCategory::NotCollected | FaultCategory::Pending
    );
    (!absent || state.source.is_missed()).then_some((state.source, fault))
}

/// One sentence for all faults that differ in nothing but the call.
fn sentences(faults: &[(Source, &SourceFault)]) -> Vec<String> {
    let mut alike: Vec<(String, Vec<(Source, &SourceFault)>)> = Vec::new();
    for (source, fault) in faults {
        let shape = shape(*source, fault);
        match alike.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, group)) => group.push((*source, fault)),
            None => alike.push((shape, vec![(*source, fault)])),
        }
    }
    alike.iter().map(|(shape, group)| sentence(shape, group)).collect()
}

/// A fault's message without the name of the source's own call.
fn shape(source: Source, fault: &SourceFault) -> String {
    match source.iam_action() {
        // What EC2 itself says about a denial names the call, too, and is of no use in a list.
        Some(action) if is_denied(action, fault) => CALL.to_owned(),
        Some(action) => fault.message.replace(action, CALL).replace(call(action), CALL),
        None => fault.message.clone(),
    }
}

/// Whether it is this action that is denied, and not another one that has to come before it.
fn is_denied(action: &str, fault: &SourceFault) -> bool {
    fault.category == FaultCategory::Denied && fault.message.contains(action)
}

fn call(action: &str) -> &str {
    action.trim_start_matches("ec2:")
}

fn sentence(shape: &str, group: &[(Source, &SourceFault)]) -> String {
    let all = |names: Vec<String>| text::list(&names, "and", names.len());
    let sources = || all(group.iter().map(|(source, _)| source.to_string()).collect());
    let actions = || group.iter().filter_map(|(source, _)| source.iam_action());
    match group {
        [(source, fault)] => format!("{source}: {}", fault.message),
        _ if shape == CALL => format!(
            "AWS denies {}: allow them in the policy of the role that ipam-audit uses; `ipam-audit iam-policy` prints a \
             policy with all it needs",
            all(actions().map(str::to_owned).collect())
        ),
        _ => {
            let calls = all(actions().map(|action| call(action).to_owned()).collect());
            format!("{}: {}", sources(), shape.replace(CALL, &calls))
        }
    }
}

fn unanswered(rules: &[RuleResult]) -> String {
    let silent = rules.iter().filter(|rule| matches!(rule.answer, RuleAnswer::Inconclusive { .. }));
    let silent: Vec<String> = silent.map(|rule| rule.code.to_owned()).collect();
    if silent.is_empty() {
        String::new()
    } else {
        format!(". Inconclusive: {}", text::list(&silent, "and", NAMED_RULES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(category: FaultCategory, message: impl Into<String>) -> SourceFault {
        SourceFault { category, message: message.into() }
    }

    fn of_ec2() -> impl Iterator<Item = (Source, &'static str)> {
        Source::ALL.into_iter().filter_map(|source| Some((source, source.iam_action()?)))
    }

    fn said(faults: &[(Source, SourceFault)]) -> Vec<String> {
        let faults: Vec<_> = faults.iter().map(|(source, fault)| (*source, fault)).collect();
        sentences(&faults)
    }

    #[test]
    fn all_missing_rights_are_one_list() {
        let denied = of_ec2().map(|(source, action)| {
            let message = format!("AWS denies {action} in eu-central-1: allow it (You may not perform {action})");
            (source, fault(FaultCategory::Denied, message))
        });
        let said = said(&denied.collect::<Vec<_>>());
        let [sentence] = &said[..] else { panic!("{said:?}") };
        for (_, action) in of_ec2() {
            assert_eq!(sentence.matches(action).count(), 1, "{action}: {sentence}");
        }
        assert!(
            sentence.starts_with("AWS denies ec2:") && sentence.contains(": allow them in the policy"),
            "{sentence}"
        );
        assert!(sentence.len() < 500, "{} bytes: {sentence}", sentence.len());
    }

    #[test]
    fn one_missing_right_keeps_what_ec2_says_about_it() {
        let one = (Source::Subnets, fault(FaultCategory::Denied, "AWS denies ec2:DescribeSubnets: allow it (because)"));
        assert_eq!(said(&[one]), ["subnets: AWS denies ec2:DescribeSubnets: allow it (because)"]);
    }

    #[test]
    fn the_same_fault_of_several_calls_is_said_once_and_another_one_apart() {
        let unreachable = |source: Source, call: &str| {
            (source, fault(FaultCategory::Unreachable, format!("no answer to {call}: check")))
        };
        let said = said(&[
            unreachable(Source::Subnets, "DescribeSubnets"),
            (Source::NetworkInterfaces, fault(FaultCategory::Throttled, "EC2 throttles DescribeNetworkInterfaces")),
            unreachable(Source::Vpcs, "DescribeVpcs"),
        ]);
        assert_eq!(
            said,
            [
                "subnets and vpcs: no answer to DescribeSubnets and DescribeVpcs: check",
                "network-interfaces: EC2 throttles DescribeNetworkInterfaces",
            ]
        );
        let none =
            |source| (source, fault(FaultCategory::Credentials, "no credentials: give the ServiceAccount a role"));
        let said = self::said(&[none(Source::Subnets), none(Source::Vpcs)]);
        assert_eq!(said, ["subnets and vpcs: no credentials: give the ServiceAccount a role"]);
    }

    #[test]
    fn what_a_cluster_does_not_have_is_not_missing_and_what_is_denied_is() {
        let state = |source, category| SourceState { source, as_of: None, fault: Some(fault(category, "why")) };
        for (source, category, counts) in [
            (Source::EniConfigs, FaultCategory::NotFound, false),
            (Source::Instances, FaultCategory::Pending, false),
            (Source::Instances, FaultCategory::Denied, true),
            (Source::EniConfigs, FaultCategory::Denied, true),
            (Source::Subnets, FaultCategory::NotFound, true),
            (Source::Pods, FaultCategory::Pending, true),
        ] {
            assert_eq!(broken(&state(source, category)).is_some(), counts, "{source} {category:?}");
        }
    }
}
