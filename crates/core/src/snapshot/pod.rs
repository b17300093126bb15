//! A pod's row, packed: there are thirty of them for each node, and every byte counts a hundred and fifty thousand times.
//!
//! What the pods of a workload share is kept once ([`PodFamily`]), a name is what its siblings share and a few letters,
//! and what few pods have is kept apart. [`PodFields`] is the same spelled out.

use std::{cmp::Ordering, fmt, net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Tags;
use crate::{
    ids::{EniId, NodeName, Uid},
    intern::Interner,
};

/// A pod, as far as addresses depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "PodFields", into = "PodFields")]
pub struct Pod {
    family: Arc<PodFamily>,
    /// Behind a pointer of its own: that to a text takes two words.
    node: Option<Arc<NodeName>>,
    rare: Option<Box<Rare>>,
    uid: [u8; 16],
    created_at: Seconds,
    name: OwnLetters,
    /// Its IPv4 address.
    pub address: Option<Ipv4Addr>,
    /// Whether it still is what it was scheduled as.
    pub phase: PodPhase,
    /// Whether its deletion was asked for.
    pub terminating: bool,
}

/// What the pods of one workload share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodFamily {
    /// What all their names begin with.
    name: Arc<str>,
    namespace: Arc<str>,
    workload: Option<Arc<str>>,
    host_network: bool,
    traits: Option<Arc<PodTraits>>,
}

/// What few pods have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rare {
    /// A uid that is no UUID.
    uid: Option<Arc<str>>,
    branch: BranchUse,
    scheduled_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    refused_at: Option<Timestamp>,
}

/// A pod spelled out: how rows are made, and how they are written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFields {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: Uid,
    /// The workload that made it, for example `Deployment resizer`.
    pub workload: Option<Arc<str>>,
    /// Where it runs; none while unscheduled.
    pub node: Option<NodeName>,
    /// Its IPv4 address.
    pub address: Option<Ipv4Addr>,
    /// Whether it shares the node's address.
    pub host_network: bool,
    /// Whether it still is what it was scheduled as.
    pub phase: PodPhase,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// Whether it uses a branch interface.
    pub branch: BranchUse,
    /// `metadata.creationTimestamp`, to the second.
    pub created_at: Option<Timestamp>,
    /// When it was bound to its node; kept only for pods that want a branch or have no address.
    pub scheduled_at: Option<Timestamp>,
    /// When its last container ended; kept only for finished pods.
    pub finished_at: Option<Timestamp>,
    /// When kubelet last said that the CNI gave it no address.
    pub refused_at: Option<Timestamp>,
    /// What it has in common with the other pods of its workload; none where the reader does not collect it.
    pub traits: Option<Arc<PodTraits>>,
}

impl From<PodFields> for Pod {
    fn from(fields: PodFields) -> Self {
        Self::pack(fields, &mut Interner::default())
    }
}

impl From<Pod> for PodFields {
    fn from(pod: Pod) -> Self {
        pod.fields()
    }
}

impl Pod {
    /// The row of a pod, sharing what others have too.
    pub fn pack(fields: PodFields, shared: &mut Interner) -> Self {
        let PodFields { namespace, name, uid, workload, node, address, host_network, phase, terminating, .. } = fields;
        let PodFields { branch, created_at, scheduled_at, finished_at, refused_at, traits, .. } = fields;
        let rare = Rare { uid: uid.no_uuid().cloned(), branch, scheduled_at, finished_at, refused_at };
        let (common, own) = OwnLetters::split(&name);
        let name = shared.text(common);
        Self {
            family: shared.family(PodFamily { name, namespace, workload, host_network, traits }),
            node: node.map(|node| shared.kept_node(node)),
            rare: (rare != Rare::NOTHING).then(|| Box::new(rare)),
            uid: uid.key().to_be_bytes(),
            created_at: Seconds::of(created_at),
            name: own,
            address,
            phase,
            terminating,
        }
    }

    /// The row spelled out.
    pub fn fields(&self) -> PodFields {
        PodFields {
            namespace: self.family.namespace.clone(),
            name: self.name().to_string().into(),
            uid: self.uid(),
            workload: self.family.workload.clone(),
            node: self.node().cloned(),
            address: self.address,
            host_network: self.host_network(),
            phase: self.phase,
            terminating: self.terminating,
            branch: self.branch().clone(),
            created_at: self.created_at(),
            scheduled_at: self.scheduled_at(),
            finished_at: self.finished_at(),
            refused_at: self.refused_at(),
            traits: self.family.traits.clone(),
        }
    }

    /// Changes what is packed.
    pub fn edit(&mut self, change: impl FnOnce(&mut PodFields)) {
        let mut fields = self.fields();
        change(&mut fields);
        *self = fields.into();
    }

    /// The same, refused an address at this time.
    #[must_use]
    pub fn refused(&self, at: Timestamp) -> Self {
        let mut pod = self.clone();
        let rare = pod.rare.get_or_insert_with(|| Box::new(Rare::NOTHING));
        rare.refused_at = Some(at);
        pod
    }

    /// What it shares with the pods of its workload: the same address means the same family, where rows share it.
    pub const fn family(&self) -> &Arc<PodFamily> {
        &self.family
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.family.namespace
    }

    /// Its name.
    pub fn name(&self) -> PodName<'_> {
        PodName { common: &self.family.name, own: self.name.as_str() }
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Uid {
        let text = self.rare.as_ref().and_then(|rare| rare.uid.clone());
        text.map_or_else(|| Uid::of_uuid(self.uid), Uid::of_text)
    }

    /// The number that stands for its uid in tables.
    pub const fn uid_key(&self) -> u128 {
        u128::from_be_bytes(self.uid)
    }

    /// Where it runs; none while unscheduled.
    pub fn node(&self) -> Option<&NodeName> {
        self.node.as_deref()
    }

    /// The workload that made it, for example `Deployment resizer`.
    pub fn workload(&self) -> Option<&str> {
        self.family.workload.as_deref()
    }

    /// Whether it shares the node's address.
    pub fn host_network(&self) -> bool {
        self.family.host_network
    }

    /// What it has in common with the other pods of its workload; none where the reader does not collect it.
    pub fn traits(&self) -> Option<&PodTraits> {
        self.family.traits.as_deref()
    }

    /// Whether it uses a branch interface.
    pub fn branch(&self) -> &BranchUse {
        self.rare.as_ref().map_or(&BranchUse::No, |rare| &rare.branch)
    }

    /// `metadata.creationTimestamp`.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.created_at.time()
    }

    /// When it was bound to its node; kept only for pods that want a branch or have no address.
    pub fn scheduled_at(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.scheduled_at
    }

    /// When its last container ended; kept only for finished pods.
    pub fn finished_at(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.finished_at
    }

    /// When kubelet last said that the CNI gave it no address.
    pub fn refused_at(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.refused_at
    }

    /// Whether it takes, or wants, an address of its node's warm pool.
    pub fn uses_pool(&self) -> bool {
        !self.host_network() && *self.branch() == BranchUse::No && self.phase != PodPhase::Finished
    }

    /// Whether it is on a node, has no address and kubelet says that this is the CNI's refusal.
    pub fn waits_for_address(&self) -> bool {
        self.uses_pool() && self.node().is_some() && self.address.is_none() && self.refused_at().is_some()
    }

    /// Whether a DaemonSet made it.
    pub fn is_daemon(&self) -> bool {
        self.workload().is_some_and(|workload| workload.starts_with("DaemonSet "))
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// The order of `namespace`, then `name`.
    pub fn by_full_name(&self, other: &Self) -> Ordering {
        self.namespace().cmp(other.namespace()).then_with(|| self.name().cmp(&other.name()))
    }
}

impl Rare {
    const NOTHING: Self =
        Self { uid: None, branch: BranchUse::No, scheduled_at: None, finished_at: None, refused_at: None };
}

/// The letters of a name that its siblings do not share; padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OwnLetters([u8; Self::MOST]);

impl OwnLetters {
    /// As many as a name of a ReplicaSet's, Job's or DaemonSet's pod ends in.
    const MOST: usize = 5;

    /// What siblings share of a name, and the rest.
    fn split(name: &str) -> (&str, Self) {
        let own = name.rfind('-').map_or("", |dash| &name[dash + 1..]);
        let mut packed = [0; Self::MOST];
        // Only what can be told from padding, and never half a character.
        if own.len() > Self::MOST || !own.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return (name, Self(packed));
        }
        packed[..own.len()].copy_from_slice(own.as_bytes());
        (&name[..name.len() - own.len()], Self(packed))
    }

    fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::MOST);
        str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

/// A pod's name: what its siblings share, and the letters that are its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PodName<'a> {
    common: &'a str,
    own: &'a str,
}

impl PodName<'_> {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.common.bytes().chain(self.own.bytes())
    }
}

impl fmt::Display for PodName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.common, self.own)
    }
}

impl fmt::Debug for PodName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl PartialEq<str> for PodName<'_> {
    fn eq(&self, other: &str) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl PartialEq<&str> for PodName<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl Ord for PodName<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for PodName<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A time of Kubernetes, which has whole seconds from 1970 to 2106; none is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seconds(u32);

impl Seconds {
    fn of(time: Option<Timestamp>) -> Self {
        Self(time.and_then(|time| u32::try_from(time.as_second()).ok()).unwrap_or_default())
    }

    fn time(self) -> Option<Timestamp> {
        (self.0 > 0).then(|| Timestamp::from_second(self.0.into()).ok()).flatten()
    }
}

/// The phases that differ for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Running, or a phase that is not known.
    Running,
    /// Succeeded or failed: its address is free again.
    Finished,
}

/// How a pod uses security groups for pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BranchUse {
    /// Not at all.
    No,
    /// It asks for a branch and has none yet.
    Wanted,
    /// It has this branch interface.
    Has(EniId),
}

/// What pods of one template share: kept once for all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodTraits {
    /// Labels, sorted by key.
    pub labels: Tags,
    /// `spec.serviceAccountName`; none means `default`.
    pub service_account: Option<Arc<str>>,
    /// Indices of the containers that ask for `vpc.amazonaws.com/pod-eni`.
    pub branch_containers: Box<[u32]>,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: Option<u32>,
    /// Whether kubelet probes it over the network (HTTP, TCP or gRPC): liveness, readiness or startup.
    pub network_probes: bool,
    /// Whether the scheduler says that no node has a branch slot left for it.
    pub lacks_branch_slot: bool,
}

impl PodTraits {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PodName<'_> {
        let (common, own) = OwnLetters::split(text);
        PodName { common, own: &text[text.len() - own.as_str().len()..] }
    }

    #[test]
    fn a_name_comes_out_as_it_went_in() {
        for text in ["resizer-7d9f8c5b4d-x2k9q", "db-0", "bare", "ends-", "-x", "a-toolong", "shop-\u{e4}", ""] {
            assert_eq!(name(text).to_string(), text);
            assert!(name(text) == *text, "{text}");
        }
        assert_eq!(name("resizer-7d9f8c5b4d-x2k9q").common, "resizer-7d9f8c5b4d-");
    }

    #[test]
    fn names_are_ordered_like_their_texts() {
        let mut texts = ["web-1-a", "web-1", "web-10", "web", "web-2", "weba", "web-1-"];
        let mut names = texts.map(name);
        texts.sort_unstable();
        names.sort_unstable();
        assert_eq!(names.map(|name| name.to_string()), texts);
    }

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Pod>() <= 56, "{} bytes, 150,000 times", size_of::<Pod>());
    }

    #[test]
    fn a_row_says_what_was_packed() {
        let at = |second| Timestamp::from_second(second).ok();
        let plain = PodFields {
            namespace: "shop".into(),
            name: "web-abc-x2k9q".into(),
            uid: "0f8fad5b-d9cb-469f-a165-70867728950e".into(),
            workload: Some("Deployment web".into()),
            node: Some("node-1".into()),
            address: Some([10, 0, 0, 9].into()),
            host_network: false,
            phase: PodPhase::Running,
            terminating: true,
            branch: BranchUse::No,
            created_at: at(1_700_000_000),
            scheduled_at: None,
            finished_at: None,
            refused_at: None,
            traits: Some(Arc::default()),
        };
        let odd = PodFields { uid: "no-uuid".into(), name: "bare".into(), node: None, ..plain.clone() };
        let rare = PodFields { branch: BranchUse::Has("eni-1".into()), refused_at: at(1_700_000_009), ..plain.clone() };
        for fields in [plain, odd, rare] {
            let pod = Pod::from(fields.clone());
            assert_eq!(pod.fields(), fields);
            let text = serde_json::to_string(&pod).unwrap();
            assert_eq!(serde_json::from_str::<Pod>(&text).unwrap(), pod);
        }
    }
}
