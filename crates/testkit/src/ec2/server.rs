//! The simulator as a server on a loopback port, with its own thread, so that tests of any kind can hold one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use tokio::sync::oneshot;

use super::actions;
use super::clock::Clock;
use super::control;
use super::faults::Fault;
use super::ids;
use super::log::RequestLog;
use super::query::Request;
use super::seed::Ec2Seed;
use super::shared::{Answer, Shared};
use super::throttle::Throttling;
use super::world::{SeedError, World};

/// A running EC2; it stops when dropped.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The faults of a simulator.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Shared>);

impl Simulator {
    /// Starts on a free loopback port, by the machine's clock.
    pub fn start(world: World) -> io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), world, Clock::system())
    }

    /// Starts on an address, by a clock.
    pub fn start_on(address: SocketAddr, world: World, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(world, clock));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ec2-simulator".to_owned())
            .spawn(move || runtime.block_on(serve(listener, state, stopped)))?;
        Ok(Self { shared, address, stop: Some(stop), thread: Some(thread) })
    }

    /// What to set `AWS_ENDPOINT_URL` to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Things that go wrong on demand.
    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.shared))
    }

    /// Switches the documented token buckets on or off; they are full afterwards.
    pub fn throttle(&self, mode: Throttling) {
        self.shared.throttle(mode);
    }

    /// What was asked since the start or the last reset.
    pub fn request_log(&self) -> RequestLog {
        self.shared.log()
    }

    /// Forgets what was asked.
    pub fn reset_request_log(&self) {
        self.shared.reset_log();
    }

    /// Puts another account in the place of this one.
    pub fn load(&self, seed: Ec2Seed) -> Result<(), SeedError> {
        World::load(seed).map(|world| self.shared.replace(world))
    }

    /// The account as a seed in which everything is stated.
    pub fn state(&self) -> Ec2Seed {
        self.shared.inspect(World::to_seed)
    }

    /// What EC2 reports as available in a subnet.
    pub fn available(&self, subnet: &str) -> Option<u32> {
        self.shared.inspect(|world| world.available(subnet))
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may be gone already, which is what is wanted.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Faults {
    /// Sets a fault; gives its id.
    pub fn add(&self, fault: Fault) -> u64 {
        self.0.add_fault(fault)
    }

    /// Ends one fault.
    pub fn remove(&self, id: u64) {
        self.0.clear_faults(Some(id));
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.0.clear_faults(None);
    }

    /// The faults that are set, those included that have happened often enough.
    pub fn list(&self) -> Vec<(u64, Fault)> {
        self.0.faults()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let router = control::routes().fallback(query).layer(DefaultBodyLimit::disable()).with_state(shared);
    let serving = async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router).await
    };
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the EC2 simulator stopped serving");
        },
        _ = stopped => {}
    }
}

async fn query(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let body = String::from_utf8_lossy(&body);
    let answer = match Request::parse(uri.query().unwrap_or_default(), &body, authorization) {
        Ok(request) => shared.answer(&request),
        Err(error) => Answer {
            status: error.status,
            content_type: "text/xml;charset=UTF-8",
            body: actions::error_reply(&error, &ids::request_id(0)),
            delay: std::time::Duration::ZERO,
            cut_after: None,
        },
    };
    tokio::time::sleep(answer.delay).await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, answer.content_type)], to_body(answer)).into_response()
}

fn to_body(answer: Answer) -> Body {
    let Some(after) = answer.cut_after else {
        return Body::from(answer.body);
    };
    let mut bytes = answer.body.into_bytes();
    bytes.truncate(after);
    // An error in the stream closes the connection before the body's end; yielding lets what comes before it be sent.
    let cut = async {
        tokio::task::yield_now().await;
        Err(io::Error::other("cut off on demand"))
    };
    Body::from_stream(stream::iter([Ok(Bytes::from(bytes))]).chain(stream::once(cut)))
}
