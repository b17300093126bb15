//! Two replicas: one leads and writes, the other is ready to; whoever is lost, stopped or cut off does no harm.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipam_audit_e2e::{Cluster, Replica, Start, crowded, replica_of};
use ipam_audit_testkit::controlplane::AuditEvent;
use ipam_audit_testkit::ec2::{Effect, Fault};

/// The lease's own time, and what a machine that is busy with other things may add.
const LEASE: Duration = Duration::from_secs(15);
const BUSY: Duration = Duration::from_secs(3);
/// What the product promises.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A cluster whose reports are written, one replica that leads and one that is ready to.
async fn two() -> Result<(Cluster, Replica, Replica)> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    let leader = cluster.replica("one").await?;
    cluster.until_leads(&leader).await?;
    cluster.until_ready().await?;
    let standby = cluster.replica("other").await?;
    cluster.until_warm(&standby).await?;
    cluster.until_at_rest().await?;
    Ok((cluster, leader, standby))
}

/// The requests of a replica since so many lines of the audit log.
fn since(cluster: &Cluster, line: usize, replica: &Replica) -> Result<Vec<AuditEvent>> {
    let log = cluster.plane.audit_log()?;
    Ok(log.into_iter().skip(line).filter(|event| replica_of(event) == Some(replica.name.as_str())).collect())
}

fn writes(requests: &[AuditEvent]) -> Vec<String> {
    let written = requests.iter().filter(|event| event.is_write() && event.resource != "leases");
    written.map(|event| format!("{} {}/{} {}", event.verb, event.resource, event.subresource, event.name)).collect()
}

const NOTHING: [String; 0] = [];

/// Waits until a replica leads; nothing has changed, so it has nothing to write, to tell, or to list.
async fn takes_over_in_silence(cluster: &mut Cluster, next: &Replica) -> Result<()> {
    let (line, events) = (cluster.plane.audit_log()?.len(), cluster.events().await?);
    cluster.until_leads(next).await?;
    cluster.until_at_rest().await?;
    let requests = since(cluster, line, next)?;
    assert_eq!(writes(&requests), NOTHING);
    assert_eq!(cluster.events().await?, events);
    let lists = |event: &&AuditEvent| event.verb == "list" || event.uri.contains("sendInitialEvents");
    let lists: Vec<&String> = requests.iter().filter(lists).map(|event| &event.uri).collect();
    assert!(lists.is_empty(), "its index was warm: {lists:?}");
    Ok(())
}

/// How long after the last word of one replica about the Lease the next had it.
fn gap(cluster: &Cluster, last: &Replica, next: &Replica) -> Result<Duration> {
    let log = cluster.plane.audit_log()?;
    let words = |replica: &Replica| {
        let name = replica.name.clone();
        log.iter().enumerate().filter(move |(_, event)| {
            let done = event.code.is_some_and(|code| code < 300);
            event.resource == "leases" && event.is_write() && done && replica_of(event) == Some(name.as_str())
        })
    };
    let (line, left) = words(last).next_back().context("it never had the lease")?;
    let (_, taken) = words(next).find(|(number, _)| *number > line).context("the lease was not taken")?;
    let (left, taken) = (left.at.context("no time")?, taken.at.context("no time")?);
    Ok(Duration::try_from(taken.duration_since(left))?)
}

#[tokio::test]
async fn a_standby_takes_over_at_once_after_a_shutdown_and_within_the_lease_after_a_loss() -> Result<()> {
    let (mut cluster, mut one, mut other) = two().await?;
    let told = Instant::now();
    one.terminate(&mut cluster).await?;
    assert!(told.elapsed() < SHUTDOWN, "it took {:?} to end", told.elapsed());
    takes_over_in_silence(&mut cluster, &other).await?;
    let waited = gap(&cluster, &one, &other)?;
    assert!(waited < LEASE / 3, "released, not expired: {waited:?}");

    cluster.replace(&mut one).await?;
    cluster.until_warm(&one).await?;
    other.operator.kill();
    takes_over_in_silence(&mut cluster, &one).await?;
    let waited = gap(&cluster, &other, &one)?;
    assert!(waited < LEASE + BUSY, "{waited:?} after the last renewal");

    // It does lead: a change is written.
    cluster.crowd(false).await?;
    cluster.until_healthy(true).await?;
    cluster.is_right(vec![one, other]).await
}

#[tokio::test]
async fn a_shutdown_in_a_publication_that_hangs_takes_no_longer_and_leaves_the_lease_to_expire() -> Result<()> {
    let (mut cluster, mut one, other) = two().await?;
    one.gate.hold_writes_after(2);
    cluster.crowd(false).await?;
    let held = async |_: &Cluster| Ok(one.gate.holds_a_write().then_some(()));
    cluster.until("a publication hangs", held).await?;
    let told = Instant::now();
    one.terminate(&mut cluster).await?;
    assert!(told.elapsed() < SHUTDOWN, "it took {:?} to end", told.elapsed());
    let held = cluster.holder().await?;
    ensure!(held == one.name, "a write that is not answered could still arrive, and the lease was given to {held:?}");
    cluster.until_leads(&other).await?;
    cluster.until_healthy(true).await?;

    // EC2 that hangs holds nobody up either.
    cluster.ec2()?.faults().add(Fault::new(Effect::Latency { millis: 600_000 }));
    let told = Instant::now();
    let mut other = other;
    other.terminate(&mut cluster).await?;
    assert!(told.elapsed() < SHUTDOWN, "it took {:?} to end", told.elapsed());
    cluster.ec2()?.faults().clear();
    cluster.replace(&mut one).await?;
    cluster.until_leads(&one).await?;
    cluster.is_right(vec![one, other]).await
}

#[tokio::test]
async fn a_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_goes_on() -> Result<()> {
    let (mut cluster, mut leader, mut standby) = two().await?;
    let mut crowded = true;
    for held in [true, false] {
        // In the middle of a burst of writes: some done, some on their way, some not begun.
        let line = cluster.plane.audit_log()?.len();
        if held {
            leader.gate.hold_writes_after(3);
        }
        crowded = !crowded;
        cluster.crowd(crowded).await?;
        let begun = async |cluster: &Cluster| {
            let begun = leader.gate.holds_a_write() || !held && !writes(&since(cluster, line, &leader)?).is_empty();
            Ok(begun.then_some(()))
        };
        cluster.until("a publication is under way", begun).await?;
        leader.operator.pause()?;
        cluster.until_leads(&standby).await?;
        cluster.until_healthy(!crowded).await?;

        let line = cluster.plane.audit_log()?.len();
        if held {
            leader.gate.refuse_writes();
        }
        leader.operator.resume()?;
        let looked = async |cluster: &Cluster| {
            let looks = since(cluster, line, &leader)?.iter().filter(|event| event.resource == "leases").count();
            Ok((looks >= 4).then_some(()))
        };
        cluster.until("it has seen that it leads no more", looked).await?;
        assert_eq!(writes(&since(&cluster, line, &leader)?), NOTHING);
        leader.gate.mend();
        std::mem::swap(&mut leader, &mut standby);
    }
    cluster.is_right(vec![leader, standby]).await
}

#[tokio::test]
async fn of_two_replicas_that_are_cut_off_in_turn_one_writes_at_a_time() -> Result<()> {
    let (mut cluster, mut leader, mut standby) = two().await?;
    let mut crowded = true;
    for _ in 0..2 {
        // What the leader has to say gets no further than to the cut.
        leader.gate.cut();
        crowded = !crowded;
        cluster.crowd(crowded).await?;
        cluster.until_leads(&standby).await?;
        cluster.until_healthy(!crowded).await?;
        leader.gate.mend();
        cluster.until_warm(&leader).await?;
        std::mem::swap(&mut leader, &mut standby);
    }
    // Both, for longer than the lease lasts; then whoever comes first.
    for replica in [&leader, &standby] {
        replica.gate.cut();
    }
    let lost = async |_: &Cluster| Ok(leader.operator.log().contains("leading no more").then_some(()));
    cluster.until("the leader knows that it leads no more", lost).await?;
    cluster.crowd(!crowded).await?;
    for replica in [&leader, &standby] {
        replica.gate.mend();
    }
    cluster.until_healthy(crowded).await?;
    cluster.is_right(vec![leader, standby]).await
}

#[tokio::test]
async fn a_single_replica_without_a_lease_stops_as_fast() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    cluster.start_operator(Start { args: vec!["--leader-elect=false".to_owned()], ..Start::default() })?;
    cluster.until_ready().await?;
    let told = Instant::now();
    cluster.terminate_operator().await?;
    assert!(told.elapsed() < SHUTDOWN, "it took {:?} to end", told.elapsed());
    Ok(())
}
