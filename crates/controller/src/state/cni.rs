//! The VPC CNI: DaemonSets that may be it, and the pods of those that are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipam_audit_api::views::{
    AwsNodePodRow, AwsNodePodView, CniContainer, CniTemplate, ConfigMapKey, ConfigMaps, DaemonSetView, EnvView,
    Interner, Malformed, aws_node_pods, cni_places, config_maps_of,
};
use ipam_audit_core::{
    ids::Uid,
    snapshot::{AwsNode, Workload},
    source::{FaultCategory, Reading},
};
use jiff::Timestamp;
use kube::{
    Resource,
    core::{ObjectMeta, Selector},
};

use super::{
    Census, Counted, Part, Rows,
    census::{Watched, hash_shown},
    table::{Changed, Table},
};

/// Where a DaemonSet is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// A DaemonSet whose pods are followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) selector: String,
}

#[derive(Debug, PartialEq, Eq)]
struct DaemonSetRow {
    selector: String,
    /// Whether its label or an image says so.
    is_vpc_cni: bool,
    template: Option<CniTemplate>,
    images: Box<[Arc<str>]>,
    desired: Option<u32>,
}

/// All DaemonSets: there are few, and which one an audit means is its own decision.
#[derive(Debug, Default)]
pub(crate) struct DaemonSets {
    table: Table<Place, DaemonSetRow>,
}

impl Rows<DaemonSetView> for DaemonSets {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &DaemonSetView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let (namespace, name) = object.place()?;
        let place = Place { namespace: interner.text(namespace), name: interner.text(name) };
        let selector = object.selector().cloned().unwrap_or_default();
        let row = DaemonSetRow {
            selector: Selector::try_from(selector).map(|selector| selector.to_string()).unwrap_or_default(),
            is_vpc_cni: object.is_vpc_cni(),
            template: object.template(),
            images: object.images().map(|image| interner.text(image)).collect(),
            desired: object.desired_pods(),
        };
        Ok(self.table.apply(place, row))
    }

    fn remove(&mut self, object: &DaemonSetView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let text = |text: Option<&str>| text.unwrap_or_default().into();
        self.table.remove(&Place { namespace: text(meta.namespace.as_deref()), name: text(meta.name.as_deref()) })
    }

    fn finish(&mut self) -> Changed {
        self.table.finish()
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for DaemonSets {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            hash_shown(row, hasher);
            row.selector.len()
        })
    }
}

impl DaemonSets {
    /// All of them as workloads, sorted. Their environments are nobody's business; the CNI's is read on its own.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let workload = |(place, row): (&Place, &DaemonSetRow)| Workload {
            namespace: place.namespace.clone(),
            name: place.name.clone(),
            images: row.images.clone(),
            env: Arc::default(),
            replicas: row.desired,
        };
        let mut workloads: Vec<Workload> = self.table.entries().map(workload).collect();
        workloads.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        workloads
    }
}

/// The running pods of one DaemonSet; equal containers are kept once.
#[derive(Debug, Default)]
pub(crate) struct AwsNodePods {
    table: Table<u128, AwsNodePodRow>,
    containers: Vec<Arc<CniContainer>>,
}

impl AwsNodePods {
    fn shared(&mut self, container: Arc<CniContainer>) -> Arc<CniContainer> {
        if let Some(known) = self.containers.iter().find(|known| **known == container) {
            return known.clone();
        }
        self.containers.push(container.clone());
        container
    }
}

impl Rows<AwsNodePodView> for AwsNodePods {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &AwsNodePodView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let Some(row) = object.row(interner)? else {
            return Ok(self.remove(object));
        };
        let kept = AwsNodePodRow { container: self.shared(row.container.clone()), ..row };
        Ok(self.table.apply(Uid::from(&*kept.uid).key(), kept))
    }

    fn remove(&mut self, object: &AwsNodePodView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let changed = meta.uid.as_ref().map_or(Changed::No, |uid| self.table.remove(&Uid::from(uid.as_str()).key()));
        self.containers.retain(|container| Arc::strong_count(container) > 1);
        changed
    }

    fn finish(&mut self) -> Changed {
        let changed = self.table.finish();
        self.containers.retain(|container| Arc::strong_count(container) > 1);
        changed
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for AwsNodePods {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            hash_shown(row, hasher);
            row.name.len() + row.uid.len()
        })
    }
}

/// Everything known of the CNI.
#[derive(Debug)]
pub(crate) struct Cni {
    pub(crate) daemon_sets: Part<DaemonSets>,
    pub(crate) pods: BTreeMap<Place, Part<AwsNodePods>>,
    pub(crate) maps: ConfigMaps,
    /// DaemonSets that an audit names.
    pub(crate) named: BTreeSet<Place>,
}

impl Cni {
    /// The DaemonSets whose pods have to be followed.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        let rows = self.daemon_sets.rows.table.entries();
        let wanted = rows.filter(|(place, row)| row.is_vpc_cni || self.named.contains(place));
        wanted
            .filter(|(_, row)| !row.selector.is_empty())
            .map(|(place, row)| Target { place: place.clone(), selector: row.selector.clone() })
            .collect()
    }

    /// The ConfigMaps that the CNI's environments refer to.
    pub(crate) fn config_maps(&self) -> BTreeSet<ConfigMapKey> {
        let mut keys = BTreeSet::new();
        for target in self.targets() {
            let template = self.daemon_sets.rows.table.get(&target.place).and_then(|row| row.template.as_ref());
            let running = self.pods.get(&target.place).into_iter().flat_map(|part| &part.rows.containers);
            let of_template = template.into_iter().flat_map(CniTemplate::environments);
            let environments: Vec<&EnvView> = of_template.chain(running.map(|container| &container.env)).collect();
            keys.extend(config_maps_of(&target.place.namespace, environments));
        }
        keys
    }

    /// The CNI as an audit sees it that expects it in a place.
    pub(crate) fn reading(&self, expected: &Place, now: Timestamp) -> Reading<AwsNode> {
        if !self.daemon_sets.health.is_listed() {
            let nothing = self.daemon_sets.health.reading(now, || ());
            return Reading { last_good: None, fault: nothing.fault };
        }
        let rows = self.daemon_sets.rows.table.entries();
        let places = cni_places(rows.map(|(place, row)| (place, row.is_vpc_cni)), expected);
        let Some(primary) = places.first() else {
            return Reading::missing(FaultCategory::NotFound, not_found(expected));
        };
        let template = self.daemon_sets.rows.table.get(primary).and_then(|row| row.template.as_ref());
        let Some(template) = template else {
            let message = format!(
                "DaemonSet {}/{} has no container aws-node and none with an amazon-k8s-cni image",
                primary.namespace, primary.name
            );
            return Reading::missing(FaultCategory::NotFound, message);
        };
        let mut reading =
            self.daemon_sets.health.reading(now, || template.aws_node(&primary.namespace, &primary.name, &self.maps));
        for place in &places {
            reading = self.with_pods(reading, place, now);
        }
        if let Some(observed) = &mut reading.last_good {
            observed.value.pods.sort_by(|a, b| a.node.cmp(&b.node));
        }
        reading
    }

    /// A reading with the pods of one more DaemonSet; as old as the older, and faulty if either is.
    fn with_pods(&self, reading: Reading<AwsNode>, place: &Place, now: Timestamp) -> Reading<AwsNode> {
        let pods = match self.pods.get(place) {
            Some(part) => part.reading(now, |rows| aws_node_pods(rows.table.rows(), &place.namespace, &self.maps)),
            None => Reading::missing(FaultCategory::Pending, "the pods of the VPC CNI are not listed yet"),
        };
        let fault = reading.fault.or(pods.fault);
        let last_good = reading.last_good.zip(pods.last_good).map(|(mut all, more)| {
            all.value.pods.extend(more.value);
            all.as_of = all.as_of.min(more.as_of);
            all
        });
        Reading { last_good, fault }
    }

    /// The CNI's pods with their namespaces.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&Arc<str>, &AwsNodePodRow)> {
        self.pods.iter().flat_map(|(place, part)| part.rows.table.rows().map(move |row| (&place.namespace, row)))
    }

    /// How the CNI's watches are, and what they have brought.
    pub(crate) fn watched(&self) -> impl Iterator<Item = Watched<'_>> {
        std::iter::once(self.daemon_sets.watched()).chain(self.pods.values().map(Part::watched))
    }

    /// The first fault that is reported of the CNI's watches.
    pub(crate) fn healths(&self) -> impl Iterator<Item = &super::Health> {
        std::iter::once(&self.daemon_sets.health).chain(self.pods.values().map(|part| &part.health))
    }
}

fn not_found(expected: &Place) -> String {
    format!(
        "there is no DaemonSet {}/{} and no other with label k8s-app=aws-node or an amazon-k8s-cni image; \
         set spec.cni.namespace and spec.cni.daemonSet to where the VPC CNI runs",
        expected.namespace, expected.name
    )
}
