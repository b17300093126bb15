//! Instances, as far as their state and their tags matter.

use ipam_audit_api::views::Interner;
use ipam_audit_core::{
    ids::{InstanceId, InstanceType},
    inventory::Instance,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Item, Tag, said, tags};
use crate::wrong::Wrong;

/// A reservation of instances, as `describe-instances` groups them, or a single instance, as a query picks it out.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reservation {
    instances: Option<Vec<Json>>,
    #[serde(flatten)]
    alone: Json,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    instance_id: Option<String>,
    instance_type: Option<String>,
    state: Option<State>,
    state_transition_reason: Option<String>,
    launch_time: Option<Timestamp>,
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    name: Option<String>,
}

/// The instances of a reservation.
pub(crate) fn instances(text: &str, texts: &mut Interner) -> Result<Vec<Instance>, Wrong> {
    let reservation: Reservation = serde_json::from_str(text)?;
    match reservation.instances {
        Some(instances) => instances.into_iter().map(|json| instance(json, texts)).collect(),
        None => Ok(vec![instance(reservation.alone, texts)?]),
    }
}

fn instance(json: Json, texts: &mut Interner) -> Result<Instance, Wrong> {
    let item = Item::named(json.instance_id.as_ref(), "InstanceId")?;
    let state = json.state.as_ref().and_then(|state| said(state.name.as_ref()));
    Ok(Instance {
        id: InstanceId::new(item.0),
        state: texts.text(item.need(state, "State.Name")?),
        state_since: json.state_transition_reason.as_deref().and_then(Instance::time_in_reason),
        instance_type: said(json.instance_type.as_ref()).map(|name| InstanceType::new(texts.text(name))),
        launched_at: json.launch_time,
        tags: tags(json.tags, texts),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reservation_has_instances_and_a_query_has_one() {
        let one = json!({"InstanceId": "i-1", "InstanceType": "m5.large", "State": {"Code": 80, "Name": "stopped"},
            "StateTransitionReason": "User initiated (2026-11-21 10:00:00 GMT)", "LaunchTime": "2026-01-01T00:00:00+00:00",
            "Tags": [{"Key": "Name", "Value": "a"}]});
        let read = |object: &serde_json::Value| instances(&object.to_string(), &mut Interner::default()).unwrap();
        let alone = read(&one);
        assert_eq!(read(&json!({"ReservationId": "r-1", "OwnerId": "1", "Instances": [one]})), alone);
        assert_eq!((&*alone[0].state, alone[0].state_since), ("stopped", "2026-11-21T10:00:00Z".parse().ok()));
        assert!(alone[0].launched_at.is_some() && alone[0].tags.iter().count() == 1);
    }
}
