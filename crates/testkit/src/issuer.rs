//! Who gives a pod keys for its token: STS to one that has a role by IRSA, and the agent of EKS Pod Identity.
//!
//! Both are one server here. It takes the tokens that it was told of, looks for them where the real ones are told them (STS
//! in the form of `AssumeRoleWithWebIdentity`, the agent in the header `Authorization`), words a refusal as they do, and
//! remembers which key it gave to whom. The real agent is at 169.254.170.23; an SDK that takes that address takes a loopback one as well.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::json;

use crate::ec2::query::Request;
use crate::loopback::Loopback;

/// Where the agent is asked.
const AGENT_PATH: &str = "/v1/credentials";
/// The account of the agent's roles; STS gives keys of the account that the role's ARN names.
const ACCOUNT: &str = "111122223333";
/// What both real ones give if nobody asks for less.
const HOUR: Duration = Duration::from_hours(1);

/// By which way somebody was given keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `AssumeRoleWithWebIdentity` of STS, for a token.
    Irsa,
    /// The agent of EKS Pod Identity, for a token.
    PodIdentity,
    /// `AssumeRole` of STS, for keys that were given before.
    AssumeRole,
}

/// Keys that were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// By which way.
    pub way: Way,
    /// For which token or, where a role was assumed, for which access key.
    pub to: String,
    /// The role, where one was asked for.
    pub role: Option<String>,
    /// The access key.
    pub key: String,
}

#[derive(Debug)]
struct Book {
    tokens: BTreeSet<String>,
    lasts: Duration,
    given: Vec<Given>,
    refused: usize,
}

type Shared = Arc<Mutex<Book>>;

/// A running issuer, which takes no token at first; it stops when dropped.
#[derive(Debug)]
pub struct Issuer {
    book: Shared,
    server: Loopback,
}

impl Issuer {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let book =
            Shared::new(Mutex::new(Book { tokens: BTreeSet::new(), lasts: HOUR, given: Vec::new(), refused: 0 }));
        let router = Router::new().route(AGENT_PATH, get(agent)).fallback(sts).with_state(book.clone());
        Ok(Self { book, server: Loopback::serve("issuer", router)? })
    }

    /// The value for `AWS_ENDPOINT_URL_STS`.
    pub fn sts(&self) -> String {
        self.server.url()
    }

    /// The value for `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn agent(&self) -> String {
        format!("{}{AGENT_PATH}", self.server.url())
    }

    /// Takes this token from now on. A successor is good while its predecessor is.
    pub fn take(&self, token: &str) {
        lock(&self.book).tokens.insert(token.to_owned());
    }

    /// Takes no token any more.
    pub fn refuse(&self) {
        lock(&self.book).tokens.clear();
    }

    /// How long the keys last that it gives from now on. An SDK asks anew a little before they end.
    pub fn lasting(&self, time: Duration) {
        lock(&self.book).lasts = time;
    }

    /// The keys that were given, in order.
    pub fn given(&self) -> Vec<Given> {
        lock(&self.book).given.clone()
    }

    /// How often it has refused to give any.
    pub fn refused(&self) -> usize {
        lock(&self.book).refused
    }
}

/// What a pair of keys consists of.
struct Keys {
    access: String,
    secret: String,
    session: String,
    until: String,
}

impl Book {
    fn takes(&self, token: &str) -> bool {
        self.tokens.contains(token)
    }

    fn has_given(&self, key: &str) -> bool {
        self.given.iter().any(|given| given.key == key)
    }

    fn give(&mut self, way: Way, to: &str, role: Option<&str>) -> Keys {
        let access = format!("ASIAISSUER{:010}", self.given.len() + 1);
        self.given.push(Given { way, to: to.to_owned(), role: role.map(str::to_owned), key: access.clone() });
        let until = Timestamp::now() + self.lasts;
        Keys {
            secret: format!("secret of {access}"),
            session: format!("session of {access}"),
            until: until.to_string(),
            access,
        }
    }
}

/// Refusals: each has a number of its own, as every request to AWS has.
impl Book {
    fn refuse_as_agent(&mut self, said: &str) -> Response {
        self.refused += 1;
        (StatusCode::BAD_REQUEST, format!("[{:08x}]: {said}\n", self.refused)).into_response()
    }

    fn refuse_as_sts(&mut self, status: StatusCode, code: &str, said: &str) -> Response {
        self.refused += 1;
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{said}</Message></Error>");
        let number = format!("{:08x}", self.refused);
        let body = format!("<ErrorResponse>{error}<RequestId>{number}</RequestId></ErrorResponse>");
        ([("x-amzn-requestid", number)], xml(status, body)).into_response()
    }
}

/// The agent: `GET /v1/credentials` with the token as the value of `Authorization`, and nothing around it.
async fn agent(State(book): State<Shared>, headers: HeaderMap) -> Response {
    let mut book = lock(&book);
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if token.is_empty() {
        return book.refuse_as_agent("Service account token cannot be empty");
    }
    if !book.takes(token) {
        let why = "EKS does not have permissions to assume the associated role.";
        return book.refuse_as_agent(&format!("(AccessDeniedException): Unauthorized Exception! {why}, fault: client"));
    }
    let keys = book.give(Way::PodIdentity, token, None);
    let body = json!({
        "AccessKeyId": keys.access, "SecretAccessKey": keys.secret, "Token": keys.session, "AccountId": ACCOUNT,
        "Expiration": keys.until,
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// STS, in its Query protocol.
async fn sts(State(book): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut book = lock(&book);
    let signed = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Ok(request) = Request::parse("", &String::from_utf8_lossy(&body), signed) else {
        return book.refuse_as_sts(StatusCode::BAD_REQUEST, "MissingAction", "Could not find an action");
    };
    let param = |name: &str| request.params.get(name).unwrap_or_default();
    let role = param("RoleArn");
    let (way, to, may) = match request.action.as_str() {
        "AssumeRoleWithWebIdentity" => {
            let token = param("WebIdentityToken");
            (Way::Irsa, token, book.takes(token))
        }
        "AssumeRole" => {
            let key = request.access_key.as_deref().unwrap_or_default();
            (Way::AssumeRole, key, book.has_given(key))
        }
        action => {
            let said = format!("Could not find operation {action}");
            return book.refuse_as_sts(StatusCode::BAD_REQUEST, "InvalidAction", &said);
        }
    };
    if !may {
        let said = format!("Not authorized to perform sts:{}", request.action);
        return book.refuse_as_sts(StatusCode::FORBIDDEN, "AccessDenied", &said);
    }
    let keys = book.give(way, to, Some(role));
    xml(StatusCode::OK, session(&request.action, role, param("RoleSessionName"), &keys))
}

/// The answer to both actions.
fn session(action: &str, role: &str, name: &str, keys: &Keys) -> String {
    let Keys { access, secret, session, until } = keys;
    let arn = role.replacen(":iam:", ":sts:", 1).replacen(":role/", ":assumed-role/", 1);
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <AssumedRoleUser><Arn>{arn}/{name}</Arn><AssumedRoleId>AROAISSUER:{name}</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{session}</SessionToken><Expiration>{until}</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    )
}

fn xml(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn ask(issuer: &Issuer, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(issuer.sts().trim_start_matches("http://")).unwrap();
        let length = body.len();
        write!(stream, "{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ask_agent(issuer: &Issuer, token: &str) -> String {
        ask(issuer, &format!("GET {AGENT_PATH} HTTP/1.1\r\nauthorization: {token}"), "")
    }

    const ROLE: &str = "arn:aws-cn:iam::444455556666:role/a/b";

    fn ask_sts(issuer: &Issuer, key: &str, params: &str) -> String {
        let signed = format!("authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/cn-north-1/sts/aws4_request");
        ask(issuer, &format!("POST / HTTP/1.1\r\n{signed}"), &format!("RoleArn={ROLE}&RoleSessionName=me&{params}"))
    }

    #[test]
    fn only_the_token_that_it_takes_is_given_keys() {
        let issuer = Issuer::start().unwrap();
        let by_token = |token: &str| format!("Action=AssumeRoleWithWebIdentity&WebIdentityToken={token}");
        assert!(ask_agent(&issuer, "t").contains("AccessDeniedException"), "it takes none yet");
        issuer.take("t");
        assert!(ask_agent(&issuer, "u").starts_with("HTTP/1.1 400"));
        assert!(ask_agent(&issuer, "").contains("Service account token cannot be empty"));
        assert!(ask_sts(&issuer, "", &by_token("u")).contains("<Code>AccessDenied</Code>"));
        assert_eq!((issuer.given(), issuer.refused()), (Vec::new(), 4));

        assert!(ask_agent(&issuer, "t").contains("\"AccountId\":\"111122223333\""));
        let said = ask_sts(&issuer, "", &by_token("t"));
        assert!(said.contains("<Arn>arn:aws-cn:sts::444455556666:assumed-role/a/b/me</Arn>"), "{said}");
        let given = issuer.given();
        assert_eq!((given[0].way, given[0].role.as_deref()), (Way::PodIdentity, None));
        assert_eq!((given[1].way, given[1].role.as_deref()), (Way::Irsa, Some(ROLE)));
        assert_ne!(given[0].key, given[1].key);
        issuer.refuse();
        assert!(ask_agent(&issuer, "t").starts_with("HTTP/1.1 400"));
    }

    #[test]
    fn a_role_is_assumed_with_keys_that_were_given_before() {
        let issuer = Issuer::start().unwrap();
        assert!(
            ask_sts(&issuer, "AKIAOTHER", "Action=AssumeRole").contains("Not authorized to perform sts:AssumeRole")
        );
        issuer.take("t");
        ask_agent(&issuer, "t");
        let first = issuer.given()[0].key.clone();
        assert!(ask_sts(&issuer, &first, "Action=AssumeRole").contains("<AssumeRoleResult>"));
        assert_eq!((issuer.given()[1].way, issuer.given()[1].to.as_str()), (Way::AssumeRole, first.as_str()));
        assert!(ask_sts(&issuer, &first, "Action=GetFederationToken").contains("InvalidAction"));
    }
}
