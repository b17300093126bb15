//! Addresses, subnets and /28 prefixes as numbers. Nothing past the edge keeps a CIDR as text.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Addresses of a subnet that EC2 keeps for itself: the first four and the last.
pub const RESERVED_BY_AWS: u32 = 5;

/// Addresses in one /28 prefix.
pub const ADDRESSES_PER_PREFIX: u32 = 16;

/// An aligned block of 16 addresses, as ipamd attaches in prefix mode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix28(u32);

impl Prefix28 {
    /// The block that an address lies in.
    pub fn containing(address: Ipv4Addr) -> Self {
        Self(u32::from(address) & !0xf)
    }

    /// The first address of the block.
    pub fn first(self) -> Ipv4Addr {
        self.0.into()
    }

    /// Whether an address lies in the block.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        Self::containing(address) == self
    }
}

impl fmt::Display for Prefix28 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/28", self.first())
    }
}

impl fmt::Debug for Prefix28 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no aligned /28.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an aligned /28 prefix such as 10.0.1.16/28")]
pub struct NotAPrefix(String);

impl FromStr for Prefix28 {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_suffix("/28").and_then(|base| base.parse::<Ipv4Addr>().ok());
        match address {
            Some(base) if u32::from(base).trailing_zeros() >= 4 => Ok(Self(base.into())),
            _ => Err(NotAPrefix(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Prefix28 {
    type Error = NotAPrefix;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Prefix28> for String {
    fn from(prefix: Prefix28) -> Self {
        prefix.to_string()
    }
}

/// Addresses of a subnet that interfaces can ever get: its size less the five that EC2 reserves.
pub fn usable_addresses(cidr: ipnet::Ipv4Net) -> u32 {
    let size = 1_u64 << (32 - cidr.prefix_len());
    u32::try_from(size).unwrap_or(u32::MAX).saturating_sub(RESERVED_BY_AWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_aligned_or_refused() {
        assert_eq!("10.0.1.16/28".parse::<Prefix28>().unwrap().to_string(), "10.0.1.16/28");
        for text in ["10.0.1.17/28", "10.0.1.16/27", "10.0.1.16", "", "x/28"] {
            assert!(text.parse::<Prefix28>().is_err(), "{text}");
        }
    }

    #[test]
    fn usable_is_the_size_less_five() {
        for (cidr, usable) in
            [("10.4.128.0/20", 4091), ("10.0.0.0/28", 11), ("10.0.0.0/16", 65_531), ("10.0.0.0/24", 251)]
        {
            assert_eq!(usable_addresses(cidr.parse().unwrap()), usable, "{cidr}");
        }
    }
}
