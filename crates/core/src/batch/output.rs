//! Answers as JSON. Written by hand: the format is fixed, and a batch spends a good part of its time here.

use std::fmt::Write;

use super::error::LineError;
use crate::ipamd::{Calls, End, Holdings, Outcome};

/// The answer to a line that was simulated.
pub(super) fn outcome(id: &str, label: Option<&str>, outcome: &Outcome) -> String {
    let mut out = String::with_capacity(640);
    out.push_str("{\"id\":");
    text(&mut out, id);
    if let Some(label) = label {
        out.push_str(",\"label\":");
        text(&mut out, label);
    }
    let (word, reason) = match &outcome.end {
        End::Running(_) => ("running", None),
        End::EntryPointExit(refusal) => ("entrypoint-exit", Some(refusal.to_string())),
        End::InitError(error) => ("init-error", Some(error.to_string())),
    };
    put(&mut out, format_args!(",\"outcome\":\"{word}\""));
    if let Some(reason) = reason {
        out.push_str(",\"reason\":");
        text(&mut out, &reason);
    }
    let holdings = outcome.running();
    if let Some(holdings) = holdings {
        sizing(&mut out, holdings);
    }
    put(&mut out, format_args!(",\"enisAttached\":{}", outcome.enis_attached));
    if let Some(holdings) = holdings {
        pool(&mut out, holdings);
    }
    subnet(&mut out, outcome);
    out.push('}');
    out
}

/// The answer to a line that was not.
pub(super) fn error(number: u64, id: Option<&str>, error: &LineError) -> String {
    let mut out = String::from("{\"id\":");
    match id {
        Some(id) => text(&mut out, id),
        None => out.push_str("null"),
    }
    put(&mut out, format_args!(",\"line\":{number},\"error\":{{\"code\":\"{}\",\"message\":", error.code.as_str()));
    text(&mut out, &error.message);
    out.push_str("}}");
    out
}

fn sizing(out: &mut String, holdings: &Holdings) {
    let force = &holdings.in_force;
    put(
        out,
        format_args!(
            ",\"settled\":{},\"mode\":\"{}\",\"inForce\":{{\"warmEni\":{},\"warmIp\":{},\"minimumIp\":{},\
             \"warmPrefix\":{},\"maxEni\":{},\"slotsPerEni\":{}}}",
            holdings.settled,
            holdings.mode.as_str(),
            force.warm_eni,
            force.warm_ip,
            force.minimum_ip,
            force.warm_prefix,
            force.max_eni,
            force.slots_per_eni
        ),
    );
}

fn pool(out: &mut String, holdings: &Holdings) {
    put(out, format_args!(",\"enisInPool\":{},\"slots\":[", holdings.enis_in_pool));
    for (index, slots) in holdings.slots.iter().enumerate() {
        put(out, format_args!("{}{slots}", if index == 0 { "" } else { "," }));
    }
    put(
        out,
        format_args!(
            "],\"prefixes\":{},\"total\":{},\"assigned\":{},\"available\":{},\"pending\":{},\"lost\":{},\
             \"stranded\":{{\"ips\":{},\"prefixes\":{},\"pods\":{}}}",
            holdings.prefixes,
            holdings.total,
            holdings.assigned,
            holdings.available(),
            holdings.pending,
            holdings.lost,
            holdings.stranded.ips,
            holdings.stranded.prefixes,
            holdings.stranded.pods
        ),
    );
}

fn subnet(out: &mut String, outcome: &Outcome) {
    put(out, format_args!(",\"subnetAddresses\":{}", outcome.subnet_addresses));
    for (name, figure) in [("subnetFree", outcome.subnet.free()), ("subnetFreePrefixes", outcome.subnet.free_blocks())]
    {
        match figure {
            Some(figure) => put(out, format_args!(",\"{name}\":{figure}")),
            None => put(out, format_args!(",\"{name}\":null")),
        }
    }
    match &outcome.calls {
        Some(made) => calls(out, made),
        None => out.push_str(",\"calls\":null"),
    }
}

fn calls(out: &mut String, calls: &Calls) {
    put(
        out,
        format_args!(
            ",\"calls\":{{\"createNetworkInterface\":{},\"attachNetworkInterface\":{},\"assignPrivateIpAddresses\":{},\
             \"unassignPrivateIpAddresses\":{},\"detachNetworkInterface\":{},\"deleteNetworkInterface\":{}}}",
            calls.create_network_interface,
            calls.attach_network_interface,
            calls.assign_private_ip_addresses,
            calls.unassign_private_ip_addresses,
            calls.detach_network_interface,
            calls.delete_network_interface
        ),
    );
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(text);
}

/// A JSON string.
fn text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => put(out, format_args!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}
