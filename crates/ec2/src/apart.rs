//! A thread of their own for the calls to EC2.
//!
//! A page of a thousand interfaces takes megabytes as text and as the SDK's structures, for a moment, in small pieces. The
//! allocator gives each thread an arena: made on a thread of their own, the pieces lie apart from what is kept, and when a
//! page was turned into rows the arena is empty and goes back to the system. Among the rows they would leave holes.

use std::future::Future;

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinError,
};
use tokio_util::task::AbortOnDropHandle;

/// A runtime of one thread; none where the system gives no thread, and then calls are made where they are waited for.
#[derive(Debug)]
pub(crate) struct Apart(Option<Runtime>);

impl Apart {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("ec2").enable_all().build();
        Self(runtime.inspect_err(|error| tracing::warn!(%error, "EC2 gets no thread of its own")).ok())
    }

    /// Does the work there, unless it is no longer waited for. It fails only where the thread ends before it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        match &self.0 {
            Some(runtime) => AbortOnDropHandle::new(runtime.spawn(work)).await,
            None => Ok(work.await),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // To wait for the thread is not allowed where futures run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
