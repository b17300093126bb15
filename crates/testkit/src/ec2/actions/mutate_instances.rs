//! `RunInstances` and `TerminateInstances`.

use jiff::Timestamp;

use super::super::error::ApiError;
use super::super::query::Request;
use super::super::seed;
use super::super::world::{Launch, World};
use super::super::xml::Xml;
use super::describe_instances::{write_launch, write_state};
use super::mutate_interfaces::wished;

pub(super) fn run(world: &mut World, request: &Request, now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let primary = params.structs("NetworkInterface").into_iter().next();
    let spec = primary.as_ref().unwrap_or(params);
    let subnet = spec.need("SubnetId")?;
    let mut interface = wished(spec, subnet, "network-interface")?;
    interface.tags = params.tag_specification("network-interface");
    let launch = Launch {
        least: params.typed("MinCount")?.ok_or_else(|| ApiError::missing("MinCount"))?,
        most: params.typed("MaxCount")?.ok_or_else(|| ApiError::missing("MaxCount"))?,
        instance: seed::Instance {
            id: None,
            instance_type: params.need("InstanceType")?.to_owned(),
            subnet: subnet.to_owned(),
            zone: None,
            state: "running".to_owned(),
            tags: params.tag_specification("instance"),
        },
        interface,
    };
    if launch.least > launch.most || launch.most == 0 {
        return Err(ApiError::value("MinCount must be at most MaxCount, and MaxCount at least 1"));
    }
    let made = world.launch(&launch, now)?;
    let made: Vec<_> = made.iter().filter_map(|id| world.instances.get(id)).collect();
    let mut xml = Xml::default();
    write_launch(&mut xml, world, &made);
    Ok(xml)
}

pub(super) fn terminate(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let ids = request.params.list("InstanceId");
    if ids.is_empty() {
        return Err(ApiError::missing("InstanceId"));
    }
    // All are looked up first, since one unknown id fails the call and must change nothing.
    for id in &ids {
        world.instance(id)?;
    }
    let mut changes = Vec::with_capacity(ids.len());
    for id in ids {
        changes.push((id, world.terminate(id)?));
    }
    let mut xml = Xml::default();
    xml.list("instancesSet", changes, |xml, (id, before)| {
        xml.text("instanceId", id);
        xml.nest("currentState", |xml| write_state(xml, "terminated"));
        xml.nest("previousState", |xml| write_state(xml, &before));
    });
    Ok(xml)
}
