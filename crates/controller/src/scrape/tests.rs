//! What a scrape says, in the text that Prometheus reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipam_audit_core::{
    engine,
    memory::Memory,
    outcome::AuditOutcome,
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, IpamdNode, IpamdSaid, IpamdTroubles},
    source::Reading,
};
use prometheus_client::{encoding::text::encode, registry::Registry};

use super::*;
use crate::{
    metrics::{AuditFigures, Figures},
    poll::{Ec2Scope, Rhythm},
    publish::tests::snapshot,
};

/// Everything that a scrape looks at, without a cluster.
fn live(per_node: bool, leadership: Leadership) -> LiveState {
    LiveState {
        state: Arc::new(State::new(Duration::ZERO)),
        polls: Arc::new(Polls::new()),
        scrapes: Arc::new(Scrapes::new()),
        metrics: Arc::new(Metrics::new(per_node)),
        leadership,
        crds: CrdState::answered(None),
    }
}

fn scrape(live: LiveState) -> Scrape {
    let mut registry = Registry::default();
    live.metrics.register(&mut registry);
    registry.register_collector(Box::new(live));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    Scrape(text)
}

/// Has EC2 read for an audit, once in five minutes: so many addresses were free. Returns which readings were news.
fn read(live: &LiveState, audit: &str, vpc: &str, free: impl IntoIterator<Item = u32>) -> Vec<bool> {
    let scope = Ec2Scope { vpc: Some(vpc.to_owned()), ..Ec2Scope::default() };
    let rhythm = Rhythm { interval: Duration::from_mins(5), low_percent: 0, low_addresses: 0 };
    live.polls.want(audit, &scope, rhythm);
    let readings = (0..).step_by(300).zip(free).map(|(second, free)| {
        let mut now = snapshot(3, free).ec2;
        now.subnets.last_good.as_mut().unwrap().as_of = Timestamp::from_second(second).unwrap();
        live.polls.merge(&scope, now, true, 0)
    });
    readings.collect()
}

fn outcome(snapshot: &ClusterSnapshot) -> AuditOutcome {
    engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

/// The text of a scrape.
struct Scrape(String);

impl Scrape {
    /// The series of a metric: labels as they are written, and the value.
    fn series(&self, name: &str) -> BTreeMap<&str, f64> {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let series = lines.filter_map(|rest| rest.strip_prefix('{')?.split_once("} "));
        series.map(|(labels, value)| (labels, value.parse().unwrap())).collect()
    }

    fn one(&self, name: &str, labels: &str) -> Option<f64> {
        self.series(name).get(labels).copied()
    }

    fn names(&self) -> BTreeSet<&str> {
        let types = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|rest| rest.split(' ').next()).collect()
    }
}

const SUBNET: &str = r#"audit="cluster",subnet="subnet-1",zone="eu-central-1a""#;

#[test]
fn the_classes_of_a_subnet_and_what_is_free_are_all_its_addresses() {
    let live = live(false, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 3000)));
    let scrape = scrape(live);
    let free = scrape.one("ipam_audit_subnet_available_addresses", SUBNET).unwrap();
    let total = scrape.one("ipam_audit_subnet_total_addresses", SUBNET).unwrap();
    let classes = scrape.series("ipam_audit_subnet_addresses");
    assert_eq!((free, total), (3000.0, 4091.0));
    assert_eq!(Some(classes.values().sum::<f64>()), Some(total - free), "{classes:?}");
    let of = |class: &str| classes.get(format!("{SUBNET},class=\"{class}\"").as_str());
    assert_eq!((of("own"), of("pods")), (Some(&6.0), Some(&3.0)));
    let bound = |bound: &str| scrape.one("ipam_audit_subnet_free_prefixes", &format!("{SUBNET},bound=\"{bound}\""));
    assert!(bound("lower") <= bound("upper") && bound("upper") > Some(0.0), "{:?}", scrape.0);
}

#[test]
fn what_the_metrics_helper_of_the_cni_sums_up_is_there_per_cluster_subnet_and_node() {
    let live = live(true, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 3000)));
    let scrape = scrape(live);
    let levels = [
        ("cluster", r#"audit="cluster""#.to_owned(), 3.0),
        ("subnet", SUBNET.to_owned(), 3.0),
        ("node", r#"audit="cluster",node="node-1""#.to_owned(), 1.0),
    ];
    for (level, labels, nodes) in levels {
        let figure = |name: &str| scrape.one(&format!("ipam_audit_{level}_{name}"), &labels);
        assert_eq!(figure("interfaces"), Some(2.0 * nodes), "{level}");
        assert_eq!(figure("held_addresses"), Some(98.0 * nodes), "{level}");
        assert_eq!(figure("prefixes"), Some(0.0), "{level}");
        assert_eq!(figure("interface_slots"), Some(15.0 * nodes), "{level}");
        assert!(figure("capacity_pods") > figure("held_addresses"), "{level}");
        let label = if level == "subnet" { "class" } else { "state" };
        assert_eq!(
            scrape.one(&format!("ipam_audit_{level}_addresses"), &format!("{labels},{label}=\"pods\"")),
            Some(nodes)
        );
    }
    assert_eq!(scrape.one("ipam_audit_empty_interface_slots", r#"audit="cluster""#), Some(39.0));
}

#[test]
fn series_go_with_their_objects_and_with_leadership() {
    let live = live(true, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 3000)));
    live.metrics.keep("other", &outcome(&snapshot(1, 3000)));
    live.metrics.keep("cluster", &outcome(&snapshot(2, 3000)));
    live.metrics.retain(|audit| audit == "cluster");
    let metrics = live.metrics.clone();
    let scrape_of = |leadership| scrape(LiveState { metrics: metrics.clone(), ..self::live(true, leadership) });
    let scrape = scrape_of(Leadership::always());
    assert!(!scrape.0.contains(r#"audit="other""#) && !scrape.0.contains("node-2"), "{}", scrape.0);
    assert!(scrape.0.contains(r#"node="node-1""#));
    metrics.forget("cluster");
    assert!(!scrape_of(Leadership::always()).0.contains(r#"audit=""#));
    metrics.keep("cluster", &outcome(&snapshot(2, 3000)));
    assert!(!scrape_of(Leadership::never()).0.contains(r#"audit=""#), "what another replica leads is its to say");
}

#[test]
fn no_node_is_named_unless_somebody_asked_for_it() {
    let live = live(false, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 3000)));
    let scrape = scrape(live);
    assert!(!scrape.0.contains("node-1") && !scrape.0.contains("ipam_audit_node_"), "{}", scrape.0);
}

#[test]
fn what_is_not_known_has_no_series() {
    let live = live(true, Leadership::always());
    let mut without = snapshot(3, 3000);
    without.ec2.interfaces = Reading::default();
    live.metrics.keep("cluster", &outcome(&without));
    let scrape = scrape(live);
    for name in
        ["cluster_held_addresses", "cluster_interfaces", "node_addresses", "subnet_addresses", "subnet_prefixes"]
    {
        assert_eq!(scrape.series(&format!("ipam_audit_{name}")).len(), 0, "{name}");
    }
    let nodes = scrape.series("ipam_audit_nodes");
    assert_eq!(nodes.get(r#"audit="cluster",category="unknown""#), Some(&3.0));
    assert!(!nodes.contains_key(r#"audit="cluster",category="at-capacity""#), "{nodes:?}");
}

#[test]
fn a_subnet_that_falls_has_a_time_for_each_pace_and_no_more_once_its_audit_or_the_subnet_is_gone() {
    let live = live(false, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 2940)));
    live.metrics.keep("other", &outcome(&snapshot(3, 2940)));
    read(&live, "cluster", "vpc-1", (0..13).map(|place| 3000 - place * 5));
    read(&live, "other", "vpc-2", (0..12).map(|place| 3000 - place * 5));
    let (polls, metrics) = (live.polls.clone(), live.metrics.clone());
    let again =
        |leadership| LiveState { polls: polls.clone(), metrics: metrics.clone(), ..self::live(false, leadership) };
    let times = |live: LiveState| {
        let scrape = scrape(live);
        let series = scrape.series("ipam_audit_subnet_exhaustion_seconds");
        series.into_iter().map(|(labels, value)| (labels.to_owned(), value.round())).collect::<Vec<_>>()
    };
    // 60 an hour, and 2,940 are left; the other audit's hour is not full yet.
    let expected = ["0.1", "0.5", "0.9"].map(|of| (format!("{SUBNET},quantile=\"{of}\""), 49.0 * 3600.0));
    assert_eq!(times(live), expected);
    assert!(times(again(Leadership::never())).is_empty(), "what another replica leads is its to say");
    let mut without = snapshot(3, 2940);
    without.ec2.subnets.last_good.as_mut().unwrap().value.clear();
    metrics.keep("cluster", &outcome(&without));
    assert!(times(again(Leadership::always())).is_empty(), "the subnet is gone");
    metrics.keep("cluster", &outcome(&snapshot(3, 2940)));
    polls.drop_wish("cluster");
    assert!(times(again(Leadership::always())).is_empty(), "nobody reads it any more");
}

#[test]
fn a_subnet_that_is_idle_has_no_forecast_and_its_readings_are_no_news() {
    let live = live(false, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 3000)));
    let news = read(&live, "cluster", "vpc-1", [3000; 30]);
    assert_eq!(news.iter().filter(|news| **news).count(), 1, "the first one");
    assert_eq!(scrape(live).series("ipam_audit_subnet_exhaustion_seconds").len(), 0);
}

#[test]
fn every_family_has_a_help_text_and_is_documented() {
    let live = live(true, Leadership::always());
    live.metrics.keep("cluster", &outcome(&snapshot(3, 3000)));
    read(&live, "cluster", "vpc-1", [0]);
    let scrape = scrape(live);
    let documents = include_str!("../../../../docs/operations.md");
    for name in scrape.names() {
        assert!(scrape.0.contains(&format!("# HELP {name} ")), "{name}");
        let short = name.strip_prefix("ipam_audit_").unwrap_or(name);
        let documented = ["", "_total", "_info"].iter().any(|end| documents.contains(&format!("`{short}{end}`")));
        assert!(documented, "docs/operations.md does not name {name}");
    }
}

#[test]
fn what_only_ipamd_counts_is_summed_over_the_audits_own_nodes_that_answered() {
    let answered = |node: &str, refused| {
        let troubles = IpamdTroubles { refused, ..IpamdTroubles::default() };
        let said = IpamdSaid { troubles, ..IpamdSaid::default() };
        Arc::new(IpamdNode { node: node.into(), said: Reading::fresh(said, Timestamp::UNIX_EPOCH), before: None })
    };
    let nodes = vec![
        answered("node-0", Some(2)),
        answered("node-1", Some(3)),
        answered("node-2", None),
        answered("of-another-audit", Some(50)),
    ];
    let mut asked = snapshot(3, 3000);
    asked.ipamd = Reading::fresh(nodes.clone(), Timestamp::UNIX_EPOCH);
    let figures = AuditFigures::of(&outcome(&asked), true, Timestamp::UNIX_EPOCH);
    let figures = Figures::from([("cluster".to_owned(), Arc::new(figures))]);
    let said = ipamd::Said::from([("cluster".to_owned(), nodes)]);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Ipamd { figures, said }));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let scrape = Scrape(text);
    assert_eq!(scrape.one("ipam_audit_cluster_ipamd_refused", r#"audit="cluster""#), Some(5.0));
    assert_eq!(scrape.one("ipam_audit_subnet_ipamd_refused", SUBNET), Some(5.0));
    let of_nodes = scrape.series("ipam_audit_node_ipamd_refused_total");
    assert_eq!(of_nodes.len(), 2, "{of_nodes:?}");
    assert_eq!(scrape.series("ipam_audit_cluster_ipamd_errors").len(), 0, "nobody said so");
}

/// What is said of ipamd, alone.
#[derive(Debug)]
struct Ipamd {
    figures: Figures,
    said: ipamd::Said,
}

impl Collector for Ipamd {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        ipamd::write(&mut Out(&mut encoder), &self.figures, &self.said)
    }
}
