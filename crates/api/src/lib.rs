//! The `ipam-audit.dev` API: the custom resources, and the lean views of the Kubernetes objects that an audit reads.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type; narrower places do not work")]

pub mod convert;
pub mod crd;
mod duration;
pub mod names;
pub mod pressure;
pub mod settings;
pub mod transition;
pub mod v1alpha1;
pub mod views;
