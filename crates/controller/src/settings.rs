//! What a deployment decides about the controller, with its defaults in one place.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;

/// The settings of one controller process.
///
/// `/debug/state` shows all of them: nothing secret may be here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// The controller's own namespace: its Lease is there.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// Who this process is among its replicas: the pod's name.
    pub identity: String,
    /// Whether to ask for leadership; without it this process always polls and writes.
    pub leader_elect: bool,
    /// How long a lease is valid.
    pub lease_duration: Duration,
    /// How often EC2 is read; without it, as often as the audits' own `spec.interval` says.
    pub ec2_interval: Option<Duration>,
    /// How soon EC2 is read again after a fault that may pass; doubles up to the interval.
    pub ec2_retry: Duration,
    /// How long the cluster has to be quiet before an audit.
    pub debounce: Duration,
    /// How long an audit waits for quiet at most.
    pub debounce_limit: Duration,
    /// How long the first audit waits for the first lists before it says what is missing.
    pub first_list_wait: Duration,
    /// How often an audit is repeated while a source fails, so that its age is told truly.
    pub stale_check: Duration,
    /// How long a fault that may pass has to last before it is reported.
    pub fault_grace: Duration,
    /// The first pause of a failed watch or a failed audit.
    pub retry_min: Duration,
    /// The longest.
    pub retry_max: Duration,
    /// How often it is looked up which optional kinds are installed, whether the own kinds are, and what ConfigMaps say.
    pub discovery_interval: Duration,
    /// How many objects are written at the same time.
    pub write_concurrency: usize,
    /// How many objects are written per second at most.
    pub writes_per_second: u32,
    /// How many events one audit may send per minute.
    pub events_per_minute: u32,
    /// Whether each node has metrics of its own.
    pub node_metrics: bool,
    /// How long a shutdown takes at most: half of it for writes that are under way, then the lease is given back.
    pub shutdown_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            namespace: "ipam-audit".to_owned(),
            lease: "ipam-audit".to_owned(),
            identity: "ipam-audit".to_owned(),
            leader_elect: true,
            lease_duration: Duration::from_secs(15),
            ec2_interval: None,
            ec2_retry: Duration::from_secs(5),
            debounce: Duration::from_millis(300),
            debounce_limit: Duration::from_secs(1),
            first_list_wait: Duration::from_mins(3),
            stale_check: Duration::from_secs(15),
            fault_grace: Duration::from_secs(10),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            discovery_interval: Duration::from_mins(1),
            write_concurrency: 16,
            writes_per_second: 400,
            events_per_minute: 20,
            node_metrics: false,
            shutdown_grace: Duration::from_secs(4),
        }
    }
}
