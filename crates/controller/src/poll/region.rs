//! Which region nodes are in, read off the names of their zones.

use std::collections::BTreeMap;

/// The region that most zones are of, each as often as it is named.
pub(super) fn of_most<'a>(zones: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for region in zones.filter_map(of_zone) {
        *counts.entry(region).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(region, _)| region.to_owned())
}

/// The region of a zone, in any partition: `us-isob-east-1` of `us-isob-east-1a`.
///
/// It ends with the first part that is a number. What follows is a letter, or the place of a Local Zone or a Wavelength
/// Zone: `us-west-2-lax-1a` is a zone of `us-west-2`, and no region has the name `us-west-2-lax-1`.
fn of_zone(zone: &str) -> Option<&str> {
    let mut start = 0;
    for part in zone.split('-') {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let rest = &part[digits..];
        if digits > 0 {
            let is_number = start > 0 && rest.bytes().all(|letter| letter.is_ascii_lowercase());
            return is_number.then(|| &zone[..start + digits]);
        }
        start += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_told_by_zones_of_every_partition_and_kind() {
        for (zone, region) in [
            ("eu-central-1a", "eu-central-1"),
            ("ap-southeast-5c", "ap-southeast-5"),
            ("cn-north-1a", "cn-north-1"),
            ("cn-northwest-1b", "cn-northwest-1"),
            ("us-gov-west-1a", "us-gov-west-1"),
            ("us-gov-east-1c", "us-gov-east-1"),
            ("us-iso-east-1a", "us-iso-east-1"),
            ("us-iso-west-1b", "us-iso-west-1"),
            ("us-isob-east-1a", "us-isob-east-1"),
            ("us-isof-south-1a", "us-isof-south-1"),
            ("eu-isoe-west-1a", "eu-isoe-west-1"),
            ("eusc-de-east-1a", "eusc-de-east-1"),
            ("us-west-2-lax-1a", "us-west-2"),
            ("us-east-1-bos-1a", "us-east-1"),
            ("us-east-1-wl1-bos-wlz-1", "us-east-1"),
            ("us-gov-west-1-phx-1a", "us-gov-west-1"),
        ] {
            assert_eq!(of_zone(zone), Some(region), "{zone}");
        }
    }

    #[test]
    fn what_is_no_zone_of_aws_tells_no_region() {
        for zone in ["", "a", "zone-a", "rack1", "1", "1-a", "eu-central-1_a", "eu-central", "-", "lab-2B"] {
            assert_eq!(of_zone(zone), None, "{zone}");
        }
    }

    #[test]
    fn most_zones_decide() {
        let zones = ["us-iso-east-1a", "us-west-2-lax-1a", "us-iso-east-1c", "rack-b"];
        assert_eq!(of_most(zones.into_iter()).as_deref(), Some("us-iso-east-1"));
        assert_eq!(of_most(["rack-b"].into_iter()), None);
    }
}
