//! What is known of each node's ipamd, and what of a round is news.
//!
//! The last good answer stays, with its time, when a later one fails. A first failure that may pass is not told. Counters
//! are compared with those of ten to twenty minutes before, of which two rows are kept, whatever the interval.

use std::{collections::BTreeMap, sync::Arc};

use ipam_audit_core::{
    ids::NodeName,
    snapshot::{IpamdNode, IpamdSaid, IpamdTroubles},
    source::{FaultCategory, Observed, Reading, SourceFault},
};
use jiff::{SignedDuration, Timestamp};

use crate::state::may_pass;

/// How far back the counters are that growth is measured from, at least; at most twice as far.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What one node was found to be.
pub(super) type Answer = Result<IpamdSaid, SourceFault>;

/// The counters of which growth is told: an audit sees no other.
const TOLD: [fn(&IpamdTroubles) -> Option<u32>; 7] = [
    |troubles| troubles.refused,
    |troubles| troubles.growth_errors,
    |troubles| troubles.aws_errors,
    |troubles| troubles.throttled,
    |troubles| troubles.denied,
    |troubles| troubles.ec2_errors,
    |troubles| troubles.cleanup_errors,
];

/// All nodes, by name.
#[derive(Debug, Default)]
pub(super) struct Rows {
    nodes: BTreeMap<NodeName, Row>,
    /// When any of them answered last, or when there was nobody to ask.
    as_of: Option<Timestamp>,
    fault: Option<SourceFault>,
    /// Whether a round was complete.
    asked: bool,
}

#[derive(Debug)]
struct Row {
    known: Arc<IpamdNode>,
    failures: u32,
    /// Counters that will be those of before, once they are old enough.
    next: Option<Observed<IpamdTroubles>>,
}

impl Rows {
    /// What audits see.
    pub(super) fn reading(&self) -> Reading<Vec<Arc<IpamdNode>>> {
        let rows = || self.nodes.values().map(|row| row.known.clone()).collect();
        let last_good = self.as_of.map(|as_of| Observed { value: rows(), as_of });
        Reading { last_good, fault: self.fault.clone() }
    }

    /// Puts a round on top of what was known; whether an audit could see a difference.
    ///
    /// Nodes that are no target any more are forgotten; a target without an answer keeps what is known of it.
    pub(super) fn merge(
        &mut self,
        targets: impl IntoIterator<Item = NodeName>,
        answers: Vec<(NodeName, Timestamp, Answer)>,
    ) -> bool {
        let mut before = std::mem::take(&mut self.nodes);
        let mut kept: BTreeMap<NodeName, Row> =
            targets.into_iter().filter_map(|node| Some((node.clone(), before.remove(&node)?))).collect();
        let mut news = !before.is_empty() || !std::mem::replace(&mut self.asked, true);
        let outcome = Outcome::of(&answers);
        for (node, at, answer) in answers {
            let (row, new) = match kept.remove(&node) {
                Some(row) => row.after(at, answer),
                None => (Row::new(node.clone(), at, answer), true),
            };
            news |= new;
            kept.insert(node, row);
        }
        self.nodes = kept;
        news | self.conclude(outcome)
    }

    /// Where nobody answers there is one reason for all of them, and it is the whole source's fault.
    fn conclude(&mut self, outcome: Outcome) -> bool {
        let fault = match outcome {
            Outcome::Answered(at) => {
                self.as_of = Some(at);
                None
            }
            Outcome::NobodyAsked => {
                self.as_of = self.as_of.or_else(|| Some(Timestamp::now()));
                self.fault.clone()
            }
            // A first failure that may pass is not told here either.
            Outcome::Failed(fault) if may_pass(fault.category) && self.is_hidden() => self.fault.clone(),
            Outcome::Failed(fault) => Some(SourceFault { message: self.of_all(&fault), ..fault }),
        };
        if self.fault == fault {
            return false;
        }
        if let Some(fault) = &fault {
            tracing::warn!(category = fault.category.name(), "ipamd: {}", fault.message);
        } else {
            tracing::info!("ipamd: healed");
        }
        self.fault = fault;
        true
    }

    /// Whether every node's failure is still kept to itself.
    fn is_hidden(&self) -> bool {
        self.nodes.values().all(|row| row.known.said.fault.is_none())
    }

    fn of_all(&self, fault: &SourceFault) -> String {
        match (fault.category, self.nodes.len()) {
            (FaultCategory::Denied | FaultCategory::Credentials, _) | (_, 0 | 1) => fault.message.clone(),
            (_, all) => format!("none of {all} nodes answers; the first: {}", fault.message),
        }
    }
}

/// A round as a whole.
enum Outcome {
    NobodyAsked,
    Answered(Timestamp),
    Failed(SourceFault),
}

impl Outcome {
    fn of(answers: &[(NodeName, Timestamp, Answer)]) -> Self {
        let answered = answers.iter().filter(|(.., answer)| answer.is_ok()).map(|(_, at, _)| *at).max();
        let first = answers.iter().min_by(|(a, ..), (b, ..)| a.cmp(b));
        match (answered, first) {
            (Some(at), _) => Self::Answered(at),
            (None, Some((.., Err(fault)))) => Self::Failed(fault.clone()),
            (None, _) => Self::NobodyAsked,
        }
    }
}

impl Row {
    fn new(node: NodeName, at: Timestamp, answer: Answer) -> Self {
        let (said, failures) = match answer {
            Ok(said) => (Reading::fresh(said, at), 0),
            Err(fault) => (Reading { last_good: None, fault: Some(fault) }, 1),
        };
        let next = said.value().map(|said| Observed { value: said.troubles, as_of: at });
        Self { known: Arc::new(IpamdNode { node, said, before: None }), failures, next }
    }

    /// The row after one more answer, and whether that is news.
    fn after(self, at: Timestamp, answer: Answer) -> (Self, bool) {
        match answer {
            Ok(said) => self.answered(at, said),
            Err(fault) => self.failed(fault),
        }
    }

    fn answered(self, at: Timestamp, said: IpamdSaid) -> (Self, bool) {
        let Self { known, next, .. } = self;
        let troubles = said.troubles;
        let (before, next) = aged(known.before.clone(), next, Observed { value: troubles, as_of: at });
        let row = IpamdNode { node: known.node.clone(), said: Reading::fresh(said, at), before };
        let news = known.said.fault.is_some() || !looks_the_same(&known, &row);
        (Self { known: Arc::new(row), failures: 0, next }, news)
    }

    fn failed(self, fault: SourceFault) -> (Self, bool) {
        let Self { known, failures, next } = self;
        let was_well = known.said.fault.is_none();
        if may_pass(fault.category) && failures == 0 && was_well {
            return (Self { known, failures: 1, next }, false);
        }
        let news = known.said.fault.as_ref() != Some(&fault);
        let said = Reading { last_good: known.said.last_good.clone(), fault: Some(fault) };
        let row = IpamdNode { node: known.node.clone(), said, before: known.before.clone() };
        (Self { known: Arc::new(row), failures: failures.saturating_add(1), next }, news)
    }
}

/// The counters of before, and those that will be: at the second look the first one's, then those of a window ago.
fn aged(
    before: Option<Observed<IpamdTroubles>>,
    next: Option<Observed<IpamdTroubles>>,
    now: Observed<IpamdTroubles>,
) -> (Option<Observed<IpamdTroubles>>, Option<Observed<IpamdTroubles>>) {
    match (before, next) {
        (_, None) => (None, Some(now)),
        (None, Some(first)) => (Some(first), Some(now)),
        (Some(_), Some(next)) if now.as_of.duration_since(next.as_of) >= WINDOW => (Some(next), Some(now)),
        kept => kept,
    }
}

/// Whether no finding and no report could differ.
fn looks_the_same(one: &IpamdNode, other: &IpamdNode) -> bool {
    let pool = |row: &IpamdNode| row.said.value().map(|said| said.pool);
    let grown = |row: &IpamdNode| TOLD.map(|counter| row.growth(counter).map(|(grown, _)| grown));
    pool(one) == pool(other) && grown(one) == grown(other)
}

#[cfg(test)]
mod tests {
    use ipam_audit_core::snapshot::IpamdPool;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn said(total: i32, refused: u32) -> IpamdSaid {
        IpamdSaid {
            pool: IpamdPool { total: Some(total), ..IpamdPool::default() },
            troubles: IpamdTroubles { refused: Some(refused), ..IpamdTroubles::default() },
            ..IpamdSaid::default()
        }
    }

    fn fault(category: FaultCategory) -> SourceFault {
        SourceFault { category, message: category.name().to_owned() }
    }

    /// One round of the nodes `a`, `b`, …
    fn round(rows: &mut Rows, second: i64, answers: Vec<Answer>) -> bool {
        let targets: Vec<NodeName> = ["a", "b", "c"].into_iter().take(answers.len()).map(NodeName::from).collect();
        let answers = targets.iter().cloned().zip(answers).map(|(node, answer)| (node, at(second), answer)).collect();
        rows.merge(targets, answers)
    }

    fn first(rows: &Rows) -> IpamdNode {
        (**rows.reading().value().unwrap().first().unwrap()).clone()
    }

    #[test]
    fn the_same_again_is_no_news_but_moves_the_age() {
        let mut rows = Rows::default();
        assert!(round(&mut rows, 0, vec![Ok(said(6, 0)), Ok(said(6, 0))]));
        assert!(round(&mut rows, 60, vec![Ok(said(6, 0)), Ok(said(6, 0))]), "growth is known from now on");
        assert!(!round(&mut rows, 120, vec![Ok(said(6, 0)), Ok(said(6, 0))]));
        assert_eq!(rows.reading().as_of(), Some(at(120)));
        let mut busy = said(6, 0);
        busy.activity.added = Some(9);
        assert!(!round(&mut rows, 180, vec![Ok(busy.clone()), Ok(said(6, 0))]), "what no finding rests on is no news");
        assert_eq!(first(&rows).said.value(), Some(&busy), "and is known all the same");
        assert!(round(&mut rows, 240, vec![Ok(said(7, 0)), Ok(said(6, 0))]));
        assert!(round(&mut rows, 300, vec![Ok(said(7, 0))]), "a node that is gone");
        assert_eq!(rows.reading().value().unwrap().len(), 1);
    }

    #[test]
    fn a_first_hiccup_is_kept_to_itself_and_a_missing_right_is_not() {
        for (category, told_at_once) in [(FaultCategory::Unreachable, false), (FaultCategory::Denied, true)] {
            let mut rows = Rows::default();
            round(&mut rows, 0, vec![Ok(said(6, 0)), Ok(said(6, 0))]);
            round(&mut rows, 60, vec![Ok(said(6, 0)), Ok(said(6, 0))]);
            let news = round(&mut rows, 120, vec![Err(fault(category)), Ok(said(6, 0))]);
            assert_eq!((news, first(&rows).said.fault.is_some()), (told_at_once, told_at_once), "{category:?}");
            assert_eq!(round(&mut rows, 180, vec![Err(fault(category)), Ok(said(6, 0))]), !told_at_once);
            let told = first(&rows).said;
            assert_eq!(told.fault, Some(fault(category)));
            assert_eq!(
                (told.value().is_some(), told.as_of()),
                (true, Some(at(60))),
                "what was known stays, with its age"
            );
            assert_eq!(rows.reading().fault, None, "one node is not the source");
            assert!(round(&mut rows, 240, vec![Ok(said(6, 0)), Ok(said(6, 0))]), "healed");
        }
    }

    #[test]
    fn where_nobody_answers_the_source_is_at_fault() {
        let mut rows = Rows::default();
        assert!(round(
            &mut rows,
            0,
            vec![Err(fault(FaultCategory::Unreachable)), Err(fault(FaultCategory::Malformed))]
        ));
        let reading = rows.reading();
        assert_eq!(
            (reading.value().is_none(), reading.fault.clone().map(|fault| fault.message)),
            (true, Some("none of 2 nodes answers; the first: Unreachable".to_owned()))
        );
        assert!(!round(
            &mut rows,
            60,
            vec![Err(fault(FaultCategory::Unreachable)), Err(fault(FaultCategory::Malformed))]
        ));
        assert!(round(&mut rows, 120, vec![Ok(said(6, 0)), Err(fault(FaultCategory::Malformed))]));
        assert_eq!(rows.reading().fault, None);
        assert!(round(&mut rows, 180, vec![Err(fault(FaultCategory::Denied)), Err(fault(FaultCategory::Denied))]));
        assert_eq!(rows.reading().fault, Some(fault(FaultCategory::Denied)), "one right, one sentence");
        assert_eq!(rows.reading().as_of(), Some(at(120)));
    }

    #[test]
    fn nobody_to_ask_is_an_answer_and_an_unasked_node_keeps_what_is_known() {
        let mut rows = Rows::default();
        assert!(rows.merge([], Vec::new()));
        assert_eq!(rows.reading().value(), Some(&Vec::new()));
        round(&mut rows, 60, vec![Ok(said(6, 0))]);
        assert!(!rows.merge(["a".into()], Vec::new()));
        assert_eq!(first(&rows).said.as_of(), Some(at(60)));
    }

    #[test]
    fn growth_is_measured_from_ten_to_twenty_minutes_ago_and_ends() {
        let mut rows = Rows::default();
        let minute = |minute: i64| minute * 60;
        let growth = |rows: &Rows| first(rows).growth(|troubles| troubles.refused).map(|(grown, _)| grown);
        round(&mut rows, 0, vec![Ok(said(6, 5))]);
        assert_eq!(growth(&rows), None);
        round(&mut rows, minute(1), vec![Ok(said(6, 8))]);
        assert_eq!(growth(&rows), Some(3));
        let mut ended = None;
        for now in 2..40 {
            let news = round(&mut rows, minute(now), vec![Ok(said(6, 8))]);
            if growth(&rows) == Some(0) && ended.is_none() {
                ended = Some(now);
                assert!(news, "that it has ended is news");
            }
        }
        assert!(ended.is_some_and(|ended| (10..=22).contains(&ended)), "{ended:?}");
        round(&mut rows, minute(41), vec![Ok(said(6, 2))]);
        assert_eq!(growth(&rows), Some(2), "ipamd began anew");
    }
}
