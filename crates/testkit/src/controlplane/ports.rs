//! Free loopback ports.
//!
//! They come from below the range that kernels use for outgoing connections, so that a port stays free while its server
//! is stopped for a while. Between the choice and the server's own bind another process may still take one: whoever
//! starts a server has to retry.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Three different free ports, for etcd's clients, etcd's peers and the API server.
pub(super) fn free_ports() -> Result<[u16; 3]> {
    let start = random_offset();
    let candidates = (0..COUNT).map(|step| FIRST + (start + step) % COUNT);
    // The listeners stay open until all ports are chosen, which keeps the ports apart.
    let mut listeners = candidates.filter_map(|port| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some((port, listener))
    });
    match (listeners.next(), listeners.next(), listeners.next()) {
        (Some(a), Some(b), Some(c)) => Ok([a.0, b.0, c.0]),
        _ => bail!("no three free ports on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT - 1),
    }
}

/// A free port for something else beside the control plane.
pub(crate) fn free_port() -> Result<u16> {
    free_ports().map(|[port, ..]| port)
}

fn random_offset() -> u16 {
    // A RandomState is seeded anew by the standard library; only the spread matters here.
    let random = RandomState::new().hash_one(std::process::id());
    u16::try_from(random % u64::from(COUNT)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = free_ports().unwrap();
        let bound: Vec<_> = ports.iter().map(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
        assert_eq!(bound.len(), 3);
    }
}
