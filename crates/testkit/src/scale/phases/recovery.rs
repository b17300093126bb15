//! What happens to an operator: the API server restarts and all is listed again; another operator takes over.

use anyhow::Result;

use super::{MEMORY, Phases, WITHIN, decimal};
use crate::scale::rig::Rig;

impl Phases<'_> {
    /// Restarts the API server on the same etcd: no watch can go on where it was.
    pub(in crate::scale) async fn relist(&mut self) -> Result<()> {
        let writes = self.rig.writes()?;
        let operator = self.rig.operator()?;
        let lists = operator.admin.metrics().await?.pod_lists();
        let cpu = operator.process.cpu_seconds()?;
        operator.process.forget_peak()?;
        self.rig.plane.stop_apiserver();
        self.rig.plane.start_apiserver().await?;
        self.rig.client = self.rig.plane.client().await?;
        self.rig
            .until("all pods are listed again", WITHIN, async |rig: &mut Rig| {
                let metrics = rig.operator()?.admin.metrics().await?;
                let ready = rig.operator()?.admin.is_ready().await && rig.has_all_reports().await?;
                Ok((ready && metrics.pod_lists() > lists).then_some(()))
            })
            .await?;
        self.settle().await?;
        let operator = self.rig.operator()?;
        let (peak, resident) = (operator.process.peak()?, operator.process.resident()?);
        let cpu = operator.process.cpu_seconds()? - cpu;
        let written = self.rig.writes()?.since(writes);
        for write in self.rig.last_writes(usize::try_from(written.reports + written.events)?)? {
            crate::scale::say(&format!("    {write}"));
        }
        let report = &mut self.report;
        report.promise("relistPeak", "peak resident memory of a relist", peak, "MiB", MEMORY);
        report.promise("relistAfter", "resident memory after it", resident, "MiB", MEMORY);
        report.add("relistCpu", "CPU of a relist", cpu, "s");
        report.add("relistWrites", "API writes of a relist", decimal(written.reports + written.events), "");
        Ok(())
    }

    /// Another operator takes over from one that is lost, and nothing has changed.
    pub(in crate::scale) async fn failover(&mut self) -> Result<()> {
        let (writes, before) = (self.rig.writes()?, self.rig.versions().await?);
        self.rig.kill_operator();
        self.rig.start_operator("bench-b")?;
        self.rig
            .until("the other operator has audited", WITHIN, async |rig: &mut Rig| {
                let operator = rig.operator()?;
                let metrics = operator.admin.metrics().await?;
                Ok((operator.admin.is_ready().await && metrics.finished() >= 1.0).then_some(()))
            })
            .await?;
        self.settle().await?;
        let operator = self.rig.operator()?;
        let (cpu, peak) = (operator.process.cpu_seconds()?, operator.process.peak()?);
        let (written, after) = (self.rig.writes()?.since(writes), self.rig.versions().await?);
        let changed = after.iter().filter(|(object, version)| before.get(*object) != Some(version)).count();
        let report = &mut self.report;
        report.add("failoverCpu", "CPU of a failover to its first audit", cpu, "s");
        report.promise("failoverPeak", "peak resident memory of a failover", peak, "MiB", MEMORY);
        report.promise("failoverWrites", "API writes after a failover", decimal(written.reports), "", 0.0);
        report.promise("failoverChanged", "objects that it changed", decimal(changed as u64), "", 0.0);
        report.promise("failoverEvents", "events that it repeated", decimal(written.events), "", 0.0);
        Ok(())
    }
}
