//! Which files a bundle has. A bundle may come from anybody: links and devices in it are not opened.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{BundleError, manifest, part::Part, wrong::Warning};

const FOLDERS: [&str; 2] = ["kubernetes", "ec2"];

/// The files of a bundle, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    pub(crate) parts: BTreeMap<Part, PathBuf>,
    pub(crate) manifest: Option<PathBuf>,
    /// Files that are no part of a bundle, sorted.
    pub(crate) ignored: Vec<String>,
    pub(crate) warnings: Vec<Warning>,
}

impl Folder {
    /// Looks what is there; an error if that is nothing.
    pub(crate) fn open(dir: &Path) -> Result<Self, BundleError> {
        let metadata = fs::metadata(dir).map_err(|source| unreadable(dir, source))?;
        if !metadata.is_dir() {
            return Err(BundleError::NotAFolder { path: dir.to_owned() });
        }
        let mut folder = Self::default();
        let mut strangers = Vec::new();
        for (path, entry) in entries(dir)? {
            folder.add(path, entry, &mut strangers);
        }
        folder.judge(strangers);
        if folder.parts.is_empty() {
            let hint = folder.warnings.first().map(|warning| format!(": {warning}")).unwrap_or_default();
            return Err(BundleError::Nothing { path: dir.to_owned(), hint });
        }
        Ok(folder)
    }

    fn add(&mut self, path: String, entry: PathBuf, strangers: &mut Vec<String>) {
        let part = Part::of_path(&path);
        if part.is_none() && path != manifest::FILE {
            strangers.push(path);
        } else if !fs::symlink_metadata(&entry).is_ok_and(|metadata| metadata.is_file()) {
            self.warn(path, "it is a link or no file at all, and is not opened");
        } else if let Some(part) = part {
            // Entries are sorted, so the plain file comes before the packed one.
            if let Entry::Vacant(free) = self.parts.entry(part) {
                free.insert(entry);
            } else {
                self.warn(path, format!("it is not read, for {part} is there, too"));
            }
        } else {
            self.manifest = Some(entry);
        }
    }

    /// Files that nobody asked for: a typing error of a part that is lacking, or something else.
    fn judge(&mut self, strangers: Vec<String>) {
        for path in strangers {
            match Part::resembling(&path).filter(|part| !self.parts.contains_key(part)) {
                Some(part) => self.warn(path, format!("it is no file of a bundle; did you mean {part}?")),
                None => self.ignored.push(path),
            }
        }
    }

    fn warn(&mut self, file: String, what: impl Into<String>) {
        self.warnings.push(Warning { file, item: None, what: what.into() });
    }
}

/// Everything in a bundle's folders by its path there, sorted; other folders are not entered, hidden files not seen.
fn entries(dir: &Path) -> Result<BTreeMap<String, PathBuf>, BundleError> {
    let mut found = BTreeMap::new();
    for (name, path) in list(dir)? {
        let is_folder = || fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if FOLDERS.contains(&name.as_str()) && is_folder() {
            found.extend(list(&path)?.into_iter().map(|(inner, path)| (format!("{name}/{inner}"), path)));
        } else {
            found.insert(name, path);
        }
    }
    Ok(found)
}

fn list(dir: &Path) -> Result<Vec<(String, PathBuf)>, BundleError> {
    let read = || {
        fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())))
            .collect::<io::Result<Vec<_>>>()
    };
    let mut entries = read().map_err(|source| unreadable(dir, source))?;
    entries.retain(|(name, _)| !name.starts_with('.'));
    Ok(entries)
}

fn unreadable(path: &Path, source: io::Error) -> BundleError {
    BundleError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        dir
    }

    #[test]
    fn files_are_parts_or_typing_errors_or_ignored() {
        let dir = bundle(&[
            "kubernetes/pods.json",
            "kubernetes/pods.json.gz",
            "kubernetes/.DS_Store",
            "node.json",
            "ec2/subnets.json.gz",
            "ec2/subnet.json",
            "notes/README.md",
            "manifest.json",
        ]);
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.parts.keys().copied().collect::<Vec<_>>(), [Part::Pods, Part::Subnets]);
        assert!(folder.manifest.is_some());
        assert_eq!(folder.ignored, ["ec2/subnet.json", "notes"]);
        let warnings: Vec<String> = folder.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "kubernetes/pods.json.gz: it is not read, for kubernetes/pods.json is there, too",
                "node.json: it is no file of a bundle; did you mean kubernetes/nodes.json?",
            ]
        );
    }

    #[test]
    fn what_is_no_bundle_is_refused_with_the_reason() {
        let error = |path: &Path| Folder::open(path).unwrap_err().to_string();
        let dir = bundle(&["nodes.json"]);
        assert!(
            error(dir.path()).ends_with("nodes.json: it is no file of a bundle; did you mean kubernetes/nodes.json?")
        );
        assert!(error(&dir.path().join("nodes.json")).contains("is a file"));
        assert!(error(&dir.path().join("gone")).contains("gone"));
        assert!(error(bundle(&[]).path()).contains("kubernetes/pods.json"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let dir = bundle(&["ec2/subnets.json", "elsewhere.txt"]);
        std::os::unix::fs::symlink(dir.path().join("elsewhere.txt"), dir.path().join("ec2/vpcs.json")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert!(!folder.parts.contains_key(&Part::Vpcs));
        assert_eq!(folder.warnings.len(), 1);
    }
}
