//! Versions of the VPC CNI, as image tags and add-on versions spell them.

use std::fmt;

use thiserror::Error;

/// A released version of the VPC CNI. Builds of EKS (`-eksbuild.N`) of one version behave alike and compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CniVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

/// The text is no version of the VPC CNI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a version of the VPC CNI; write it like `1.23.2` or `v1.23.2-eksbuild.1`")]
pub struct VersionError {
    text: String,
}

impl CniVersion {
    /// The newest version whose behaviour this program knows; used where a version is not given.
    pub const NEWEST: Self = Self::new(1, 23, 2);

    /// The oldest version whose behaviour this program knows.
    pub const OLDEST: Self = Self::new(1, 9, 0);

    /// The version `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `1.23.2`, `v1.23.2` or `v1.23.2-eksbuild.1`.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError { text: text.to_owned() };
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let numbers = match numbers.split_once('-') {
            None => numbers,
            Some((numbers, suffix)) => {
                let build = suffix.strip_prefix("eksbuild.").ok_or_else(error)?;
                number(build).ok_or_else(error)?;
                numbers
            }
        };
        Self::from_numbers(numbers).ok_or_else(error)
    }

    /// The version in the tag of a container image such as `…/amazon-k8s-cni:v1.19.0-eksbuild.1@sha256:…`, if the tag
    /// names one. Suffixes of any kind are accepted here: mirrors and rebuilds add their own.
    pub fn from_image(image: &str) -> Option<Self> {
        let untagged = image.split_once('@').map_or(image, |(name, _)| name);
        let (_, tag) = untagged.rsplit_once(':')?;
        let tag = tag.strip_prefix('v').unwrap_or(tag);
        let numbers = tag.split_once(['-', '+', '_']).map_or(tag, |(numbers, _)| numbers);
        Self::from_numbers(numbers)
    }

    fn from_numbers(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(number);
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

/// Digits only: `u16::from_str` would also take a sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_version() {
        for text in ["1.23.2", "v1.23.2", "1.23.2-eksbuild.1", "v1.23.2-eksbuild.12"] {
            assert_eq!(CniVersion::parse(text), Ok(CniVersion::NEWEST), "{text}");
        }
        for text in ["", "1.23", "1.23.2.1", "1.23.x", "v1.23.2-rc1", "1.23.2-eksbuild.", "latest", "1.+3.2", "V1.2.3"]
        {
            assert!(CniVersion::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn image_tags() {
        let version = |image: &str| CniVersion::from_image(image).map(|version| version.to_string());
        let registry = "602401143452.dkr.ecr.eu-central-1.amazonaws.com:443/amazon-k8s-cni";
        assert_eq!(version(&format!("{registry}:v1.19.0-eksbuild.1")), Some("1.19.0".to_owned()));
        assert_eq!(version(&format!("{registry}:v1.19.0@sha256:0123")), Some("1.19.0".to_owned()));
        assert_eq!(version(&format!("{registry}:v1.18.3-minimal")), Some("1.18.3".to_owned()));
        assert_eq!(version(registry), None);
        assert_eq!(version(&format!("{registry}:latest")), None);
    }

    #[test]
    fn order_is_numeric() {
        let parse = |text| CniVersion::parse(text).unwrap();
        assert!(parse("1.9.3") < parse("1.10.0"));
        assert!(parse("1.18.4") < parse("1.18.10"));
        assert_eq!(parse("v1.20.4-eksbuild.2"), parse("1.20.4"));
    }
}
