//! `make demo ONCE=1` as a newcomer sees it: the real operator on a real control plane explains the incident.

use std::process::Command;

#[test]
fn the_demo_explains_the_incident_within_140_columns_and_exits() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).arg("--once").output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");

    // The three full subnets, each by its row.
    for subnet in ["subnet-0a1f4c8e27d95b360", "subnet-0b72e5d913f8a6c41", "subnet-0c958b2f4e61d7a03"] {
        let row = said.lines().find(|line| line.starts_with(subnet)).unwrap_or_default();
        assert!(row.contains("False") && row.ends_with("subnet-full"), "{subnet}: {row:?}\n{said}");
    }
    // Who holds the addresses, how many for how little, and who waits because of it; wherever the lines break.
    let text = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in ["node group batch", "98 pod addresses each (100 with", "14 pods already wait", "shop/resizer"] {
        assert!(text.contains(fact), "{fact:?} is missing in:\n{said}");
    }
    // Questions come in the order of the commands; the answer, why, what to do, then the tables.
    let commands: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("$ kubectl ")).collect();
    let kinds: Vec<_> = commands.iter().filter_map(|command| command.split(' ').nth(1)).collect();
    assert_eq!(kinds, ["ipamaudits", "ipamaudit", "ipnode", "ipsubnet", "events", "ipamaudit"]);
    for line in said.lines() {
        assert!(line.chars().count() <= 140, "{} columns: {line}", line.chars().count());
    }
}
