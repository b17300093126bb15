//! Ids and names that look like those of AWS and Kubernetes and are the same on every run.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

/// What Kubernetes draws its random suffixes from: no vowels, no look-alikes.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Where the API server keeps an object in etcd.
pub(super) fn etcd_key(kind: &str, object: &Value) -> String {
    let folder = match kind {
        "Node" => "minions".to_owned(),
        "Service" => "services/specs".to_owned(),
        "NetworkPolicy" => "networkpolicies".to_owned(),
        "CNINode" => "vpcresources.k8s.aws/cninodes".to_owned(),
        "SecurityGroupPolicy" => "vpcresources.k8s.aws/securitygrouppolicies".to_owned(),
        "ENIConfig" => "crd.k8s.amazonaws.com/eniconfigs".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let part = |name: &str| object["metadata"][name].as_str().map(|part| format!("/{part}")).unwrap_or_default();
    format!("/registry/{folder}{}{}", part("namespace"), part("name"))
}

/// Names of one scenario: the same parts give the same name, and another scenario gives others.
#[derive(Debug, Clone)]
pub(super) struct Names {
    scenario: String,
}

impl Names {
    pub(super) fn new(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned() }
    }

    /// An AWS id such as `eni-0a1b…`, with 17 hexadecimal digits of which the first is 0.
    pub(super) fn aws_id(&self, kind: &str, parts: &[&str]) -> String {
        format!("{kind}-0{}", &self.hex(kind, parts)[..16])
    }

    /// Hexadecimal digits, 64 of them.
    pub(super) fn hex(&self, kind: &str, parts: &[&str]) -> String {
        self.bytes(kind, parts).iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            write!(hex, "{byte:02x}").ok();
            hex
        })
    }

    /// A suffix as Kubernetes appends to the names of what it generates.
    pub(super) fn suffix(&self, length: usize, parts: &[&str]) -> String {
        let letter = |byte: &u8| char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]);
        self.bytes("suffix", parts).iter().take(length).map(letter).collect()
    }

    /// A MAC address of the locally administered range.
    pub(super) fn mac(&self, parts: &[&str]) -> String {
        let bytes = self.bytes("mac", parts);
        format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4])
    }

    /// A number to seed a sequence with.
    pub(super) fn number(&self, parts: &[&str]) -> u32 {
        let bytes = self.bytes("number", parts);
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn bytes(&self, kind: &str, parts: &[&str]) -> Vec<u8> {
        let text = [&[self.scenario.as_str(), kind], parts].concat().join("\0");
        digest(&SHA256, text.as_bytes()).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_the_scenario_and_on_every_part() {
        let names = Names::new("incident");
        let id = names.aws_id("eni", &["batch", "a", "1"]);
        assert_eq!(id, Names::new("incident").aws_id("eni", &["batch", "a", "1"]));
        assert_ne!(id, Names::new("healthy").aws_id("eni", &["batch", "a", "1"]));
        assert_ne!(id, names.aws_id("eni", &["batch", "a1"]));
        assert!(id.starts_with("eni-0") && id.len() == "eni-".len() + 17, "{id}");
        assert_eq!(names.suffix(5, &["pod"]).len(), 5);
    }
}
