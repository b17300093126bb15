//! Test rig: control plane, EC2, scenarios.

pub mod ec2;
