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

/// The identity of a Kubernetes object, which another object under its name does not have. Packed: a UUID needs no
/// allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Uid(Identity);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Identity {
    Uuid([u8; 16]),
    /// Of another shape, which no API server gives out today.
    Text(Arc<str>),
}

impl Uid {
    /// A number that stands for it in tables.
    pub fn key(&self) -> u128 {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        match &self.0 {
            Identity::Uuid(bytes) => u128::from_be_bytes(*bytes),
            // FNV-1a.
            Identity::Text(text) => {
                text.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
            }
        }
    }

    /// One that is a UUID.
    pub(crate) const fn of_uuid(bytes: [u8; 16]) -> Self {
        Self(Identity::Uuid(bytes))
    }

    /// One that is not.
    pub(crate) const fn of_text(text: Arc<str>) -> Self {
        Self(Identity::Text(text))
    }

    /// Its text, if it is no UUID.
    pub(crate) const fn no_uuid(&self) -> Option<&Arc<str>> {
        match &self.0 {
            Identity::Text(text) => Some(text),
            Identity::Uuid(_) => None,
        }
    }

    /// The bytes of a UUID as Kubernetes writes it.
    fn uuid(text: &str) -> Option<[u8; 16]> {
        let dashes = [8, 13, 18, 23];
        let digits = text.bytes().enumerate().filter(|(at, _)| !dashes.contains(at)).map(|(_, byte)| byte);
        let is_written_so = text.len() == 36
            && dashes.iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'))
            && digits.clone().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let number = digits.fold(0_u128, |number, byte| {
            number << 4 | u128::from(if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'a' - 10) })
        });
        is_written_so.then(|| number.to_be_bytes())
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(Self::uuid(text).map_or_else(|| Identity::Text(text.into()), Identity::Uuid))
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.to_string()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Identity::Text(text) => f.write_str(text),
            Identity::Uuid(bytes) => {
                let number = u128::from_be_bytes(*bytes);
                let part = |from: u32, digits: u32| (number >> (4 * (32 - from - digits))) & ((1 << (4 * digits)) - 1);
                write!(f, "{:08x}-{:04x}-{:04x}-", part(0, 8), part(8, 4), part(12, 4))?;
                write!(f, "{:04x}-{:012x}", part(16, 4), part(20, 12))
            }
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

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
    fn a_uid_of_any_shape_comes_out_as_it_went_in_and_has_a_key_of_its_own() {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let texts =
            [uuid, "00000000-0000-0000-0000-0000000000ff", "0F8FAD5B-D9CB-469F-A165-70867728950E", "u1", "u2", ""];
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(Uid::from(*text).to_string(), *text);
            assert!(texts[..at].iter().all(|other| Uid::from(*other).key() != Uid::from(*text).key()), "{text}");
        }
        assert_eq!(Uid::from(texts[1]).key(), 255);
        assert!(matches!(Uid::from(uuid).0, Identity::Uuid(_)));
    }

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
