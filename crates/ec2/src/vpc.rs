//! Which VPC to read when nobody said: the one that the nodes' interfaces are in.
//!
//! The interfaces are asked for by instance, with an action that is needed anyway, so that no further right is. Where that
//! one is denied, the instances themselves are asked for.

use std::collections::BTreeMap;

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{
    ids::{InstanceId, VpcId},
    inventory::InventoryScope,
    source::{FaultCategory, SourceFault},
};

use crate::{action::Action, convert::Malformed, inventory::Reader, listing::list};

/// How many nodes are asked about: more than one, because some may be gone since they were listed.
const SAMPLE: usize = 20;

impl Reader<'_> {
    /// The VPC given, or the one found earlier, or the one that most of a few nodes are in.
    pub(crate) async fn vpc(&self, scope: &InventoryScope) -> Result<VpcId, SourceFault> {
        let known = scope.vpc.clone().or_else(|| self.memory.vpc().clone());
        if let Some(vpc) = known {
            return Ok(vpc);
        }
        let sample = &scope.instances[..scope.instances.len().min(SAMPLE)];
        if sample.is_empty() {
            return Err(not_found("no VPC to read: none was given, and the cluster has no node on EC2 to find it by"));
        }
        let vpcs = self.vpcs_of(sample).await?;
        let vpc = most_frequent(vpcs).ok_or_else(|| self.none_found(sample, scope.instances.len()))?;
        *self.memory.vpc() = Some(vpc.clone());
        Ok(vpc)
    }

    async fn vpcs_of(&self, instances: &[InstanceId]) -> Result<Vec<VpcId>, SourceFault> {
        match self.vpcs_of_interfaces(instances).await {
            Err(fault) if fault.category == FaultCategory::Denied => {
                self.vpcs_of_instances(instances).await.map_err(|_| fault)
            }
            answer => answer,
        }
    }

    async fn vpcs_of_instances(&self, instances: &[InstanceId]) -> Result<Vec<VpcId>, SourceFault> {
        // One that is gone has no VPC any more.
        let vpc = |instance: sdk::Instance| Ok(instance.vpc_id.map(VpcId::new));
        let listing = list(|token| self.caller.instances_by_id(instances, token), vpc).await;
        let listing = listing.map_err(|failure| self.caller.fault(Action::DescribeInstances, &failure))?;
        Ok(listing.rows.into_iter().flatten().collect())
    }

    async fn vpcs_of_interfaces(&self, instances: &[InstanceId]) -> Result<Vec<VpcId>, SourceFault> {
        let listing = list(
            |token| self.caller.interfaces_of(instances, token),
            |eni| {
                let vpc = eni.vpc_id().map(VpcId::from);
                vpc.ok_or_else(|| Malformed::new(eni.network_interface_id().unwrap_or("a network interface"), "vpcId"))
            },
        );
        let listing = listing.await;
        let listing = listing.map_err(|failure| self.caller.fault(Action::DescribeNetworkInterfaces, &failure))?;
        match listing.fault(Action::DescribeNetworkInterfaces) {
            Some(fault) if listing.rows.is_empty() => Err(fault),
            _ => Ok(listing.rows),
        }
    }

    fn none_found(&self, sample: &[InstanceId], all: usize) -> SourceFault {
        let first = sample.first().map_or("", InstanceId::as_str);
        not_found(format!(
            "none of {} nodes asked about (of {all}, {first} first) is in {}: \
             check the region of the audit and the account of the credentials",
            sample.len(),
            self.caller.region()
        ))
    }
}

fn not_found(message: impl Into<String>) -> SourceFault {
    SourceFault { category: FaultCategory::NotFound, message: message.into() }
}

/// An interface of a node in another VPC is rare but possible; the primary interfaces outvote it.
fn most_frequent(vpcs: Vec<VpcId>) -> Option<VpcId> {
    let mut votes: BTreeMap<VpcId, usize> = BTreeMap::new();
    for vpc in vpcs {
        *votes.entry(vpc).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(vpc, _)| vpc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vpc_of_most_interfaces_wins() {
        let vpcs = ["vpc-2", "vpc-1", "vpc-1", "vpc-3"].map(VpcId::from);
        assert_eq!(most_frequent(vpcs.into()), Some("vpc-1".into()));
        assert_eq!(most_frequent(Vec::new()), None);
    }
}
