//! What holds for every node: the steady states as formulas over whole grids, and invariants over random stories.
//!
//! The formulas are an independent account of the same code (they know nothing of steps); the model has no formula.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use ipam_audit_core::{
    cni::{CniConfig, CniVersion},
    ipamd::{self, Arrival, Attached, End, Initial, Node, Outcome, Placement, Story, Subnet},
    limits::{Hypervisor, InterfaceLimits},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use support::{config, fresh, holdings, nitro};

fn ceil(dividend: i64, divisor: i64) -> i64 {
    (dividend + divisor - 1) / divisor
}

/// A node of the grid and what its interfaces can carry.
struct Case {
    limits: InterfaceLimits,
    trunk: bool,
    custom: bool,
    max_eni: Option<i64>,
}

impl Case {
    fn slots(&self) -> i64 {
        i64::from(self.limits.ipv4_per_eni) - 1
    }

    /// Interfaces that carry pod addresses although no pod needs them.
    fn least(&self) -> i64 {
        i64::from(!self.custom)
    }

    /// Interfaces that can carry pod addresses.
    fn usable(&self) -> i64 {
        let attachable = i64::from(self.limits.enis);
        let capped = self.max_eni.map_or(attachable, |cap| cap.min(attachable));
        (capped - i64::from(self.trunk) - i64::from(self.custom)).max(self.least())
    }

    fn config(&self, env: &[(&'static str, String)]) -> CniConfig {
        let mut all = env.to_vec();
        if self.trunk {
            all.push(("ENABLE_POD_ENI", "true".to_owned()));
        }
        if self.custom {
            all.push(("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true".to_owned()));
        }
        all.extend(self.max_eni.map(|cap| ("MAX_ENI", cap.to_string())));
        let borrowed: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        config(&borrowed)
    }
}

/// Small types with every combination of trunk, custom networking and cap that leaves an interface for pods.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (enis, ipv4_per_eni) in [(1, 3), (2, 2), (2, 4), (3, 3), (4, 5)] {
        for (trunk, custom) in [(false, false), (true, false), (false, true), (true, true)] {
            for max_eni in [None, Some(i64::from(enis) - 1)] {
                let case = Case { limits: nitro(enis, ipv4_per_eni), trunk, custom, max_eni };
                let attachable = i64::from(enis) > i64::from(trunk);
                if case.usable() > 0 && attachable && max_eni != Some(0) {
                    cases.push(case);
                }
            }
        }
    }
    cases
}

fn check(case: &Case, env: &[(&'static str, String)], max_pods: i64, pods: i64, expect: impl Fn(&Outcome)) {
    let config = case.config(env);
    let node = Node { max_pods: Some(max_pods), ..Node::new(&config, case.limits) };
    let outcome = fresh(&node, case.trunk, pods.unsigned_abs());
    assert!(outcome.running().is_some(), "{env:?} {outcome:?}");
    expect(&outcome);
}

#[test]
fn interfaces_under_an_eni_target() {
    for case in cases() {
        let (slots, usable) = (case.slots(), case.usable());
        for warm in 0..=2 {
            for max_pods in [1, slots, slots + 1, 2 * slots + 1, 110] {
                for pods in 0..=usable * slots {
                    let by_pods = if warm == 0 { pods / slots + 1 } else { ceil(pods, slots) + warm };
                    let enis = by_pods.min(ceil(max_pods, slots)).min(usable).max(case.least());
                    check(&case, &[("WARM_ENI_TARGET", warm.to_string())], max_pods, pods, |outcome| {
                        let held = holdings(outcome);
                        assert_eq!(held.total, enis * slots, "{:?} {max_pods} {pods} {outcome:?}", case.limits);
                        assert!(held.settled || warm == 0 && pods % slots == 0, "{outcome:?}");
                    });
                }
            }
        }
    }
}

#[test]
fn addresses_under_ip_targets() {
    for case in cases() {
        let (slots, usable) = (case.slots(), case.usable());
        let all = usable * slots;
        for (warm, minimum) in [(1, 0), (2, 0), (5, 0), (1, 3), (3, 1), (2, 7), (0, 1), (0, 4)] {
            let env = [("WARM_IP_TARGET", warm.to_string()), ("MINIMUM_IP_TARGET", minimum.to_string())];
            for max_pods in [1, slots + 1, 110] {
                for pods in 0..=all {
                    let target = if warm == 0 { minimum } else { minimum.max(pods + warm) };
                    check(&case, &env, max_pods, pods, |outcome| {
                        let held = holdings(outcome);
                        let range = target.min(max_pods).min(all)..=target.min(all);
                        assert!(held.settled && range.contains(&held.total), "{range:?} {outcome:?}");
                        let enis = ceil(held.total, slots).max(case.least());
                        let others = i64::from(case.custom) + i64::from(case.trunk);
                        assert_eq!(outcome.enis_attached, enis + others, "{outcome:?}");
                    });
                }
            }
        }
    }
}

#[test]
fn prefixes_under_a_prefix_target() {
    for case in cases() {
        let (slots, usable) = (case.slots(), case.usable());
        let all = usable * slots;
        for warm in 1..=3 {
            let env = [("ENABLE_PREFIX_DELEGATION", "true".to_owned()), ("WARM_PREFIX_TARGET", warm.to_string())];
            for max_pods in [1, 16, 17, 40, 1000] {
                for pods in (0..=16 * all).step_by(5) {
                    let target = (ceil(pods, 16) + warm).min(all);
                    let stop = ceil(max_pods, 16);
                    check(&case, &env, max_pods, pods, |outcome| {
                        let held = holdings(outcome);
                        let range = target.min(stop)..=target.min(stop + warm - 1);
                        assert!(held.settled && range.contains(&held.prefixes), "{range:?} {outcome:?}");
                    });
                }
            }
        }
    }
}

#[test]
fn prefixes_under_ip_targets() {
    for case in cases() {
        let (slots, usable) = (case.slots(), case.usable());
        let all = usable * slots;
        for (warm, minimum) in [(1, 0), (16, 0), (17, 0), (5, 20), (1, 33)] {
            let env = [
                ("ENABLE_PREFIX_DELEGATION", "true".to_owned()),
                ("WARM_IP_TARGET", warm.to_string()),
                ("MINIMUM_IP_TARGET", minimum.to_string()),
                ("WARM_PREFIX_TARGET", "1".to_owned()),
            ];
            for max_pods in [17, 1000] {
                for pods in (0..=16 * all).step_by(5) {
                    let target = ceil(pods + warm, 16).max(ceil(minimum, 16)).min(all);
                    check(&case, &env, max_pods, pods, |outcome| {
                        let held = holdings(outcome);
                        let range = target.min(ceil(max_pods, 16))..=target;
                        assert!(held.settled && range.contains(&held.prefixes), "{range:?} {outcome:?}");
                    });
                }
            }
        }
    }
}

/// Texts that targets have been seen with, sensible or not.
fn target() -> impl Strategy<Value = Option<String>> {
    let odd = select(vec!["", "abc", "-1", "+2", "00", "9223372036854775807", "4611686018427387904"]);
    option::of(prop_oneof![8 => (0..40_u32).prop_map(|number| number.to_string()), 1 => odd.prop_map(str::to_owned)])
}

fn switch() -> impl Strategy<Value = Option<String>> {
    option::of(select(vec!["true", "false", "1", "x"]).prop_map(str::to_owned))
}

fn env() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let targets = ["WARM_ENI_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET", "WARM_PREFIX_TARGET", "MAX_ENI"];
    let switches = [
        "ENABLE_PREFIX_DELEGATION",
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
        "ENABLE_POD_ENI",
        "ENABLE_SUBNET_DISCOVERY",
        "AWS_MANAGE_ENIS_NON_SCHEDULABLE",
        "DISABLE_NETWORK_RESOURCE_PROVISIONING",
    ];
    let values = (vec(target(), targets.len()), vec(switch(), switches.len()));
    values.prop_map(move |(numbers, flags)| {
        let numbers = targets.into_iter().zip(numbers);
        let flags = switches.into_iter().zip(flags);
        numbers.chain(flags).filter_map(|(name, value)| Some((name, value?))).collect()
    })
}

fn version() -> impl Strategy<Value = CniVersion> {
    let versions = ["1.9.0", "1.10.4", "1.12.6", "1.13.0", "1.15.5", "1.16.3", "1.16.4", "1.18.2", "1.19.6", "1.20.3"];
    prop_oneof![Just(CniVersion::NEWEST), select(versions.map(|text| CniVersion::parse(text).unwrap()).to_vec())]
}

/// A node with everything that decides about its story.
#[derive(Clone, Debug)]
struct Life {
    limits: InterfaceLimits,
    env: Vec<(&'static str, String)>,
    version: CniVersion,
    subnet: (i64, i64),
    max_pods: Option<i64>,
    placement: Placement,
    arrival: Arrival,
    cordoned: bool,
    unmanaged: u32,
    interfaces: Option<Vec<Attached>>,
    pods: u64,
    fall: u64,
}

fn interface(slots: u32) -> impl Strategy<Value = Attached> {
    (0..=slots, 0..=slots, vec(0..=16_u8, 0..=usize::try_from(slots).unwrap())).prop_map(
        move |(ips, assigned, mut prefixes)| {
            prefixes.truncate(usize::try_from(slots - ips).unwrap());
            Attached { trunk: false, ips, assigned: assigned.min(ips), prefixes }
        },
    )
}

fn life() -> impl Strategy<Value = Life> {
    let hypervisor = select(vec![Hypervisor::Nitro, Hypervisor::Nitro, Hypervisor::Xen, Hypervisor::BareMetal]);
    let limits =
        (1..5_u32, 2..9_u32, hypervisor, any::<bool>()).prop_map(|(enis, ipv4_per_eni, hypervisor, trunking)| {
            InterfaceLimits { enis, ipv4_per_eni, hypervisor, trunking }
        });
    let node = limits.prop_flat_map(|limits| {
        let most = usize::try_from(limits.enis).unwrap();
        let interfaces = option::of(vec(interface(limits.ipv4_per_eni - 1), 1..=most));
        (Just(limits), interfaces, 0..limits.enis)
    });
    let subnet = (0..200_i64).prop_flat_map(|free| (Just(free), 0..=free / 16));
    let how = (
        select(vec![Placement::Packed, Placement::Spread]),
        select(vec![Arrival::Settled, Arrival::Burst]),
        any::<bool>(),
        option::of(1..60_i64),
    );
    (node, env(), version(), subnet, how, 0..80_u64, 0..40_u64).prop_map(
        |((limits, interfaces, unmanaged), env, version, subnet, how, pods, fall)| {
            let attached = interfaces.as_ref().map_or(1, |interfaces| u32::try_from(interfaces.len()).unwrap());
            let (placement, arrival, cordoned, max_pods) = how;
            let unmanaged = unmanaged.min(limits.enis - attached);
            Life {
                limits,
                env,
                version,
                subnet,
                max_pods,
                placement,
                arrival,
                cordoned,
                unmanaged,
                interfaces,
                pods,
                fall,
            }
        },
    )
}

impl Life {
    fn tell(&self, unlimited: bool) -> Outcome {
        let borrowed: Vec<_> = self.env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let config = config(&borrowed);
        let subnet = Subnet::new(Some(self.subnet.0), Some(self.subnet.1)).unwrap();
        let node = Node {
            version: self.version,
            max_pods: self.max_pods,
            unmanaged: self.unmanaged,
            subnet: if unlimited { Subnet::UNLIMITED } else { subnet },
            placement: self.placement,
            ..Node::new(&config, self.limits)
        };
        let initial = self.interfaces.as_deref().map_or(Initial::Fresh { trunk: false }, Initial::Running);
        let (arrival, cordoned) = (self.arrival, self.cordoned);
        let story = Story { initial, pods: Some(self.pods), peak: Some(self.pods + self.fall), arrival, cordoned };
        ipamd::simulate(&node, &story)
    }

    /// Addresses in use before anything happens.
    fn in_use(&self) -> i64 {
        let of = |eni: &Attached| 1 + i64::from(eni.ips) + 16 * i64::try_from(eni.prefixes.len()).unwrap();
        i64::from(self.unmanaged) + self.interfaces.as_ref().map_or(1, |interfaces| interfaces.iter().map(of).sum())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn limits_and_sums_hold_in_every_life(life in life()) {
        let outcome = life.tell(false);
        prop_assert_eq!(&outcome, &life.tell(false), "the same every time");
        let slots = i64::from(life.limits.ipv4_per_eni) - 1;
        let (free, blocks) = (outcome.subnet.free().unwrap(), outcome.subnet.free_blocks().unwrap());
        prop_assert_eq!(free + outcome.subnet_addresses, life.subnet.0 + life.in_use(), "no address is lost or found");
        prop_assert!(blocks >= 0 && 16 * blocks <= free);
        prop_assert!(outcome.enis_attached <= i64::from(life.limits.enis));
        let End::Running(held) = &outcome.end else { return Ok(()) };
        let pods = held.assigned + held.stranded.pods + i64::try_from(held.pending + held.lost).unwrap();
        prop_assert_eq!(pods, i64::try_from(life.pods).unwrap());
        prop_assert!(held.slots.iter().all(|taken| (0..=slots).contains(taken)), "{:?}", held.slots);
        prop_assert!(held.slots.is_sorted_by(|one, two| one >= two));
        prop_assert_eq!(held.slots.iter().sum::<i64>(), held.prefixes + held.total_ips());
        prop_assert!(held.pending == 0 || held.available() == 0, "nobody waits beside a free address");
        prop_assert!(held.assigned >= 0 && held.available() >= 0);
        prop_assert!(held.settled || outcome.calls.is_none());
    }

    #[test]
    fn more_pods_never_mean_fewer_addresses(life in life(), more in 1..20_u64) {
        let fewer = Life { version: CniVersion::NEWEST, placement: Placement::Packed, interfaces: None, fall: 0, ..life };
        let larger = Life { pods: fewer.pods + more, ..fewer.clone() };
        let settled = |life: &Life| match life.tell(true).end {
            End::Running(held) if held.settled => Some((held.total, held.pods_with_address())),
            _ => None,
        };
        if let (Some(few), Some(many)) = (settled(&fewer), settled(&larger)) {
            prop_assert!(few.0 <= many.0 && few.1 <= many.1, "{few:?} {many:?}");
        }
    }
}

trait TotalIps {
    /// Single addresses in the pool, of use to the mode or not.
    fn total_ips(&self) -> i64;
}

impl TotalIps for ipamd::Holdings {
    fn total_ips(&self) -> i64 {
        let prefix_mode = self.stranded.prefixes == 0 && self.total == 16 * self.prefixes;
        if prefix_mode { self.stranded.ips } else { self.total }
    }
}
