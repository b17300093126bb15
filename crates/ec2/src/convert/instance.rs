//! Instances: whether they live, and whose they are.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{
    ids::{InstanceId, InstanceType},
    intern::Interner,
    inventory::{Instance, is_cluster_tag},
};
use jiff::Timestamp;

use super::{Item, Malformed};
use crate::sieve::Unread;

/// What EC2 tells of an instance and no row has: most of it is its interfaces and disks.
pub(crate) const UNREAD: Unread = &[
    "blockDeviceMapping",
    "capacityReservationSpecification",
    "clientToken",
    "cpuOptions",
    "dnsName",
    "enclaveOptions",
    "groupSet",
    "hibernationOptions",
    "iamInstanceProfile",
    "imageId",
    "keyName",
    "licenseSet",
    "maintenanceOptions",
    "metadataOptions",
    "monitoring",
    "networkInterfaceSet",
    "networkPerformanceOptions",
    "operator",
    "placement",
    "platformDetails",
    "privateDnsName",
    "privateDnsNameOptions",
    "productCodes",
    "secondaryInterfaceSet",
    "stateReason",
    "usageOperation",
];

/// An instance. Of its tags only those that name a cluster are kept: there are thousands of instances, with dozens each.
pub(crate) fn instance(instance: &sdk::Instance, texts: &mut Interner) -> Result<Instance, Malformed> {
    let item = Item::named(instance.instance_id(), "an instance", "instanceId")?;
    let state = instance.state().and_then(sdk::InstanceState::name);
    let telling = instance.tags().iter().filter(|tag| tag.key().is_none_or(is_cluster_tag));
    Ok(Instance {
        id: InstanceId::new(item.0),
        state: texts.text(item.need(state, "instanceState.name")?.as_str()),
        state_since: instance.state_transition_reason().and_then(Instance::time_in_reason),
        instance_type: instance.instance_type().map(|name| InstanceType::new(texts.text(name.as_str()))),
        launched_at: instance.launch_time().and_then(|time| Timestamp::from_second(time.secs()).ok()),
        tags: item.tags(telling, texts)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> sdk::builders::InstanceBuilder {
        let tag = |key: &str, value: &str| sdk::Tag::builder().key(key).value(value).build();
        sdk::Instance::builder()
            .instance_id("i-1")
            .instance_type(sdk::InstanceType::from("m9x.huge"))
            .state(sdk::InstanceState::builder().name(sdk::InstanceStateName::Stopped).build())
            .state_transition_reason("User initiated (2026-11-21 10:00:00 GMT)")
            .tags(tag("Name", "worker"))
            .tags(tag("kubernetes.io/cluster/shop", "owned"))
            .tags(tag("aws:eks:cluster-name", "shop"))
    }

    #[test]
    fn an_instance_keeps_what_tells_its_state_and_its_cluster() {
        let row = instance(&complete().build(), &mut Interner::default()).unwrap();
        assert_eq!((row.id.as_str(), &*row.state), ("i-1", "stopped"));
        assert_eq!(row.state_since, "2026-11-21T10:00:00Z".parse().ok());
        assert_eq!(row.instance_type, Some("m9x.huge".into()));
        let keys: Vec<&str> = row.tags.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["aws:eks:cluster-name", "kubernetes.io/cluster/shop"]);
    }

    #[test]
    fn a_state_is_never_guessed_and_one_unknown_to_the_sdk_keeps_its_name() {
        let error = instance(&complete().set_state(None).build(), &mut Interner::default()).unwrap_err();
        assert_eq!(error.to_string(), "i-1 has no readable instanceState.name");
        let state = sdk::InstanceState::builder().name(sdk::InstanceStateName::from("hibernated")).build();
        let row = instance(&complete().state(state).build(), &mut Interner::default()).unwrap();
        assert_eq!(&*row.state, "hibernated");
    }
}
