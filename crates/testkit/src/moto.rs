//! moto, the EC2 that nobody here wrote: unpatched, pinned by hashes, on a free loopback port.
//!
//! [`Moto::start`] installs it into the cache the first time (seconds, from the Python package index) and serves it
//! until the value is dropped or this process ends in whatever way. It is slow with many interfaces and wrong in known
//! places: the contract suite lists them. VPCs keep tests apart, so that one server can do for many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::controlplane::process::{Launch, Supervised};
use crate::venv::Venv;

pub(crate) const VENV: Venv = Venv { name: "moto", requirements: include_str!("../../../tests/moto/requirements.txt") };

const POLL: Duration = Duration::from_millis(25);
/// About 2 s on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// What the server writes once it listens, before the port.
const LISTENING: &str = "Running on http://127.0.0.1:";

/// A running moto server.
pub struct Moto {
    // The process ends before its log goes.
    _server: Supervised,
    _dir: TempDir,
    endpoint: String,
}

impl Moto {
    /// Installs moto unless it is in the cache, starts it and waits until it listens. Blocks.
    pub fn start() -> Result<Self> {
        let python = VENV.programs()?.join("python");
        let dir = tempfile::Builder::new().prefix("ipam-audit-moto-").tempdir();
        let dir = dir.context("cannot create a temporary folder")?;
        let mut server = Supervised::spawn(Launch {
            name: "moto",
            program: python,
            args: ["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"].map(str::to_owned).to_vec(),
            env: vec![
                // Half of its start goes into a list of images that nobody asks for.
                ("MOTO_EC2_LOAD_DEFAULT_AMIS", "false".to_owned()),
                ("PYTHONUNBUFFERED", "1".to_owned()),
            ],
            dir: Some(dir.path().to_owned()),
            log: dir.path().join("moto.log"),
        })?;
        let port = wait_for_port(&mut server)?;
        Ok(Self { _server: server, _dir: dir, endpoint: format!("http://127.0.0.1:{port}") })
    }

    /// The value for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whose an access key is, by moto's own account: what its STS answers to `GetCallerIdentity`. Blocks.
    pub fn caller(&self, access_key: &str) -> Result<String> {
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).context("moto is away")?;
        // moto looks up who signed, and not whether the signature is right.
        let scope = format!("{access_key}/20260101/us-east-1/sts/aws4_request");
        let body = "Action=GetCallerIdentity&Version=2011-06-15";
        write!(
            stream,
            "POST / HTTP/1.0\r\nHost: {address}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, \
             Signature=0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("moto does not answer")?;
        arn_in(&answer).map(str::to_owned).with_context(|| format!("moto does not say who {access_key} is: {answer}"))
    }
}

/// What stands between `<Arn>` and its end.
fn arn_in(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("<Arn>")?;
    rest.split_once("</Arn>").map(|(arn, _)| arn)
}

fn wait_for_port(server: &mut Supervised) -> Result<u16> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Some(port) = port_in(&server.output()) {
            return Ok(port);
        }
        if let Some(status) = server.exited().context("cannot watch moto")? {
            bail!("moto ended before it listened ({status}):\n{}", server.last_lines(15));
        }
        if Instant::now() > deadline {
            bail!("moto did not listen within {READY_WITHIN:?}:\n{}", server.last_lines(15));
        }
        sleep(POLL);
    }
}

/// The port in a complete line of the server's log.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once(LISTENING)?;
    let (port, _) = rest.split_once('\n')?;
    port.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_a_complete_line_only() {
        assert_eq!(port_in(" * Running on http://127.0.0.1:395"), None);
        assert_eq!(port_in("WARNING\n * Running on http://127.0.0.1:39513\nPress"), Some(39513));
        assert_eq!(port_in("Traceback (most recent call last):\n"), None);
    }
}
