//! IPAM644: tags that interfaces do not get.

use std::collections::BTreeMap;

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// Tags that interfaces shall get are dropped.
    ///
    /// ## What it means
    ///
    /// The CNI ignores `ADDITIONAL_ENI_TAGS` as a whole if it is no JSON object of texts, and drops each key that
    /// contains `k8s.amazonaws.com`. Cost reports and policies that look for these tags miss the interfaces.
    ///
    /// ## Why it happens
    ///
    /// A quote was lost on the way through a chart or a shell, or a tag of the CNI's own was copied.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep ADDITIONAL_ENI_TAGS
    /// kubectl logs -n kube-system -l k8s-app=aws-node -c aws-node --tail=200 | grep -i tag
    /// ```
    ///
    /// ## What to do
    ///
    /// Write one JSON object of texts, for example `{"team": "shop"}`, without the reserved keys.
    ///
    /// ## What it costs
    ///
    /// Nothing; interfaces are tagged as each `aws-node` pod starts anew.
    ///
    /// ## When it fires
    ///
    /// `ADDITIONAL_ENI_TAGS` is set and is no JSON object of texts, or has a reserved key. Information.
    pub EniTagsDropped;
    code: "IPAM644",
    name: "eni-tags-dropped",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// Keys that contain this are the CNI's own.
const RESERVED: &str = "k8s.amazonaws.com";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["ADDITIONAL_ENI_TAGS"], dropped);
}

fn dropped(environment: &Environment<'_>) -> Option<Violation> {
    let written = environment.variant.text("ADDITIONAL_ENI_TAGS").filter(|text| !text.is_empty())?;
    let state = match serde_json::from_str::<BTreeMap<String, String>>(written) {
        Err(_) => "is no JSON object of texts: all of it is ignored".to_owned(),
        Ok(tags) => {
            let reserved: Vec<String> = tags.into_keys().filter(|key| key.contains(RESERVED)).collect();
            if reserved.is_empty() {
                return None;
            }
            format!("has {}, which the CNI keeps for itself and drops", text::list(&reserved, "and", 3))
        }
    };
    Some(Violation {
        severity: Severity::Info,
        message: format!("ADDITIONAL_ENI_TAGS of {} {state}", environment.who()),
        remediation: format!("Write a JSON object of texts whose keys do not contain {RESERVED}."),
        evidence: vec![sink::evidence("characters", written.len())],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM644";

    #[test]
    fn broken_and_reserved_tags_are_told() {
        let broken = only(&cluster::with(&[("ADDITIONAL_ENI_TAGS", "{team: shop}")]), CODE);
        assert_eq!(
            (broken.severity, broken.message.as_str()),
            (
                Severity::Info,
                "ADDITIONAL_ENI_TAGS of kube-system/aws-node is no JSON object of texts: all of it is ignored"
            )
        );
        let tags = r#"{"team": "shop", "node.k8s.amazonaws.com/x": "y"}"#;
        let reserved = only(&cluster::with(&[("ADDITIONAL_ENI_TAGS", tags)]), CODE);
        assert!(reserved.message.contains("has node.k8s.amazonaws.com/x, which the CNI keeps"), "{}", reserved.message);
    }

    #[test]
    fn the_shipped_value_and_good_tags_are_left_alone() {
        for tags in ["{}", "", r#"{"team": "shop"}"#] {
            assert!(cluster::found(&cluster::with(&[("ADDITIONAL_ENI_TAGS", tags)]), CODE).is_empty(), "{tags}");
        }
    }

    #[test]
    fn an_unread_value_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "ADDITIONAL_ENI_TAGS");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
