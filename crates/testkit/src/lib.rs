//! Test rig: control plane, EC2, scenarios.

pub mod controlplane;
pub mod ec2;
pub mod moto;
pub mod operator;
pub mod scenario;
