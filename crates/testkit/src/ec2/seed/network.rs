//! Security groups and route tables of a seed.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::Tags;

/// A security group. Its rules are of no interest here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityGroup {
    /// `sg-…`; generated when absent. Groups that interfaces have need not be stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The VPC's id; may be left out when the seed has one VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// The name, unique in its VPC.
    pub name: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteTable {
    /// `rtb-…`; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The VPC's id; may be left out when the seed has one VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Whether it is the VPC's main table. A VPC that has none gets one with its local routes.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub main: bool,
    /// Ids of the subnets that are associated with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Routes beside those of the VPC's own blocks, which are always there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Where it leads.
    pub destination: Ipv4Net,
    /// The id of what it goes through: `igw-…`, `nat-…`, `tgw-…`, `pcx-…`, `eni-…`, `vgw-…`.
    pub target: String,
    /// `active` unless stated, or `blackhole`.
    #[serde(default = "active")]
    pub state: String,
}

fn active() -> String {
    "active".to_owned()
}
