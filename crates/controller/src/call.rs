//! Calls to the API server: each within a time limit, each failure with a category and a sentence that helps.

use std::{fmt, future::Future, time::Duration};

use ipam_audit_api::views::why;
use ipam_audit_core::{
    rights,
    source::{FaultCategory, SourceFault},
};

/// How long a read may take.
pub(crate) const READ_LIMIT: Duration = Duration::from_secs(30);
/// How long a write may take.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// The API server or the way to it.
    Kube(kube::Error),
    /// No answer in time.
    TimedOut(Duration),
}

impl fmt::Display for CallError {
    /// For people: what the API server says, or that it says nothing. kube's own words repeat every layer below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kube(kube::Error::Api(status)) => f.write_str(&status.message),
            Self::TimedOut(limit) => write!(f, "the API server did not answer within {} seconds", limit.as_secs()),
            Self::Kube(_) if self.category() == FaultCategory::Unreachable => f.write_str(AWAY),
            // An error of decoding may quote what it could not decode.
            Self::Kube(kube::Error::SerdeError(error)) => f.write_str(&why(error)),
            Self::Kube(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        Self::Kube(error)
    }
}

/// What is said when there is no answer.
pub(crate) const AWAY: &str = "the API server does not answer";

/// Awaits a call, but not for ever: kube's own retries alone may take minutes.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::TimedOut(limit)),
    }
}

impl CallError {
    /// Whether the object or the kind is not there. For a group that it does not serve the API server answers with a plain
    /// text, so that the code alone tells.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.code == 404)
    }

    /// Whether somebody else wrote first.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists())
    }

    /// Whether the API server's definition of one of our kinds lacks a field that this version writes.
    pub(crate) fn is_unknown_field(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.message.contains("field not declared in schema"))
    }

    /// How long the API server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let Self::Kube(kube::Error::Api(status)) = self else { return None };
        let seconds = status.details.as_ref().map(|details| details.retry_after_seconds)?;
        Some(Duration::from_secs(seconds.into())).filter(|pause| !pause.is_zero())
    }

    /// What kind of fault it is.
    pub(crate) fn category(&self) -> FaultCategory {
        match self {
            Self::TimedOut(_) => FaultCategory::Unreachable,
            Self::Kube(error) => category(error),
        }
    }

    /// The fault of a source that is read with this verb from this resource.
    pub(crate) fn fault(&self, verb: &str, resource: &str) -> SourceFault {
        let category = self.category();
        let message = match category {
            FaultCategory::Denied => format!(
                "the operator's ServiceAccount may not {verb} {resource}; apply the shipped roles (`{}`)",
                rights::command_for(verb, resource)
            ),
            FaultCategory::Credentials => "the API server does not accept the operator's credentials".to_owned(),
            FaultCategory::NotFound => format!("the API server does not serve {resource}"),
            FaultCategory::Throttled => format!("the API server asks to {verb} {resource} later"),
            FaultCategory::Malformed => format!("an answer about {resource} makes no sense: {self}"),
            FaultCategory::Unreachable => format!("{AWAY} ({verb} {resource})"),
            FaultCategory::ServerFault
            | FaultCategory::Pending
            | FaultCategory::NotCollected
            | FaultCategory::NotProvided => {
                format!("the API server failed ({verb} {resource}): {self}")
            }
        };
        SourceFault { category, message }
    }
}

fn category(error: &kube::Error) -> FaultCategory {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => FaultCategory::Credentials,
            403 => FaultCategory::Denied,
            404 => FaultCategory::NotFound,
            429 => FaultCategory::Throttled,
            400..=499 => FaultCategory::Malformed,
            _ => FaultCategory::ServerFault,
        },
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => FaultCategory::Malformed,
        kube::Error::Auth(_) => FaultCategory::Credentials,
        _ => FaultCategory::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_denied_watch_names_the_verb_and_the_resource() {
        let status = Status::failure("no", "Forbidden").with_code(403);
        let fault = CallError::Kube(kube::Error::Api(status.boxed())).fault("watch", "pods");
        assert_eq!(fault.category, FaultCategory::Denied);
        assert!(fault.message.contains("may not watch pods"), "{}", fault.message);
    }

    #[test]
    fn a_group_that_is_not_served_is_not_found_also_without_a_status_in_the_answer() {
        let status = Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        assert!(CallError::Kube(kube::Error::Api(status.boxed())).is_not_found());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_unreachable() {
        let never = std::future::pending::<Result<(), kube::Error>>();
        let error = within(Duration::from_secs(5), never).await.unwrap_err();
        assert_eq!(error.category(), FaultCategory::Unreachable);
    }
}
