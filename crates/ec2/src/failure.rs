//! Why a call failed, in the few categories that a reader acts on, and the sentence that tells how.
//!
//! EC2 models no errors: the code in the error's metadata decides, then the HTTP status, then the kind of failure
//! that the SDK reports. An answer that is no XML at all comes from a proxy or a wrong endpoint.

use std::error::Error;

use aws_sdk_ec2::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};
use ipam_audit_core::source::{FaultCategory, SourceFault};

use crate::{
    action::Action,
    lack::{Lack, chain},
};

const DENIED: [&str; 4] = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess"];
const ACCOUNT_BLOCKED: [&str; 3] = ["OptInRequired", "Blocked", "PendingVerification"];
const BAD_CREDENTIALS: [&str; 12] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
const THROTTLES: [&str; 9] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
const EXPIRED_TOKENS: [&str; 3] = ["InvalidNextToken", "InvalidPaginationToken", "InvalidPaginationTokenException"];

/// Whether a code asks to come back later.
pub(crate) fn is_throttle(code: &str) -> bool {
    THROTTLES.contains(&code)
}

/// A failed call. The cause is for people, the code for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) category: FaultCategory,
    pub(crate) code: Option<String>,
    pub(crate) cause: String,
    /// Why nothing could be signed, if that is what failed.
    pub(crate) lack: Option<Lack>,
}

/// Where and with what a call was made, as a message names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) region: &'a str,
    pub(crate) endpoint: Option<&'a str>,
    /// The role that is assumed for it.
    pub(crate) role: Option<&'a str>,
}

impl Failure {
    /// Of a call of which something was sent to EC2, or nothing was.
    pub(crate) fn classify<E>(error: &SdkError<E>, was_sent: bool) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let (error, status) = (service.err(), service.raw().status().as_u16());
                Self::answered(status, error.code(), error.message())
            }
            SdkError::ResponseError(_) => Self::unreachable(format!("the answer broke off ({})", deepest(error))),
            SdkError::TimeoutError(_) if was_sent => Self::unreachable("no complete answer in time".to_owned()),
            // All the time went into what has to be there before a request can be signed.
            SdkError::TimeoutError(_) => Self::unsigned(Lack::Silence, "no complete answer in time".to_owned()),
            _ => match Lack::of(error) {
                Some((lack, cause)) => Self::unsigned(lack, words(cause)),
                None => Self::unreachable(deepest(error)),
            },
        }
    }

    /// EC2, or what stands in its place, gave an answer that is not the wanted one.
    fn answered(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let category = match code {
            Some(code) => by_code(code, status),
            None if status >= 500 => FaultCategory::ServerFault,
            None => FaultCategory::Malformed,
        };
        let cause = match (code, message) {
            (Some(code), Some(message)) => format!("{code}: {}", sentence(lasting(message))),
            (Some(code), None) => format!("{code}, HTTP {status}"),
            (None, _) if status < 400 => "it is not the XML that EC2 answers with".to_owned(),
            (None, _) => format!("HTTP {status} without a code of EC2's"),
        };
        Self { category, code: code.map(str::to_owned), cause, lack: None }
    }

    fn unsigned(lack: Lack, cause: String) -> Self {
        Self { category: lack.category(), code: None, cause, lack: Some(lack) }
    }

    fn unreachable(cause: String) -> Self {
        Self { category: FaultCategory::Unreachable, code: None, cause, lack: None }
    }

    /// The thread that makes the calls ended.
    pub(crate) fn given_up() -> Self {
        Self::unreachable("the call was given up".to_owned())
    }

    pub(crate) fn malformed(cause: impl Into<String>) -> Self {
        Self { category: FaultCategory::Malformed, code: None, cause: cause.into(), lack: None }
    }

    /// Whether the listing has to begin anew, because EC2 has forgotten where it stood.
    pub(crate) fn is_expired_token(&self) -> bool {
        self.has_code(&EXPIRED_TOKENS)
    }

    pub(crate) fn has_code(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// What the reader of a report gets to see.
    pub(crate) fn fault(&self, action: Action, place: Place<'_>) -> SourceFault {
        let message = match self.lack {
            Some(lack) => lack.message(place.role, &self.cause),
            None => self.message(action, place),
        };
        SourceFault { category: self.category, message }
    }

    fn message(&self, action: Action, place: Place<'_>) -> String {
        let (cause, name, region) = (&self.cause, action.name(), place.region);
        match self.category {
            FaultCategory::Denied if self.has_code(&ACCOUNT_BLOCKED) => {
                format!(
                    "AWS does not serve this account in {region} ({cause}): ask AWS Support or whoever owns the account"
                )
            }
            FaultCategory::Denied => format!(
                "AWS denies {} in {region}: allow it in the policy of the role that ipam-audit uses; \
                 `ipam-audit iam-policy` prints a policy with all it needs ({cause})",
                action.iam()
            ),
            FaultCategory::Credentials => format!(
                "AWS refuses the credentials in {region}: check that the role of the ServiceAccount exists and trusts it, \
                 and that keys set in the environment are still valid ({cause})"
            ),
            FaultCategory::Throttled => format!(
                "EC2 throttles {name} in {region}: it is tried again at the next reading; if it lasts, \
                 look for other heavy callers of EC2 in the account or raise the quota ({cause})"
            ),
            FaultCategory::Unreachable => format!(
                "no answer of EC2 to {name} from {} in {region}: check the region, DNS, network policies \
                 and, in a private cluster, the VPC endpoint for ec2 ({cause})",
                place.endpoint.unwrap_or("its endpoint")
            ),
            FaultCategory::ServerFault => {
                format!("EC2 failed to answer {name} in {region}: it is tried again at the next reading ({cause})")
            }
            FaultCategory::Malformed
            | FaultCategory::Pending
            | FaultCategory::NotCollected
            | FaultCategory::NotProvided => format!(
                "the answer to {name} from {} makes no sense: check that the endpoint is EC2's ({cause})",
                place.endpoint.unwrap_or("the endpoint")
            ),
            FaultCategory::NotFound => format!("EC2 in {region} does not know what {name} asked for ({cause})"),
        }
    }
}

fn by_code(code: &str, status: u16) -> FaultCategory {
    if DENIED.contains(&code) || ACCOUNT_BLOCKED.contains(&code) {
        FaultCategory::Denied
    } else if BAD_CREDENTIALS.contains(&code) {
        FaultCategory::Credentials
    } else if is_throttle(code) {
        FaultCategory::Throttled
    } else if code.ends_with(".NotFound") || code == "InvalidInstanceType" {
        FaultCategory::NotFound
    } else if status >= 500
        || matches!(code, "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable")
    {
        FaultCategory::ServerFault
    } else {
        FaultCategory::Malformed
    }
}

/// What the innermost error says: the outer ones only repeat that something failed.
fn deepest(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map_or_else(String::new, words)
}

/// What one error says. Of an answer that the SDK has no type for it would tell the number of the request, too: another
/// one each time.
fn words(error: &(dyn Error + 'static)) -> String {
    let Some(answer) = error.downcast_ref::<ErrorMetadata>() else { return sentence(&error.to_string()) };
    let (code, message) = (answer.code().unwrap_or("no code"), answer.message().unwrap_or("no message"));
    sentence(&format!("{code}: {}", lasting(message)))
}

/// A text of EC2's without what is another one each time: with a new text for an old fault nothing would ever be quiet.
fn lasting(message: &str) -> &str {
    const NEW_EACH_TIME: [&str; 2] = ["Encoded authorization failure message", "(Service: "];
    let ends = NEW_EACH_TIME.iter().filter_map(|start| message.find(start));
    ends.min().map_or(message, |end| message[..end].trim_end())
}

/// The beginning of a text on one line, without the dot at its end and without an error's number: it is put in
/// parentheses.
fn sentence(text: &str) -> String {
    const LONGEST: usize = 300;
    let text = text.split_once(" (os error ").map_or(text, |(text, _)| text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(LONGEST).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> =
        Place { region: "eu-central-1", endpoint: Some("https://ec2.eu-central-1.amazonaws.com"), role: None };

    fn answered(status: u16, code: &str) -> Failure {
        Failure::answered(status, Some(code), Some("The text of EC2."))
    }

    #[test]
    fn codes_decide_the_category() {
        for (status, code, want) in [
            (403, "UnauthorizedOperation", FaultCategory::Denied),
            (401, "OptInRequired", FaultCategory::Denied),
            (401, "AuthFailure", FaultCategory::Credentials),
            (400, "RequestExpired", FaultCategory::Credentials),
            (503, "RequestLimitExceeded", FaultCategory::Throttled),
            (400, "Throttling", FaultCategory::Throttled),
            (500, "InternalError", FaultCategory::ServerFault),
            (503, "Unavailable", FaultCategory::ServerFault),
            (502, "SomethingNew", FaultCategory::ServerFault),
            (400, "InvalidVpcID.NotFound", FaultCategory::NotFound),
            (400, "InvalidInstanceType", FaultCategory::NotFound),
            (400, "InvalidParameterValue", FaultCategory::Malformed),
        ] {
            assert_eq!(answered(status, code).category, want, "{code}");
        }
    }

    #[test]
    fn an_answer_without_a_code_is_judged_by_its_status() {
        let html = |status| Failure::answered(status, None, None).category;
        assert_eq!((html(500), html(503)), (FaultCategory::ServerFault, FaultCategory::ServerFault));
        assert_eq!((html(200), html(404)), (FaultCategory::Malformed, FaultCategory::Malformed));
    }

    #[test]
    fn a_denial_names_the_action_to_allow() {
        let fault = answered(403, "UnauthorizedOperation").fault(Action::GetSubnetCidrReservations, PLACE);
        assert_eq!(
            fault.message,
            "AWS denies ec2:GetSubnetCidrReservations in eu-central-1: allow it in the policy of the role that ipam-audit \
             uses; `ipam-audit iam-policy` prints a policy with all it needs (UnauthorizedOperation: The text of EC2)"
        );
    }

    #[test]
    fn every_category_says_what_to_do() {
        for code in ["OptInRequired", "AuthFailure", "Throttling", "InternalError", "InvalidParameterValue"] {
            let message = answered(400, code).fault(Action::DescribeVpcs, PLACE).message;
            assert!(message.contains(code) && message.contains(": "), "{message}");
        }
    }

    #[test]
    fn what_is_another_text_each_time_is_left_out() {
        let denied = |blob: &str| {
            let message = format!(
                "You are not authorized to perform this operation. User: u is not authorized to perform: ec2:DescribeVpcs \
                 because no identity-based policy allows the ec2:DescribeVpcs action. \
                 Encoded authorization failure message: {blob}"
            );
            Failure::answered(403, Some("UnauthorizedOperation"), Some(&message)).fault(Action::DescribeVpcs, PLACE)
        };
        assert_eq!(denied("one"), denied("another"));
        assert!(denied("one").message.ends_with("allows the ec2:DescribeVpcs action)"), "{}", denied("one").message);
    }

    #[test]
    fn long_causes_are_cut_to_one_line() {
        let text = sentence(&format!("<html>\n  {}", "x".repeat(400)));
        assert!(text.starts_with("<html> xxx") && text.ends_with('…'), "{text}");
        assert_eq!(text.chars().count(), 301);
    }
}
