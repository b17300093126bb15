//! A report as it is kept in the index: what is compared at every audit in a few numbers, the rest packed.
//!
//! Thousands of reports say nearly the same, so that each is packed with a few of its kind as a dictionary: two hundred
//! bytes instead of three thousand. It is unpacked where what was said before has a part in what is said now.

use std::{fmt::Debug, marker::PhantomData, sync::Arc};

use ipam_audit_api::convert::{Said, digest};
use ipam_audit_core::intern::Interner;
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
    codes: Arc<[Arc<str>]>,
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

/// What reports of one kind are packed with: those that had little in common with the ones before.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    text: Arc<[u8]>,
    /// Findings of few codes are in thousands of reports.
    codes: Interner,
}

impl Dictionary {
    /// A text that packs to no less than this part of itself is unlike those that are known.
    const UNLIKE: usize = 8;
    /// The dictionary grows until then; each growth keeps the one before for those that were packed with it.
    const MOST: usize = 48 * 1024;

    fn pack(&mut self, text: &[u8]) -> Packed {
        let mut bytes = compress_with_dict(text, &self.text);
        if bytes.len() * Self::UNLIKE > text.len() && self.text.len() + text.len() <= Self::MOST {
            self.text = [&*self.text, text].concat().into();
            bytes = compress_with_dict(text, &self.text);
        }
        Packed { bytes: bytes.into(), length: text.len(), dictionary: self.text.clone() }
    }
}

impl<K: Keepable> Kept<K> {
    /// Packs a report.
    pub(crate) fn of(report: &K, dictionary: &mut Dictionary) -> Self {
        // Our own types can be written as JSON; one that could not would be written anew at each audit.
        let text = serde_json::to_vec(report).unwrap_or_default();
        let findings = report.status().map(K::findings).unwrap_or_default();
        Self {
            digest: report.status().cloned().map(digest::<K>),
            own_parts: report.own_parts(),
            codes: dictionary.codes.list(findings.iter().map(|finding| finding.code.as_str())),
            packed: dictionary.pack(&text),
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
        let mut dictionary = Dictionary::default();
        for number in 0..20 {
            let whole = report(number, &format!("{number} of 100 addresses accounted for"), 7);
            let kept = Kept::of(&whole, &mut dictionary);
            assert_eq!(kept.report().as_ref(), Some(&whole));
            let (packed, text) = (kept.packed.bytes.len(), kept.packed.length);
            assert!(packed * 4 < text, "{packed} of {text} bytes");
        }
    }

    #[test]
    fn a_dictionary_learns_what_is_new_until_it_is_full() {
        let mut dictionary = Dictionary::default();
        // Texts that have nothing in common, as far as bytes can.
        let text = |number: u64| {
            let steps = (0..1000_u64).map(|at| (at + number * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            steps.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
        };
        for number in 0..20 {
            let packed = dictionary.pack(&text(number));
            let back = decompress_with_dict(&packed.bytes, packed.length, &packed.dictionary).unwrap();
            assert!(back == text(number), "{number}");
        }
        assert_eq!(dictionary.text.len(), Dictionary::MOST / 8000 * 8000);
        let again = dictionary.pack(&text(3));
        assert!(again.bytes.len() < 100, "{} bytes of what is known", again.bytes.len());
    }

    #[test]
    fn only_times_may_differ_between_reports_that_say_the_same() {
        let kept = Kept::of(&report(1, "the same", 7), &mut Dictionary::default());
        let status = |message: &str, second| report(1, message, second).status.unwrap();
        assert!(kept.says(status("the same", 99)));
        assert!(!kept.says(status("another", 7)));
    }
}
