//! Versions of the CNI with a known defect: the table `known_bad_versions.csv` and its parser.
//!
//! A line is a range of versions (both ends belong to it), when the defect matters, how bad it is, the version that
//! mends it, where it is described, and what breaks; the last column runs to the end of the line.

use std::sync::LazyLock;

use crate::{cni::CniVersion, finding::Severity};

/// One defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defect {
    /// The first and the last version that have it.
    pub(super) versions: [CniVersion; 2],
    /// Who is hit.
    pub(super) matters: Matters,
    /// How bad.
    pub(super) severity: Severity,
    /// The version that mends it.
    pub(super) fixed: CniVersion,
    /// Where it is described.
    pub(super) source: &'static str,
    /// What breaks, as the end of a sentence.
    pub(super) breaks: &'static str,
}

/// When a defect matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matters {
    /// On every cluster.
    Always,
    /// With subnet discovery, which is on by default.
    SubnetDiscovery,
    /// With `ANNOTATE_POD_IP`.
    AnnotatedPods,
    /// With security groups for pods or custom networking.
    TrunkOrCustomNetworking,
    /// On clusters with interfaces that the CNI is told to leave alone.
    UnmanagedInterfaces,
}

/// Every known defect.
pub(super) static DEFECTS: LazyLock<Vec<Defect>> =
    LazyLock::new(|| include_str!("known_bad_versions.csv").lines().skip(1).filter_map(Defect::parse).collect());

impl Defect {
    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.splitn(7, ',');
        let version = |text: Option<&str>| CniVersion::parse(text?).ok();
        let versions = [version(columns.next())?, version(columns.next())?];
        let matters = Matters::parse(columns.next()?)?;
        let severity = match columns.next()? {
            "info" => Severity::Info,
            "warning" => Severity::Warning,
            "critical" => Severity::Critical,
            _ => return None,
        };
        let fixed = version(columns.next())?;
        Some(Self { versions, matters, severity, fixed, source: columns.next()?, breaks: columns.next()? })
    }

    /// Whether a version has it.
    pub(super) fn is_in(&self, version: CniVersion) -> bool {
        let [first, last] = self.versions;
        (first..=last).contains(&version)
    }
}

impl Matters {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "always" => Some(Self::Always),
            "subnet-discovery" => Some(Self::SubnetDiscovery),
            "annotated-pods" => Some(Self::AnnotatedPods),
            "trunk-or-custom-networking" => Some(Self::TrunkOrCustomNetworking),
            "unmanaged-interfaces" => Some(Self::UnmanagedInterfaces),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_defect_and_makes_sense() {
        let lines = include_str!("known_bad_versions.csv").lines().skip(1).filter(|line| !line.is_empty()).count();
        assert_eq!(DEFECTS.len(), lines);
        for defect in DEFECTS.iter() {
            let [first, last] = defect.versions;
            assert!(first <= last && last < defect.fixed, "{defect:?}");
            assert!(defect.source.starts_with("https://") && !defect.breaks.ends_with('.'), "{defect:?}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_none() {
        for line in
            ["", "1.9.0", "1.9,1.10,always,info,1.11.0,https://x,y", "1.9.0,1.10.0,never,info,1.11.0,https://x,y"]
        {
            assert_eq!(Defect::parse(line), None, "{line}");
        }
        let defect = Defect::parse("1.9.0,1.10.0,always,critical,1.11.0,https://x,one, two").unwrap();
        assert_eq!((defect.severity, defect.breaks), (Severity::Critical, "one, two"));
        assert!(defect.is_in(CniVersion::new(1, 10, 0)) && !defect.is_in(CniVersion::new(1, 10, 1)));
    }
}
