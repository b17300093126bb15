//! Cleanup: takes away what the controller wrote outside of objects that garbage collection finds. For an uninstallation.
//!
//! It says what it finds, and with `dry_run` does nothing else. What is not allowed is named, and the rest goes on.

use std::fmt;

use ipam_audit_api::{
    names::{FIELD_MANAGER, LABEL_MANAGED_BY, NODE_CONDITION_MANAGER},
    pressure,
    v1alpha1::{NodeIpamReport, SubnetIpamReport},
    views::NodeView,
};
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::{ClusterResourceScope, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

use crate::{
    call::{CallError, READ_LIMIT, WRITE_LIMIT, within},
    collect::resource_name,
};

const PAGE: u32 = 500;

/// What to take away besides conditions and reports, and whether to do it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line, and independent of the others")]
pub struct Cleanup {
    /// Only say what there is.
    pub dry_run: bool,
    /// Go on although a controller seems to run.
    pub force: bool,
    /// Events, too; they end by themselves after an hour.
    pub events: bool,
    /// The Lease, too.
    pub lease: bool,
    /// The namespace of the Lease.
    pub namespace: String,
}

/// One kind of things, and what became of them.
#[derive(Debug)]
pub struct Cleaned {
    /// What, as in `conditions on nodes`.
    pub what: &'static str,
    /// How many there were, as far as is known.
    pub found: usize,
    /// How many are gone now.
    pub removed: usize,
    /// Why not all.
    pub fault: Option<String>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// A controller would write everything again.
    #[error(
        "a controller runs: {holder} holds the Lease {namespace}/{name}, and would write all of it again; stop it first \
         (kubectl scale deployment -n {namespace} ipam-audit --replicas=0), or use --force"
    )]
    Running {
        /// Who leads.
        holder: String,
        /// Where.
        namespace: String,
        /// The Lease.
        name: String,
    },
    /// The API server did not answer what has to be known first.
    #[error("cannot tell whether a controller runs: {0}")]
    Unknown(String),
}

impl Cleaned {
    /// Whether nothing is left of it.
    pub const fn is_complete(&self) -> bool {
        self.fault.is_none()
    }
}

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} found, {} removed", self.what, self.found, self.removed)?;
        self.fault.iter().try_for_each(|fault| write!(f, "; {fault}"))
    }
}

impl Cleanup {
    /// Takes everything away that it may.
    ///
    /// # Errors
    /// If a controller runs, or if that cannot be told.
    pub async fn run(&self, client: &Client) -> Result<Vec<Cleaned>, CleanupError> {
        if !self.force {
            self.refuse_while_it_runs(client).await?;
        }
        let mut cleaned = vec![
            self.conditions(client).await,
            self.reports::<NodeIpamReport>(client, "NodeIpamReports").await,
            self.reports::<SubnetIpamReport>(client, "SubnetIpamReports").await,
        ];
        if self.events {
            cleaned.push(self.events_sent(client).await);
        }
        if self.lease {
            cleaned.push(self.lease_held(client).await);
        }
        Ok(cleaned)
    }

    async fn refuse_while_it_runs(&self, client: &Client) -> Result<(), CleanupError> {
        let leases = Api::<Lease>::namespaced(client.clone(), &self.namespace);
        let found = within(READ_LIMIT, leases.get_opt(FIELD_MANAGER)).await;
        let found = found.map_err(|error| CleanupError::Unknown(error.fault("get", LEASES).message))?;
        match found.and_then(|lease| holder(&lease, Timestamp::now())) {
            None => Ok(()),
            Some(holder) => {
                Err(CleanupError::Running { holder, namespace: self.namespace.clone(), name: FIELD_MANAGER.to_owned() })
            }
        }
    }

    async fn conditions(&self, client: &Client) -> Cleaned {
        let api = Api::<NodeView>::all(client.clone());
        let mut work = Work::new("conditions on nodes");
        let nodes = work.pages(&api, &ListParams::default(), |node: NodeView| node.pressure().map(|_| node)).await;
        for node in work.found(nodes, self.dry_run) {
            let removed = remove_condition(&api, &node).await;
            work.note(removed, "patch", "nodes/status");
        }
        work.cleaned
    }

    async fn reports<K>(&self, client: &Client, what: &'static str) -> Cleaned
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + fmt::Debug,
    {
        let api = Api::<K>::all(client.clone());
        let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}"));
        let mut work = Work::new(what);
        let names = work.metadata_pages(&api, &ours).await;
        for name in work.found(names, self.dry_run) {
            let removed = within(WRITE_LIMIT, api.delete(&name, &DeleteParams::default())).await;
            work.note(removed, "delete", &resource_name::<K>());
        }
        work.cleaned
    }

    async fn events_sent(&self, client: &Client) -> Cleaned {
        let all = Api::<Event>::all(client.clone());
        let mut work = Work::new("events");
        let ours = |event: Event| {
            let is_ours = event.reporting_controller.as_deref() == Some(FIELD_MANAGER);
            is_ours.then(|| (event.namespace().unwrap_or_default(), event.name_any()))
        };
        let events = work.pages(&all, &ListParams::default(), ours).await;
        for (namespace, name) in work.found(events, self.dry_run) {
            let api = Api::<Event>::namespaced(client.clone(), &namespace);
            let removed = within(WRITE_LIMIT, api.delete(&name, &DeleteParams::default())).await;
            work.note(removed, "delete", "events.events.k8s.io");
        }
        work.cleaned
    }

    async fn lease_held(&self, client: &Client) -> Cleaned {
        let api = Api::<Lease>::namespaced(client.clone(), &self.namespace);
        let mut work = Work::new("the Lease");
        let lease = match within(READ_LIMIT, api.get_opt(FIELD_MANAGER)).await {
            Ok(lease) => lease.into_iter().collect(),
            Err(error) => {
                work.fail(&error, "get", LEASES);
                Vec::new()
            }
        };
        for lease in work.found(lease, self.dry_run) {
            let removed = within(WRITE_LIMIT, api.delete(&lease.name_any(), &DeleteParams::default())).await;
            work.note(removed, "delete", LEASES);
        }
        work.cleaned
    }
}

const LEASES: &str = "leases.coordination.k8s.io";

/// Who leads by a Lease; none once it has expired or was given back.
fn holder(lease: &Lease, now: Timestamp) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let renewed = spec.renew_time.as_ref()?.0;
    let valid = jiff::SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
    (now.duration_since(renewed) < valid).then_some(holder)
}

/// Applies nothing for our manager; deletes the entry where another writer owns it, too.
async fn remove_condition(api: &Api<NodeView>, node: &NodeView) -> Result<(), CallError> {
    let (name, uid) = (node.name_any(), node.uid().unwrap_or_default());
    let nothing = Patch::Apply(pressure::patch(&name, &uid, None));
    let applied = PatchParams::apply(NODE_CONDITION_MANAGER).force();
    let left = within(WRITE_LIMIT, api.patch_status(&name, &applied, &nothing)).await?;
    if left.pressure().is_none() {
        return Ok(());
    }
    let removal = Patch::Strategic(pressure::removal());
    let manager = PatchParams { field_manager: Some(NODE_CONDITION_MANAGER.to_owned()), ..PatchParams::default() };
    within(WRITE_LIMIT, api.patch_status(&name, &manager, &removal)).await.map(drop)
}

/// The work on one kind of things.
struct Work {
    cleaned: Cleaned,
}

impl Work {
    const fn new(what: &'static str) -> Self {
        Self { cleaned: Cleaned { what, found: 0, removed: 0, fault: None } }
    }

    /// What is wanted of all objects, page by page. A kind that is not installed has none.
    async fn pages<K, T>(&mut self, api: &Api<K>, wanted: &ListParams, pick: impl Fn(K) -> Option<T>) -> Vec<T>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
    {
        let (mut picked, mut params) = (Vec::new(), wanted.clone().limit(PAGE));
        loop {
            match within(READ_LIMIT, api.list(&params)).await {
                Ok(page) => {
                    let more = page.metadata.continue_.clone().filter(|token| !token.is_empty());
                    picked.extend(page.items.into_iter().filter_map(&pick));
                    let Some(token) = more else { return picked };
                    params = params.continue_token(&token);
                }
                Err(error) => {
                    self.fail(&error, "list", &resource_name::<K>());
                    return picked;
                }
            }
        }
    }

    /// The names of all objects, without reading them.
    async fn metadata_pages<K>(&mut self, api: &Api<K>, wanted: &ListParams) -> Vec<String>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
    {
        let (mut names, mut params) = (Vec::new(), wanted.clone().limit(PAGE));
        loop {
            match within(READ_LIMIT, api.list_metadata(&params)).await {
                Ok(page) => {
                    let more = page.metadata.continue_.clone().filter(|token| !token.is_empty());
                    names.extend(page.items.iter().map(PartialObjectMeta::name_any));
                    let Some(token) = more else { return names };
                    params = params.continue_token(&token);
                }
                Err(error) => {
                    self.fail(&error, "list", &resource_name::<K>());
                    return names;
                }
            }
        }
    }

    /// Counts what was found; what is to be done about it.
    fn found<T>(&mut self, found: Vec<T>, dry_run: bool) -> Vec<T> {
        self.cleaned.found = found.len();
        if dry_run { Vec::new() } else { found }
    }

    /// Notes what became of one thing. One that is gone already is fine.
    fn note<T>(&mut self, result: Result<T, CallError>, verb: &str, resource: &str) {
        match result {
            Ok(_) => self.cleaned.removed += 1,
            Err(error) if error.is_not_found() => self.cleaned.removed += 1,
            Err(error) => self.fail(&error, verb, resource),
        }
    }

    fn fail(&mut self, error: &CallError, verb: &str, resource: &str) {
        if !error.is_not_found() {
            self.cleaned.fault.get_or_insert_with(|| error.right_missing(verb, resource));
        }
    }
}

impl CallError {
    /// Why it failed, for whoever runs a command: the right by name, and where it is.
    fn right_missing(&self, verb: &str, resource: &str) -> String {
        match self.category() {
            ipam_audit_core::source::FaultCategory::Denied => {
                format!("you may not {verb} {resource}; `ipam-audit rbac --with cleanup` has the roles that it takes")
            }
            _ => format!("cannot {verb} {resource}: {self}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipam_audit_api::names::NODE_CONDITION;

    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::{Answer, Asked, Log, client, ok, refused};

    fn node(name: &str, entry: bool) -> Value {
        let mut conditions = vec![json!({"type": "Ready", "status": "True"})];
        if entry {
            conditions.push(json!({"type": NODE_CONDITION, "status": "True", "reason": "SubnetExhausted"}));
        }
        json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": conditions}})
    }

    fn list(items: &[Value]) -> Answer {
        ok(&json!({"metadata": {}, "items": items}))
    }

    /// A cluster with one entry and one report of a kind; who leads is up to the test.
    fn cluster(lease: Option<&'static str>, denies: &'static str) -> (Client, Log) {
        client(move |asked: &Asked| {
            let path = asked.path.as_str();
            if !denies.is_empty() && path.contains(denies) {
                return refused(403, "Forbidden");
            }
            match (&asked.method, path) {
                (&Method::GET, path) if path.contains("/leases/") => match lease {
                    None => refused(404, "NotFound"),
                    Some(renewed) => ok(&json!({"metadata": {"name": "ipam-audit", "namespace": "ipam-audit"}, "spec":
                        {"holderIdentity": "pod-1", "leaseDurationSeconds": 15, "renewTime": renewed}})),
                },
                (&Method::GET, "/api/v1/nodes") => list(&[node("a", true), node("b", false)]),
                (&Method::GET, path) if path.ends_with("/nodeipamreports") => {
                    list(&[json!({"metadata": {"name": "a"}})])
                }
                (&Method::GET, path) if path.ends_with("/subnetipamreports") => refused(404, "NotFound"),
                (&Method::PATCH, _) => ok(&node("a", false)),
                _ => ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
            }
        })
    }

    fn cleanup(dry_run: bool) -> Cleanup {
        Cleanup { dry_run, force: false, events: false, lease: false, namespace: "ipam-audit".to_owned() }
    }

    fn writes(log: &Log) -> Vec<String> {
        let log = log.lock().unwrap();
        let writes = log.iter().filter(|asked| asked.method != Method::GET);
        writes.map(|asked| format!("{} {}", asked.method, asked.path.rsplit("v1").next().unwrap())).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_found_and_removed_and_nothing_else_is_touched() {
        let (client, log) = cluster(None, "");
        let told: Vec<String> = cleanup(true).run(&client).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "conditions on nodes: 1 found, 0 removed",
                "NodeIpamReports: 1 found, 0 removed",
                "SubnetIpamReports: 0 found, 0 removed"
            ]
        );
        assert_eq!(writes(&log), Vec::<String>::new(), "a dry run only looks");
        let cleaned = cleanup(false).run(&client).await.unwrap();
        assert_eq!(cleaned.iter().map(|one| one.removed).collect::<Vec<_>>(), [1, 1, 0]);
        assert!(cleaned.iter().all(Cleaned::is_complete));
        assert_eq!(writes(&log), ["PATCH /nodes/a/status", "DELETE alpha1/nodeipamreports/a"]);
    }

    #[tokio::test]
    async fn it_refuses_while_a_controller_leads_and_not_after_it_is_gone() {
        let (running, log) = cluster(Some("2999-01-01T00:00:00.000000Z"), "");
        let error = cleanup(false).run(&running).await.unwrap_err();
        assert!(error.to_string().contains("pod-1 holds the Lease ipam-audit/ipam-audit"), "{error}");
        assert_eq!(log.lock().unwrap().len(), 1);
        let forced = Cleanup { force: true, ..cleanup(false) };
        assert!(forced.run(&running).await.is_ok());
        let (gone, _) = cluster(Some("2001-01-01T00:00:00.000000Z"), "");
        assert!(cleanup(false).run(&gone).await.is_ok());
    }

    #[tokio::test]
    async fn a_missing_right_is_named_and_the_rest_goes_on() {
        let (client, _) = cluster(None, "/nodes/a/status");
        let cleaned = cleanup(false).run(&client).await.unwrap();
        let told = cleaned[0].to_string();
        assert!(
            told.contains("1 found, 0 removed; you may not patch nodes/status; `ipam-audit rbac --with cleanup`"),
            "{told}"
        );
        assert_eq!((cleaned[0].is_complete(), cleaned[1].removed), (false, 1));
    }
}
