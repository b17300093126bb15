//! Gathers the spans of audits as they end, for whoever sends them on.
//!
//! What cannot be taken at once is dropped and counted: an audit never waits for a trace.

use std::{
    fmt::Debug,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::sync::mpsc;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Spans that wait to be sent at most: some minutes of audits.
const MOST: usize = 2048;

/// A value of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) name: &'static str,
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) began: SystemTime,
    pub(super) until: SystemTime,
    pub(super) values: Vec<(&'static str, Value)>,
}

/// A span that is under way.
struct Open {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    began: SystemTime,
    values: Values,
}

/// Where ended spans come out.
pub(super) struct Spans {
    pub(super) ended: mpsc::Receiver<Ended>,
    pub(super) dropped: Arc<AtomicU64>,
}

/// The layer that gathers them.
pub(super) struct Gather {
    sender: mpsc::Sender<Ended>,
    dropped: Arc<AtomicU64>,
}

/// The layer and its other end.
pub(super) fn gather() -> (Gather, Spans) {
    let (sender, ended) = mpsc::channel(MOST);
    let dropped = Arc::<AtomicU64>::default();
    (Gather { sender, dropped: dropped.clone() }, Spans { ended, dropped })
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gather {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.trace, open.id))
        });
        let mut values = Values::default();
        attributes.record(&mut values);
        let trace = parent.map_or_else(|| u128::from(random()) << 64 | u128::from(random()), |(trace, _)| trace);
        let parent = parent.map(|(_, id)| id);
        span.extensions_mut().insert(Open { trace, id: random(), parent, began: SystemTime::now(), values });
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            record.record(&mut open.values);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { trace, id, parent, began, values }) = span.extensions_mut().remove::<Open>() else { return };
        let ended = Ended { name: span.name(), trace, id, parent, began, until: SystemTime::now(), values: values.0 };
        if self.sender.try_send(ended).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// The fields of a span.
#[derive(Default)]
struct Values(Vec<(&'static str, Value)>);

impl Values {
    fn put(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, known)) => *known = value,
            None => self.0.push((field.name(), value)),
        }
    }
}

impl Visit for Values {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Truth(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::Text(format!("{value:?}")));
    }
}

/// A number that nobody else has, and never 0: the keys of each state are new.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8).max(1)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Registry, layer::SubscriberExt};

    use super::*;

    #[test]
    fn stages_are_below_their_audit_and_carry_what_was_recorded_late() {
        let (layer, mut spans) = gather();
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let audit = tracing::info_span!("audit", audit = "cluster", nodes = tracing::field::Empty);
            audit.in_scope(|| drop(tracing::info_span!("collect")));
            audit.record("nodes", 3_u64);
            drop(audit);
            drop(tracing::info_span!("audit", audit = "other"));
        });
        let [stage, audit, other] = [(); 3].map(|()| spans.ended.try_recv().unwrap());
        assert_eq!((stage.name, stage.parent, stage.trace), ("collect", Some(audit.id), audit.trace));
        assert_eq!((audit.name, audit.parent), ("audit", None));
        let values = [("audit", Value::Text("cluster".to_owned())), ("nodes", Value::Number(3))];
        assert_eq!(audit.values, values);
        assert!(audit.began <= stage.began && stage.until <= audit.until);
        assert_ne!(other.trace, audit.trace);
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let (layer, spans) = gather();
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            for _ in 0..MOST + 5 {
                drop(tracing::info_span!("audit"));
            }
        });
        assert_eq!((spans.ended.len(), spans.dropped.load(Relaxed)), (MOST, 5));
    }
}
