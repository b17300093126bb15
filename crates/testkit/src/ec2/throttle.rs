//! Token buckets as EC2 documents them: one per action, of a size and refill that the action's class sets.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::query::Request;

/// Whether the simulator throttles by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Throttling {
    /// Never.
    #[default]
    Off,
    /// By the documented default buckets of an account.
    Documented,
}

/// Capacity and refill per second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Class {
    capacity: f64,
    refill: f64,
}

const fn class(capacity: f64, refill: f64) -> Class {
    Class { capacity, refill }
}

const READS: Class = class(100.0, 20.0);
const WIDE_READS: Class = class(50.0, 10.0);
const WRITES: Class = class(50.0, 5.0);
const INTERFACE_WRITES: Class = class(100.0, 5.0);
const TAG_WRITES: Class = class(100.0, 10.0);
const RESERVATION_WRITES: Class = class(5.0, 1.0);

/// Reads that have a smaller bucket when they ask for everything at once.
const WIDE: [&str; 2] = ["DescribeInstances", "DescribeNetworkInterfaces"];

/// The buckets of the account, filled until they are first used.
#[derive(Debug, Default)]
pub(crate) struct Buckets(HashMap<(String, bool), Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Buckets {
    /// Takes a token for a request, if there is one.
    pub(crate) fn admit(&mut self, request: &Request, now: Timestamp) -> bool {
        let wide = WIDE.contains(&request.action.as_str()) && !request.params.narrowed();
        let class = class_of(&request.action, wide);
        let key = (request.action.clone(), wide);
        let bucket = self.0.entry(key).or_insert(Bucket { tokens: class.capacity, at: now });
        let elapsed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + elapsed * class.refill).min(class.capacity);
        bucket.at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

fn class_of(action: &str, wide: bool) -> Class {
    match action {
        _ if wide => WIDE_READS,
        "AssignPrivateIpAddresses"
        | "CreateNetworkInterface"
        | "DeleteNetworkInterface"
        | "ModifyNetworkInterfaceAttribute" => INTERFACE_WRITES,
        "CreateTags" | "DeleteTags" => TAG_WRITES,
        "CreateSubnetCidrReservation" => RESERVATION_WRITES,
        _ if ["Describe", "Get", "List", "Search"].iter().any(|verb| action.starts_with(verb)) => READS,
        _ => WRITES,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::clock::Clock;
    use super::*;

    fn request(body: &str) -> Request {
        Request::parse("", body, None).unwrap()
    }

    fn admitted(buckets: &mut Buckets, body: &str, clock: &Clock, tries: u32) -> usize {
        (0..tries).filter(|_| buckets.admit(&request(body), clock.now())).count()
    }

    #[test]
    fn every_action_has_its_own_bucket_of_its_class() {
        let (mut buckets, clock) = (Buckets::default(), Clock::manual());
        for (body, capacity) in [
            ("Action=DescribeSubnets", 100),
            ("Action=DescribeVpcs", 100),
            ("Action=DescribeNetworkInterfaces&MaxResults=1000", 100),
            ("Action=DescribeNetworkInterfaces&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1", 100),
            ("Action=DescribeInstances&InstanceId.1=i-1", 100),
            ("Action=DescribeInstances", 50),
            ("Action=CreateNetworkInterface", 100),
            ("Action=AttachNetworkInterface", 50),
            ("Action=CreateSubnetCidrReservation", 5),
        ] {
            // Filtered and paged requests of an action share a bucket, which the line above has emptied.
            let left = if body.contains("Filter") { 0 } else { capacity };
            assert_eq!(admitted(&mut buckets, body, &clock, 200), left, "{body}");
        }
    }

    #[test]
    fn buckets_fill_up_again_and_no_further() {
        let (mut buckets, clock) = (Buckets::default(), Clock::manual());
        let body = "Action=DescribeNetworkInterfaces";
        assert_eq!(admitted(&mut buckets, body, &clock, 60), 50);
        clock.advance(Duration::from_millis(500));
        assert_eq!(admitted(&mut buckets, body, &clock, 60), 5);
        clock.advance(Duration::from_hours(1));
        assert_eq!(admitted(&mut buckets, body, &clock, 60), 50);
    }
}
