//! Associates branches with trunks.

use std::collections::btree_map::Entry;

use super::super::error::ApiError;
use super::super::ids;
use super::super::seed::{InterfaceKind, InterfaceStatus};
use super::{BranchOf, Interface, World};

/// Highest VLAN number.
const LAST_VLAN: u16 = 4094;

impl World {
    /// Puts a branch on a trunk; gives the association.
    pub(crate) fn join_trunk(&mut self, branch: &str, trunk: &str, vlan: u16) -> Result<BranchOf, ApiError> {
        let interface = self.interface(branch)?;
        if interface.branch_of.is_some() || interface.attachment.is_some() {
            let message = format!("Interface: [{branch}] in use.");
            return Err(ApiError::client("InvalidNetworkInterface.InUse", message));
        }
        if interface.kind != InterfaceKind::Branch {
            return Err(ApiError::value(format!("{branch} is of kind {}, not branch", interface.kind.as_str())));
        }
        self.may_carry(self.interface(trunk)?, interface)?;
        if !(1..=LAST_VLAN).contains(&vlan) {
            return Err(ApiError::value(format!("VLAN {vlan} is not between 1 and {LAST_VLAN}")));
        }
        match self.vlans.entry(trunk.to_owned()).or_default().entry(vlan) {
            Entry::Occupied(held) => {
                return Err(ApiError::value(format!("VLAN {vlan} of {trunk} is already used by {}", held.get())));
            }
            Entry::Vacant(free) => free.insert(branch.to_owned()),
        };
        let association = ids::part_of("trunk-assoc", branch);
        self.associations.insert(association.clone(), branch.to_owned());
        let place = BranchOf { association, trunk: trunk.to_owned(), vlan };
        let interface = self.interface_mut(branch)?;
        interface.branch_of = Some(place.clone());
        interface.status = InterfaceStatus::InUse;
        Ok(place)
    }

    fn may_carry(&self, trunk: &Interface, branch: &Interface) -> Result<(), ApiError> {
        if trunk.kind != InterfaceKind::Trunk {
            return Err(ApiError::value(format!("{} is of kind {}, not trunk", trunk.id, trunk.kind.as_str())));
        }
        if trunk.vpc != branch.vpc {
            return Err(ApiError::value(format!("{} and {} are in different VPCs", trunk.id, branch.id)));
        }
        let instance = trunk.instance().and_then(|id| self.instances.get(id));
        let carried = self.vlans.get(&trunk.id).map_or(0, std::collections::BTreeMap::len);
        if let Some(limits) = instance.and_then(super::Instance::limits).filter(|one| carried >= one.branches as usize)
        {
            let message = format!("{} already carries {carried} branches, all that {} allows", trunk.id, limits.name);
            return Err(ApiError::client("AttachmentLimitExceeded", message));
        }
        Ok(())
    }

    /// Ends an association by its id.
    pub(crate) fn end_association(&mut self, association: &str) -> Result<(), ApiError> {
        let branch = self.association(association)?.clone();
        self.leave_trunk(&branch)
    }

    pub(super) fn leave_trunk(&mut self, branch: &str) -> Result<(), ApiError> {
        let interface = self.interface_mut(branch)?;
        interface.status = InterfaceStatus::Available;
        if let Some(place) = interface.branch_of.take() {
            self.associations.remove(&place.association);
            if let Some(vlans) = self.vlans.get_mut(&place.trunk) {
                vlans.remove(&place.vlan);
            }
        }
        Ok(())
    }
}
