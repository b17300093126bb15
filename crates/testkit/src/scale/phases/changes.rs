//! Audits in which nothing differs, and pods that start.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Phases, WITHIN, decimal};
use crate::ec2::seed::Assigned;
use crate::scale::rig::Rig;
use crate::scenario::{Place, PlannedNode};

const LOOK: Duration = Duration::from_millis(10);
const SCRAPES: u32 = 50;
const AUDIT_WITHIN: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "team-0";
/// How often an audit is called for that sees nothing new, and how much apart.
const CALLS: u32 = 20;
const CALL: Duration = Duration::from_millis(500);
/// So many seconds after the last request to EC2 its reading is over, and the next one is far.
const PAUSE: RangeInclusive<i64> = 4..=15;

impl Phases<'_> {
    /// What it costs to call for an audit while nothing changed: somebody writes to the audit what means nothing to it.
    /// Between two readings of EC2, which would cost more.
    pub(in crate::scale) async fn unchanged(&mut self) -> Result<()> {
        // Where EC2 is read every other second there is none.
        if self.bench.ec2_interval.is_none() {
            self.rig.until("a pause between readings of EC2", WITHIN, async |rig: &mut Rig| Ok(pauses(rig))).await?;
        }
        let (cpu, evaluations) = self.work_so_far().await?;
        for round in 0..CALLS {
            let touched = json!({"metadata": {"annotations": {"example.com/touched": round.to_string()}}});
            self.rig.patch_audit(&touched).await?;
            sleep(CALL).await;
        }
        let (cpu_now, evaluations_now) = self.work_so_far().await?;
        let each = (cpu_now - cpu) / f64::from(CALLS);
        self.report.promise("unchangedCpu", "CPU of an audit while nothing changed", each, "s", 0.05);
        let ran = evaluations_now - evaluations;
        // At most those that look again at a suspicion, which they would do anyway.
        self.report.add("unchangedEvaluations", format!("evaluations while {CALLS} such were called for"), ran, "");
        Ok(())
    }

    /// What an audit costs that a change started which no report shows: a pod gets another label.
    pub(in crate::scale) async fn idle_audits(&mut self) -> Result<()> {
        let (namespace, name) = self.a_pod()?;
        let pods: Api<Pod> = Api::namespaced(self.rig.client.clone(), &namespace);
        let scrape = self.cost_of_a_scrape().await?;
        let (writes, mut scrapes) = (self.rig.writes()?, 0);
        let (cpu, evaluations) = self.work_so_far().await?;
        for round in 0..self.bench.rounds {
            let label = json!({"metadata": {"labels": {"bench": format!("{}", round % 2)}}});
            pods.patch(&name, &PatchParams::default(), &Patch::Merge(label)).await?;
            scrapes += self.until_audited(evaluations + f64::from(round) + 1.0).await?;
        }
        let label = json!({"metadata": {"labels": {"bench": null}}});
        let (cpu_now, evaluations_now) = self.work_so_far().await?;
        pods.patch(&name, &PatchParams::default(), &Patch::Merge(label)).await?;
        self.until_audited(evaluations_now + 1.0).await?;
        self.settle().await?;
        let audits = evaluations_now - evaluations;
        let each = ((cpu_now - cpu) - f64::from(scrapes + 1) * scrape) / audits;
        let written = self.rig.writes()?.since(writes);
        self.report.add("auditCpu", "CPU of an audit after a change that no report shows", each.max(0.0), "s");
        let written = decimal(written.reports + written.events);
        self.report.promise("auditWrites", "API writes of such audits", written, "", 0.0);
        Ok(())
    }

    /// How long until a pod's address is in the report of its node, and what is written for it.
    pub(in crate::scale) async fn changes(&mut self) -> Result<()> {
        let (mut seconds, mut changed) = (Vec::new(), 0);
        let writes = self.rig.writes()?;
        for round in 0..self.bench.rounds as usize {
            let before = self.rig.versions().await?;
            let (node, address) = self.free_address(round)?;
            let name = format!("bench-{round}");
            seconds.push(start_pod(&self.rig, &name, &node, address).await?.as_secs_f64());
            self.settle().await?;
            let after = self.rig.versions().await?;
            changed += after.iter().filter(|(object, version)| before.get(*object) != Some(version)).count();
        }
        let written = self.rig.writes()?.since(writes);
        let pods: Api<Pod> = Api::namespaced(self.rig.client.clone(), NAMESPACE);
        for round in 0..self.bench.rounds {
            pods.delete(&format!("bench-{round}"), &DeleteParams::default().grace_period(0)).await?;
        }
        self.settle().await?;
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN);
        let worst = seconds.last().copied().unwrap_or(f64::NAN);
        let (written, changed) = (decimal(written.reports), decimal(changed as u64));
        let report = &mut self.report;
        report.add("latencyMedian", "from a pod's address to its node's report, median", median, "s");
        report.promise("latencyWorst", "the same, worst", worst, "s", 2.0);
        report.add("changedObjects", format!("objects that {} such pods change", self.bench.rounds), changed, "");
        report.promise("changeWrites", "API writes for them", written, "", changed);
        Ok(())
    }

    /// Processor time and evaluations so far.
    async fn work_so_far(&mut self) -> Result<(f64, f64)> {
        let operator = self.rig.operator()?;
        let evaluations = operator.admin.metrics().await?.evaluations();
        Ok((operator.process.cpu_seconds()?, evaluations))
    }

    /// Waits until so many evaluations have been published; how often it looked.
    async fn until_audited(&mut self, evaluations: f64) -> Result<u32> {
        let deadline = Instant::now() + AUDIT_WITHIN;
        let mut looks = 0;
        loop {
            let metrics = self.rig.operator()?.admin.metrics().await?;
            looks += 1;
            if metrics.evaluations() >= evaluations && metrics.at_rest() {
                return Ok(looks);
            }
            ensure!(Instant::now() < deadline, "a pod's label changed, and no audit came within {AUDIT_WITHIN:?}");
            sleep(LOOK * 10).await;
        }
    }

    /// Processor time that the operator spends on one look at its metrics.
    async fn cost_of_a_scrape(&mut self) -> Result<f64> {
        let operator = self.rig.operator()?;
        let before = operator.process.cpu_seconds()?;
        for _ in 0..SCRAPES {
            operator.admin.metrics().await?;
        }
        Ok((operator.process.cpu_seconds()? - before) / f64::from(SCRAPES))
    }

    /// A pod of a Deployment with an address of its own.
    fn a_pod(&self) -> Result<(String, String)> {
        let mut pods = self.rig.scenario.plan().nodes.iter().flat_map(|node| &node.pods);
        let pod = pods.find(|pod| matches!(pod.place, Place::Pool(_)) && pod.workload.name.starts_with("web-"));
        let pod = pod.context("no pod of a Deployment has an address")?;
        Ok((pod.workload.namespace.clone(), pod.name.clone()))
    }

    /// An address that no pod has, on a node that is another one for each number.
    fn free_address(&self, number: usize) -> Result<(PlannedNode, Ipv4Addr)> {
        let nodes = &self.rig.scenario.plan().nodes;
        let step = nodes.len() / (self.bench.rounds as usize + 1);
        let node = &nodes[(number + 1) * step];
        let address = idle_addresses(node).next().with_context(|| format!("node {} is full", node.name))?;
        Ok((node.clone(), address))
    }
}

/// Whether EC2 was read a moment ago, so that it is not read again in the next half minute.
fn pauses(rig: &Rig) -> Option<()> {
    let last = rig.ec2.request_log().requests.last()?.at;
    PAUSE.contains(&Timestamp::now().duration_since(last).as_secs()).then_some(())
}

/// Secondary addresses, and those of prefixes, that no pod of the node has.
fn idle_addresses(node: &PlannedNode) -> impl Iterator<Item = Ipv4Addr> {
    let pool = node.interfaces.iter().filter(|interface| interface.trunk.is_none()).flat_map(|interface| {
        let single = match &interface.secondary {
            Assigned::List(addresses) => addresses.as_slice(),
            Assigned::Count(_) => &[],
        };
        let blocks = match &interface.prefixes {
            Assigned::List(blocks) => blocks.as_slice(),
            Assigned::Count(_) => &[],
        };
        single.iter().copied().chain(blocks.iter().flat_map(Ipv4Net::hosts))
    });
    pool.filter(|address| !node.pods.iter().any(|pod| pod.place == Place::Pool(*address)))
}

/// Starts a pod on a node as kubelet would; the time from its address to the report that counts it.
async fn start_pod(rig: &Rig, name: &str, node: &PlannedNode, address: Ipv4Addr) -> Result<Duration> {
    let used = used_addresses(rig, &node.name).await?;
    let pods: Api<Pod> = Api::namespaced(rig.client.clone(), NAMESPACE);
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {"nodeName": node.name, "containers": [{"name": "app", "image": "registry.example.com/bench:1.0"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await.context("cannot create a pod")?;
    let status = json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": node.address,
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let started = Instant::now();
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.context("cannot start the pod")?;
    while used_addresses(rig, &node.name).await? == used {
        ensure!(started.elapsed() < AUDIT_WITHIN, "the report of {} does not show pod {name}", node.name);
        sleep(LOOK).await;
    }
    Ok(started.elapsed())
}

async fn used_addresses(rig: &Rig, node: &str) -> Result<Value> {
    let report = rig.product("nodeipamreports", node).await?;
    Ok(report["status"]["addresses"]["used"].clone())
}
