//! EC2 as a local HTTP server: an address book per subnet, interfaces of every kind, documented paging, faults on demand.
//!
//! It speaks the Query protocol to the AWS SDK and knows nothing of the engine it is used to test: the two count
//! addresses in their own ways, so that an error of one shows as a difference. What it does follows AWS's documentation
//! and the contract suite that also runs against moto; prefix counting under churn and real throttling rates could not
//! be compared with AWS itself.

mod actions;
mod address_book;
mod cli_json;
mod clock;
mod control;
mod error;
mod faults;
mod filter;
mod ids;
mod log;
mod paging;
pub(crate) mod query;
pub mod seed;
mod server;
mod shared;
mod throttle;
mod types;
mod world;
mod xml;

pub use clock::Clock;
pub use faults::{Effect, Fault, When};
pub use log::{ActionCount, LoggedRequest, RequestLog};
pub use seed::Ec2Seed;
pub use server::{Faults, Simulator};
pub use throttle::Throttling;
pub use world::{SeedError, World};
