//! EC2 as a local HTTP server: an address book per subnet, interfaces of every kind, documented paging, faults on demand.
//!
//! It speaks the Query protocol to the AWS SDK and knows nothing of the engine it is used to test: the two count
//! addresses in their own ways, so that an error of one shows as a difference.

pub mod seed;
