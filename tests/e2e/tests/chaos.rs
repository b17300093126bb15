//! The operator is killed between any two writes; the API server and etcd restart, hang, refuse and forget. In the end
//! everything is right.

use anyhow::Result;
use ipam_audit_e2e::{Cluster, Kind, Object, PodSpec, Replica, crowded, idle_address};

/// Of a subnet and four nodes, each with an event when it opens and one when it is resolved: the last writes of all.
const FINDINGS: usize = 5;

/// Waits until a write of a replica waits at its gate, or until it has none left; whether one waits.
async fn holds_or(
    cluster: &mut Cluster,
    replica: &Replica,
    done: impl AsyncFn(&Cluster) -> Result<bool>,
) -> Result<bool> {
    let look = async |cluster: &Cluster| {
        let done = done(cluster).await?;
        let holds = replica.gate.holds_a_write();
        Ok((holds || done).then_some(holds))
    };
    cluster.until("a write waits, or there is none", look).await
}

#[tokio::test]
async fn killed_between_any_two_writes_it_says_the_same_in_the_end_and_nothing_twice() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;

    // The first publication, by processes that each die after one write.
    let mut replica = cluster.replica("mortal").await?;
    replica.gate.hold_writes_after(1);
    let mut lives = 1;
    while holds_or(&mut cluster, &replica, async |_| Ok(replica.operator.log().contains(" audited "))).await? {
        cluster.replace(&mut replica).await?;
        replica.gate.hold_writes_after(1);
        lives += 1;
    }
    assert!(lives > 10, "a process died after each of the writes: {lives}");
    replica.gate.mend();
    cluster.until_ready().await?;

    // Later ones, that say something else: all but the first n writes are lost with the process.
    let mut crowded = true;
    for writes in 0.. {
        replica.gate.hold_writes_after(writes);
        crowded = !crowded;
        cluster.crowd(crowded).await?;
        let told = async |cluster: &Cluster| Ok(cluster.events().await?.len() == FINDINGS);
        let held = holds_or(&mut cluster, &replica, told).await?;
        if held {
            cluster.replace(&mut replica).await?;
        }
        replica.gate.mend();
        cluster.until_healthy(!crowded).await?;
        if !held {
            assert!(writes > 10, "the last was one of many: {writes}");
            break;
        }
    }

    // The answers to some writes are lost, and the process lives.
    replica.gate.lose_answers(2);
    cluster.crowd(!crowded).await?;
    cluster.until_healthy(crowded).await?;
    let lost = async |_: &Cluster| Ok((replica.gate.answers_to_lose() == 0).then_some(()));
    cluster.until("answers were lost", lost).await?;
    cluster.is_right(vec![replica]).await
}

#[tokio::test]
async fn whatever_the_api_server_and_etcd_do_everything_is_right_in_the_end() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    let replicas = [cluster.replica("one").await?, cluster.replica("other").await?];
    cluster.until_ready().await?;

    // Every watch is closed after three seconds and a little.
    cluster.plane.restart_apiserver(&["--min-request-timeout=3"]).await?;
    for _ in 0..3 {
        a_pod_comes_and_goes(&mut cluster).await?;
        cluster.until_ec2_was_read(2).await?;
    }

    // It has time for one request at a time, and puts off the others. Positions of watches are forgotten, too.
    let busy =
        ["--enable-priority-and-fairness=false", "--max-requests-inflight=1", "--max-mutating-requests-inflight=1"];
    cluster.plane.restart_apiserver(&busy).await?;
    cluster.crowd(false).await?;
    cluster.until_healthy(true).await?;
    a_pod_comes_and_goes(&mut cluster).await?;

    cluster.plane.restart_apiserver(&[]).await?;
    cluster.crowd(true).await?;
    cluster.until_healthy(false).await?;

    // etcd hangs for longer than a claim lasts, in the middle of a publication.
    cluster.crowd(false).await?;
    cluster.plane.pause_etcd(true)?;
    let lost = async |_: &Cluster| {
        let lost = replicas.iter().any(|replica| replica.operator.log().contains("leading no more"));
        Ok(lost.then_some(()))
    };
    cluster.until("nobody leads", lost).await?;
    cluster.plane.pause_etcd(false)?;
    cluster.until_healthy(true).await?;

    // etcd dies and comes back.
    cluster.crowd(true).await?;
    cluster.plane.stop_etcd();
    cluster.plane.start_etcd().await?;
    cluster.until_healthy(false).await?;
    a_pod_comes_and_goes(&mut cluster).await?;
    cluster.is_right(replicas.into()).await
}

async fn a_pod_comes_and_goes(cluster: &mut Cluster) -> Result<()> {
    let node = cluster.scenario.plan().nodes[0].clone();
    let pods = |count: &'static str| move |report: &Object| report.text("/status/display/pods") == count;
    let address = idle_address(&node)?;
    cluster.run_pod(PodSpec::new("bakery", "rolls", &node.name, address)).await?;
    cluster.until_report((Kind::Node, &node.name), "a second pod", pods("2")).await?;
    cluster.delete_pod("bakery", "rolls").await?;
    cluster.until_report((Kind::Node, &node.name), "one pod again", pods("1")).await?;
    Ok(())
}
