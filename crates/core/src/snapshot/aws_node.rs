//! The VPC CNI's DaemonSet and its pods.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::NodeName;

/// The VPC CNI as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNode {
    /// `namespace/name` of the DaemonSet.
    pub daemon_set: Arc<str>,
    /// What its template would run.
    pub template: Arc<AwsNodeEnv>,
    /// What its running pods do run, sorted by node.
    pub pods: Vec<AwsNodePod>,
    /// What else its template says.
    pub manifest: AwsNodeManifest,
}

/// What the template says besides the environment of the CNI container. Absent means not said, or not collected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNodeManifest {
    /// The init container's environment: `DISABLE_TCP_EARLY_DEMUX` is there.
    pub init: Option<Arc<AwsNodeEnv>>,
    /// Image of the network policy agent's container.
    pub agent_image: Option<Arc<str>>,
    /// The shortest `timeoutSeconds` of the CNI container's probes.
    pub probe_timeout_seconds: Option<u32>,
    /// The CNI container's CPU request, in thousandths.
    pub cpu_request_millis: Option<u32>,
    /// `spec.template.spec.serviceAccountName`.
    pub service_account: Option<Arc<str>>,
    /// `status.desiredNumberScheduled`.
    pub desired: Option<u32>,
    /// `status.updatedNumberScheduled`.
    pub updated: Option<u32>,
}

/// One running pod of the DaemonSet: the truth for its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNodePod {
    /// Its node.
    pub node: NodeName,
    /// Its name; empty where the reader does not keep it.
    pub name: Arc<str>,
    /// The effective environment of its CNI container, shared between equal pods.
    pub env: Arc<AwsNodeEnv>,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// Restarts of its CNI container.
    pub restarts: u32,
    /// When its CNI container last ended.
    pub last_ended_at: Option<Timestamp>,
    /// Why its CNI container waits, for example `CrashLoopBackOff`.
    pub waiting: Option<Arc<str>>,
    /// `status.startTime`.
    pub started_at: Option<Timestamp>,
}

impl AwsNodePod {
    /// A pod of which nothing but its node and its environment is known.
    pub fn running(node: NodeName, env: Arc<AwsNodeEnv>) -> Self {
        Self {
            node,
            name: "".into(),
            env,
            ready: true,
            restarts: 0,
            last_ended_at: None,
            waiting: None,
            started_at: None,
        }
    }
}

/// The effective environment of the CNI container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNodeEnv {
    /// The container's image, whose tag is the CNI's version.
    pub image: String,
    /// The variables after `envFrom` and `env`, the last of a name winning.
    pub values: BTreeMap<String, EnvValue>,
}

impl AwsNodeEnv {
    /// The variables whose values are known.
    pub fn known(&self) -> BTreeMap<String, String> {
        let literal = |(name, value): (&String, &EnvValue)| match value {
            EnvValue::Literal(text) => Some((name.clone(), text.clone())),
            EnvValue::Unresolved(_) => None,
        };
        self.values.iter().filter_map(literal).collect()
    }
}

/// The value of a variable, or where it would have come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvValue {
    /// The text, exactly.
    Literal(String),
    /// A reference that could not be read, in words.
    Unresolved(String),
}
