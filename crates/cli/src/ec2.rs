//! Where the two halves meet: the controller's idea of a reader of EC2, and the one that speaks with AWS.

use ipam_audit_controller::{CallStats, CountCalls, Ec2Place, OpenInventory};
use ipam_audit_core::inventory::{Inventory, InventoryScope, ReadInventory};
use ipam_audit_ec2::{Access, AwsInventory, RegionChoice, Role};

/// Opens readers of the real EC2, or of what `AWS_ENDPOINT_URL` names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aws;

/// A reader of one region.
pub(crate) struct Reader(AwsInventory);

impl OpenInventory for Aws {
    type Inventory = Reader;

    async fn open(&self, place: &Ec2Place) -> Reader {
        let Ec2Place { region, region_of_nodes, endpoint, role } = place.clone();
        let access = Access {
            region: RegionChoice { stated: region, of_nodes: region_of_nodes },
            endpoint,
            role: role.map(|role| Role {
                arn: role.arn,
                external_id: role.external_id,
                session_name: role.session_name,
            }),
        };
        Reader(AwsInventory::connect(&access).await)
    }
}

impl ReadInventory for Reader {
    async fn read(&self, scope: &InventoryScope) -> Inventory {
        self.0.read(scope).await
    }
}

impl CountCalls for Reader {
    fn calls(&self) -> Vec<CallStats> {
        let of = |stats: ipam_audit_ec2::ActionStats| CallStats {
            action: stats.action,
            requests: stats.requests,
            answered: stats.answered,
            throttles: stats.throttles,
            errors: stats.errors,
            failures: stats.failures,
            budget: Some(stats.budget),
        };
        self.0.stats().into_iter().map(of).collect()
    }

    fn region(&self) -> Option<(String, &'static str)> {
        self.0.region().map(|(region, from)| (region.to_owned(), from))
    }
}
