//! Which of ipamd's series become which number.

use std::str;

use thiserror::Error;

use super::exposition::{self, Lines, Sample};
use crate::snapshot::{IpamdActivity, IpamdPool, IpamdSaid, IpamdTroubles};

/// What every one of ipamd's names begins with.
const OURS: &str = "awscni_";

/// AWS' words for "later, please".
const THROTTLED: [&str; 4] = ["RequestLimitExceeded", "Throttling", "ThrottlingException", "EC2ThrottledException"];
/// AWS' words for a missing right.
const DENIED: [&str; 3] = ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];

/// An answer that ipamd cannot have given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotIpamd {
    /// One of its lines makes no sense.
    #[error("the line `{0}` is no sample")]
    Line(String),
    /// The two numbers that every version has are not there.
    #[error("there is no awscni_total_ip_addresses or no awscni_assigned_ip_addresses in it")]
    NoPool,
}

/// An answer as it comes in.
#[derive(Debug, Default)]
pub struct IpamdText {
    lines: Lines,
    picked: Picked,
}

#[derive(Debug, Default)]
struct Picked {
    said: IpamdSaid,
    broken: Option<String>,
}

impl IpamdText {
    /// Takes the next part of the answer.
    pub fn push(&mut self, chunk: &[u8]) {
        let picked = &mut self.picked;
        self.lines.push(chunk, |line| picked.line(line));
    }

    /// The numbers, once the answer is complete.
    pub fn finish(self) -> Result<IpamdSaid, NotIpamd> {
        let Self { lines, mut picked } = self;
        lines.finish(|line| picked.line(line));
        match picked {
            Picked { broken: Some(line), .. } => Err(NotIpamd::Line(line)),
            Picked { said, .. } if said.pool.total.is_none() || said.pool.assigned.is_none() => Err(NotIpamd::NoPool),
            Picked { said, .. } => Ok(said),
        }
    }
}

impl Picked {
    fn line(&mut self, line: &[u8]) {
        if !line.starts_with(OURS.as_bytes()) || self.broken.is_some() {
            return;
        }
        match str::from_utf8(line).ok().and_then(exposition::sample) {
            Some(sample) => self.sample(&sample),
            None => self.broken = Some(String::from_utf8_lossy(line).chars().take(80).collect()),
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        let Self { said: IpamdSaid { pool, troubles, activity }, .. } = self;
        let name = sample.name.strip_prefix(OURS).unwrap_or_default();
        if !pick_pool(pool, name, sample.value) && !pick_trouble(troubles, name, sample) {
            pick_activity(activity, name, sample);
        }
    }
}

fn pick_pool(pool: &mut IpamdPool, name: &str, value: f64) -> bool {
    let field = match name {
        "total_ip_addresses" => &mut pool.total,
        "assigned_ip_addresses" => &mut pool.assigned,
        "total_ipv4_prefixes" => &mut pool.prefixes,
        "eni_allocated" => &mut pool.interfaces,
        "eni_max" => &mut pool.interface_limit,
        "ip_max" => &mut pool.address_limit,
        _ => return false,
    };
    *field = whole(value).and_then(|value| i32::try_from(value).ok());
    true
}

fn pick_trouble(troubles: &mut IpamdTroubles, name: &str, sample: &Sample<'_>) -> bool {
    let (of, error) = (sample.label("fn"), sample.label("error"));
    let (field, part) = match name {
        "no_available_ip_addresses" => (&mut troubles.refused, None),
        "ipamd_error_count" => {
            (&mut troubles.errors, of.starts_with("increaseIPPool").then_some(&mut troubles.growth_errors))
        }
        "aws_api_error_count" if THROTTLED.contains(&error) => {
            (&mut troubles.aws_errors, Some(&mut troubles.throttled))
        }
        "aws_api_error_count" => (&mut troubles.aws_errors, DENIED.contains(&error).then_some(&mut troubles.denied)),
        "ec2api_error_count" => (&mut troubles.ec2_errors, None),
        "aws_utils_error_count" => (&mut troubles.cleanup_errors, None),
        "pod_eni_error_count" => (&mut troubles.pod_eni_errors, None),
        "force_removed_enis" => (&mut troubles.forced_interfaces, None),
        "force_removed_ips" => (&mut troubles.forced_addresses, None),
        _ => return false,
    };
    add(field, sample.value);
    if let Some(part) = part {
        add(part, sample.value);
    }
    true
}

fn pick_activity(activity: &mut IpamdActivity, name: &str, sample: &Sample<'_>) {
    let field = match name {
        "add_ip_req_count" => &mut activity.added,
        "del_ip_req_count" => &mut activity.deleted,
        "ec2api_req_count" => &mut activity.ec2_requests,
        "reconcile_count" => &mut activity.reconciled,
        "ipamd_action_inprogress" => &mut activity.in_progress,
        "assigned_ip_per_cidr" => &mut activity.assigned_in_blocks,
        "aws_api_latency_ms" if sample.label("quantile") == "0.99" => {
            let worst = activity.aws_latency_ms.into_iter().chain(counted(sample.value.ceil())).max();
            activity.aws_latency_ms = worst;
            return;
        }
        _ => return,
    };
    add(field, sample.value);
}

/// Adds a series of a family. One that is no number leaves the sum as it is.
fn add(sum: &mut Option<u32>, value: f64) {
    if let Some(more) = counted(value) {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

/// A count; what is beyond any count is as much as can be counted.
fn counted(value: f64) -> Option<u32> {
    whole(value).and_then(|value| u32::try_from(value.min(u32::MAX.into())).ok())
}

#[expect(clippy::cast_possible_truncation, reason = "within the range that it is compared with")]
fn whole(value: f64) -> Option<i64> {
    let limit = f64::from(u32::MAX);
    (!value.is_nan()).then(|| value.clamp(-limit, limit).trunc() as i64)
}
