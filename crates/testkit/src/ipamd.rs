//! ipamd's metrics on nodes that are not there: a server on this machine that answers for each of them.
//!
//! Nodes are told apart by the address that is asked, since all of 127.0.0.0/8 is this machine, or, where the API server
//! asks for somebody else, by the pod that it names in the request: it does not connect to loopback addresses, so that
//! all pods have the one address of this machine. Who is to refuse has an address where nobody listens.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// The longest request that is read; kube-apiserver's is a fourth of it.
const LONGEST_REQUEST: usize = 8 * 1024;
/// Another process may have the port on one of the addresses.
const ATTEMPTS: usize = 8;

/// What a node's ipamd does when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers with these numbers, among all the lines of a real one.
    Counts(Counts),
    /// It answers with another status.
    Status(u16),
    /// It answers with a text that is not ipamd's.
    Garbage,
    /// It takes the question and says nothing.
    Hangs,
    /// It answers without end.
    Floods,
    /// It ends the connection.
    Closes,
}

/// The numbers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// `awscni_total_ip_addresses`
    pub total: u32,
    /// `awscni_assigned_ip_addresses`
    pub assigned: u32,
    /// `awscni_eni_allocated`
    pub interfaces: u32,
    /// `awscni_no_available_ip_addresses`
    pub refused: u32,
}

/// The servers; they stop when dropped.
pub struct Ipamd {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// By address or by the name of a pod.
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
    asked: Mutex<BTreeMap<String, u64>>,
}

impl Ipamd {
    /// Listens on these addresses of this machine, all on one free port.
    pub fn start(addresses: &[Ipv4Addr]) -> Result<Self> {
        let (port, listeners) = listen(addresses)?;
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("ipamd".to_owned()).spawn(move || {
            runtime.block_on(async {
                for listener in listeners {
                    tokio::spawn(serve(listener, Arc::clone(&state)));
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { port, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// The port, the same on every address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the ipamd at this address, or of this pod, does so; until it is told it answers 404.
    pub fn set(&self, who: &str, behaviour: Behaviour) {
        lock(&self.shared.behaviours).insert(who.to_owned(), behaviour);
    }

    /// How often each was asked.
    pub fn asked(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for Ipamd {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An address of this machine that is not loopback: the API server connects to no other.
pub fn address_of_this_machine() -> Result<Ipv4Addr> {
    // Nothing is sent: connecting a datagram socket only looks the route up.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let routed = socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).and_then(|()| socket.local_addr());
    match routed.context("this machine has no route out, and so no address that the API server connects to")?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Ok(address),
        other => bail!("this machine's own address is {other}, which the API server does not connect to"),
    }
}

fn listen(addresses: &[Ipv4Addr]) -> Result<(u16, Vec<TcpListener>)> {
    let first = *addresses.first().context("nobody to answer for")?;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let listener = TcpListener::bind((first, 0))?;
        let port = listener.local_addr()?.port();
        let rest: io::Result<Vec<TcpListener>> =
            addresses.iter().skip(1).map(|address| TcpListener::bind((*address, port))).collect();
        match rest {
            Ok(rest) => {
                let all: Vec<TcpListener> = std::iter::once(listener).chain(rest).collect();
                all.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
                return Ok((port, all));
            }
            Err(error) => last = error,
        }
    }
    Err(last).context("no port is free on all addresses")
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // What goes wrong with one connection is the asker's to tell.
        tokio::spawn(async move { drop(answer(stream, &shared).await) });
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let request = read(&mut stream).await?;
    let who = pod(&request).unwrap_or(stream.local_addr()?.ip().to_string());
    *lock(&shared.asked).entry(who.clone()).or_default() += 1;
    let behaviour = lock(&shared.behaviours).get(&who).cloned().unwrap_or(Behaviour::Status(404));
    match behaviour {
        Behaviour::Counts(counts) => stream.write_all(&response(200, &text(counts))).await,
        Behaviour::Status(code) => stream.write_all(&response(code, "404 page not found\n")).await,
        Behaviour::Garbage => stream.write_all(&response(200, "awscni_total_ip_addresses{ 1\n")).await,
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::Floods => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            }
        }
        Behaviour::Closes => Ok(()),
    }
}

/// The head of a request.
async fn read(stream: &mut TcpStream) -> io::Result<String> {
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") && request.len() < LONGEST_REQUEST {
        let length = stream.read(&mut part).await?;
        if length == 0 {
            break;
        }
        request.extend_from_slice(&part[..length]);
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

/// The pod that the API server asks for: it says which path it was asked for itself.
fn pod(request: &str) -> Option<String> {
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-forwarded-uri").then(|| value.trim().to_owned())
    };
    let path = request.lines().find_map(header)?;
    let (_, rest) = path.split_once("/pods/")?;
    rest.split([':', '/']).next().map(str::to_owned)
}

fn response(code: u16, body: &str) -> Vec<u8> {
    let head = "Content-Type: text/plain; version=0.0.4\r\nConnection: close";
    format!("HTTP/1.1 {code} .\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn text(counts: Counts) -> String {
    let Counts { total, assigned, interfaces, refused } = counts;
    format!(
        "# HELP awscni_assigned_ip_addresses The number of IP addresses assigned to pods\n\
         # TYPE awscni_assigned_ip_addresses gauge\n\
         awscni_assigned_ip_addresses {assigned}\n\
         awscni_build_info{{goversion=\"go1.23.6\",version=\"v1.19.2\"}} 1\n\
         awscni_ec2api_req_count{{fn=\"AssignPrivateIpAddresses\"}} 3\n\
         awscni_eni_allocated {interfaces}\n\
         awscni_no_available_ip_addresses {refused}\n\
         awscni_total_ip_addresses {total}\n\
         go_goroutines 41\n"
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    fn ask(address: Ipv4Addr, port: u16, headers: &str) -> String {
        let mut stream = std::net::TcpStream::connect((address, port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn nodes_are_told_apart_by_their_address_and_pods_by_what_the_api_server_says() {
        let nodes = [Ipv4Addr::new(127, 9, 8, 1), Ipv4Addr::new(127, 9, 8, 2)];
        let ipamd = Ipamd::start(&nodes).unwrap();
        let counts = Counts { total: 9, assigned: 2, ..Counts::default() };
        ipamd.set("127.9.8.1", Behaviour::Counts(counts));
        ipamd.set("aws-node-x", Behaviour::Closes);
        let port = ipamd.port();
        assert!(ask(nodes[0], port, "").contains("\nawscni_total_ip_addresses 9\n"));
        assert!(ask(nodes[1], port, "").starts_with("HTTP/1.1 404"));
        let path = "/api/v1/namespaces/kube-system/pods/aws-node-x:61678/proxy/metrics";
        assert_eq!(ask(nodes[0], port, &format!("X-Forwarded-Uri: {path}\r\n")), "");
        let asked = ipamd.asked();
        assert_eq!(asked.keys().collect::<Vec<_>>(), ["127.9.8.1", "127.9.8.2", "aws-node-x"]);
        drop(ipamd);
        assert!(std::net::TcpStream::connect((nodes[0], port)).is_err(), "it is gone");
    }
}
