//! What can go wrong in the controller, each with a bounded category and a class of retry.

use thiserror::Error;

use crate::call::CallError;

/// Why an audit, or the controller as a whole, did not finish.
#[derive(Debug, Error)]
pub enum Error {
    /// The spec says something that makes no sense; only its author can help.
    #[error("the spec is not valid: {what}")]
    InvalidSpec {
        /// What, and what to write instead.
        what: String,
    },
    /// Some objects could not be written.
    #[error("{failed} of {total} writes failed, the first on {object}")]
    Publish {
        /// The first object that could not be written.
        object: String,
        /// How many could not be.
        failed: usize,
        /// Of how many.
        total: usize,
        /// Why the first could not be.
        #[source]
        source: CallError,
    },
    /// The API server's definitions of our kinds lack fields that this version writes.
    #[error("{message}")]
    CrdOutdated {
        /// What is missing, and what to apply.
        message: String,
    },
    /// Something is missing in the cluster without which nothing can be written.
    #[error("{why}")]
    Stalled {
        /// In one word.
        reason: &'static str,
        /// What, and what to do.
        why: String,
    },
    /// Leadership went to another replica while the audit ran.
    #[error("another replica leads now")]
    NotLeader,
    /// The evaluation ended without an answer.
    #[error("the evaluation ended without an answer")]
    Evaluate,
    /// The kubeconfig or the in-cluster configuration cannot be used.
    #[error("the kubeconfig or the in-cluster configuration cannot be used")]
    Client {
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The admin server could not listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A task of the controller ended although nobody asked for a shutdown.
    #[error("the task \"{name}\" ended unexpectedly")]
    TaskEnded {
        /// Which one.
        name: &'static str,
    },
    /// A task of the controller panicked.
    #[error("a task panicked; see the log above")]
    TaskPanicked,
}

/// What to do about an error of one audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Nothing, until the object changes.
    AwaitChange,
    /// Again, later and later.
    Backoff,
}

impl Error {
    pub(crate) fn client(source: kube::Error) -> Self {
        Self::Client { source: Box::new(source) }
    }

    /// The label in metrics and logs.
    pub(crate) const fn category(&self) -> &'static str {
        match self {
            Self::InvalidSpec { .. } => "InvalidSpec",
            Self::Publish { .. } => "Publish",
            Self::CrdOutdated { .. } => "CrdOutdated",
            Self::Stalled { reason, .. } => reason,
            Self::NotLeader => "NotLeader",
            Self::Evaluate => "Evaluate",
            Self::Client { .. } => "Client",
            Self::Listen { .. } => "Listen",
            Self::TaskEnded { .. } | Self::TaskPanicked => "Task",
        }
    }

    /// Whether trying again can help.
    pub(crate) const fn retry(&self) -> Retry {
        match self {
            Self::InvalidSpec { .. } | Self::NotLeader => Retry::AwaitChange,
            _ => Retry::Backoff,
        }
    }
}
