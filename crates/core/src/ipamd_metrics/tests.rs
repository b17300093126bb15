use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::snapshot::IpamdSaid;

/// What ipamd of version 1.20 answers, shortened, with lines of its Go runtime between.
const ANSWER: &str = r#"# HELP awscni_add_ip_req_count The number of add IP address requests
# TYPE awscni_add_ip_req_count counter
awscni_add_ip_req_count 812
awscni_assigned_ip_addresses 12
awscni_assigned_ip_per_cidr{cidr="10.0.0.16/28"} 7
awscni_assigned_ip_per_cidr{cidr="10.0.0.64/28"} 5
awscni_aws_api_error_count{api="AssignPrivateIpAddresses",error="RequestLimitExceeded"} 3
awscni_aws_api_error_count{api="AssignPrivateIpAddresses",error="InsufficientFreeAddressesInSubnet"} 4
awscni_aws_api_error_count{api="CreateNetworkInterface",error="UnauthorizedOperation"} 2
awscni_aws_api_latency_ms{api="AssignPrivateIpAddresses",error="false",status="200",quantile="0.5"} 210
awscni_aws_api_latency_ms{api="AssignPrivateIpAddresses",error="false",status="200",quantile="0.99"} 480.2
awscni_aws_api_latency_ms{api="WaitForENI",error="true",status="200",quantile="0.99"} NaN
awscni_aws_api_latency_ms_sum{api="AssignPrivateIpAddresses",error="false",status="200"} 48000
awscni_build_info{goversion="go1.24.2",version="v1.20.4"} 1
awscni_del_ip_req_count{reason="PodDeleted"} 799
awscni_del_ip_req_count{reason="SetupNSFailed"} 1
awscni_ec2api_error_count{fn="AssignPrivateIpAddressesWithContext"} 9
awscni_ec2api_req_count{fn="AssignPrivateIpAddressesWithContext"} 120
awscni_eni_allocated 2
awscni_eni_max 4
awscni_force_removed_enis 1
awscni_force_removed_ips 0
awscni_ip_max 56
awscni_ipamd_action_inprogress{fn="increaseDatastorePool"} 1
awscni_ipamd_action_inprogress{fn="nodeInit"} 0
awscni_ipamd_error_count{fn="increaseIPPoolAllocIPAddressesFailed"} 5
awscni_ipamd_error_count{fn="ipReconcileAdd"} 1
awscni_no_available_ip_addresses 6
awscni_reconcile_count{fn="eniReconcileAdd"} 2
awscni_total_ip_addresses 32
awscni_total_ipv4_prefixes 2
go_gc_duration_seconds{quantile="0"} 2.3e-05
process_open_fds 19
"#;

fn read(text: &[u8]) -> Result<IpamdSaid, NotIpamd> {
    let mut answer = IpamdText::default();
    answer.push(text);
    answer.finish()
}

#[test]
fn the_numbers_of_an_answer_are_picked_and_summed() {
    let IpamdSaid { pool, troubles, activity } = read(ANSWER.as_bytes()).unwrap();
    assert_eq!((pool.total, pool.assigned, pool.prefixes), (Some(32), Some(12), Some(2)));
    assert_eq!((pool.interfaces, pool.interface_limit, pool.address_limit), (Some(2), Some(4), Some(56)));
    assert_eq!((troubles.refused, troubles.errors, troubles.growth_errors), (Some(6), Some(6), Some(5)));
    assert_eq!((troubles.aws_errors, troubles.throttled, troubles.denied), (Some(9), Some(3), Some(2)));
    assert_eq!(
        (troubles.ec2_errors, troubles.forced_interfaces, troubles.forced_addresses),
        (Some(9), Some(1), Some(0))
    );
    assert_eq!((troubles.cleanup_errors, troubles.pod_eni_errors), (None, None), "not said is not zero");
    assert_eq!((activity.added, activity.deleted, activity.ec2_requests), (Some(812), Some(800), Some(120)));
    assert_eq!((activity.in_progress, activity.reconciled), (Some(1), Some(2)));
    assert_eq!((activity.assigned_in_blocks, activity.aws_latency_ms), (Some(12), Some(481)));
}

#[test]
fn what_ipamd_cannot_have_said_is_refused() {
    let garbage = |text: &str| read(text.as_bytes()).unwrap_err();
    for text in ["", "<html>404 page not found</html>", "up 1\n", "awscni_total_ip_addresses 3\n"] {
        assert_eq!(garbage(text), NotIpamd::NoPool, "{text}");
    }
    let broken = garbage("awscni_total_ip_addresses 3\nawscni_assigned_ip_addresses{ 2\n");
    assert_eq!(broken, NotIpamd::Line("awscni_assigned_ip_addresses{ 2".to_owned()));
    let odd = read(b"awscni_total_ip_addresses \xff\n").unwrap_err().to_string();
    assert_eq!(odd, "the line `awscni_total_ip_addresses \u{fffd}` is no sample");
}

#[test]
fn odd_numbers_are_no_panic_and_never_taken_for_others() {
    let of = |value: &str| {
        read(format!("awscni_total_ip_addresses {value}\nawscni_assigned_ip_addresses 0\n").as_bytes())
            .map(|said| said.pool.total)
    };
    assert_eq!(of("-16"), Ok(Some(-16)), "after a forced removal");
    assert_eq!(of("3.2e+01"), Ok(Some(32)));
    for value in ["NaN", "+Inf", "-Inf", "1e300"] {
        assert_eq!(of(value), Err(NotIpamd::NoPool), "{value}");
    }
    let huge = format!("{ANSWER}awscni_add_ip_req_count 1e300\n");
    assert_eq!(read(huge.as_bytes()).unwrap().activity.added, Some(u32::MAX));
}

proptest! {
    #[test]
    fn how_an_answer_is_cut_makes_no_difference(cuts in prop::collection::vec(0..ANSWER.len(), 0..20)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut answer = IpamdText::default();
        let mut from = 0;
        for cut in cuts {
            answer.push(&ANSWER.as_bytes()[from..cut]);
            from = cut;
        }
        answer.push(&ANSWER.as_bytes()[from..]);
        prop_assert_eq!(answer.finish(), read(ANSWER.as_bytes()));
    }

    #[test]
    fn any_bytes_are_an_answer_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let mut named = b"awscni_total_ip_addresses".to_vec();
        named.extend(bytes);
        let _ = read(&named);
    }

    #[test]
    fn what_is_written_is_read_back(
        total in -100_i32..100_000, assigned in 0_i32..100_000,
        errors in prop::collection::vec(("[a-zA-Z\"\\\\ {},=]{0,12}", 0_u32..1000), 0..6),
    ) {
        let mut text = format!("awscni_total_ip_addresses {total}\nawscni_assigned_ip_addresses {assigned}\n");
        for (label, value) in &errors {
            let label = label.replace('\\', "\\\\").replace('"', "\\\"");
            writeln!(text, "awscni_ipamd_error_count{{fn=\"{label}\"}} {value}").unwrap();
        }
        let said = read(text.as_bytes()).unwrap();
        prop_assert_eq!((said.pool.total, said.pool.assigned), (Some(total), Some(assigned)));
        let sum = errors.iter().map(|(_, value)| *value).sum::<u32>();
        prop_assert_eq!(said.troubles.errors, (!errors.is_empty()).then_some(sum));
    }
}
