//! Waiting for outcomes. Whatever does not come is explained by the operator's log and by what there is instead.

use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, bail};
use tokio::time::sleep;

use crate::cluster::{AUDIT, Cluster};
use crate::object::{Kind, Object};

/// Nothing takes this long; a machine that compiles at the same time takes a good part of it.
pub const WITHIN: Duration = Duration::from_secs(100);
const POLL: Duration = Duration::from_millis(150);
const LOG_LINES: usize = 40;

impl Cluster {
    /// Waits until a look at the cluster finds something; what it finds. An operator that ends fails the wait.
    pub async fn until<T>(&mut self, what: &str, look: impl AsyncFn(&Self) -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + WITHIN;
        loop {
            self.fail_if_operator_ended()?;
            let seen = look(self).await;
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(self.explained(what, seen.err()).await);
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the audit is as wanted.
    pub async fn until_audit(&mut self, what: &str, wanted: impl Fn(&Object) -> bool) -> Result<Object> {
        self.until(what, async |cluster: &Self| Ok(cluster.get(Kind::Audit, AUDIT).await?.filter(&wanted))).await
    }

    /// Waits until a report is as wanted.
    pub async fn until_report(
        &mut self,
        (kind, name): (Kind, &str),
        what: &str,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<Object> {
        let look = async |cluster: &Self| Ok(cluster.get(kind, name).await?.filter(&wanted));
        self.until(&format!("{name}: {what}"), look).await
    }

    /// Waits until the audit is ready: it has finished, on fresh data.
    pub async fn until_ready(&mut self) -> Result<Object> {
        self.until_audit("the audit is Ready on complete data", |audit| {
            audit.condition("Ready").status == "True" && audit.condition("DataComplete").status == "True"
        })
        .await
    }

    /// Waits until the operator has logged something.
    pub async fn until_logged(&mut self, text: &str) -> Result<()> {
        let look = async |cluster: &Self| Ok(cluster.log().contains(text).then_some(()));
        self.until(&format!("the log says {text:?}"), look).await
    }

    /// Waits until EC2 was read so many more times from the beginning to the end.
    pub async fn until_ec2_was_read(&mut self, times: u64) -> Result<()> {
        const ACTION: &str = "DescribeNetworkInterfaces";
        let asked = |cluster: &Self| anyhow::Ok(cluster.ec2()?.request_log().count(ACTION));
        // One more, since the first may have begun before.
        let wanted = asked(self)? + times + 1;
        let look = async |cluster: &Self| Ok((asked(cluster)? >= wanted).then_some(()));
        self.until(&format!("EC2 is read {times} more times"), look).await
    }

    /// Waits until several readings of EC2 in a row have led to no write.
    pub async fn until_at_rest(&mut self) -> Result<()> {
        for _ in 0..10 {
            let witness = self.witness()?;
            self.until_ec2_was_read(2).await?;
            if witness.writes(self)?.is_empty() {
                return Ok(());
            }
        }
        bail!("the operator does not come to rest")
    }

    /// Lets the others do something.
    pub(crate) async fn a_moment(&self) {
        sleep(POLL).await;
    }

    /// What a wait ended with, and what there is to see.
    async fn explained(&self, what: &str, seen: Option<Error>) -> Error {
        let args = ["get", "ipamaudits", "-o", "yaml"];
        let shown = match self.plane.kubectl(&args).await {
            Ok(output) => format!("{}{}", output.stdout, output.stderr),
            Err(error) => format!("{error:#}"),
        };
        let seen = seen.map_or_else(String::new, |error| format!("; the last look failed: {error:#}"));
        let log: Vec<String> = self.log().lines().map(str::to_owned).collect();
        let log = log[log.len().saturating_sub(LOG_LINES)..].join("\n");
        anyhow!(
            "not within {WITHIN:?}: {what}{seen}\n--- the end of the operator's log\n{log}\n--- the audits\n{shown}"
        )
    }
}
