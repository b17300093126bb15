//! The documents about the model say what is so: answers are what the program prints, functions exist.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, io::Cursor, path::Path};

use ipam_audit_core::batch;
use serde_json::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a document that are marked with `mark`.
fn blocks<'a>(document: &'a str, mark: &str) -> Vec<&'a str> {
    let opening = format!("```{mark}\n");
    document.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn examples_are_what_the_program_prints() {
    let document = read("docs/simulate.md");
    let (inputs, outputs) = (blocks(&document, "jsonl in"), blocks(&document, "jsonl out"));
    assert_eq!(inputs.len(), outputs.len());
    for (input, output) in inputs.into_iter().zip(outputs) {
        let mut printed = Vec::new();
        batch::run(Cursor::new(input), &mut printed).unwrap();
        assert_eq!(String::from_utf8(printed).unwrap(), output, "for\n{input}");
    }
}

#[test]
fn ten_questions_have_an_answer() {
    let document = read("docs/simulate.md");
    for number in 1..=10 {
        let heading = format!("\n### {number}. ");
        let section = document.split(&heading).nth(1).unwrap_or_else(|| panic!("question {number}"));
        let section = section.split("\n### ").next().unwrap();
        let answers = blocks(section, "jsonl out").concat();
        assert!(answers.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].is_string()));
        assert!(!answers.is_empty(), "question {number}");
    }
}

#[test]
fn every_function_of_the_map_exists() {
    let map = read("docs/model.md");
    let names = map.split('`').filter(|word| word.split("::").count() == 3);
    let mut found = 0;
    for name in names {
        let [module, file, function] = name.split("::").collect::<Vec<_>>()[..] else { continue };
        let source = read(&format!("crates/core/src/{module}/{file}.rs"));
        let declared = ["(", "<"].iter().any(|after| source.contains(&format!("fn {function}{after}")));
        assert!(declared, "{name} is not in the source");
        found += 1;
    }
    assert!(found > 40, "{found} functions");
}
