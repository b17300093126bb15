//! IPAM411: a subnet of which leaked interfaces hold a large share.

use jiff::SignedDuration;

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// Leaked interfaces hold a large share of the subnet.
    ///
    /// ## What it means
    ///
    /// So many interfaces are attached to nothing that nodes and pods run out of addresses because of them.
    ///
    /// ## Why it happens
    ///
    /// The causes of IPAM410, over a long time or with many short-lived nodes, and no cleaner that works.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET Name=status,Values=available \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Description]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the interfaces that IPAM410 lists for this subnet, and mend the cause that it names: without that they
    /// come back.
    ///
    /// ## What it costs
    ///
    /// Nothing: they serve nobody.
    ///
    /// ## When it fires
    ///
    /// Leaked interfaces hold more than `spec.thresholds.leakedPercent` (default 5) of the subnet's usable addresses, in two
    /// readings at least `spec.thresholds.leakSeconds` (default 600) apart. Critical in a subnet that is full, warning elsewhere.
    pub LeaksFillSubnet;
    code: "IPAM411",
    name: "leaks-fill-subnet",
    severity: Critical,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    for subnet in &facts.subnets {
        let (Some(ledger), Some(usable)) = (subnet.ledger, subnet.usable) else { continue };
        let thresholds = policy.for_subnet(subnet.subnet);
        if u64::from(ledger.leaked) * 100 > u64::from(usable) * u64::from(thresholds.leaked_percent) {
            let apart = SignedDuration::from_secs(thresholds.leak_seconds.into());
            let violation = violation(subnet, ledger.leaked, usable, thresholds.leaked_percent);
            found.suspicion(Place::subnet(&subnet.subnet.id), "", seen_at, apart, violation);
        }
    }
}

fn violation(subnet: &SubnetFacts<'_>, leaked: u32, usable: u32, threshold: u32) -> sink::Violation {
    let full = subnet.is_full();
    sink::Violation {
        severity: if full { Severity::Critical } else { Severity::Warning },
        message: format!(
            "{} ({}) has {} of {} addresses, {} %, on leaked interfaces{}",
            subnet.subnet.id,
            subnet.subnet.zone,
            text::thousands(leaked),
            text::thousands(usable),
            text::percent(leaked, usable),
            if full { ", and is full" } else { "" },
        ),
        remediation: format!(
            "Delete the unattached interfaces that IPAM410 lists for {}: that gives {} back; then mend the cause that \
             it names.",
            subnet.subnet.id,
            text::count(leaked, "address"),
        ),
        evidence: vec![
            sink::evidence("leaked", leaked),
            sink::evidence("usable", usable),
            sink::evidence("thresholdPercent", threshold),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::addresses::{answer, cluster, interfaces, leaked, of, once, proven, twice},
    };

    const CODE: &str = "IPAM411";

    #[test]
    fn many_leaks_are_a_finding_of_the_subnet() {
        let mut snapshot = cluster();
        interfaces(&mut snapshot).extend((0..3).map(|at| leaked(&format!("eni-leak-{at}"), 300, &[])));
        let finding = of(&twice(&snapshot, 900), CODE).remove(0);
        assert_eq!(
            (finding.message.as_str(), finding.severity),
            ("subnet-1 (eu-central-1a) has 18 of 251 addresses, 7 %, on leaked interfaces", Severity::Warning)
        );
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value[0].available = 3;
        assert_eq!(of(&twice(&snapshot, 900), CODE)[0].severity, Severity::Critical);
    }

    #[test]
    fn a_few_are_not() {
        let mut snapshot = cluster();
        interfaces(&mut snapshot).push(leaked("eni-leak", 300, &[]));
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
