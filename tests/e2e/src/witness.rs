//! What the operator asked of the API server, by the API server's own account.

use anyhow::Result;
use ipam_audit_testkit::controlplane::AuditEvent;

use crate::cluster::{Cluster, NAMESPACE, SERVICE_ACCOUNT};

/// The operator's user.
pub fn user() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}")
}

/// A moment in the audit log: what the operator did since then.
#[derive(Debug, Clone, Copy)]
pub struct Witness {
    since: usize,
}

impl Cluster {
    /// From now on.
    pub fn witness(&self) -> Result<Witness> {
        Ok(Witness { since: self.plane.audit_log()?.len() })
    }

    /// From the beginning.
    pub const fn witness_of_all(&self) -> Witness {
        Witness { since: 0 }
    }
}

impl Witness {
    /// Every request of the operator.
    pub fn requests(self, cluster: &Cluster) -> Result<Vec<AuditEvent>> {
        let (log, user) = (cluster.plane.audit_log()?, user());
        Ok(log.into_iter().skip(self.since).filter(|event| event.user == user).collect())
    }

    /// Everything that the operator wrote or tried to, but for keeping its lease.
    pub fn writes(self, cluster: &Cluster) -> Result<Vec<AuditEvent>> {
        let mut requests = self.requests(cluster)?;
        requests.retain(|event| event.is_write() && event.resource != "leases");
        Ok(requests)
    }
}
