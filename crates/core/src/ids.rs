//! Names of things, one type each, so that a subnet id cannot be passed where a node name is wanted.
//!
//! All are cheap to clone (`Arc<str>`), ordered and hashable. They carry no format check beyond "not empty": the
//! ids come from AWS and Kubernetes, and an id of a new shape must not stop an audit.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name as it came from its source.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self::new(name)
            }
        }
    };
}

id!(
    /// A Kubernetes node, for example `ip-10-4-129-144.eu-central-1.compute.internal`.
    NodeName
);
id!(
    /// An EC2 subnet, for example `subnet-0a1b2c3d`.
    SubnetId
);
id!(
    /// An EC2 network interface, for example `eni-0a1b2c3d`.
    EniId
);
id!(
    /// An EC2 instance, for example `i-0a1b2c3d`.
    InstanceId
);
id!(
    /// An EC2 VPC, for example `vpc-0a1b2c3d`.
    VpcId
);
id!(
    /// An EC2 instance type, for example `m6a.32xlarge`.
    InstanceType
);
id!(
    /// An availability zone by name, for example `eu-central-1a`.
    Zone
);

impl InstanceId {
    /// The instance of a node's `spec.providerID` (`aws:///<zone>/<instance>`), if it is one of EC2.
    pub fn from_provider_id(provider_id: &str) -> Option<Self> {
        let path = provider_id.strip_prefix("aws://")?;
        let last = path.rsplit('/').next()?;
        last.starts_with("i-").then(|| Self::new(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_is_the_last_segment_of_an_aws_provider_id() {
        for (provider_id, want) in [
            ("aws:///eu-central-1a/i-0abc", Some("i-0abc")),
            ("aws:///eu-central-1a/fargate-ip-10-0-0-1", None),
            ("kind://docker/kind/kind-worker", None),
            ("", None),
        ] {
            assert_eq!(
                InstanceId::from_provider_id(provider_id).as_ref().map(InstanceId::as_str),
                want,
                "{provider_id}"
            );
        }
    }
}
