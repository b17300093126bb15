//! Test rig: control plane, EC2, scenarios.
