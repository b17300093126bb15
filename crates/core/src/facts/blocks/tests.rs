//! Small cases by hand, and random ones against an account that looks at every address.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::tests::fixtures::interface;

fn reservation(cidr: &str, kind: ReservationKind) -> CidrReservation {
    CidrReservation { subnet: "subnet-1".into(), cidr: cidr.parse().unwrap(), kind }
}

#[test]
fn an_empty_subnet_loses_its_first_and_last_block() {
    for (cidr, free) in
        [("10.0.0.0/28", 0), ("10.0.0.0/27", 0), ("10.0.0.0/26", 2), ("10.0.0.0/20", 254), ("10.0.0.0/29", 0)]
    {
        assert_eq!(Blocks::of(cidr.parse().unwrap()).free(), free, "{cidr}");
    }
}

#[test]
fn one_address_breaks_a_block_and_a_prefix_takes_one() {
    let mut blocks = Blocks::of("10.0.0.0/24".parse().unwrap());
    let mut row = interface("eni-1", "subnet-1");
    row.primary = Some([10, 0, 0, 20].into());
    row.secondary = [[10, 0, 0, 21].into(), [10, 0, 0, 200].into(), [10, 0, 9, 9].into()].into();
    row.prefixes = ["10.0.0.64/28".parse().unwrap()].into();
    blocks.occupy(5, &row, Holder::Node(7));
    assert_eq!((blocks.free(), blocks.broken(), blocks.visible()), (11, 2, 19));
    assert_eq!(blocks.recoverable(), BTreeMap::from([(7, 2)]));
    assert_eq!(
        blocks.nearly_free(blocks.cidr, 1),
        [NearlyFree { block: "10.0.0.192/28".parse().unwrap(), occupants: 1, interface: 5 }]
    );
    blocks.reserve(&reservation("10.0.0.96/27", ReservationKind::Prefix));
    assert_eq!((blocks.free(), blocks.free_kept()), (11, 2));
    blocks.reserve(&reservation("10.0.0.128/27", ReservationKind::Explicit));
    assert_eq!((blocks.free(), blocks.explicit()), (9, 32));
    assert_eq!(blocks.map(), "1R 1f 2F 1P 1F 2p 2X 2F 1f 2F 1R");
    assert_eq!(blocks.fragmentation_percent(), Some(19), "2 of 11, rounded up");
    assert_eq!(blocks.largest_free().map(|net| net.to_string()).as_deref(), Some("10.0.0.32/27"));
}

#[test]
fn a_reservation_says_how_it_is_used() {
    let mut blocks = Blocks::of("10.0.0.0/24".parse().unwrap());
    blocks.reserve(&reservation("10.0.0.128/25", ReservationKind::Prefix));
    let mut row = interface("eni-1", "subnet-1");
    row.secondary = [[10, 0, 0, 130].into(), [10, 0, 0, 131].into()].into();
    row.prefixes = ["10.0.0.144/28".parse().unwrap(), "10.0.0.160/28".parse().unwrap()].into();
    blocks.occupy(5, &row, Holder::Others);
    let cidr = "10.0.0.128/25".parse().unwrap();
    assert_eq!(
        blocks.reservations(),
        [Reservation { cidr, blocks: 7, free: 4, prefixes: 2, intruded: 1, intruders: 2 }]
    );
    assert_eq!(blocks.untaken_kept(), 128 - 2 - 32 - 1);
    assert_eq!(blocks.largest_unreserved().map(|net| net.to_string()).as_deref(), Some("10.0.0.64/26"));
}

#[test]
fn the_map_of_the_worst_subnet_is_bounded() {
    let mut blocks = Blocks::of("10.0.0.0/16".parse().unwrap());
    let mut row = interface("eni-1", "subnet-1");
    row.secondary = (0_u32..2048).map(|at| Ipv4Addr::from(0x0a00_0000 + at * 32 + 16)).collect();
    blocks.occupy(5, &row, Holder::Others);
    let map = blocks.map();
    assert!(map.len() <= 2048, "{}", map.len());
    let shown: usize =
        map.split(' ').map(|word| word.trim_matches(|c: char| !c.is_numeric()).parse::<usize>().unwrap()).sum();
    assert_eq!(shown, 4096, "{map}");
}

/// A random subnet and who is in it.
#[derive(Debug, Clone)]
struct Case {
    cidr: Ipv4Net,
    /// Single addresses (as offsets) and the node that has them, if any.
    singles: Vec<(u32, Option<usize>)>,
    /// Prefixes, by the offset of one of their addresses.
    prefixes: Vec<u32>,
    /// Reservations: offset, length of the prefix, explicit or for prefixes.
    reservations: Vec<(u32, u8, bool)>,
}

fn cases() -> impl Strategy<Value = Case> {
    (16_u8..=28, any::<u32>()).prop_flat_map(|(bits, seed)| {
        let size = 1_u32 << (32 - bits);
        let cidr = Ipv4Net::new((0x0a00_0000 | (seed & 0x00ff_ffff)).into(), bits).unwrap().trunc();
        // Runs of addresses, so that some blocks are full.
        let run = (0..size, 1_u32..40, proptest::option::of(0_usize..3));
        let singles = vec(run, 0..12).prop_map(move |runs| {
            let each = |(from, length, node)| (from..size.min(from + length)).map(move |offset| (offset, node));
            runs.into_iter().flat_map(each).collect()
        });
        let prefixes = vec(0..size, 0..12);
        let reservations = vec((0..size, bits..=32_u8, any::<bool>()), 0..3);
        (singles, prefixes, reservations).prop_map(move |(singles, prefixes, reservations)| Case {
            cidr,
            singles,
            prefixes,
            reservations,
        })
    })
}

/// The same figures from a look at every address, by address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    free: u32,
    free_kept: u32,
    broken: u32,
    untaken_kept: u32,
    untaken_explicit: u32,
    visible: u32,
    recoverable: BTreeMap<usize, u32>,
    letters: String,
    largest: Option<u8>,
}

fn naive(case: &Case) -> Account {
    let (first, last) = (u32::from(case.cidr.network()), u32::from(case.cidr.broadcast()));
    let aws: BTreeSet<u32> = (first..=last).filter(|address| *address < first + 4 || *address == last).collect();
    let prefixes: BTreeSet<u32> = case.prefixes.iter().map(|offset| (first + offset) / 16).collect();
    let mut singles: BTreeMap<u32, Vec<Option<usize>>> = BTreeMap::new();
    for (offset, node) in &case.singles {
        singles.entry(first + offset).or_default().push(*node);
    }
    let ranges = |wanted: bool| -> Vec<Ipv4Net> {
        let of = case.reservations.iter().filter(|(_, _, explicit)| *explicit == wanted);
        of.map(|(offset, bits, _)| Ipv4Net::new((first + offset).into(), *bits).unwrap().trunc()).collect()
    };
    let (explicit, kept) = (ranges(true), ranges(false));
    let within = |ranges: &[Ipv4Net], address: u32| ranges.iter().any(|range| range.contains(&Ipv4Addr::from(address)));
    let mut account = Account::default();
    let mut free = BTreeSet::new();
    for block in first / 16..=last / 16 {
        let all: Vec<u32> = (block * 16..block * 16 + 16).collect();
        let holders: Vec<_> = all.iter().filter_map(|address| singles.get(address)).flatten().copied().collect();
        let taken = all.iter().filter(|address| singles.contains_key(address)).count();
        let is_prefix = prefixes.contains(&block);
        let untaken = |address: &&u32| !is_prefix && !singles.contains_key(address) && !aws.contains(address);
        account.visible += if is_prefix {
            16
        } else {
            u32::try_from(all.iter().filter(|at| singles.contains_key(at) && !aws.contains(at)).count()).unwrap()
        };
        let count = |in_range: &dyn Fn(u32) -> bool| {
            u32::try_from(all.iter().filter(untaken).filter(|address| in_range(**address)).count()).unwrap()
        };
        account.untaken_kept += count(&|address| within(&kept, address));
        account.untaken_explicit += count(&|address| within(&explicit, address) && !within(&kept, address));
        let is_explicit = all.iter().any(|address| within(&explicit, *address));
        let letter = if all.iter().any(|address| aws.contains(address)) {
            'R'
        } else if is_prefix {
            'P'
        } else if taken == 16 {
            'U'
        } else if taken > 0 {
            'f'
        } else if is_explicit {
            'X'
        } else if all.iter().all(|address| within(&kept, *address)) {
            'p'
        } else {
            'F'
        };
        account.letters.push(letter);
        match letter {
            'U' | 'f' => {
                account.broken += 1;
                let one = holders.first().copied().flatten().filter(|node| holders.iter().all(|at| *at == Some(*node)));
                if let (Some(node), false) = (one, is_explicit) {
                    *account.recoverable.entry(node).or_default() += 1;
                }
            }
            'p' | 'F' => {
                account.free += 1;
                account.free_kept += u32::from(letter == 'p');
                free.insert(block);
            }
            _ => {}
        }
    }
    account.largest = (case.cidr.prefix_len()..=28).find(|bits| {
        let blocks = 1_u32 << (28 - bits);
        free.iter().any(|at| at % blocks == 0 && (*at..at + blocks).all(|block| free.contains(&block)))
    });
    account
}

fn counted(case: &Case) -> (Account, Blocks) {
    let first = u32::from(case.cidr.network());
    let mut blocks = Blocks::of(case.cidr);
    for (offset, node) in &case.singles {
        let mut row = interface("eni-1", "subnet-1");
        row.secondary = [Ipv4Addr::from(first + offset)].into();
        blocks.occupy(5, &row, node.map_or(Holder::Others, Holder::Node));
    }
    let mut row = interface("eni-2", "subnet-1");
    row.prefixes = case.prefixes.iter().map(|offset| Prefix28::containing((first + offset).into())).collect();
    blocks.occupy(5, &row, Holder::Others);
    for (offset, bits, explicit) in &case.reservations {
        let cidr = Ipv4Net::new((first + offset).into(), *bits).unwrap();
        let kind = if *explicit { ReservationKind::Explicit } else { ReservationKind::Prefix };
        blocks.reserve(&CidrReservation { subnet: "subnet-1".into(), cidr, kind });
    }
    let account = Account {
        free: blocks.free(),
        free_kept: blocks.free_kept(),
        broken: blocks.broken(),
        untaken_kept: blocks.untaken_kept(),
        untaken_explicit: blocks.untaken_explicit(),
        visible: blocks.visible(),
        recoverable: blocks.recoverable(),
        letters: unfold(&blocks.map()),
        largest: blocks.largest_free().map(|net| net.prefix_len()),
    };
    (account, blocks)
}

fn unfold(map: &str) -> String {
    let run = |word: &str| {
        let (count, letter) = word.split_at(word.len() - 1);
        letter.repeat(count.parse().unwrap())
    };
    map.split(' ').map(run).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn every_figure_is_that_of_a_look_at_every_address(case in cases()) {
        let (account, blocks) = counted(&case);
        prop_assert_eq!(account, naive(&case));
        let used: u32 = blocks.reservations().iter().map(|one| one.free + one.prefixes + one.intruded).sum();
        let all: u32 = blocks.reservations().iter().map(|one| one.blocks).sum();
        prop_assert!(used <= all);
        prop_assert!(blocks.nearly_free(case.cidr, 5).len() <= 5);
        if let Some(net) = blocks.largest_free() {
            prop_assert!(case.cidr.contains(&net) && net.prefix_len() > case.cidr.prefix_len());
        }
    }
}
