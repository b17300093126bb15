//! Rules about security groups for pods: codes 3xx.

pub(super) mod limit_near;
