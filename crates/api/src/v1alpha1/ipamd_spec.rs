//! Whether and how ipamd is asked.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether and how each node's ipamd is asked for its metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpamdSpec {
    /// How ipamd is asked: not at all (`Disabled`, the default), by plain HTTP at the node's internal address
    /// (`NodeAddress`), or through the API server at its aws-node pod (`PodProxy`), which takes the right to get
    /// `pods/proxy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape: Option<IpamdScrape>,

    /// The port of ipamd's metrics, or of what stands before it. Default 61678.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 65535")
        .message("write a port from 1 to 65535, for example 61678"))]
    pub port: Option<i32>,

    /// How often each node is asked, for example `60s`; from `10s` to `15m`. Default `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]+[smh])+$')")
            .message("write a duration in seconds or minutes, for example 60s or 5m"),
        validation = Rule::new("!self.matches('^([0-9]+[smh])+$') || \
            (duration(self) >= duration('10s') && duration(self) <= duration('15m'))")
            .message("write a duration from 10s to 15m, for example 60s")
    )]
    pub interval: Option<String>,

    /// How long one node may take to answer; from `1s` to `30s`. Default `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]+[smh])+$')")
            .message("write a duration in seconds, for example 5s"),
        validation = Rule::new("!self.matches('^([0-9]+[smh])+$') || \
            (duration(self) >= duration('1s') && duration(self) <= duration('30s'))")
            .message("write a duration from 1s to 30s, for example 5s")
    )]
    pub timeout: Option<String>,

    /// How many nodes are asked at the same time; from 1 to 128. Default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 128")
        .message("write a number of nodes from 1 to 128, for example 16"))]
    pub concurrency: Option<i32>,
}

/// How ipamd is asked for its metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpamdScrape {
    /// Not at all.
    #[default]
    Disabled,
    /// By plain HTTP at the node's internal address.
    NodeAddress,
    /// Through the API server, at the aws-node pod.
    PodProxy,
}
