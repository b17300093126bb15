//! The admin server over real connections.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use axum::{body::Body, http::Request};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

use super::*;
use crate::crds::CrdProblem;

/// Takes any filter but `nonsense`.
#[derive(Default)]
struct Filter(Mutex<String>);

impl LogFilter for Filter {
    fn current(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn change(&self, filter: &str) -> Result<(), String> {
        if filter == "nonsense" {
            return Err("write a level".to_owned());
        }
        filter.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

fn admin(crds: CrdState) -> Admin {
    Admin {
        state: Arc::new(State::new(Duration::ZERO)),
        polls: Arc::new(Polls::new()),
        crds,
        leadership: Leadership::never(),
        memory: Arc::default(),
        registry: Registry::default(),
        log: Arc::new(Filter::default()),
        settings: Settings::default(),
        started: Timestamp::UNIX_EPOCH,
    }
}

/// A running server; it stops with the token.
async fn start(admin: Admin) -> (SocketAddr, CancellationToken) {
    let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve(listener, admin, stop.clone()));
    (address, stop)
}

/// What is answered to a request in one connection: the whole text.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

async fn put(address: SocketAddr, path: &str, body: &str) -> String {
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}", body.len());
    ask(address, &format!("{head}\r\n\r\n{body}")).await
}

#[tokio::test]
async fn what_is_pending_is_listed_and_alive_is_only_alive() {
    let problem = CrdProblem::Outdated("apply the CRDs".to_owned());
    let (address, _stop) = start(admin(CrdState::answered(Some(problem)))).await;
    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    for pending in ["- the first list of pods\n", "- the first list of nodes\n", "- apply the CRDs\n"] {
        assert!(ready.contains(pending), "{ready}");
    }
    let alive = get(address, "/livez").await;
    assert!(alive.starts_with("HTTP/1.1 200") && alive.ends_with("ok\n"), "{alive}");
}

#[tokio::test]
async fn a_wrong_path_lists_the_right_ones_and_a_wrong_method_too() {
    let (address, _stop) = start(admin(CrdState::answered(None))).await;
    for (answer, code) in
        [(get(address, "/statz").await, 404), (put(address, "/livez", "").await, 405), (get(address, "/").await, 200)]
    {
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
        for path in ["/livez", "/readyz", "/metrics", "/debug/state", "/log-level"] {
            assert!(answer.contains(path), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs_and_nonsense_changes_nothing() {
    let (address, _stop) = start(admin(CrdState::answered(None))).await;
    assert!(put(address, "/log-level", "info,ipam_audit_controller=debug\n").await.starts_with("HTTP/1.1 200"));
    let refused = put(address, "/log-level", "nonsense").await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("write a level"), "{refused}");
    let long = put(address, "/log-level", &"a".repeat(1025)).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let now = get(address, "/log-level").await;
    assert!(now.ends_with("\r\n\r\ninfo,ipam_audit_controller=debug\n"), "{now}");
}

#[tokio::test]
async fn the_log_level_is_not_for_the_rest_of_the_cluster() {
    let admin = admin(CrdState::answered(None));
    let log = admin.log.clone();
    let mut request = Request::put("/log-level").body(Body::from("trace")).unwrap();
    request.extensions_mut().insert(server::Peer("10.0.0.9:4711".parse().unwrap()));
    let answer = router(admin).oneshot(request).await.unwrap();
    assert_eq!((answer.status(), log.current()), (StatusCode::FORBIDDEN, String::new()));
}

#[test]
fn only_who_is_in_the_pod_is_local() {
    for (address, local) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("10.0.0.9:1", false),
        ("[::ffff:10.0.0.9]:1", false),
    ] {
        assert_eq!(server::Peer(address.parse().unwrap()).is_local(), local, "{address}");
    }
}

#[tokio::test]
async fn the_state_is_json_with_every_watch_and_all_settings_in_seconds() {
    let (address, _stop) = start(admin(CrdState::answered(None))).await;
    let answer = get(address, "/debug/state").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/json"), "{head}");
    let state: Value = serde_json::from_str(body).unwrap();
    let watches = state["index"]["watches"].as_array().unwrap();
    assert!(watches.iter().any(|watch| watch["watch"] == "pods" && watch["listed"] == false), "{body}");
    assert_eq!(state["settings"]["leaseDuration"], 15.0);
    assert_eq!(state["settings"]["debounce"], 0.3);
    assert_eq!(state["leadership"]["held"], false);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_its_request_is_hung_up_on() {
    let (address, _stop) = start(admin(CrdState::answered(None))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&answer).find("200"), None);
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    let answer = ask(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_ends_it_although_a_client_is_connected() {
    let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let served = tokio::spawn(serve(listener, admin(CrdState::answered(None)), stop.clone()));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    stop.cancel();
    served.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
