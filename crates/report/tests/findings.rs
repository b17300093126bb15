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

/// `docs/rules.md` is written by hand: it may not forget a rule, nor name one that is gone.
#[test]
fn every_rule_and_every_listed_check_has_its_place() {
    let page = fs::read_to_string(folder().join("../rules.md")).unwrap();
    let known: Vec<&str> = rules::all().map(|rule| rule.meta().code).collect();
    for code in &known {
        assert!(page.contains(&format!("[{code}](findings/{code}.md)")), "docs/rules.md says nothing of {code}");
    }
    for named in page.split('[').filter_map(|rest| rest.split_once(']')).map(|(name, _)| name) {
        assert!(!named.starts_with("IPAM") || known.contains(&named), "docs/rules.md names {named}, which is no rule");
    }
    let areas = ["SUB", "VPC", "NOD", "CFG", "SGP", "CNW", "LEK", "KAR", "WIN"];
    let checks = page.lines().filter(|line| areas.iter().any(|area| line.starts_with(&format!("| {area}-"))));
    assert_eq!(checks.count(), 156, "every check of the list is there once");
}

/// What a page tells a user to set has to be there to be set.
#[test]
fn every_threshold_that_a_page_names_is_a_field_of_the_spec() {
    let api = fs::read_to_string(folder().join("../api.md")).unwrap();
    for (name, page) in wanted() {
        for rest in page.split("spec.thresholds.").skip(1) {
            let field: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
            assert!(
                api.contains(&format!("`thresholds.{field}`")),
                "{name} names spec.thresholds.{field}, which docs/api.md does not know"
            );
        }
    }
}
