//! Whether everything is right in the end, whatever happened: what the reports say, what was told, what was deleted, and
//! who wrote.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use ipam_audit_testkit::controlplane::AuditEvent;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::cluster::{AUDIT, Cluster};
use crate::object::Kind;
use crate::replica::Replica;

/// What differs between two audits that say the same: when, and which objects carry it.
const TIMES: [&str; 6] = ["lastTransitionTime", "firstSeen", "lastSeen", "lastAuditTime", "asOf", "observedGeneration"];

impl Cluster {
    /// An error unless the reports say what a fresh audit says, nothing was told twice, no report of what is there was
    /// ever deleted, and nobody but the leader ever wrote. Ends the replicas.
    pub async fn is_right(&mut self, replicas: Vec<Replica>) -> Result<()> {
        self.until_at_rest().await?;
        let found = self.said().await?;
        self.nothing_was_told_twice().await?;
        self.nothing_of_what_is_there_was_deleted().await?;
        only_the_leader_wrote(&self.plane.audit_log()?)?;
        drop(replicas);
        let fresh = self.fresh().await?;
        for (name, said) in &fresh {
            let before = found.get(name).with_context(|| format!("{name} is missing"))?;
            ensure!(before == said, "{name} is not right\n--- it says\n{before:#}\n--- a fresh audit says\n{said:#}");
        }
        ensure!(found.len() == fresh.len(), "of what is not there: {:?}", found.keys().collect::<BTreeSet<_>>());
        Ok(())
    }

    /// What all objects of the product say, without when.
    async fn said(&self) -> Result<BTreeMap<String, Value>> {
        let mut said = BTreeMap::new();
        for kind in [Kind::Audit, Kind::Node, Kind::Subnet] {
            for object in self.list(kind).await? {
                let mut status = object.at("/status").clone();
                forget_times(&mut status);
                said.insert(format!("{} {}", kind.plural(), object.name()), status);
            }
        }
        Ok(said)
    }

    /// What a new process says that finds nothing of the product.
    async fn fresh(&mut self) -> Result<BTreeMap<String, Value>> {
        self.kubectl(&["delete", "ipamaudits", AUDIT]).await?;
        self.kubectl(&["delete", "ipnode,ipsubnet", "--all"]).await?;
        self.audit("{}").await?;
        let replica = self.replica("fresh").await?;
        self.until_ready().await.with_context(|| replica.operator.last_lines(40))?;
        self.until_at_rest().await?;
        self.said().await
    }

    /// An error if two events say the same of the same object.
    pub async fn nothing_was_told_twice(&self) -> Result<()> {
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for event in self.events().await? {
            let about = ["/reason", "/regarding/uid", "/regarding/name", "/note"].map(|pointer| event.text(pointer));
            *told.entry(about.join(" ")).or_default() += 1;
        }
        told.retain(|_, times| *times > 1);
        ensure!(told.is_empty(), "told more than once: {told:#?}");
        Ok(())
    }

    async fn nothing_of_what_is_there_was_deleted(&self) -> Result<()> {
        let nodes = Api::<Node>::all(self.client()).list(&ListParams::default()).await?;
        let subnets = self.ec2()?.state().subnets.into_iter().filter_map(|subnet| subnet.id);
        let there: BTreeSet<String> = nodes.iter().map(ResourceExt::name_any).chain(subnets).collect();
        let deleted: Vec<String> =
            self.witness_of_all().writes(self)?.into_iter().filter(is_deletion).map(name).collect();
        let wrong: Vec<&String> = deleted.iter().filter(|name| there.contains(*name)).collect();
        ensure!(wrong.is_empty(), "reports of what is there were deleted: {wrong:?}");
        Ok(())
    }
}

fn is_deletion(event: &AuditEvent) -> bool {
    event.verb == "delete" && event.code == Some(200)
}

fn name(event: AuditEvent) -> String {
    event.name
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !TIMES.contains(&name.as_str()));
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// The replica that sent a request; none if it was not one of the operator's.
pub fn replica_of(event: &AuditEvent) -> Option<&str> {
    event.user_agent.strip_prefix("ipam-audit/")?.split_once(" (")?.1.strip_suffix(')')
}

/// An error unless each write was received while its writer was who had taken or renewed the Lease last, and while that
/// lasted.
pub fn only_the_leader_wrote(log: &[AuditEvent]) -> Result<()> {
    const LASTS_SECONDS: i64 = 15;
    let done = |event: &&AuditEvent| matches!(event.code, Some(200 | 201)) && replica_of(event).is_some();
    let terms: Vec<&AuditEvent> =
        log.iter().filter(|event| event.resource == "leases" && event.is_write()).filter(done).collect();
    for write in log.iter().filter(|event| event.resource != "leases" && event.is_write()).filter(done) {
        let received = write.received.context("a write without a time")?;
        let before = |term: &&&AuditEvent| term.at.is_some_and(|at| at <= received);
        let leader = terms.iter().rev().find(before).context("a write before anybody led")?;
        let age = leader.at.map_or(i64::MAX, |at| received.duration_since(at).as_secs());
        ensure!(
            replica_of(leader) == replica_of(write) && age < LASTS_SECONDS,
            "{:?} wrote {} {} {age} s after {:?} had taken the lease",
            replica_of(write),
            write.verb,
            write.name,
            replica_of(leader),
        );
    }
    Ok(())
}
