//! What the watches know, as rows: one index for the whole process, filled straight from watch events.
//!
//! No object is kept, only rows; a row that comes out the same is no change, so that heartbeats cause no work. Every
//! change that an audit could see moves the generation, which is what audits wait for. The lock is held for the length
//! of one row or of one snapshot (pointers are copied, not rows), never over an await.

mod census;
mod cni;
mod config_maps;
mod events;
mod health;
mod kept;
mod left_out;
mod nodes;
mod objects;
mod pods;
mod reports;
mod sink;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipam_audit_api::{
    v1alpha1::{NodeIpamReport, SubnetIpamReport},
    views::{
        CniNodeView, ConfigMaps, EniConfigView, Interner, Malformed, NodeClaimView, NodeClassView, NodePoolView,
        SecurityGroupPolicyView,
    },
};
use ipam_audit_core::{
    snapshot::{
        CniNode, EniConfig, NetworkPolicy, NodeClaim, NodeClass, NodePool, SecurityGroupPolicy, Service,
        ServiceAccount, Workload,
    },
    source::Reading,
};
use jiff::Timestamp;
use kube::core::ObjectMeta;
use tokio::sync::watch;

pub(crate) use census::{Census, Counted, Watched};
pub(crate) use cni::{AwsNodePods, Cni, Place, Target};
pub(crate) use config_maps::SystemMaps;
pub(crate) use events::Events;
pub(crate) use health::{Counts, Health, may_pass};
pub(crate) use kept::{Keepable, Kept};
use left_out::LeftOut;
pub(crate) use nodes::{Nodes, OnNode};
pub(crate) use objects::{MayBeAbsent, Objects, Optional, Presence, View};
pub(crate) use pods::{Pods, Refusals};
pub(crate) use reports::{Report, Reports, version};
pub(crate) use sink::IndexSink;
pub(crate) use snapshot::{Lens, Polled};
pub(crate) use table::Changed;

/// Rows that one watch fills. The key is the row's own affair.
pub(crate) trait Rows<K> {
    /// A list begins.
    fn begin(&mut self);
    /// An object is as given.
    fn apply(&mut self, object: &K, interner: &mut Interner) -> Result<Changed, Malformed>;
    /// An object is gone.
    fn remove(&mut self, object: &K) -> Changed;
    /// An object of which only this is known is gone, or can no longer be understood.
    fn lose(&mut self, meta: &ObjectMeta) -> Changed;
    /// The list is complete: what it did not name is gone.
    fn finish(&mut self) -> Changed;
    /// How many rows there are.
    fn len(&self) -> usize;
}

/// The rows of one watch, and how it is.
#[derive(Debug)]
pub(crate) struct Part<R> {
    pub(crate) rows: R,
    pub(crate) health: Health,
    left_out: LeftOut,
    /// Whether the list under way changed something.
    touched: bool,
}

impl<R: Default> Part<R> {
    pub(crate) fn new(what: &'static str, grace: Duration) -> Self {
        let (rows, left_out) = (R::default(), LeftOut::default());
        Self { rows, health: Health::new(what, grace), left_out, touched: false }
    }
}

impl<R> Part<R> {
    /// The rows with their age and what they lack.
    pub(crate) fn reading<T>(&self, now: Timestamp, look: impl FnOnce(&R) -> T) -> Reading<T> {
        let mut reading = self.health.reading(now, || look(&self.rows));
        if reading.fault.is_none() {
            reading.fault = self.left_out.fault();
        }
        reading
    }
}

/// All rows.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) nodes: Part<Nodes>,
    pub(crate) pods: Part<Pods>,
    pub(crate) events: Part<Events>,
    /// The one event of a failure that is not a warning: a trunk that could not be made.
    pub(crate) trunk_events: Part<Events>,
    pub(crate) cni: Cni,
    pub(crate) config_maps: Part<SystemMaps>,
    pub(crate) service_accounts: Part<Objects<ServiceAccount>>,
    pub(crate) deployments: Part<Objects<Workload>>,
    pub(crate) services: Part<Objects<Service>>,
    pub(crate) network_policies: Part<Objects<NetworkPolicy>>,
    pub(crate) webhooks: Part<Objects<Vec<Arc<str>>>>,
    pub(crate) cni_nodes: Optional<CniNode>,
    pub(crate) eni_configs: Optional<EniConfig>,
    pub(crate) security_group_policies: Optional<SecurityGroupPolicy>,
    pub(crate) node_pools: Optional<NodePool>,
    pub(crate) node_classes: Optional<NodeClass>,
    pub(crate) node_claims: Optional<NodeClaim>,
    pub(crate) node_reports: Part<Reports<NodeIpamReport>>,
    pub(crate) subnet_reports: Part<Reports<SubnetIpamReport>>,
}

impl Parts {
    fn new(grace: Duration) -> Self {
        Self {
            nodes: Part::new("nodes", grace),
            pods: Part::new("pods", grace),
            events: Part::new("events", grace),
            trunk_events: Part::new("trunk events", grace),
            cni: Cni {
                daemon_sets: Part::new("daemonsets", grace),
                pods: BTreeMap::new(),
                maps: ConfigMaps::new(),
                named: BTreeSet::new(),
            },
            config_maps: Part::new("configmaps", grace),
            service_accounts: Part::new("serviceaccounts", grace),
            deployments: Part::new("deployments", grace),
            services: Part::new("services", grace),
            network_policies: Part::new("networkpolicies", grace),
            webhooks: Part::new("mutatingwebhookconfigurations", grace),
            cni_nodes: Optional::new::<CniNodeView>("cninodes", grace),
            eni_configs: Optional::new::<EniConfigView>("eniconfigs", grace),
            security_group_policies: Optional::new::<SecurityGroupPolicyView>("securitygrouppolicies", grace),
            node_pools: Optional::new::<NodePoolView>("nodepools", grace),
            node_classes: Optional::new::<NodeClassView>("ec2nodeclasses", grace),
            node_claims: Optional::new::<NodeClaimView>("nodeclaims", grace),
            node_reports: Part::new("nodeipamreports", grace),
            subnet_reports: Part::new("subnetipamreports", grace),
        }
    }

    /// How every watch is.
    pub(crate) fn healths(&self) -> impl Iterator<Item = &Health> {
        [&self.nodes.health, &self.pods.health, &self.events.health, &self.trunk_events.health]
            .into_iter()
            .chain(self.cni.healths())
            .chain([&self.config_maps.health, &self.service_accounts.health, &self.deployments.health])
            .chain([&self.services.health, &self.network_policies.health, &self.webhooks.health])
            .chain(self.optional().into_iter().filter_map(MayBeAbsent::health))
            .chain([&self.node_reports.health, &self.subnet_reports.health])
    }

    /// The same with what each has brought. All rows are looked at: for those who ask, not for every scrape.
    pub(crate) fn watched(&self) -> impl Iterator<Item = Watched<'_>> {
        [self.nodes.watched(), self.pods.watched(), self.events.watched(), self.trunk_events.watched()]
            .into_iter()
            .chain(self.cni.watched())
            .chain([self.config_maps.watched(), self.service_accounts.watched(), self.deployments.watched()])
            .chain([self.services.watched(), self.network_policies.watched(), self.webhooks.watched()])
            .chain(self.optional().into_iter().filter_map(MayBeAbsent::watched))
            .chain([self.node_reports.watched(), self.subnet_reports.watched()])
    }

    /// The kinds that may not be installed.
    fn optional(&self) -> [&dyn MayBeAbsent; 6] {
        [
            &self.cni_nodes,
            &self.eni_configs,
            &self.security_group_policies,
            &self.node_pools,
            &self.node_classes,
            &self.node_claims,
        ]
    }

    /// Whether a watch that was well is interrupted now.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.healths().any(|health| health.is_listed() && health.is_interrupted())
    }

    /// Why our own reports cannot be seen, if they cannot: without them nobody knows what is to be written.
    pub(crate) fn unseen_reports(&self) -> Option<String> {
        let healths = [&self.node_reports.health, &self.subnet_reports.health];
        let unseen = healths.into_iter().find(|health| !health.is_listed())?;
        let why = unseen.fault().map_or("their first list is not complete", |fault| fault.message.as_str());
        Some(format!("{} cannot be seen: {why}", unseen.what()))
    }

    /// What the first audit waits for.
    pub(crate) fn pending(&self) -> Vec<String> {
        let lists = self.healths().filter(|health| health.is_pending());
        let mut pending: Vec<String> = lists.map(|health| format!("the first list of {}", health.what())).collect();
        if self.optional().iter().any(|kind| *kind.presence() == Presence::Unknown) {
            pending.push("which optional kinds are served".to_owned());
        }
        if self.cni.targets().iter().any(|target| !self.cni.pods.contains_key(&target.place)) {
            pending.push("the first list of aws-node pods".to_owned());
        }
        pending
    }
}

#[derive(Debug)]
struct Index {
    parts: Parts,
    interner: Interner,
}

/// The index, and the generation by which others see that it changed.
#[derive(Debug)]
pub(crate) struct State {
    index: Mutex<Index>,
    generation: watch::Sender<u64>,
    grace: Duration,
}

impl State {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            index: Mutex::new(Index { parts: Parts::new(grace), interner: Interner::default() }),
            generation: watch::Sender::new(0),
            grace,
        }
    }

    /// Looks at the rows.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Parts) -> T) -> T {
        look(&self.lock().parts)
    }

    /// Changes rows, and says so to those who wait for changes.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Parts, &mut Interner) -> Changed) {
        let mut index = self.lock();
        let Index { parts, interner } = &mut *index;
        let changed = change(parts, interner);
        drop(index);
        if changed == Changed::Yes {
            self.touch();
        }
    }

    /// Looks at the rows and may tidy them up; no change that an audit could see.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Parts) -> T) -> T {
        look(&mut self.lock().parts)
    }

    /// An audit expects the VPC CNI there.
    pub(crate) fn follow(&self, place: Place) {
        self.change(|parts, _| Changed::when(parts.cni.named.insert(place)));
    }

    /// Something outside of the index changed that audits depend on.
    pub(crate) fn touch(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// The number of changes so far.
    pub(crate) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Wakes at every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// How long faults that may pass have to last before they are reported.
    pub(crate) const fn grace(&self) -> Duration {
        self.grace
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // A panic while the lock is held ends the process soon after; until then rows are as good as they were.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a change, and then until it is quiet, but not for longer than the limit. False when nobody can change
/// anything any more.
pub(crate) async fn settled(changes: &mut watch::Receiver<u64>, quiet: Duration, limit: Duration) -> bool {
    if changes.changed().await.is_err() {
        return false;
    }
    let until_quiet = async { while let Ok(Ok(())) = tokio::time::timeout(quiet, changes.changed()).await {} };
    drop(tokio::time::timeout(limit, until_quiet).await);
    true
}
