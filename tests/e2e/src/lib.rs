//! What the suites share: a cluster with the shipped operator in it, ways to wait for what a user would see, and the
//! API server's audit log as a witness.
//!
//! The suites see the operator only as its users do: through kubectl, its objects, its log and its requests. Nothing
//! here sleeps to be in time: every wait looks for an outcome, within a deadline that a slow machine meets too.

mod admin;
mod cluster;
mod object;
mod replica;
mod right;
mod table;
mod wait;
mod witness;
mod workload;

pub use admin::{Answer, Scrape};
pub use cluster::{AUDIT, Cluster, NAMESPACE, SERVICE_ACCOUNT, Start, bring_your_own_cni, crowded, repository};
pub use object::{Condition, Kind, Object};
pub use replica::Replica;
pub use right::{only_the_leader_wrote, replica_of};
pub use table::{Row, Table};
pub use wait::WITHIN;
pub use witness::{Witness, user};
pub use workload::{PodSpec, idle_address};
