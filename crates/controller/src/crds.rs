//! Whether our own kinds are installed, and whether their definitions know every field that this version writes.
//!
//! Without them nothing can be read or written, but that heals without a restart: the check goes on for ever.

use std::{sync::Arc, time::Duration};

use ipam_audit_api::{crd::all_crds, v1alpha1::IpamAudit};
use ipam_audit_core::source::FaultCategory;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use crate::{
    backoff::jittered,
    call::{READ_LIMIT, within},
    collect::resource_name,
    settings::Settings,
    watch::Pace,
};

/// What is wrong with our kinds in this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CrdProblem {
    /// Some are not there: these.
    Missing {
        /// The names of those that are not there.
        names: Vec<String>,
        /// What to do, in words.
        message: String,
    },
    /// They are of an older version: what this version would write there is refused or lost.
    Outdated(String),
}

const ADVICE: &str = "apply the CRDs of this version: ipam-audit crd | kubectl apply --server-side -f -";
/// How long at most until kinds that were just installed are noticed.
const WHILE_WRONG: Duration = Duration::from_secs(5);

impl CrdProblem {
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// What to do about either.
    pub(crate) fn advice() -> String {
        format!("the CRDs are of an older version; {ADVICE}")
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Missing { message, .. } | Self::Outdated(message) => message,
        }
    }
}

/// The latest answer, for those who ask at any time.
#[derive(Debug, Clone)]
pub(crate) struct CrdState {
    answer: watch::Receiver<Answer>,
}

/// What is wrong, if anything; none as a whole while that is not known.
type Answer = Option<Option<Arc<CrdProblem>>>;

/// Without audits there is nothing to run; without the rest an audit can at least say so.
fn lacks_audits(problem: Option<&CrdProblem>) -> bool {
    let audits = resource_name::<IpamAudit>();
    matches!(problem, Some(CrdProblem::Missing { names, .. }) if names.contains(&audits))
}

impl CrdState {
    pub(crate) fn problem(&self) -> Option<Arc<CrdProblem>> {
        self.answer.borrow().clone().flatten()
    }

    /// An answer that stays.
    #[cfg(test)]
    pub(crate) fn answered(problem: Option<CrdProblem>) -> Self {
        Self { answer: watch::channel(Some(problem.map(Arc::new))).1 }
    }

    /// Whether the API server has answered at all.
    pub(crate) fn is_known(&self) -> bool {
        self.answer.borrow().is_some()
    }

    /// Waits until there can be audits.
    pub(crate) async fn installed(&self) {
        let mut answer = self.answer.clone();
        let there = |answer: &Answer| answer.as_ref().is_some_and(|problem| !lacks_audits(problem.as_deref()));
        if answer.wait_for(there).await.is_err() {
            // The check is gone, and with it the process.
            std::future::pending::<()>().await;
        }
    }
}

/// Looks at our CRDs from time to time.
pub(crate) struct CrdCheck {
    crds: Api<CustomResourceDefinition>,
    answer: watch::Sender<Answer>,
    pace: Pace,
    while_wrong: Duration,
    while_right: Duration,
}

impl CrdCheck {
    pub(crate) fn new(client: Client, pace: Pace, settings: &Settings) -> (Self, CrdState) {
        let (sender, answer) = watch::channel(None);
        let check = Self {
            crds: Api::all(client),
            answer: sender,
            pace,
            while_wrong: settings.retry_max.min(WHILE_WRONG),
            while_right: settings.discovery_interval,
        };
        (check, CrdState { answer })
    }

    pub(crate) async fn run(self) {
        loop {
            let right = match self.look().await {
                Some(problem) => {
                    let right = problem.is_none();
                    self.publish(problem);
                    right
                }
                None => false,
            };
            tokio::time::sleep(jittered(if right { self.while_right } else { self.while_wrong })).await;
        }
    }

    fn publish(&self, problem: Option<CrdProblem>) {
        let before = self.answer.borrow().clone();
        if before.as_ref().is_some_and(|before| before.as_deref() == problem.as_ref()) {
            return;
        }
        if let Some(problem) = &problem {
            tracing::error!("{}", problem.message());
        } else {
            tracing::info!("the CRDs of ipam-audit.dev are installed and current");
        }
        self.answer.send_replace(Some(problem.map(Arc::new)));
        self.pace.wake();
    }

    /// What is wrong, if anything; none as a whole while the API server does not say.
    async fn look(&self) -> Option<Option<CrdProblem>> {
        let (mut missing, mut outdated) = (Vec::new(), Vec::new());
        for ours in all_crds() {
            let name = ours.name_any();
            match within(READ_LIMIT, self.crds.get(&name)).await {
                Ok(theirs) => outdated.extend(lacks(&ours, &theirs).map(|what| format!("{name} lacks {what}"))),
                Err(error) if error.is_not_found() => missing.push(name),
                // Without the right to look, the watches will tell whether our kinds are there.
                Err(error) if error.category() == FaultCategory::Denied => {}
                Err(error) => {
                    tracing::debug!(crd = name, %error, "cannot look at a CRD");
                    return None;
                }
            }
        }
        Some(if !missing.is_empty() {
            let message = format!("not installed: {}; {ADVICE}", missing.join(", "));
            Some(CrdProblem::Missing { names: missing, message })
        } else if !outdated.is_empty() {
            Some(CrdProblem::Outdated(format!("CRDs of an older version: {}; {ADVICE}", outdated.join("; "))))
        } else {
            None
        })
    }
}

/// The first version or field of ours that the cluster's definition lacks.
fn lacks(ours: &CustomResourceDefinition, theirs: &CustomResourceDefinition) -> Option<String> {
    ours.spec.versions.iter().find_map(|version| {
        let served = theirs.spec.versions.iter().find(|theirs| theirs.name == version.name && theirs.served);
        let Some(served) = served else {
            return Some(format!("version {}", version.name));
        };
        let field = missing_field(schema(version)?, schema(served)?)?;
        Some(format!("field {field}"))
    })
}

fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// The path of the first property of ours that the other schema does not have.
fn missing_field(ours: &JSONSchemaProps, theirs: &JSONSchemaProps) -> Option<String> {
    if theirs.x_kubernetes_preserve_unknown_fields == Some(true) {
        return None;
    }
    if let (Some(JSONSchemaPropsOrArray::Schema(ours)), Some(JSONSchemaPropsOrArray::Schema(theirs))) =
        (&ours.items, &theirs.items)
    {
        return missing_field(ours, theirs).map(|inner| format!("[]{inner}"));
    }
    ours.properties.iter().flatten().find_map(|(name, property)| {
        let known = theirs.properties.as_ref().and_then(|properties| properties.get(name));
        match known {
            Some(known) => missing_field(property, known).map(|inner| format!(".{name}{inner}")),
            None => Some(format!(".{name}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit_crd() -> CustomResourceDefinition {
        all_crds().swap_remove(0)
    }

    fn status(crd: &mut CustomResourceDefinition) -> &mut JSONSchemaProps {
        let schema = crd.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        schema.properties.as_mut().unwrap().get_mut("status").unwrap()
    }

    #[test]
    fn our_own_definition_lacks_nothing() {
        for crd in all_crds() {
            assert_eq!(lacks(&crd, &crd), None);
        }
    }

    #[test]
    fn a_missing_field_and_a_version_that_is_not_served_are_named() {
        let mut older = audit_crd();
        status(&mut older).properties.as_mut().unwrap().remove("summary");
        assert_eq!(lacks(&audit_crd(), &older).as_deref(), Some("field .status.summary"));
        let mut unserved = audit_crd();
        unserved.spec.versions[0].served = false;
        assert_eq!(lacks(&audit_crd(), &unserved).as_deref(), Some("version v1alpha1"));
    }

    #[test]
    fn a_newer_definition_with_more_fields_is_fine() {
        let mut newer = audit_crd();
        status(&mut newer).properties.as_mut().unwrap().insert("more".to_owned(), JSONSchemaProps::default());
        assert_eq!(lacks(&audit_crd(), &newer), None);
    }
}
