//! Counts what is really sent, retries included, by listening to the SDK.

use std::{
    error::Error,
    fmt,
    marker::PhantomData,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use aws_sdk_ec2::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::{BoxError, ProvideErrorMetadata},
};

use crate::{action::Action, budget::Budget, failure::is_throttle};

/// What was sent to EC2 for one action since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionStats {
    /// The action, for example `DescribeSubnets`.
    pub action: &'static str,
    /// HTTP requests, retries included.
    pub requests: u64,
    /// How many of them repeated an earlier one.
    pub retries: u64,
    /// How many of them were answered with what was asked for.
    pub answered: u64,
    /// How many of them EC2 asked to repeat later.
    pub throttles: u64,
    /// How many of them failed in another way.
    pub errors: u64,
    /// Calls that failed after all their retries.
    pub failures: u64,
    /// Whole calls that may be made now without waiting; below zero while some are owed.
    pub budget: i64,
}

/// The counters of all actions, and where the requests went.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    actions: [Counter; Action::ALL.len()],
    endpoint: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    retries: AtomicU64,
    answered: AtomicU64,
    throttles: AtomicU64,
    errors: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self, budget: &Budget) -> [ActionStats; Action::ALL.len()] {
        Action::ALL.map(|action| {
            let counter = self.of(action);
            ActionStats {
                action: action.name(),
                requests: counter.requests.load(Relaxed),
                retries: counter.retries.load(Relaxed),
                answered: counter.answered.load(Relaxed),
                throttles: counter.throttles.load(Relaxed),
                errors: counter.errors.load(Relaxed),
                failures: counter.failures.load(Relaxed),
                budget: budget.remaining(action),
            }
        })
    }

    pub(crate) fn count_failure(&self, action: Action) {
        self.of(action).failures.fetch_add(1, Relaxed);
    }

    /// Where requests go to, once one was tried.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.get().map(String::as_str)
    }

    fn of(&self, action: Action) -> &Counter {
        &self.actions[action.index()]
    }
}

/// Listens to one call, whose errors are of type `E`.
pub(crate) struct Meter<E> {
    action: Action,
    counters: Arc<Counters>,
    attempts: Arc<AtomicU32>,
    error: PhantomData<fn() -> E>,
}

impl<E> Meter<E> {
    /// A meter, and the number of requests that it has seen.
    pub(crate) fn new(action: Action, counters: Arc<Counters>) -> (Self, Arc<AtomicU32>) {
        let attempts = Arc::new(AtomicU32::new(0));
        let meter = Self { action, counters, attempts: Arc::clone(&attempts), error: PhantomData };
        (meter, attempts)
    }
}

impl<E> fmt::Debug for Meter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("action", &self.action).finish_non_exhaustive()
    }
}

impl<E: ProvideErrorMetadata + Error + Send + Sync + 'static> Intercept for Meter<E> {
    fn name(&self) -> &'static str {
        "ipam-audit meter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let counter = self.counters.of(self.action);
        counter.requests.fetch_add(1, Relaxed);
        if self.attempts.fetch_add(1, Relaxed) > 0 {
            counter.retries.fetch_add(1, Relaxed);
        }
        self.counters.endpoint.get_or_init(|| origin(context.request().uri()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let counter = self.counters.of(self.action);
        let failed = context.output_or_error().and_then(Result::err);
        let error = failed.and_then(|error| error.as_operation_error()?.downcast_ref::<E>());
        let throttled = error.and_then(ProvideErrorMetadata::code).is_some_and(is_throttle);
        let result = match failed {
            None => &counter.answered,
            Some(_) if throttled => &counter.throttles,
            Some(_) => &counter.errors,
        };
        result.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Scheme, host and port of a URI.
fn origin(uri: &str) -> String {
    let host = uri.find("://").map_or(0, |scheme| scheme + 3);
    let end = uri[host..].find(['/', '?']).map_or(uri.len(), |path| host + path);
    uri[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_without_path_and_query() {
        for (uri, want) in [
            ("https://ec2.eu-central-1.amazonaws.com/", "https://ec2.eu-central-1.amazonaws.com"),
            ("http://127.0.0.1:4000/?Action=DescribeVpcs", "http://127.0.0.1:4000"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(origin(uri), want);
        }
    }
}
