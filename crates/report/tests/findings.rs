//! `docs/findings/` is what the rules say; `make crds` writes it again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use ipam_audit_core::rules::{self, Rule};
use ipam_audit_report::{finding_page, index_page};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings")
}

fn wanted() -> BTreeMap<String, String> {
    let pages = rules::all().map(Rule::meta).map(|meta| (format!("{}.md", meta.code), finding_page(meta)));
    pages.chain([("README.md".to_owned(), index_page())]).collect()
}

fn present() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder()) else { return BTreeMap::new() };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn generated_finding_pages_are_current() {
    if std::env::var_os("BLESS").is_some() {
        let _ = fs::remove_dir_all(folder());
        fs::create_dir_all(folder()).unwrap();
        for (name, text) in wanted() {
            fs::write(folder().join(name), text).unwrap();
        }
    }
    for (name, text) in &wanted() {
        assert_eq!(present().get(name), Some(text), "docs/findings/{name} is stale: run `make crds`");
    }
    assert_eq!(present().len(), wanted().len(), "docs/findings/ has a page of no rule: run `make crds`");
}
