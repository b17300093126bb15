//! `CreateNetworkInterface`, `DeleteNetworkInterface`, `AssignPrivateIpAddresses`, `UnassignPrivateIpAddresses`.

use std::net::Ipv4Addr;
use std::str::FromStr;

use jiff::Timestamp;

use super::super::error::ApiError;
use super::super::ids::digest;
use super::super::query::{Params, Request};
use super::super::seed::{self, Assigned, InterfaceKind};
use super::super::world::World;
use super::super::xml::Xml;
use super::describe_interfaces::write_interface;
use super::mutate_network::done;

/// Interface types that a customer may ask for.
const CREATABLE: [&str; 5] = ["interface", "efa", "efa-only", "branch", "trunk"];

pub(super) fn create(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let wish = wished(params, params.need("SubnetId")?, "network-interface")?;
    let prefixes = !wish.prefixes.is_none();
    let token = params.get("ClientToken").map(|token| (token.to_owned(), digest(&params.fingerprint())));
    let id = world.create_interface(wish, token).map_err(|error| if prefixes { no_prefixes(error) } else { error })?;
    let mut xml = Xml::default();
    let made = world.interface(&id)?;
    xml.nest("networkInterface", |xml| write_interface(xml, world, made));
    if let Some(token) = params.get("ClientToken") {
        xml.text("clientToken", token);
    }
    Ok(xml)
}

/// EC2 answers this call differently from `AssignPrivateIpAddresses` when there is no room for prefixes.
fn no_prefixes(error: ApiError) -> ApiError {
    match error.code.as_ref() {
        "InsufficientCidrBlocks" | "InsufficientFreeAddressesInSubnet" => {
            ApiError::value("There aren't sufficient free Ipv4 addresses or prefixes")
        }
        _ => error,
    }
}

/// The interface that a request describes.
pub(super) fn wished(params: &Params, subnet: &str, resource: &str) -> Result<seed::Interface, ApiError> {
    let kind = params.get("InterfaceType").unwrap_or("interface");
    if !CREATABLE.contains(&kind) {
        return Err(ApiError::value(format!("Value ({kind}) for parameter InterfaceType is invalid.")));
    }
    let mut primary: Option<Ipv4Addr> = params.typed("PrivateIpAddress")?;
    let mut named = Vec::new();
    for address in params.structs("PrivateIpAddresses") {
        let value: Option<Ipv4Addr> = address.typed("PrivateIpAddress")?;
        if address.flag("Primary") {
            primary = value;
        } else {
            named.extend(value);
        }
    }
    let count = params.typed("SecondaryPrivateIpAddressCount")?;
    let mut wish = seed::Interface::new(subnet);
    wish.kind = InterfaceKind::from(kind.to_owned());
    params.get("Description").unwrap_or_default().clone_into(&mut wish.description);
    wish.groups = params.list("SecurityGroupId").into_iter().map(str::to_owned).collect();
    wish.primary = primary;
    wish.secondary = either(count, named, "SecondaryPrivateIpAddressCount")?;
    let prefixes = params.structs("Ipv4Prefix");
    let prefixes = prefixes.iter().filter_map(|one| one.typed("Ipv4Prefix").transpose());
    let prefixes = prefixes.collect::<Result<Vec<_>, _>>()?;
    wish.prefixes = either(params.typed("Ipv4PrefixCount")?, prefixes, "Ipv4PrefixCount")?;
    wish.tags = params.tag_specification(resource);
    Ok(wish)
}

/// A count or a list, never both.
fn either<T>(count: Option<u32>, list: Vec<T>, name: &str) -> Result<Assigned<T>, ApiError> {
    match (count, list.is_empty()) {
        (Some(_), false) => {
            let message = format!("The parameter {name} cannot be used together with a list of the same");
            Err(ApiError::client("InvalidParameterCombination", message))
        }
        (count, true) => Ok(Assigned::Count(count.unwrap_or_default())),
        (None, false) => Ok(Assigned::List(list)),
    }
}

pub(super) fn delete(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    world.delete_interface(request.params.need("NetworkInterfaceId")?)?;
    Ok(done())
}

pub(super) fn assign(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let id = params.need("NetworkInterfaceId")?;
    let addresses = asked(params, "SecondaryPrivateIpAddressCount", "PrivateIpAddress")?;
    let prefixes = asked(params, "Ipv4PrefixCount", "Ipv4Prefix")?;
    let (new, blocks) = match (addresses, prefixes) {
        (Some(addresses), None) => (world.assign_addresses(id, &addresses)?, Vec::new()),
        (None, Some(prefixes)) => (Vec::new(), world.assign_prefixes(id, &prefixes)?),
        (None, None) => return Err(ApiError::missing("SecondaryPrivateIpAddressCount")),
        (Some(_), Some(_)) => {
            let message = "Addresses and prefixes cannot be assigned in one call";
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
    };
    let mut xml = done();
    xml.text("networkInterfaceId", id);
    xml.list("assignedPrivateIpAddressesSet", new, |xml, address| {
        xml.value("privateIpAddress", address);
    });
    xml.list("assignedIpv4PrefixSet", blocks, |xml, prefix| {
        xml.value("ipv4Prefix", prefix);
    });
    Ok(xml)
}

fn asked<T: FromStr>(params: &Params, count: &str, list: &str) -> Result<Option<Assigned<T>>, ApiError> {
    let wish = either(params.typed(count)?, params.typed_list(list)?, count)?;
    Ok((!wish.is_none()).then_some(wish))
}

pub(super) fn unassign(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let addresses = params.typed_list("PrivateIpAddress")?;
    let prefixes = params.typed_list("Ipv4Prefix")?;
    world.unassign(params.need("NetworkInterfaceId")?, &addresses, &prefixes)?;
    Ok(done())
}
