//! Things that go wrong on demand: for an action or all, for a caller or all, so many times, at a rate or until cleared.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::ids::mix;
use super::paging::page_number;
use super::query::Request;

/// One thing that goes wrong. Built in code or written as JSON:
/// `{"action": "DescribeSubnets", "effect": "unauthorizedOperation", "when": {"count": 3}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The action it befalls; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The access key id of the caller it befalls; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// What happens.
    pub effect: Effect,
    /// How often it happens.
    #[serde(default)]
    pub when: When,
    /// Matching requests that are left in peace first.
    #[serde(default)]
    pub skip: u32,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// 503 `RequestLimitExceeded`.
    RequestLimitExceeded,
    /// 403 `UnauthorizedOperation`.
    UnauthorizedOperation,
    /// 401 `AuthFailure`.
    AuthFailure,
    /// 400 `RequestExpired`, as expired credentials give.
    RequestExpired,
    /// 500 `InternalError`.
    InternalError,
    /// 503 `ServiceUnavailable`.
    ServiceUnavailable,
    /// Any other error reply.
    Error {
        /// HTTP status.
        status: u16,
        /// EC2's code.
        code: String,
        /// The text.
        message: String,
    },
    /// 500 with a page of HTML, as something between client and service may send.
    HtmlError,
    /// The right reply, late.
    Latency {
        /// How late.
        millis: u64,
    },
    /// The right reply, cut off: the connection closes after so many bytes of the body.
    CutReply {
        /// Bytes that still arrive.
        after_bytes: usize,
    },
    /// What the account held when the fault was set, for reads.
    StaleReads,
    /// `InvalidPaginationToken` for the token that asks for this page.
    ExpiredToken {
        /// The page, the first being 1, which has no token.
        page: u32,
    },
    /// An empty page that carries a token, in the place of this page.
    EmptyPage {
        /// The page, from 1.
        page: u32,
    },
}

/// How often a fault happens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// To every matching request until it is cleared.
    #[default]
    UntilCleared,
    /// To so many matching requests.
    Count(u32),
    /// To a share of the matching requests, by a fixed sequence.
    Rate {
        /// Between 0 and 1.
        probability: f64,
        /// The same seed gives the same sequence.
        #[serde(default)]
        seed: u64,
    },
}

impl Fault {
    /// A fault of every action until it is cleared.
    pub const fn new(effect: Effect) -> Self {
        Self { action: None, access_key: None, effect, when: When::UntilCleared, skip: 0 }
    }

    /// Limits it to an action.
    #[must_use]
    pub fn on(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Limits it to a caller.
    #[must_use]
    pub fn of(mut self, access_key: impl Into<String>) -> Self {
        self.access_key = Some(access_key.into());
        self
    }

    /// Limits it to so many requests.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.when = When::Count(count);
        self
    }

    /// Limits it to a share of the requests.
    #[must_use]
    pub fn at_rate(mut self, probability: f64, seed: u64) -> Self {
        self.when = When::Rate { probability, seed };
        self
    }

    /// Leaves so many matching requests in peace first.
    #[must_use]
    pub const fn after(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    fn befalls(&self, request: &Request) -> bool {
        self.action.as_ref().is_none_or(|action| *action == request.action)
            && self.access_key.as_ref().is_none_or(|key| Some(key) == request.access_key.as_ref())
            && match self.effect {
                Effect::ExpiredToken { page } => page > 1 && page_number(request) == page,
                Effect::EmptyPage { page } => page_number(request) == page,
                _ => true,
            }
    }
}

/// A fault that was set, with what the account held then (`F`), if it needs that.
#[derive(Debug)]
pub(crate) struct Armed<F> {
    pub(crate) id: u64,
    pub(crate) fault: Fault,
    pub(crate) frozen: Option<F>,
    seen: u32,
    struck: u32,
}

/// What becomes of one request.
#[derive(Debug)]
pub(crate) struct Verdict<F> {
    pub(crate) delay: Duration,
    pub(crate) cut_after: Option<usize>,
    pub(crate) instead: Option<Instead>,
    pub(crate) frozen: Option<F>,
}

/// What a request gets instead of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instead {
    Error(ApiError),
    Html,
    EmptyPage,
}

impl<F> Armed<F> {
    pub(crate) const fn new(id: u64, fault: Fault, frozen: Option<F>) -> Self {
        Self { id, fault, frozen, seen: 0, struck: 0 }
    }

    fn strikes(&mut self, request: &Request) -> bool {
        if !self.fault.befalls(request) {
            return false;
        }
        self.seen += 1;
        if self.seen <= self.fault.skip {
            return false;
        }
        let strikes = match self.fault.when {
            When::UntilCleared => true,
            When::Count(count) => self.struck < count,
            When::Rate { probability, seed } => share(seed, self.seen) < probability,
        };
        self.struck += u32::from(strikes);
        strikes
    }
}

/// A number in [0, 1) that depends on nothing else.
fn share(seed: u64, at: u32) -> f64 {
    // 32 bits are exact in an f64 and fine enough for a rate.
    f64::from((mix(seed ^ mix(u64::from(at))) >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

/// What the faults that were set do to a request together: delays add up, of the rest the first of each kind counts.
pub(crate) fn judge<F: Clone>(faults: &mut [Armed<F>], request: &Request, account: &str) -> Verdict<F> {
    let mut verdict = Verdict { delay: Duration::ZERO, cut_after: None, instead: None, frozen: None };
    for armed in faults {
        if !armed.strikes(request) {
            continue;
        }
        match &armed.fault.effect {
            Effect::Latency { millis } => verdict.delay += Duration::from_millis(*millis),
            Effect::CutReply { after_bytes } => verdict.cut_after = verdict.cut_after.or(Some(*after_bytes)),
            Effect::StaleReads => verdict.frozen = verdict.frozen.or_else(|| armed.frozen.clone()),
            effect => verdict.instead = verdict.instead.or_else(|| instead(effect, request, account, armed.seen)),
        }
    }
    verdict
}

/// `time` counts the requests that met the fault: EC2's denials are worded anew each time.
fn instead(effect: &Effect, request: &Request, account: &str, time: u32) -> Option<Instead> {
    let error = |status, code: &str, message: &str| {
        Some(Instead::Error(ApiError { status, code: code.to_owned().into(), message: message.to_owned() }))
    };
    let action = &request.action;
    match effect {
        Effect::RequestLimitExceeded => Some(Instead::Error(limit_exceeded())),
        Effect::UnauthorizedOperation => {
            let key = request.access_key.as_deref().unwrap_or("anonymous");
            let message = format!(
                "You are not authorized to perform this operation. User: arn:aws:iam::{account}:user/{key} is not \
                 authorized to perform: ec2:{action} because no identity-based policy allows the ec2:{action} action. \
                 Encoded authorization failure message: {:x}",
                mix(u64::from(time))
            );
            error(403, "UnauthorizedOperation", &message)
        }
        Effect::AuthFailure => {
            error(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
        }
        Effect::RequestExpired => error(400, "RequestExpired", "Request has expired."),
        Effect::InternalError => error(500, "InternalError", "An internal error has occurred"),
        Effect::ServiceUnavailable => {
            error(503, "ServiceUnavailable", "Service is unable to handle request. Please try again shortly.")
        }
        Effect::Error { status, code, message } => error(*status, code, message),
        Effect::ExpiredToken { .. } => {
            error(400, "InvalidPaginationToken", "The specified pagination token is not valid or is expired.")
        }
        Effect::HtmlError => Some(Instead::Html),
        Effect::EmptyPage { .. } => Some(Instead::EmptyPage),
        Effect::Latency { .. } | Effect::CutReply { .. } | Effect::StaleReads => None,
    }
}

/// The answer to a caller who is too fast.
pub(crate) fn limit_exceeded() -> ApiError {
    let message = "Request limit exceeded.".to_owned();
    ApiError { status: 503, code: "RequestLimitExceeded".into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: &str, key: &str) -> Request {
        Request {
            action: action.to_owned(),
            params: super::super::query::Params::default(),
            access_key: Some(key.to_owned()),
            region: None,
        }
    }

    fn code(faults: &mut [Armed<()>], request: &Request) -> Option<String> {
        match judge(faults, request, "111122223333").instead? {
            Instead::Error(error) => Some(error.code.into_owned()),
            other => Some(format!("{other:?}")),
        }
    }

    fn arm(fault: Fault) -> [Armed<()>; 1] {
        [Armed::new(1, fault, None)]
    }

    #[test]
    fn counts_only_the_requests_it_befalls() {
        let fault = Fault::new(Effect::InternalError).on("DescribeVpcs").of("AKIA").after(1).times(2);
        let mut faults = arm(fault);
        for (action, key, want) in [
            ("DescribeSubnets", "AKIA", None),
            ("DescribeVpcs", "OTHER", None),
            ("DescribeVpcs", "AKIA", None),
            ("DescribeVpcs", "AKIA", Some("InternalError")),
            ("DescribeVpcs", "AKIA", Some("InternalError")),
            ("DescribeVpcs", "AKIA", None),
        ] {
            assert_eq!(code(&mut faults, &request(action, key)).as_deref(), want);
        }
    }

    #[test]
    fn a_rate_is_kept_and_repeats() {
        let run = |seed| {
            let mut faults = arm(Fault::new(Effect::RequestLimitExceeded).at_rate(0.25, seed));
            (0..4000).map(|_| code(&mut faults, &request("DescribeVpcs", "AKIA")).is_some()).collect::<Vec<_>>()
        };
        let struck = run(7).into_iter().filter(|struck| *struck).count();
        assert!((900..1100).contains(&struck), "{struck}");
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn denial_names_the_action_and_the_caller() {
        let mut faults = arm(Fault::new(Effect::UnauthorizedOperation));
        let verdict = judge(&mut faults, &request("DescribeSubnets", "AKIA"), "111122223333");
        let Some(Instead::Error(error)) = verdict.instead else { panic!("no error") };
        assert_eq!(error.status, 403);
        assert!(error.message.contains("ec2:DescribeSubnets") && error.message.contains("AKIA"));
    }

    #[test]
    fn reads_as_json() {
        let text = r#"{"action":"DescribeSubnets","effect":{"cutReply":{"afterBytes":10}},"when":{"rate":{"probability":0.5}}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault, Fault::new(Effect::CutReply { after_bytes: 10 }).on("DescribeSubnets").at_rate(0.5, 0));
        assert_eq!(serde_json::from_str::<Fault>(&serde_json::to_string(&fault).unwrap()).unwrap(), fault);
    }
}
