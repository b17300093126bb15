//! Where an implementation is known to differ from what AWS documents, and why that is accepted.

use crate::rig::Actor;

/// One known difference.
pub(crate) struct Difference {
    pub(crate) case: &'static str,
    pub(crate) aspect: &'static str,
    pub(crate) actor: Actor,
    pub(crate) reason: &'static str,
}

const fn moto(case: &'static str, aspect: &'static str, reason: &'static str) -> Difference {
    Difference { case, aspect, actor: Actor::Moto, reason }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    moto(
        "free addresses",
        "a terminated instance gives it back",
        "moto leaves the interface of a terminated instance in use, with its address",
    ),
    moto("full subnet", "one more interface", "moto has no capacity check and hands out an address twice"),
    moto("full subnet", "an address that EC2 keeps", "moto keeps none of the five addresses of a subnet for itself"),
    moto("full subnet", "an address in use", "moto gives an address that is named to whoever names it"),
    moto("prefixes", "of a new interface", "moto accepts Ipv4PrefixCount and ignores it"),
    moto("prefixes", "free addresses", "moto has no prefixes, so none lowers the count"),
    moto("prefixes", "assigned by name", "moto accepts Ipv4Prefixes and ignores it"),
    moto("prefixes", "all three count", "moto has no prefixes, so none is on the interface"),
    moto("prefixes", "a subnet without a whole free block", "moto has no prefixes, so none is refused"),
    moto("attachments", "a second attachment", "moto attaches an interface as often as it is asked to"),
    moto("attachments", "deleting an interface in use", "moto deletes an interface whatever it is attached to"),
    moto("attachment limit", "two at one index", "moto does not look at what an index holds already"),
    moto("attachment limit", "of another zone", "moto compares no zones when it attaches"),
    moto(
        "attachment limit",
        "a fourth interface of a t3.medium",
        "moto knows the limits of types and does not apply them",
    ),
    moto("trunk", "association", "moto does not implement AssociateTrunkInterface and answers with a page of HTML"),
    moto("trunk", "the trunk's kind", "moto ignores InterfaceType: every interface is of the ordinary kind"),
    moto("trunk", "the branch's kind", "moto ignores InterfaceType: every interface is of the ordinary kind"),
    moto("trunk", "the branch's status", "moto cannot associate a branch, so it stays available"),
    moto("dry run", "whatever it asks for", "moto does not look at DryRun in DescribeRouteTables"),
];

/// The cases that may be named above; a misspelt one would excuse nothing and go unnoticed.
const CASES: [&str; 7] =
    ["free addresses", "full subnet", "prefixes", "attachments", "attachment limit", "trunk", "dry run"];

#[test]
fn every_difference_belongs_to_a_case_and_has_a_reason() {
    for one in DIFFERENCES {
        assert!(CASES.contains(&one.case), "{} is no case", one.case);
        assert!(one.reason.len() > 20, "{}: {}", one.case, one.aspect);
    }
}
