//! A report as it is kept in the index: what is compared at every audit in a few numbers, the rest packed.
//!
//! Thousands of reports say nearly the same, so that each is packed with the first of its kind as a dictionary: a few
//! hundred bytes instead of five thousand. It is unpacked where what was said before has a part in what is said now.

use std::{fmt::Debug, marker::PhantomData, sync::Arc};

use ipam_audit_api::convert::{Said, digest};
use kube::Resource;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use serde::{Serialize, de::DeserializeOwned};

/// A kind of report that can be kept.
pub(crate) trait Keepable: Said + Resource<DynamicType = ()> + Serialize + DeserializeOwned + Debug {}

impl<K: Said + Resource<DynamicType = ()> + Serialize + DeserializeOwned + Debug> Keepable for K {}

/// One report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept<K> {
    /// What its status says, whenever it was said; none without a status.
    digest: Option<u64>,
    /// What of the object beside its status is ours.
    own_parts: u64,
    /// The codes of its findings.
    codes: Box<[Box<str>]>,
    packed: Packed,
    kind: PhantomData<fn() -> K>,
}

/// A text, and what it takes to read it.
#[derive(Debug, PartialEq, Eq)]
struct Packed {
    bytes: Box<[u8]>,
    length: usize,
    dictionary: Arc<[u8]>,
}

impl<K: Keepable> Kept<K> {
    /// Packs a report. The dictionary is any report of the kind; the first becomes it.
    pub(crate) fn of(report: &K, dictionary: &mut Arc<[u8]>) -> Self {
        // Our own types can be written as JSON; one that could not would be written anew at each audit.
        let text = serde_json::to_vec(report).unwrap_or_default();
        if dictionary.is_empty() {
            *dictionary = text.as_slice().into();
        }
        let codes = report.status().into_iter().flat_map(K::findings).map(|finding| finding.code.as_str().into());
        Self {
            digest: report.status().cloned().map(digest::<K>),
            own_parts: report.own_parts(),
            codes: codes.collect(),
            packed: Packed {
                bytes: compress_with_dict(&text, dictionary).into(),
                length: text.len(),
                dictionary: dictionary.clone(),
            },
            kind: PhantomData,
        }
    }

    /// The report spelled out; none if what was packed makes no sense, which it does not.
    pub(crate) fn report(&self) -> Option<K> {
        let Packed { bytes, length, dictionary } = &self.packed;
        let text = decompress_with_dict(bytes, *length, dictionary).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Its status spelled out.
    pub(crate) fn status(&self) -> Option<K::Status> {
        self.report()?.status().cloned()
    }

    /// Whether its status says this, whenever it was said.
    pub(crate) fn says(&self, status: K::Status) -> bool {
        self.digest == Some(digest::<K>(status))
    }

    /// Whether what is ours of the object beside its status is as in another.
    pub(crate) fn is_like(&self, report: &K) -> bool {
        self.own_parts == report.own_parts()
    }

    /// The codes of its findings.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().map(|code| &**code)
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.packed.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use ipam_audit_api::v1alpha1::{NodeIpamReport, NodeIpamReportSpec, NodeIpamReportStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use kube::core::ObjectMeta;

    use super::*;

    fn report(number: u8, message: &str, second: i64) -> NodeIpamReport {
        let condition = |kind: &str| Condition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: "AllAccounted".to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(jiff::Timestamp::from_second(second).unwrap()),
            observed_generation: None,
        };
        let status = NodeIpamReportStatus {
            conditions: ["Healthy", "WarmPoolSized", "CapacityAvailable"].map(condition).into(),
            subnet: Some("subnet-0a1f4c8e27d95b360".to_owned()),
            ..NodeIpamReportStatus::default()
        };
        NodeIpamReport {
            metadata: ObjectMeta { name: Some(format!("node-{number}")), ..ObjectMeta::default() },
            spec: NodeIpamReportSpec { audit: "cluster".to_owned(), node: format!("node-{number}") },
            status: Some(status),
        }
    }

    #[test]
    fn what_was_kept_comes_out_as_it_went_in_and_takes_little() {
        let mut dictionary = Arc::default();
        for number in 0..20 {
            let whole = report(number, &format!("{number} of 100 addresses accounted for"), 7);
            let kept = Kept::of(&whole, &mut dictionary);
            assert_eq!(kept.report().as_ref(), Some(&whole));
            let (packed, text) = (kept.packed.bytes.len(), kept.packed.length);
            assert!(packed * 4 < text, "{packed} of {text} bytes");
        }
    }

    #[test]
    fn only_times_may_differ_between_reports_that_say_the_same() {
        let kept = Kept::of(&report(1, "the same", 7), &mut Arc::default());
        let status = |message: &str, second| report(1, message, second).status.unwrap();
        assert!(kept.says(status("the same", 99)));
        assert!(!kept.says(status("another", 7)));
    }
}
