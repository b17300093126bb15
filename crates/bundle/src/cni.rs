//! The VPC CNI of a bundle: which DaemonSet it is, and its pods among all the others.

use std::{collections::BTreeMap, sync::Arc};

use ipam_audit_api::views::{
    AwsNodePodRow, AwsNodePodView, CniTemplate, ConfigMaps, DaemonSetView, EnvView, Interner, aws_node_pods,
    cni_places, config_maps_of,
};
use ipam_audit_core::{
    snapshot::{AwsNode, Pod, Selector, Workload},
    source::{FaultCategory, Observed, Reading, SourceFault},
};
use jiff::Timestamp;

use crate::{
    list::{Listing, Reader},
    part::Part,
    wrong::Wrong,
};

/// Where the VPC CNI is expected; a DaemonSet that says so itself is taken, too.
const EXPECTED: (&str, &str) = ("kube-system", "aws-node");

/// The DaemonSets, and what was found of the CNI so far.
pub(crate) struct Cni {
    pub(crate) daemon_sets: Listing<DaemonSet>,
    /// Those that are the CNI, the expected one first.
    targets: Vec<Target>,
}

pub(crate) struct DaemonSet {
    namespace: Arc<str>,
    name: Arc<str>,
    view: DaemonSetView,
}

struct Target {
    namespace: Arc<str>,
    name: Arc<str>,
    selector: Selector,
    template: Option<CniTemplate>,
    pods: Vec<AwsNodePodRow>,
}

impl Cni {
    /// Reads the DaemonSets and decides which of them are the CNI.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        let daemon_sets = reader.list(Part::DaemonSets, |item, texts| {
            let view: DaemonSetView = serde_json::from_str(item)?;
            let (namespace, name) = view.place()?;
            Ok(Some(DaemonSet { namespace: texts.text(namespace), name: texts.text(name), view }))
        });
        let daemon_sets = daemon_sets.sorted(|one| (one.namespace.clone(), one.name.clone()));
        let by_place: BTreeMap<(&str, &str), &DaemonSet> =
            daemon_sets.all().iter().map(|one| ((&*one.namespace, &*one.name), one)).collect();
        let says_so = by_place.iter().map(|(place, one)| (place, one.view.is_vpc_cni()));
        let places = cni_places(says_so, &EXPECTED);
        let chosen = places.into_iter().filter_map(|place| by_place.get(place));
        let targets = chosen.map(|one| Target::of(one, &mut reader.texts)).collect();
        Self { daemon_sets, targets }
    }

    /// Takes a pod if it is one of the CNI's.
    pub(crate) fn take(&mut self, pod: &Pod, item: &str, texts: &mut Interner) -> Result<(), Wrong> {
        let Some(target) = self.targets.iter_mut().find(|target| target.owns(pod)) else {
            return Ok(());
        };
        let view: AwsNodePodView = serde_json::from_str(item)?;
        target.pods.extend(view.row(texts)?);
        Ok(())
    }

    /// A DaemonSet that has pods in a namespace of which none is known; then not all pods are.
    pub(crate) fn without_pods(&self, has_pods: impl Fn(&str) -> bool) -> Option<String> {
        let lacks = |one: &&DaemonSet| one.view.current_pods() > 0 && !has_pods(&one.namespace);
        let lacking = self.daemon_sets.all().iter().find(lacks)?;
        Some(format!("{}/{}", lacking.namespace, lacking.name))
    }

    /// Says of each ConfigMap that the CNI refers to and that is not known why it is not.
    pub(crate) fn explain(&self, maps: &mut ConfigMaps, why: &str) {
        for target in &self.targets {
            let of_template = target.template.iter().flat_map(CniTemplate::environments);
            let of_pods = target.pods.iter().map(|pod| &pod.container.env);
            let environments: Vec<&EnvView> = of_template.chain(of_pods).collect();
            for key in config_maps_of(&target.namespace, environments) {
                maps.entry(key).or_insert_with(|| Err(why.to_owned()));
            }
        }
    }

    /// The DaemonSets as workloads.
    pub(crate) fn workloads(&mut self, maps: &ConfigMaps, texts: &mut Interner) -> Listing<Workload> {
        let convert = |one: DaemonSet| one.view.workload(maps, texts).ok();
        self.daemon_sets.take().map(|rows| rows.into_iter().filter_map(convert).collect())
    }

    /// The CNI of a snapshot; `pods_fault` says why its pods are not known, if they are not.
    pub(crate) fn aws_node(&self, maps: &ConfigMaps, pods: &Listing<Pod>) -> Result<AwsNode, SourceFault> {
        let malformed = |listing_fault: Option<&SourceFault>, message: String| {
            let not_found = || SourceFault { category: FaultCategory::NotFound, message };
            listing_fault.cloned().unwrap_or_else(not_found)
        };
        let Some(primary) = self.targets.first() else {
            let message = format!(
                "there is no DaemonSet {}/{} in {} and no other with label k8s-app=aws-node or an amazon-k8s-cni image",
                EXPECTED.0,
                EXPECTED.1,
                Part::DaemonSets
            );
            return Err(malformed(self.daemon_sets.fault(), message));
        };
        let Some(template) = &primary.template else {
            let (namespace, name) = (&primary.namespace, &primary.name);
            let message =
                format!("DaemonSet {namespace}/{name} has no container aws-node and none with an amazon-k8s-cni image");
            return Err(malformed(None, message));
        };
        if pods.rows.is_none() {
            return Err(malformed(pods.fault(), "the pods of the VPC CNI are not known".to_owned()));
        }
        let mut cni = template.aws_node(&primary.namespace, &primary.name, maps);
        for target in &self.targets {
            cni.pods.extend(aws_node_pods(&target.pods, &target.namespace, maps));
        }
        cni.pods.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
        Ok(cni)
    }
}

impl Target {
    fn of(daemon_set: &DaemonSet, texts: &mut Interner) -> Self {
        Self {
            namespace: daemon_set.namespace.clone(),
            name: daemon_set.name.clone(),
            selector: daemon_set.view.pod_selector(texts).unwrap_or_default(),
            template: daemon_set.view.template(),
            pods: Vec::new(),
        }
    }

    /// An empty selector would own everything; no DaemonSet has one.
    fn owns(&self, pod: &Pod) -> bool {
        let labels = || pod.traits().map(|traits| &traits.labels);
        pod.namespace() == &*self.namespace
            && !self.selector.is_empty()
            && labels().is_some_and(|labels| self.selector.matches(labels))
    }
}

/// The CNI with the faults of the two files it is read from.
pub(crate) fn reading(
    found: Result<AwsNode, SourceFault>,
    incomplete: Option<SourceFault>,
    as_of: Timestamp,
) -> Reading<AwsNode> {
    match found {
        Ok(value) => Reading { last_good: Some(Observed { value, as_of }), fault: incomplete },
        Err(fault) => Reading { last_good: None, fault: Some(fault) },
    }
}
