//! What the sources of an outcome are good for.

use std::collections::{BTreeMap, BTreeSet};

use ipam_audit_core::{
    outcome::{AuditOutcome, RuleAnswer, RuleResult},
    policy::AuditPolicy,
    source::{FaultCategory, Source, SourceState},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// An outcome, and what its sources are good for.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) outcome: &'a AuditOutcome,
    trust: BTreeMap<Source, Trust>,
    inconclusive: BTreeSet<&'static str>,
    /// Of those, the rules whose sources this cluster has and this program reads.
    blinded: BTreeSet<&'static str>,
    pub(super) place: ReadPlace,
}

/// Where EC2 is read, as far as only the reader knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadPlace {
    /// The region, and what tells it.
    pub region: Option<(String, &'static str)>,
    /// Whether the spec names the VPC.
    pub vpc_is_stated: bool,
}

/// What one source is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Read, and recently.
    Fresh,
    /// The newest attempt failed, the view before it is recent.
    Failing,
    /// The last good view is too old to prove anything.
    Stale,
    /// The first reading is under way.
    Pending,
    /// Never read, and not merely not yet.
    Missing,
    /// Optional, and this cluster does not have it.
    NotInstalled,
}

impl Trust {
    fn of(state: &SourceState, now: Timestamp, limit: SignedDuration) -> Self {
        let category = state.fault.as_ref().map(|fault| fault.category);
        if state.is_missing() {
            return match category {
                None | Some(FaultCategory::Pending) => Self::Pending,
                Some(FaultCategory::NotFound) if state.source.is_optional() => Self::NotInstalled,
                Some(_) => Self::Missing,
            };
        }
        match category {
            _ if state.is_stale(now, limit) => Self::Stale,
            Some(_) => Self::Failing,
            None => Self::Fresh,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "Fresh",
            Self::Failing => "Failing",
            Self::Stale => "Stale",
            Self::Pending => "Pending",
            Self::Missing => "Missing",
            Self::NotInstalled => "NotInstalled",
        }
    }

    const fn is_lost(self) -> bool {
        matches!(self, Self::Pending | Self::Missing)
    }
}

impl<'a> Context<'a> {
    /// The context of an outcome that was judged by this policy.
    pub fn new(outcome: &'a AuditOutcome, policy: &AuditPolicy) -> Self {
        let limit = SignedDuration::from_secs(i64::from(policy.thresholds.stale_seconds));
        let trust = |state: &SourceState| (state.source, Trust::of(state, outcome.taken_at, limit));
        let trust: BTreeMap<Source, Trust> = outcome.sources.iter().map(trust).collect();
        // A source that is not collected, or not installed, hides nothing.
        let hides = |source: &Source| trust.get(source).is_some_and(|trust| *trust != Trust::NotInstalled);
        let silent = |rule: &&RuleResult| matches!(rule.answer, RuleAnswer::Inconclusive { .. });
        let blinded = |rule: &&RuleResult| matches!(&rule.answer, RuleAnswer::Inconclusive { missing, .. } if missing.iter().any(hides));
        Self {
            outcome,
            inconclusive: outcome.rules.iter().filter(silent).map(|rule| rule.code).collect(),
            blinded: outcome.rules.iter().filter(blinded).map(|rule| rule.code).collect(),
            trust,
            place: ReadPlace::default(),
        }
    }

    /// The same with what the reader of EC2 knows of where it reads.
    #[must_use]
    pub fn at(self, place: ReadPlace) -> Self {
        Self { place, ..self }
    }

    /// Whether the outcome's list of nodes is the whole list: only then is a node that is not in it gone.
    pub fn knows_nodes(&self) -> bool {
        self.lost(&[Source::Nodes]).is_none()
    }

    /// Whether the outcome's list of subnets is the whole list: only then is a subnet that is not in it gone.
    pub fn knows_subnets(&self) -> bool {
        self.lost(&[Source::Nodes, Source::Subnets, Source::NetworkInterfaces]).is_none()
    }

    pub(super) fn trust(&self, source: Source) -> Trust {
        self.trust.get(&source).copied().unwrap_or(Trust::Pending)
    }

    /// Whether what was known before has a part in a report whose findings have these codes: something cannot be seen
    /// now, or a rule that found something could not look again.
    pub fn needs_before<'c>(&self, mut codes: impl Iterator<Item = &'c str>) -> bool {
        self.trust.values().any(|trust| trust.is_lost()) || codes.any(|code| self.is_inconclusive(code))
    }

    /// The first of some sources that was never read, so that nothing is known by it.
    pub(super) fn lost(&self, sources: &[Source]) -> Option<Source> {
        sources.iter().copied().find(|source| self.trust(*source).is_lost())
    }

    /// Whether one of some sources is being read for the first time.
    pub(crate) fn is_pending(&self, sources: &[Source]) -> bool {
        sources.iter().any(|source| self.trust(*source) == Trust::Pending)
    }

    /// Those of some sources that are missing or stale.
    pub(crate) fn unusable(&self, sources: &[Source]) -> Vec<String> {
        let unusable = |source: &&Source| self.trust(**source).is_lost() || self.trust(**source) == Trust::Stale;
        sources.iter().filter(unusable).map(|source| source.name().to_owned()).collect()
    }

    /// What is known now, or what was known before if that cannot be seen for the lack of a source.
    pub(super) fn or_kept<T: Clone>(&self, now: Option<T>, sources: &[Source], before: Option<&T>) -> Option<T> {
        now.or_else(|| self.lost(sources).and_then(|_| before.cloned()))
    }

    /// Whether a rule could not look at something that this cluster has and this program reads.
    pub(super) fn may_find_more(&self, code: &str) -> bool {
        self.blinded.contains(code)
    }

    /// Whether a rule could not look.
    pub(super) fn is_inconclusive(&self, code: &str) -> bool {
        self.inconclusive.contains(code)
    }

    pub(super) fn now(&self) -> Time {
        seconds(self.outcome.taken_at)
    }
}

/// A time as the API server keeps it: without fractions.
pub(super) fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
