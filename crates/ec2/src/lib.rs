//! The EC2 inventory.
