//! Known states of real configurations: what the model must answer, number by number.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use ipam_audit_core::{
    cni::CniVersion,
    ipamd::{self, Attached, End, InitError, Node, Story, Subnet},
    limits::{InterfaceLimits, lookup},
};
use support::{config, fresh, holdings, nitro};

/// The limits of a type in the table.
fn limits(instance_type: &str) -> InterfaceLimits {
    lookup(instance_type).unwrap_or_else(|| panic!("{instance_type} is in the table")).interface_limits()
}

/// One line of `data/steady-states.txt`.
struct Vector<'a> {
    line: &'a str,
    instance_type: &'a str,
    env: Vec<(&'a str, &'a str)>,
    trunk: bool,
    unmanaged: u32,
    figures: Vec<i64>,
    slots: Vec<i64>,
}

impl<'a> Vector<'a> {
    fn read(line: &'a str) -> Self {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        let numbers = |text: &str| text.split(',').map(|number| number.parse().unwrap()).collect::<Vec<i64>>();
        let mut slots = numbers(fields[9]);
        slots.sort_unstable_by(|one, two| two.cmp(one));
        let mut vector = Self {
            line,
            instance_type: fields[0],
            env: Vec::new(),
            trunk: false,
            unmanaged: 0,
            figures: fields[2..9].iter().map(|number| number.parse().unwrap()).collect(),
            slots,
        };
        fields[1].split_whitespace().for_each(|switch| vector.switch(switch));
        vector
    }

    fn switch(&mut self, switch: &'a str) {
        let (name, value) = switch.split_once('=').unwrap_or((switch, "true"));
        match name {
            "WET" => self.env.push(("WARM_ENI_TARGET", value)),
            "WIT" => self.env.push(("WARM_IP_TARGET", value)),
            "MIT" => self.env.push(("MINIMUM_IP_TARGET", value)),
            "WPT" => self.env.push(("WARM_PREFIX_TARGET", value)),
            "MAX_ENI" => self.env.push(("MAX_ENI", value)),
            "PD" => self.env.push(("ENABLE_PREFIX_DELEGATION", value)),
            "CN" => self.env.push(("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", value)),
            "trunk" => {
                self.env.push(("ENABLE_POD_ENI", "true"));
                self.trunk = value == "attached";
            }
            "unmanaged" => self.unmanaged = value.parse().unwrap(),
            other => panic!("{other} in {}", self.line),
        }
    }

    fn check(&self) {
        let [max_pods, pods, attached, prefixes, total, available, subnet] = self.figures[..] else { unreachable!() };
        let config = config(&self.env);
        let node = Node {
            max_pods: Some(max_pods),
            unmanaged: self.unmanaged,
            ..Node::new(&config, limits(self.instance_type))
        };
        let outcome = fresh(&node, self.trunk, pods.unsigned_abs());
        let held = holdings(&outcome);
        assert!(held.settled, "{}", self.line);
        assert_eq!(
            (outcome.enis_attached, held.prefixes, held.total, held.available(), outcome.subnet_addresses),
            (attached, prefixes, total, available, subnet),
            "{}",
            self.line
        );
        assert_eq!(held.slots, self.slots, "{}", self.line);
    }
}

#[test]
fn steady_states() {
    let vectors: Vec<_> = include_str!("data/steady-states.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(Vector::read)
        .collect();
    assert_eq!(vectors.len(), 75);
    vectors.iter().for_each(Vector::check);
}

/// Pods, interfaces and addresses of `WARM_*` settings in the CNI's published tables.
#[test]
fn published_tables() {
    let eni_target: &[(&str, &str)] = &[("WARM_ENI_TARGET", "1")];
    let one_and_one: &[(&str, &str)] = &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "1")];
    let two_and_five: &[(&str, &str)] = &[("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "5")];
    let five_and_ten: &[(&str, &str)] = &[("WARM_IP_TARGET", "5"), ("MINIMUM_IP_TARGET", "10")];
    for (instance_type, env, pods, enis, addresses) in [
        ("t3.small", eni_target, 0, 1, 3),
        ("t3.small", eni_target, 5, 3, 9),
        ("t3.small", eni_target, 9, 3, 9),
        ("t3.small", one_and_one, 0, 1, 1),
        ("t3.small", one_and_one, 5, 2, 6),
        ("t3.small", one_and_one, 9, 3, 9),
        ("t3.small", two_and_five, 0, 2, 5),
        ("t3.small", two_and_five, 5, 3, 7),
        ("p3dn.24xlarge", eni_target, 0, 1, 49),
        ("p3dn.24xlarge", eni_target, 3, 2, 98),
        ("p3dn.24xlarge", eni_target, 95, 3, 147),
        ("p3dn.24xlarge", five_and_ten, 0, 1, 10),
        ("p3dn.24xlarge", five_and_ten, 7, 1, 12),
        ("p3dn.24xlarge", five_and_ten, 15, 1, 20),
        ("p3dn.24xlarge", five_and_ten, 45, 2, 50),
    ] {
        let config = config(env);
        let outcome = fresh(&Node::new(&config, limits(instance_type)), false, pods);
        let found = (outcome.enis_attached, holdings(&outcome).total);
        assert_eq!(found, (enis, addresses), "{instance_type} {env:?} {pods} pods");
    }
}

/// Claims about t3.medium that articles get wrong: 15 pod addresses (not 17), five per interface, three on the second.
#[test]
fn t3_medium() {
    let defaults = config(&[]);
    assert_eq!(ipamd::capacity(&Node::new(&defaults, limits("t3.medium")), false), 15);
    let warm_five = config(&[("WARM_IP_TARGET", "5")]);
    let outcome = fresh(&Node::new(&warm_five, limits("t3.medium")), false, 3);
    assert_eq!((holdings(&outcome).slots.as_slice(), outcome.subnet_addresses), ([5, 3].as_slice(), 10));
    let floor = config(&[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "4")]);
    let node = Node::new(&floor, limits("t3.medium"));
    assert_eq!(holdings(&fresh(&node, false, 0)).total, 4);
    let outcome = fresh(&node, false, 5);
    assert_eq!((holdings(&outcome).slots.as_slice(), outcome.subnet_addresses), ([5, 1].as_slice(), 8));
    let fallen = ipamd::simulate(&node, &Story { peak: Some(5), ..Story::fresh(0) });
    assert_eq!(holdings(&fallen).total, 4, "the minimum is a floor for ever");
}

/// What the first addresses of default nodes cost.
#[test]
fn step_by_step() {
    let defaults = config(&[]);
    for (instance_type, max_pods, pods, enis, addresses, subnet) in [
        ("t3.medium", 17, 0, 1, 5, 6),
        ("t3.medium", 17, 1, 2, 10, 12),
        ("t3.medium", 17, 6, 3, 15, 18),
        ("t3.medium", 17, 15, 3, 15, 18),
        ("m5.large", 29, 0, 1, 9, 10),
        ("m5.large", 29, 1, 2, 18, 20),
        ("m5.large", 29, 10, 3, 27, 30),
        ("m6a.32xlarge", 250, 0, 1, 49, 50),
        ("m6a.32xlarge", 250, 1, 2, 98, 100),
        ("m6a.32xlarge", 250, 50, 3, 147, 150),
        ("m6a.32xlarge", 110, 99, 3, 147, 150),
        ("m6a.32xlarge", 250, 99, 4, 196, 200),
    ] {
        let node = Node { max_pods: Some(max_pods), ..Node::new(&defaults, limits(instance_type)) };
        let outcome = fresh(&node, false, pods);
        let found = (outcome.enis_attached, holdings(&outcome).total, outcome.subnet_addresses);
        assert_eq!(found, (enis, addresses, subnet), "{instance_type} {max_pods} {pods}");
    }
}

/// The max-pods stop came with 1.16.3.
#[test]
fn growth_before_the_max_pods_stop() {
    let three_warm = config(&[("WARM_ENI_TARGET", "3")]);
    let node = Node { max_pods: Some(110), ..Node::new(&three_warm, limits("m6a.32xlarge")) };
    assert_eq!(fresh(&node, false, 1).enis_attached, 3);
    assert_eq!(fresh(&Node { version: version("1.16.2"), ..node }, false, 1).enis_attached, 4);
}

fn version(text: &str) -> CniVersion {
    CniVersion::parse(text).unwrap()
}

/// A minimum without a warm target never grows beyond it: the pod after the last address waits for ever.
#[test]
fn frozen_pools() {
    let five = config(&[("MINIMUM_IP_TARGET", "5")]);
    let node = Node { max_pods: Some(29), ..Node::new(&five, limits("m5.large")) };
    let outcome = fresh(&node, false, 6);
    assert_eq!((holdings(&outcome).total, holdings(&outcome).pending), (5, 1));
    assert_eq!(ipamd::capacity(&node, false), 5);
    let prefixes =
        config(&[("ENABLE_PREFIX_DELEGATION", "true"), ("MINIMUM_IP_TARGET", "22"), ("WARM_PREFIX_TARGET", "1")]);
    let node = Node { max_pods: Some(110), ..Node::new(&prefixes, limits("m5.large")) };
    let outcome = fresh(&node, false, 33);
    assert_eq!((holdings(&outcome).prefixes, holdings(&outcome).pending), (2, 1));
}

/// max-pods promises more than the node can hold.
#[test]
fn capacity_below_max_pods() {
    let custom = config(&[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")]);
    assert_eq!(ipamd::capacity(&Node::new(&custom, limits("m5.large")), false), 18, "29 - 2 pods could come");
    let pod_eni = config(&[("ENABLE_POD_ENI", "true")]);
    let node = Node::new(&pod_eni, limits("m5.large"));
    assert_eq!((ipamd::capacity(&node, false), ipamd::capacity(&node, true)), (18, 18), "a trunk takes one interface");
    let both = config(&[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), ("ENABLE_POD_ENI", "true")]);
    let outcome = fresh(&Node::new(&both, limits("c7g.medium")), true, 1);
    assert_eq!(outcome.end, End::InitError(InitError::EmptyCustomPool), "no interface is left");
}

/// Prefixes that hold one pod each cannot be given back; those without a pod must be.
#[test]
fn fragmentation_is_kept_and_surplus_is_not() {
    let one_warm = config(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")]);
    let node = Node { max_pods: Some(110), ..Node::new(&one_warm, limits("m5.large")) };
    let prefixes = |pods: &[u8]| {
        let outcome = ipamd::restart(&node, &[Attached { prefixes: pods.to_vec(), ..Attached::default() }]);
        holdings(&outcome).prefixes
    };
    assert_eq!(prefixes(&[10, 0, 0, 0, 0, 0]), 2);
    assert_eq!(prefixes(&[1, 1, 1, 1, 1, 1, 0]), 7);
}

/// An interface without a pod goes once a whole one is to spare; on a cordoned node it stays.
#[test]
fn spare_interfaces_go_unless_cordoned() {
    let defaults = config(&[]);
    let node = Node { max_pods: Some(29), ..Node::new(&defaults, limits("m5.large")) };
    let full = |assigned| Attached { ips: 9, assigned, ..Attached::default() };
    let interfaces = [full(1), full(0), full(0)];
    assert_eq!(ipamd::restart(&node, &interfaces).enis_attached, 2);
    let story = Story { initial: ipamd::Initial::Running(&interfaces), pods: None, cordoned: true, ..Story::fresh(0) };
    assert_eq!(ipamd::simulate(&node, &story).enis_attached, 3);
}

/// A /26 has 59 addresses. The second m6a.32xlarge in it drains the last eight one by one and stays below its target; a
/// third of such nodes' subnets stays out of reach where only whole interfaces would fit.
#[test]
fn exhausted_subnets() {
    let defaults = config(&[]);
    let node = Node { max_pods: Some(250), ..Node::new(&defaults, limits("m6a.32xlarge")) };
    let first = Node { subnet: Subnet::new(Some(58), None).unwrap(), ..node };
    let outcome = fresh(&first, false, 0);
    assert_eq!((outcome.subnet_addresses, outcome.subnet.free()), (50, Some(9)));
    let second = Node { subnet: Subnet::new(Some(8), None).unwrap(), ..node };
    let outcome = fresh(&second, false, 0);
    assert_eq!((holdings(&outcome).total, outcome.subnet.free()), (8, Some(0)));
    assert!(holdings(&outcome).settled);

    let low = Node { subnet: Subnet::new(Some(40), None).unwrap(), ..node };
    let outcome = ipamd::restart(&low, &[Attached { ips: 49, assigned: 49, ..Attached::default() }]);
    assert_eq!((outcome.enis_attached, outcome.subnet.free()), (1, Some(40)), "a new interface needs 50 addresses");
    let by_address = config(&[("WARM_IP_TARGET", "5")]);
    let low = Node { config: &by_address, ..low };
    let outcome = ipamd::restart(&low, &[Attached { ips: 49, assigned: 49, ..Attached::default() }]);
    assert_eq!((outcome.enis_attached, outcome.subnet.free()), (2, Some(34)), "an IP target uses them");
}

/// After a switch from secondary addresses the leftovers count as free prefixes: the warm interface is freed and made again.
#[test]
fn states_that_never_settle() {
    let flapping = config(&[("WARM_ENI_TARGET", "0")]);
    let outcome = fresh(&Node::new(&flapping, nitro(3, 10)), false, 9);
    assert!(!holdings(&outcome).settled);
    assert_eq!((holdings(&outcome).slots.as_slice(), outcome.calls), ([9, 9].as_slice(), None), "seen at its largest");

    let no_target = config(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "abc")]);
    let node = Node::new(&no_target, nitro(3, 10));
    assert!(!holdings(&fresh(&node, false, 16)).settled);
    assert!(holdings(&fresh(&node, false, 17)).settled);

    let one_warm = config(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")]);
    let node = Node::new(&one_warm, nitro(3, 10));
    let primary = Attached { ips: 9, assigned: 9, ..Attached::default() };
    let story =
        Story { initial: ipamd::Initial::Running(std::slice::from_ref(&primary)), pods: Some(3), ..Story::fresh(0) };
    let outcome = ipamd::simulate(&node, &story);
    assert!(!holdings(&outcome).settled);
    let after_restart = [Attached { ips: 9, assigned: 3, ..Attached::default() }];
    assert!(holdings(&ipamd::restart(&node, &after_restart)).settled, "a restart of aws-node ends it");
}

/// Addresses on the primary from before custom networking stay in the pool; prefixes there are not looked for any more.
#[test]
fn custom_networking_on_a_running_node() {
    let custom = config(&[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")]);
    let node = Node::new(&custom, nitro(3, 10));
    let outcome = ipamd::restart(&node, &[Attached { ips: 9, assigned: 2, ..Attached::default() }]);
    let held = holdings(&outcome);
    assert_eq!((held.assigned, held.lost, held.slots.as_slice()), (2, 0, [9, 9].as_slice()));

    let with_prefixes = config(&[
        ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"),
        ("ENABLE_PREFIX_DELEGATION", "true"),
        ("WARM_PREFIX_TARGET", "1"),
    ]);
    let node = Node::new(&with_prefixes, nitro(3, 10));
    let outcome = ipamd::restart(&node, &[Attached { prefixes: vec![3, 0], ..Attached::default() }]);
    let held = holdings(&outcome);
    assert_eq!((held.assigned, held.lost, held.prefixes, held.slots.as_slice()), (0, 3, 1, [1, 0].as_slice()));
    assert_eq!(outcome.subnet_addresses, 1 + 32 + 1 + 16, "EC2 still sees them");
}

/// Provisioning disabled: nothing grows, but the start still gives back what is free of the other kind.
#[test]
fn provisioning_disabled_only_empties() {
    let env = [
        ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true"),
        ("ENABLE_PREFIX_DELEGATION", "true"),
        ("WARM_PREFIX_TARGET", "1"),
    ];
    let disabled = config(&env);
    let outcome =
        ipamd::restart(&Node::new(&disabled, nitro(3, 10)), &[Attached { ips: 9, assigned: 4, ..Attached::default() }]);
    let held = holdings(&outcome);
    assert_eq!((held.total, held.stranded.ips, held.stranded.pods, outcome.subnet_addresses), (0, 4, 4, 5));
}

/// A trunk takes a slot, also while it is awaited; a type that cannot have one loses a slot before 1.20.4.
#[test]
fn trunk_slots() {
    let pod_eni = config(&[("ENABLE_POD_ENI", "true")]);
    let incapable = limits("t3.large");
    assert_eq!(ipamd::capacity(&Node::new(&pod_eni, incapable), false), 33);
    assert_eq!(ipamd::capacity(&Node { version: version("1.20.3"), ..Node::new(&pod_eni, incapable) }, false), 22);
    let old = Node { version: version("1.16.2"), ..Node::new(&pod_eni, nitro(3, 10)) };
    assert_eq!(holdings(&fresh(&old, true, 10)).slots, [9, 9, 9], "addresses land on the trunk before 1.16.4");
}

/// Version 1.16.3 never leaves its loop where it cannot grow, so that an interface without use stays.
#[test]
fn the_endless_loop_of_one_version() {
    let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "abc")];
    let config = config(&env);
    let node = Node { subnet: Subnet::new(Some(100), Some(0)).unwrap(), ..Node::new(&config, nitro(3, 10)) };
    let interfaces = [Attached { prefixes: vec![16], ..Attached::default() }, Attached::default()];
    let attached = |text: &str| ipamd::restart(&Node { version: version(text), ..node }, &interfaces).enis_attached;
    assert_eq!((attached("1.16.2"), attached("1.16.3"), attached("1.16.4")), (1, 2, 1));
    let roomy = Node { version: version("1.16.3"), subnet: Subnet::UNLIMITED, ..node };
    assert_eq!(holdings(&ipamd::restart(&roomy, &interfaces)).prefixes, 2, "the loop ends where it can grow");
}

/// Before 1.13.0 each interface gave the whole surplus back, and what was too much came again.
#[test]
fn surplus_of_old_versions() {
    let targets = config(&[("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "15")]);
    let interfaces = [9, 9].map(|ips| Attached { ips, ..Attached::default() });
    let node = Node::new(&targets, nitro(3, 10));
    let calls = |text: &str| ipamd::restart(&Node { version: version(text), ..node }, &interfaces).calls.unwrap();
    let (old, new) = (calls("1.12.6"), calls("1.13.0"));
    assert_eq!((new.unassign_private_ip_addresses, new.assign_private_ip_addresses), (1, 0));
    assert_eq!((old.unassign_private_ip_addresses, old.assign_private_ip_addresses), (2, 1));
}

/// What stops ipamd's initialisation, and since when.
#[test]
fn init_errors() {
    let end = |env: &[(&str, &str)], text: &str| {
        let config = config(env);
        ipamd::simulate(&Node { version: version(text), ..Node::new(&config, nitro(3, 10)) }, &Story::fresh(0)).end
    };
    let running = |end: End| matches!(end, End::Running(_));
    let policy = |value| [("NETWORK_POLICY_ENFORCING_MODE", value)];
    assert_eq!(end(&policy("x"), "1.23.2"), End::InitError(InitError::NetworkPolicyMode));
    assert!(running(end(&policy("STRICT"), "1.23.2")), "its case does not matter");
    assert_eq!(end(&policy(""), "1.19.4"), End::InitError(InitError::NetworkPolicyMode));
    assert!(running(end(&policy(""), "1.19.3")));
    assert!(running(end(&policy("x"), "1.16.4")));
    assert_eq!(end(&[("ENABLE_IPv4", "false")], "1.23.2"), End::InitError(InitError::NoIpFamily));
    assert!(running(end(&[("ENABLE_IPv4", "false")], "1.9.3")));
}

/// Before 1.10.2 a full subnet ends the start; since then the node becomes ready without addresses.
#[test]
fn full_subnets_at_the_start() {
    let defaults = config(&[]);
    let node = Node { subnet: Subnet::new(Some(0), None).unwrap(), ..Node::new(&defaults, nitro(3, 10)) };
    let end = |text: &str| fresh(&Node { version: version(text), ..node }, false, 0).end;
    assert_eq!(end("1.10.1"), End::InitError(InitError::AddressesRefused));
    assert!(matches!(end("1.10.2"), End::Running(_)));
}

/// Until 1.15.3 an interface was created bare. One that gets no addresses stays attached unknown, the next cannot be attached
/// and is deleted, in every step again.
#[test]
fn bare_interfaces_of_old_versions() {
    let two_warm = config(&[("WARM_ENI_TARGET", "2")]);
    let subnet = Subnet::new(Some(18), None).unwrap();
    let node = Node { version: version("1.13.4"), subnet, ..Node::new(&two_warm, nitro(2, 15)) };
    let outcome = fresh(&node, false, 0);
    assert_eq!((holdings(&outcome).settled, holdings(&outcome).enis_in_pool, outcome.enis_attached), (false, 1, 2));
    let outcome = fresh(&Node { version: version("1.15.4"), ..node }, false, 0);
    assert_eq!((holdings(&outcome).settled, outcome.enis_attached), (true, 1), "all or nothing since");
}

/// Until 1.12.6 the start filled an interface even where the pool was not low.
#[test]
fn starts_of_old_versions() {
    let defaults = config(&[]);
    let interfaces =
        [Attached { ips: 9, ..Attached::default() }, Attached { ips: 5, assigned: 1, ..Attached::default() }];
    let node = Node::new(&defaults, nitro(3, 10));
    let total = |text: &str| holdings(&ipamd::restart(&Node { version: version(text), ..node }, &interfaces)).total;
    assert_eq!((total("1.12.6"), total("1.13.0")), (18, 14));
    let without_target = config(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "abc")]);
    let node = Node { version: version("1.12.6"), ..Node::new(&without_target, nitro(3, 10)) };
    assert_eq!(fresh(&node, false, 1).calls, Some(ipamd::Calls::default()), "a target of no prefix misses none");
}

/// Until 1.11.3 ipamd asked a new interface for more prefixes than fit and waited in vain; one with a single prefix it then
/// took for empty and forgot.
#[test]
fn single_prefixes_of_old_versions() {
    let four_warm = config(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "4")]);
    let node = Node::new(&four_warm, nitro(3, 2));
    let settled = |text: &str| holdings(&fresh(&Node { version: version(text), ..node }, false, 0)).settled;
    assert_eq!((settled("1.11.3"), settled("1.11.4")), (false, true));
}
