//! Test rig: control plane, EC2, scenarios.

pub mod aws_cli;
pub mod controlplane;
pub mod ec2;
pub mod foreign;
pub mod ipamd;
pub mod issuer;
mod loopback;
pub mod lua;
pub mod moto;
pub mod operator;
pub mod scale;
pub mod scenario;
pub mod telemetry;
mod venv;
