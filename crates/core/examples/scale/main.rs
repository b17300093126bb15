//! Measures one evaluation at the size that the product promises: 5,000 nodes, 150,000 pods, 20,000 interfaces.
//!
//! `make bench-evaluate`, or `cargo run --release -p ipam-audit-core --example scale`. With `rules` as an argument it also says
//! what each rule takes.

#![expect(clippy::print_stdout, reason = "its purpose is to print figures")]

mod cluster;
mod objects;

use std::time::{Duration, Instant};

use ipam_audit_core::{
    engine,
    facts::Facts,
    memory::Memory,
    outcome::AuditOutcome,
    pages::Pages,
    policy::AuditPolicy,
    rows::Rows,
    rules::{self, Rule, Violations},
    snapshot::ClusterSnapshot,
};

const ROUNDS: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let snapshot = cluster::snapshot();
    let (policy, memory) = (AuditPolicy::default(), Memory::default());
    let outcome = engine::evaluate(&snapshot, &policy, &memory);
    describe(&snapshot, &outcome);
    let json = serde_json::to_vec(&outcome)?;
    if json != serde_json::to_vec(&engine::evaluate(&snapshot, &policy, &memory))? {
        return Err("two evaluations of one snapshot differ".into());
    }
    println!("two evaluations give the same {} bytes of JSON", json.len());
    println!();
    phases(&snapshot, &policy, &memory);
    if std::env::args().any(|argument| argument == "rules") {
        println!();
        each_rule(&snapshot, &policy, &memory);
    }
    Ok(())
}

fn describe(snapshot: &ClusterSnapshot, outcome: &AuditOutcome) {
    let rows = |rows: Option<usize>| rows.unwrap_or_default();
    println!(
        "{} nodes, {} pods, {} interfaces, {} subnets; {} rules, {} problems",
        rows(snapshot.nodes.value().map(Vec::len)),
        rows(snapshot.pods.value().map(Pages::len)),
        rows(snapshot.ec2.interfaces.value().map(Rows::len)),
        rows(snapshot.ec2.subnets.value().map(Vec::len)),
        outcome.rules.len(),
        outcome.problems.len(),
    );
}

/// Facts and rules are measured by themselves; the outcome is what remains of the whole.
fn phases(snapshot: &ClusterSnapshot, policy: &AuditPolicy, memory: &Memory) {
    let facts = measure(|| Facts::of(snapshot, policy, memory));
    let derived = Facts::of(snapshot, policy, memory);
    let rules = measure(|| {
        let run = |rule: &dyn Rule| {
            let mut found = Violations::new(rule.meta(), memory);
            rule.evaluate(&derived, policy, &mut found);
            found
        };
        rules::all().map(run).collect::<Vec<_>>()
    });
    let whole = measure(|| engine::evaluate(snapshot, policy, memory));
    let rest = |of: fn(&Times) -> f64| (of(&whole) - of(&facts) - of(&rules)).max(0.0);
    println!("{:<10} {:>10} {:>10}", "phase", "best (ms)", "median");
    for (phase, best, median) in [
        ("facts", facts.best, facts.median),
        ("rules", rules.best, rules.median),
        ("outcome", rest(|times| times.best), rest(|times| times.median)),
        ("evaluate", whole.best, whole.median),
    ] {
        println!("{phase:<10} {best:>10.1} {median:>10.1}");
    }
}

/// The slowest first.
fn each_rule(snapshot: &ClusterSnapshot, policy: &AuditPolicy, memory: &Memory) {
    let facts = Facts::of(snapshot, policy, memory);
    let mut times: Vec<(f64, &str, &str)> = rules::all()
        .map(|rule| {
            let times = measure(|| {
                let mut found = Violations::new(rule.meta(), memory);
                rule.evaluate(&facts, policy, &mut found);
                found
            });
            (times.best, rule.meta().code, rule.meta().name)
        })
        .collect();
    times.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (best, code, name) in times {
        println!("{best:>8.2} ms  {code} {name}");
    }
}

/// Time that this thread had a processor, where the kernel tells, so that a busy machine does not count; else the clock's.
fn processor_time(origin: Instant) -> Duration {
    // The kernel brings the figure up to date when it has to choose whom to run.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| origin.elapsed(), Duration::from_nanos)
}

/// Milliseconds.
struct Times {
    best: f64,
    median: f64,
}

/// What is made is dropped outside of the measurement: a controller keeps it.
fn measure<T>(make: impl Fn() -> T) -> Times {
    let origin = Instant::now();
    let mut taken: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = processor_time(origin);
            let result = std::hint::black_box(make());
            let taken = processor_time(origin).saturating_sub(start);
            drop(result);
            taken
        })
        .collect();
    taken.sort();
    let milliseconds = |at: usize| taken.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    Times { best: milliseconds(0), median: milliseconds(ROUNDS / 2) }
}
