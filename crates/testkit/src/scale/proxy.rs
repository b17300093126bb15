//! Counts the bytes between the operator and the API server, encrypted as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

const LOOPBACK: &str = "127.0.0.1";
const BUFFER: usize = 256 * 1024;

/// A way to a server that counts; it ends with this.
pub(super) struct Proxy {
    port: u16,
    received: Arc<AtomicU64>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on a free port and passes everything on to a port of this machine.
    pub(super) async fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.context("cannot listen on a free port")?;
        let port = listener.local_addr()?.port();
        let received = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, server, received.clone())).abort_handle();
        Ok(Self { port, received, accepting })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("https://{LOOPBACK}:{}", self.port)
    }

    /// Bytes that the server has sent so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, received: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(pass(client, server, received.clone()));
    }
}

/// An error of one side ends the connection of the other: both see what they would see without a proxy.
async fn pass(client: TcpStream, server: u16, received: Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect((LOOPBACK, server)).await?;
    for side in [&client, &server] {
        side.set_nodelay(true)?;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = copy(from_client, to_server, None) => ended,
        ended = copy(from_server, to_client, Some(&received)) => ended,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: Option<&AtomicU64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        if let Some(count) = count {
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
        to.write_all(&buffer[..length]).await?;
    }
}
