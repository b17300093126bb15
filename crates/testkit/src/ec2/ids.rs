//! Ids, MAC addresses and times that are the same in every run.

use std::fmt::Write as _;

use jiff::Timestamp;

/// When everything that a seed gives no time for happened: 2026-01-01T00:00:00Z.
pub(crate) const EPOCH: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Spreads a number over 64 bits (the finaliser of `SplitMix64`).
pub(crate) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a of a text, the same on every machine.
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A source of ids in EC2's form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    made: u64,
}

impl Ids {
    /// The next id of a kind: `eni-0` and sixteen hexadecimal digits.
    pub(crate) fn make(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-0{:016x}", mix(self.made))
    }
}

/// The id of a part of something, such as the attachment of an interface: derived, so that a dump need not carry it.
pub(crate) fn part_of(kind: &str, whole: &str) -> String {
    format!("{kind}-0{:016x}", mix(digest(whole)))
}

/// A locally administered MAC address for an interface.
pub(crate) fn mac(interface: &str) -> String {
    let mut text = String::from("02");
    for byte in &digest(interface).to_be_bytes()[3..] {
        let _ = write!(text, ":{byte:02x}");
    }
    text
}

/// The id of a request, in the form of a UUID.
pub(crate) fn request_id(number: u64) -> String {
    let (high, low) = (mix(number), mix(!number));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_ec2s() {
        let mut ids = Ids::default();
        let (one, two) = (ids.make("eni"), ids.make("eni"));
        assert_ne!(one, two);
        assert_eq!((one.len(), &one[..5]), (21, "eni-0"));
        assert_eq!(mac(&one).len(), 17);
        assert_eq!(request_id(7).split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(EPOCH.to_string(), "2026-01-01T00:00:00Z");
    }
}
