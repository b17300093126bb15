//! Objects that audits take as they are, one row each, by namespace and name; and kinds that may not be installed.

use std::{fmt::Debug, sync::Arc, time::Duration};

use ipam_audit_api::views::{
    CniNodeView, ConfigMaps, DeploymentView, EniConfigView, Foreign, Interner, Malformed, MutatingWebhooksView,
    NetworkPolicyView, NodeClaimView, NodeClassView, NodePoolView, SecurityGroupPolicyView, ServiceAccountView,
    ServiceView,
};
use ipam_audit_core::{
    snapshot::{
        CniNode, EniConfig, NetworkPolicy, NodeClaim, NodeClass, NodePool, SecurityGroupPolicy, Service,
        ServiceAccount, Workload,
    },
    source::{FaultCategory, Reading, Source, SourceState},
};
use jiff::Timestamp;
use kube::{Resource, core::ObjectMeta};

use super::{
    Census, Counted, Health, Part, Place, Rows, Watched,
    census::hash_shown,
    table::{Changed, Table},
};

/// A view whose objects are a row each.
pub(crate) trait View: Resource<DynamicType = ()> {
    /// What audits see of an object.
    type Row: Debug + Clone + PartialEq;

    /// The row; none for an object that no rule asks about.
    fn to_row(&self, interner: &mut Interner) -> Result<Option<Self::Row>, Malformed>;
}

macro_rules! rows {
    ($($view:ident => $row:ident),* $(,)?) => {
        $(impl View for $view {
            type Row = $row;

            fn to_row(&self, interner: &mut Interner) -> Result<Option<$row>, Malformed> {
                self.row(interner).map(Some)
            }
        })*
    };
}

rows! {
    CniNodeView => CniNode,
    EniConfigView => EniConfig,
    SecurityGroupPolicyView => SecurityGroupPolicy,
    NodePoolView => NodePool,
    NodeClassView => NodeClass,
    NodeClaimView => NodeClaim,
    ServiceAccountView => ServiceAccount,
    NetworkPolicyView => NetworkPolicy,
}

impl View for DeploymentView {
    type Row = Workload;

    /// There may be thousands, with environments that are nobody's business: only those of two programs are kept.
    fn to_row(&self, interner: &mut Interner) -> Result<Option<Workload>, Malformed> {
        if !self.manages_addresses() {
            return Ok(None);
        }
        self.row(&ConfigMaps::new(), interner).map(Some)
    }
}

impl View for ServiceView {
    type Row = Service;

    /// Only the API server's own, whose address gives the range of services away, and those that keep traffic local.
    fn to_row(&self, interner: &mut Interner) -> Result<Option<Service>, Malformed> {
        let row = self.row(interner)?;
        let is_api = (&*row.namespace, &*row.name) == ("default", "kubernetes");
        Ok((is_api || row.local_traffic).then_some(row))
    }
}

impl View for MutatingWebhooksView {
    type Row = Vec<Arc<str>>;

    fn to_row(&self, interner: &mut Interner) -> Result<Option<Self::Row>, Malformed> {
        Ok(Some(self.names(interner)))
    }
}

/// Rows by namespace and name.
#[derive(Debug)]
pub(crate) struct Objects<R> {
    table: Table<Place, R>,
}

impl<R> Default for Objects<R> {
    fn default() -> Self {
        Self { table: Table::default() }
    }
}

fn place(meta: &ObjectMeta, interner: &mut Interner) -> Place {
    let mut text = |text: Option<&str>| interner.text(text.unwrap_or_default());
    Place { namespace: text(meta.namespace.as_deref()), name: text(meta.name.as_deref()) }
}

impl<V: View> Rows<V> for Objects<V::Row> {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &V, interner: &mut Interner) -> Result<Changed, Malformed> {
        let row = object.to_row(interner)?;
        Ok(match row {
            Some(row) => self.table.apply(place(object.meta(), interner), row),
            None => self.lose(object.meta()),
        })
    }

    fn remove(&mut self, object: &V) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        Self::lose(self, meta)
    }

    fn finish(&mut self) -> Changed {
        self.table.finish()
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl<R: Debug + PartialEq> Counted for Objects<R> {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            hash_shown(row, hasher);
            0
        })
    }
}

impl<R: Clone + PartialEq> Objects<R> {
    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let text = |text: Option<&str>| text.unwrap_or_default().into();
        let place = Place { namespace: text(meta.namespace.as_deref()), name: text(meta.name.as_deref()) };
        self.table.remove(&place)
    }

    /// The rows of a snapshot, sorted by namespace and name.
    pub(crate) fn rows(&self) -> Vec<R> {
        let mut rows: Vec<(&Place, &R)> = self.table.entries().collect();
        rows.sort_by_key(|(place, _)| *place);
        rows.into_iter().map(|(_, row)| row.clone()).collect()
    }
}

impl Objects<Vec<Arc<str>>> {
    /// The names of all webhooks, sorted.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.table.rows().flatten().cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What is known of a kind that may not be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nobody has asked yet.
    Unknown,
    /// The API server does not serve it.
    Absent,
    /// It is served in a version that its view understands.
    Served,
    /// It is served in these versions only, none of which the view understands.
    NotUnderstood(Vec<String>),
}

/// The rows of a kind that may not be installed.
#[derive(Debug)]
pub(crate) struct Optional<R> {
    pub(crate) part: Part<Objects<R>>,
    presence: Presence,
    what: &'static str,
    grace: Duration,
    /// The kind and its group, for people.
    kind: String,
    understood: &'static [&'static str],
}

impl<R> Optional<R> {
    pub(super) fn new<V: Foreign + View<Row = R>>(what: &'static str, grace: Duration) -> Self {
        let kind = format!("{} ({})", V::kind(&()), V::group(&()));
        let part = Part::new(what, grace);
        Self { part, presence: Presence::Unknown, what, grace, kind, understood: V::VERSIONS }
    }
}

impl<R: Clone + PartialEq> Optional<R> {
    pub(super) fn reading(&self, now: Timestamp) -> Reading<Vec<R>> {
        self.look(now, Objects::rows)
    }

    pub(super) fn state(&self, source: Source, now: Timestamp) -> SourceState {
        self.look(now, |_| ()).state(source)
    }

    fn look<T>(&self, now: Timestamp, look: impl FnOnce(&Objects<R>) -> T) -> Reading<T> {
        match &self.presence {
            Presence::Unknown => Reading::default(),
            Presence::Served => self.part.reading(now, look),
            Presence::Absent => {
                Reading::missing(FaultCategory::NotFound, format!("the CRD of {} is not installed", self.kind))
            }
            Presence::NotUnderstood(served) => {
                let message = format!(
                    "the API server serves {} as {}; this version of ipam-audit reads {}",
                    self.kind,
                    served.join(", "),
                    self.understood.join(", ")
                );
                Reading::missing(FaultCategory::Malformed, message)
            }
        }
    }
}

/// A kind that may not be installed, whatever its rows.
pub(crate) trait MayBeAbsent {
    fn presence(&self) -> &Presence;

    /// Takes note of what is known now. What was there before is forgotten: a kind that comes back is another one.
    fn set(&mut self, presence: Presence) -> Changed;

    /// How its watch is, if there is one.
    fn health(&self) -> Option<&Health>;

    /// The same with what it has brought.
    fn watched(&self) -> Option<Watched<'_>>;
}

impl<R: Debug + PartialEq> MayBeAbsent for Optional<R> {
    fn presence(&self) -> &Presence {
        &self.presence
    }

    fn set(&mut self, presence: Presence) -> Changed {
        if self.presence == presence {
            return Changed::No;
        }
        self.part = Part::new(self.what, self.grace);
        self.presence = presence;
        Changed::Yes
    }

    fn health(&self) -> Option<&Health> {
        (self.presence == Presence::Served).then_some(&self.part.health)
    }

    fn watched(&self) -> Option<Watched<'_>> {
        (self.presence == Presence::Served).then(|| self.part.watched())
    }
}
