//! `manifest.json`: what the files cannot say of themselves.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{open, part::Part, stream, wrong::Warning};

/// Its name in a bundle.
pub(crate) const FILE: &str = "manifest.json";

/// What a manifest says; all of it may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) cluster: Option<String>,
    pub(crate) region: Option<String>,
    taken_at: Option<Timestamp>,
    files: Option<BTreeMap<String, File>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    taken_at: Option<Timestamp>,
}

impl Manifest {
    /// Reads it. One that cannot be read says nothing, and that is said.
    pub(crate) fn read(path: &Path, warnings: &mut Vec<Warning>) -> Self {
        let text = open::open(path).map_err(serde_json::Error::io);
        let manifest: Self = match text.and_then(serde_json::from_reader) {
            Ok(manifest) => manifest,
            Err(error) => {
                warnings.push(warning(stream::describe(&error)));
                Self::default()
            }
        };
        let names = manifest.files.iter().flat_map(BTreeMap::keys);
        let unknown = names.filter(|name| Part::of_path(name).is_none());
        warnings.extend(unknown.map(|name| warning(format!("it names {name}, which is no file of a bundle"))));
        manifest
    }

    /// When the bundle was taken: no file of it is younger than itself.
    pub(crate) fn taken_at(&self) -> Option<Timestamp> {
        let of_files = self.files.iter().flat_map(BTreeMap::values).filter_map(|file| file.taken_at);
        of_files.chain(self.taken_at).max()
    }

    /// When one file was taken, if it says so.
    pub(crate) fn file_taken_at(&self, part: Part) -> Option<Timestamp> {
        let of_part = |(name, file): (&String, &File)| file.taken_at.filter(|_| Part::of_path(name) == Some(part));
        let of_file = self.files.iter().flatten().find_map(of_part);
        of_file.or(self.taken_at)
    }
}

fn warning(what: String) -> Warning {
    Warning { file: FILE.to_owned(), item: None, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Manifest, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        let mut warnings = Vec::new();
        let manifest = Manifest::read(&path, &mut warnings);
        (manifest, warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_file_may_have_a_time_of_its_own() {
        let (manifest, warnings) = read(
            r#"{"cluster": "prod", "takenAt": "2026-01-01T00:00:00Z", "made": "by hand", "files": {
                "ec2/subnets.json.gz": {"takenAt": "2026-01-01T00:02:00Z"}, "ec2/enis.json": {}}}"#,
        );
        let at = |text: &str| text.parse().ok();
        assert_eq!((manifest.cluster.as_deref(), manifest.taken_at()), (Some("prod"), at("2026-01-01T00:02:00Z")));
        assert_eq!(manifest.file_taken_at(Part::Subnets), at("2026-01-01T00:02:00Z"));
        assert_eq!(manifest.file_taken_at(Part::Pods), at("2026-01-01T00:00:00Z"));
        assert_eq!(warnings, ["manifest.json: it names ec2/enis.json, which is no file of a bundle"]);
    }

    #[test]
    fn a_broken_manifest_says_nothing_and_is_named() {
        let (manifest, warnings) = read("{\"takenAt\": \"yesterday\"}");
        assert_eq!(manifest, Manifest::default());
        assert_eq!(warnings, ["manifest.json: a value makes no sense at line 1, column 23"]);
    }
}
