//! Named tasks that belong together: when one of them ends before the shutdown, the process must not go on without it.

use std::{future::Future, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The tasks of one controller.
pub(crate) struct Tasks {
    set: JoinSet<(&'static str, Result<(), Error>)>,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { set: JoinSet::new(), stop }
    }

    /// Starts a task that is dropped at the shutdown, wherever it is: for reading, and for everything without an end.
    pub(crate) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.set.spawn(async move {
            stop.run_until_cancelled_owned(work).await;
            (name, Ok(()))
        });
    }

    /// Starts a task that ends itself at the shutdown: for what has to finish a write or give something back.
    pub(crate) fn spawn_graceful(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        self.set.spawn(async move { (name, work.await) });
    }

    /// Waits for the shutdown, or for the first task that ends without one: then all are stopped and this is an error.
    pub(crate) async fn wait(mut self, grace: Duration) -> Result<(), Error> {
        let first = self.set.join_next().await;
        let outcome = match first {
            Some(Ok((_, Err(error)))) => Err(error),
            Some(Ok((name, Ok(())))) if !self.stop.is_cancelled() => Err(Error::TaskEnded { name }),
            Some(Err(error)) if error.is_panic() => Err(Error::TaskPanicked),
            _ => Ok(()),
        };
        self.stop.cancel();
        let rest = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, rest).await.is_err() {
            tracing::warn!(grace_seconds = grace.as_secs(), "some tasks did not end in time and are dropped");
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_task_that_panics_or_ends_stops_all_and_is_an_error() {
        for panics in [true, false] {
            let stop = CancellationToken::new();
            let mut tasks = Tasks::new(stop.clone());
            tasks.spawn("forever", std::future::pending());
            tasks.spawn("short", async move { assert!(!panics, "on purpose") });
            let error = tasks.wait(GRACE).await.unwrap_err();
            assert_eq!(matches!(error, Error::TaskPanicked), panics, "{error}");
            assert!(stop.is_cancelled());
        }
    }

    #[tokio::test]
    async fn a_shutdown_is_not_an_error_and_lets_tasks_finish() {
        let stop = CancellationToken::new();
        let (done, seen) = tokio::sync::oneshot::channel();
        let mut tasks = Tasks::new(stop.clone());
        tasks.spawn("forever", std::future::pending());
        let token = stop.clone();
        tasks.spawn_graceful("graceful", async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            let _ = done.send(());
            Ok(())
        });
        stop.cancel();
        tasks.wait(GRACE).await.unwrap();
        seen.await.unwrap();
    }
}
