//! One line of a batch, from JSON to a node and its story.

use std::borrow::Cow;

use super::{
    error::{ErrorCode, LineError},
    json::{Fields, Json},
};
use crate::{
    cni::{CniConfig, CniVersion},
    ipamd::{Arrival, Attached, Initial, Node, Placement, Story, Subnet},
    limits::{self, Hypervisor, InterfaceLimits},
};

const FIELDS: [&str; 18] = [
    "id",
    "label",
    "instanceType",
    "limits",
    "cniVersion",
    "env",
    "trunk",
    "unmanagedEnis",
    "eniConfig",
    "maxPods",
    "subnetFree",
    "subnetFreePrefixes",
    "pods",
    "peakPods",
    "arrival",
    "placement",
    "cordoned",
    "state",
];

/// A line that can be simulated.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub id: &'a str,
    pub label: Option<&'a str>,
    limits: InterfaceLimits,
    version: CniVersion,
    config: CniConfig,
    trunk: bool,
    unmanaged: u32,
    eni_config: bool,
    max_pods: Option<i64>,
    subnet: Subnet,
    pods: u64,
    peak: u64,
    arrival: Arrival,
    placement: Placement,
    cordoned: bool,
    state: Option<Vec<Attached>>,
}

/// The id of a line that cannot be simulated, if it can be read.
pub(super) fn readable_id<'a>(line: &'a Json<'_>) -> Option<&'a str> {
    let Json::Object(members) = line else { return None };
    members.iter().find_map(|(name, value)| match value {
        Json::Text(text) if name == "id" => Some(&**text),
        _ => None,
    })
}

impl<'a> Request<'a> {
    pub(super) fn read(line: &'a Json<'_>) -> Result<Self, LineError> {
        let fields = Fields::of("", line, &FIELDS)?;
        let id = fields.text("id")?.ok_or_else(|| fields.missing("id"))?;
        let label = fields.text("label")?;
        let limits = read_limits(&fields)?;
        let env = read_env(&fields)?;
        let config = CniConfig::from_env(|name| lookup(&env, name));
        let trunk = fields.choice("trunk", &[("none", false), ("attached", true)])?.unwrap_or(false);
        let unmanaged = fields.small("unmanagedEnis", 0, i64::from(u32::MAX))?.unwrap_or(0);
        let state = read_state(&fields, &limits)?;
        if trunk && state.is_some() {
            return Err(LineError::bad("`trunk` and `state`: the trunk of a running node belongs into `state`"));
        }
        interfaces_fit(state.as_deref(), trunk, unmanaged, &limits)?;
        let (pods, peak) = read_pods(&fields, state.as_deref())?;
        let request = Self {
            id,
            label,
            limits,
            version: read_version(&fields)?,
            config,
            trunk,
            unmanaged,
            eni_config: fields.flag("eniConfig")?.unwrap_or(true),
            max_pods: fields.int("maxPods", 1)?,
            subnet: read_subnet(&fields)?,
            pods,
            peak,
            arrival: fields
                .choice("arrival", &[("settled", Arrival::Settled), ("burst", Arrival::Burst)])?
                .unwrap_or_default(),
            placement: fields
                .choice("placement", &[("packed", Placement::Packed), ("spread", Placement::Spread)])?
                .unwrap_or_default(),
            cordoned: fields.flag("cordoned")?.unwrap_or(false),
            state,
        };
        request.refuse_unsupported()?;
        Ok(request)
    }

    fn refuse_unsupported(&self) -> Result<(), LineError> {
        let unsupported = |message: String| Err(LineError::new(ErrorCode::Unsupported, message));
        if self.version < CniVersion::OLDEST {
            return unsupported(format!("`cniVersion`: {} is older than {}", self.version, CniVersion::OLDEST));
        }
        if self.config.ipv6.value_or(false) {
            return unsupported("env: ENABLE_IPv6: only IPv4 is simulated".to_owned());
        }
        Ok(())
    }

    pub(super) fn node(&self) -> Node<'_> {
        Node {
            config: &self.config,
            version: self.version,
            limits: self.limits,
            max_pods: self.max_pods,
            unmanaged: self.unmanaged,
            eni_config: self.eni_config,
            subnet: self.subnet,
            placement: self.placement,
        }
    }

    pub(super) fn story(&self) -> Story<'_> {
        let initial = match &self.state {
            Some(interfaces) => Initial::Running(interfaces),
            None => Initial::Fresh { trunk: self.trunk },
        };
        Story { initial, pods: Some(self.pods), peak: Some(self.peak), arrival: self.arrival, cordoned: self.cordoned }
    }
}

fn read_limits(fields: &Fields<'_, '_>) -> Result<InterfaceLimits, LineError> {
    match (fields.text("instanceType")?, fields.get("limits")) {
        (Some(_), Some(_)) => Err(LineError::bad("`instanceType` and `limits`: expected one of them")),
        (None, None) => Err(fields.missing("instanceType` or `limits")),
        (Some(name), None) => limits::lookup(name).map(limits::TypeLimits::interface_limits).ok_or_else(|| {
            LineError::new(ErrorCode::UnknownInstanceType, format!("`{name}` is not in the table; give its `limits`"))
        }),
        (None, Some(json)) => {
            let fields = Fields::of("limits: ", json, &["enis", "ipv4PerEni", "hypervisor", "trunking"])?;
            let hypervisor = fields.text("hypervisor")?.ok_or_else(|| fields.missing("hypervisor"))?;
            Ok(InterfaceLimits {
                enis: fields.small("enis", 1, 100)?.ok_or_else(|| fields.missing("enis"))?,
                ipv4_per_eni: fields.small("ipv4PerEni", 2, 256)?.ok_or_else(|| fields.missing("ipv4PerEni"))?,
                hypervisor: Hypervisor::from_word(hypervisor),
                trunking: fields.flag("trunking")?.unwrap_or(true),
            })
        }
    }
}

type Env<'j> = Vec<(&'j str, &'j str)>;

fn read_env<'j>(fields: &Fields<'j, '_>) -> Result<Env<'j>, LineError> {
    let Some(json) = fields.get("env") else {
        return Ok(Vec::new());
    };
    let variables = Fields::any("env: ", json)?.members();
    variables.iter().map(read_variable).collect()
}

fn read_variable<'j>((name, value): &'j (Cow<'_, str>, Json<'_>)) -> Result<(&'j str, &'j str), LineError> {
    match value {
        Json::Text(text) => Ok((name, text)),
        _ => Err(LineError::bad(format!("env: {name}: expected a string"))),
    }
}

/// An environment that says nothing about IP families means one that the shipped manifest would complete with IPv4.
fn lookup<'j>(env: &Env<'j>, name: &str) -> Option<&'j str> {
    let set = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    match set(name) {
        None if name == "ENABLE_IPv4" && set("ENABLE_IPv6").is_none() => Some("true"),
        value => value,
    }
}

fn read_version(fields: &Fields<'_, '_>) -> Result<CniVersion, LineError> {
    match fields.text("cniVersion")? {
        None => Ok(CniVersion::NEWEST),
        Some(text) => CniVersion::parse(text).map_err(|error| LineError::bad(format!("`cniVersion`: {error}"))),
    }
}

fn read_subnet(fields: &Fields<'_, '_>) -> Result<Subnet, LineError> {
    Subnet::new(fields.int("subnetFree", 0)?, fields.int("subnetFreePrefixes", 0)?)
        .ok_or_else(|| LineError::bad("`subnetFreePrefixes`: 16 times this must be at most `subnetFree`"))
}

fn read_pods(fields: &Fields<'_, '_>, state: Option<&[Attached]>) -> Result<(u64, u64), LineError> {
    let held = state
        .unwrap_or_default()
        .iter()
        .map(|eni| u64::from(eni.assigned) + eni.prefixes.iter().map(|pods| u64::from(*pods)).sum::<u64>());
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let pods = fields.int("pods", 0)?.map_or_else(|| held.sum(), number);
    let peak = fields.int("peakPods", 0)?.map_or(pods, number);
    if peak < pods {
        return Err(LineError::bad("`peakPods` must be at least `pods`"));
    }
    Ok((pods, peak))
}

fn read_state(fields: &Fields<'_, '_>, limits: &InterfaceLimits) -> Result<Option<Vec<Attached>>, LineError> {
    let Some(json) = fields.get("state") else {
        return Ok(None);
    };
    let fields = Fields::of("state: ", json, &["enis"])?;
    let list = fields.list("enis")?.ok_or_else(|| fields.missing("enis"))?;
    if list.is_empty() {
        return Err(fields.bad("enis", "at least the primary interface"));
    }
    let interfaces = list.iter().enumerate().map(|(index, json)| read_interface(index, json, limits));
    let interfaces = interfaces.collect::<Result<Vec<_>, _>>()?;
    if interfaces.iter().filter(|eni| eni.trunk).count() > 1 {
        return Err(LineError::bad("state: a node has at most one trunk"));
    }
    Ok(Some(interfaces))
}

fn read_interface(index: usize, json: &Json<'_>, limits: &InterfaceLimits) -> Result<Attached, LineError> {
    let fields = Fields::of("state: enis: ", json, &["trunk", "ips", "assigned", "prefixes"])?;
    let slots = i64::from(limits.slots_per_eni());
    let ips = fields.small("ips", 0, slots)?.unwrap_or(0);
    let assigned = fields.small("assigned", 0, i64::from(ips))?.unwrap_or(0);
    let prefixes = fields.list("prefixes")?.unwrap_or_default().iter().map(|pods| match pods {
        Json::Int(pods @ 0..=16) => u8::try_from(*pods).map_err(|_| fields.bad("prefixes", "pods")),
        _ => Err(fields.bad("prefixes", "the pods on each prefix, 0 to 16")),
    });
    let prefixes = prefixes.collect::<Result<Vec<_>, _>>()?;
    let trunk = fields.flag("trunk")?.unwrap_or(false);
    if prefixes.len() + usize::try_from(ips).unwrap_or(usize::MAX) > usize::try_from(slots).unwrap_or(usize::MAX) {
        return Err(LineError::bad(format!("state: an interface holds at most {slots} addresses and prefixes")));
    }
    if trunk && (index == 0 || ips > 0 || !prefixes.is_empty()) {
        return Err(LineError::bad("state: the trunk is not the first interface and has no addresses"));
    }
    Ok(Attached { trunk, ips, assigned, prefixes })
}

fn interfaces_fit(
    state: Option<&[Attached]>,
    trunk: bool,
    unmanaged: u32,
    limits: &InterfaceLimits,
) -> Result<(), LineError> {
    let managed = state.map_or_else(|| 1 + usize::from(trunk), <[Attached]>::len);
    let most = usize::try_from(limits.enis).unwrap_or(usize::MAX);
    if managed.saturating_add(usize::try_from(unmanaged).unwrap_or(usize::MAX)) > most {
        return Err(LineError::bad(format!(
            "the type holds {most} interfaces; primary, trunk, unmanaged and `state` are more"
        )));
    }
    Ok(())
}
