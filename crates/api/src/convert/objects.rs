//! Reports as objects: names, labels and the owner.

use ipam_audit_core::outcome::{NodeOutcome, SubnetOutcome};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, core::ObjectMeta};

use crate::{
    names::{LABEL_NODE, LABEL_SUBNET, report_labels, report_name},
    v1alpha1::{IpamAudit, NodeIpamReport, NodeIpamReportSpec, SubnetIpamReport, SubnetIpamReportSpec},
};

/// The audit as the owner of its reports: they go when it goes. It does not wait for them, so no right on finalizers is
/// needed. None for an audit that is not from the API server.
pub fn owner_reference(audit: &IpamAudit) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: IpamAudit::api_version(&()).into_owned(),
        kind: IpamAudit::kind(&()).into_owned(),
        name: audit.name_any(),
        uid: audit.uid()?,
        controller: Some(true),
        block_owner_deletion: Some(false),
    })
}

/// The report of a node without its status.
pub fn node_report(audit: &IpamAudit, node: &NodeOutcome) -> NodeIpamReport {
    let name = node.name.as_str();
    let zone = node.zone.as_ref().map(ipam_audit_core::ids::Zone::as_str);
    NodeIpamReport {
        metadata: metadata(audit, (LABEL_NODE, name), zone),
        spec: NodeIpamReportSpec { audit: audit.name_any(), node: name.to_owned() },
        status: None,
    }
}

/// The report of a subnet without its status.
pub fn subnet_report(audit: &IpamAudit, subnet: &SubnetOutcome) -> SubnetIpamReport {
    let id = subnet.id.as_str();
    SubnetIpamReport {
        metadata: metadata(audit, (LABEL_SUBNET, id), Some(subnet.zone.as_str())),
        spec: SubnetIpamReportSpec { audit: audit.name_any(), subnet: id.to_owned() },
        status: None,
    }
}

fn metadata(audit: &IpamAudit, subject: (&str, &str), zone: Option<&str>) -> ObjectMeta {
    let name = audit.name_any();
    ObjectMeta {
        name: Some(report_name(&name, subject.1)),
        labels: Some(report_labels(&name, subject, zone)),
        owner_references: owner_reference(audit).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}
