//! Attaches, detaches and deletes interfaces, and ends instances, with the refusals of EC2.

use jiff::Timestamp;

use super::super::error::ApiError;
use super::super::ids;
use super::super::seed::{self, InterfaceKind, InterfaceStatus};
use super::{Attachment, Instance, Interface, World};

impl World {
    /// Attaches an interface; gives the attachment's id.
    pub(crate) fn attach(&mut self, id: &str, wish: seed::Attachment, now: Timestamp) -> Result<String, ApiError> {
        let interface = self.interface(id)?;
        if interface.attachment.is_some() || interface.branch_of.is_some() {
            let message = format!("Interface: [{id}] in use.");
            return Err(ApiError::client("InvalidNetworkInterface.InUse", message));
        }
        if interface.kind == InterfaceKind::Branch {
            let message = format!("{id} is a branch: it is associated with a trunk and never attached");
            return Err(ApiError::client("OperationNotPermitted", message));
        }
        let mut instance_owner = wish.instance_owner.unwrap_or_else(|| interface.owner.clone());
        if let Some(instance) = &wish.instance {
            self.may_attach(interface, self.instance(instance)?, (wish.card_index, wish.device_index))?;
            self.attached.entry(instance.clone()).or_default().insert(id.to_owned());
        } else if instance_owner == self.account {
            "amazon-aws".clone_into(&mut instance_owner);
        }
        let attachment = Attachment {
            id: ids::part_of(if wish.instance.is_some() { "eni-attach" } else { "ela-attach" }, id),
            instance: wish.instance,
            instance_owner,
            device_index: wish.device_index,
            card_index: wish.card_index,
            delete_on_termination: wish.delete_on_termination,
            attached_at: wish.attach_time.unwrap_or(now),
            status: wish.status.unwrap_or_else(|| "attached".to_owned()),
        };
        let attachment_id = attachment.id.clone();
        self.attachments.insert(attachment_id.clone(), id.to_owned());
        let interface = self.interface_mut(id)?;
        interface.attachment = Some(attachment);
        interface.status = InterfaceStatus::InUse;
        Ok(attachment_id)
    }

    fn may_attach(&self, interface: &Interface, to: &Instance, place: (u32, u32)) -> Result<(), ApiError> {
        let (card, index) = place;
        if matches!(to.state.as_str(), "terminated" | "shutting-down") {
            let message = format!("The instance '{}' is {} and cannot take an interface", to.id, to.state);
            return Err(ApiError::client("IncorrectState", message));
        }
        if interface.zone != to.zone || interface.vpc != to.vpc {
            let message = format!(
                "You may not attach a network interface to an instance if they are not in the same availability zone \
                 and VPC: {} is in {}, {} in {}",
                interface.id, interface.zone, to.id, to.zone
            );
            return Err(ApiError::client("InvalidParameterCombination", message));
        }
        let held = |one: &&Interface| {
            one.attachment.as_ref().is_some_and(|place| (place.card_index, place.device_index) == (card, index))
        };
        if let Some(holder) = self.attached_to(&to.id).find(held) {
            return Err(ApiError::value(format!(
                "Instance '{}' already has an interface attached at device index '{index}' of card {card}: {}",
                to.id, holder.id
            )));
        }
        self.within_limits(interface, to, card)
    }

    fn within_limits(&self, interface: &Interface, to: &Instance, card: u32) -> Result<(), ApiError> {
        let Some(limits) = to.limits() else { return Ok(()) };
        let Some(most) = limits.cards.get(card as usize) else {
            let message =
                format!("{} has {} network cards, there is none at index {card}", limits.name, limits.cards.len());
            return Err(ApiError::value(message));
        };
        let on_card = |one: &&Interface| one.attachment.as_ref().is_some_and(|place| place.card_index == card);
        let attached = self.attached_to(&to.id).filter(on_card).count() + 1;
        if attached > *most as usize {
            let message =
                format!("Interface count {attached} exceeds the limit for {} ({most} on card {card})", limits.name);
            return Err(ApiError::client("AttachmentLimitExceeded", message));
        }
        if interface.kind == InterfaceKind::Trunk && limits.branches == 0 {
            return Err(ApiError::value(format!("{} does not support trunk interfaces", limits.name)));
        }
        check_slots(limits.name, interface.slots(), limits.ipv4_per_interface)
    }

    /// Refuses more addresses and prefixes than the instance's type allows.
    pub(super) fn check_more(&self, interface: &Interface, more: usize) -> Result<(), ApiError> {
        let instance = interface.instance().and_then(|id| self.instances.get(id));
        match instance.and_then(Instance::limits) {
            Some(limits) => check_slots(limits.name, interface.slots() + more, limits.ipv4_per_interface),
            None => Ok(()),
        }
    }

    /// Detaches by the attachment's id.
    pub(crate) fn detach(&mut self, attachment: &str) -> Result<(), ApiError> {
        let missing = || ApiError::not_found("InvalidAttachmentID.NotFound", "attachment", attachment);
        let id = self.attachments.get(attachment).cloned().ok_or_else(missing)?;
        if let Some(place) = &self.interface(&id)?.attachment {
            if place.instance.is_none() {
                let message = format!("You are not allowed to manage '{attachment}': a service holds the interface.");
                return Err(ApiError::client("OperationNotPermitted", message));
            }
            if (place.card_index, place.device_index) == (0, 0) {
                let message = "The network interface at device index 0 cannot be detached.";
                return Err(ApiError::client("OperationNotPermitted", message));
            }
        }
        self.loosen(&id)
    }

    fn loosen(&mut self, id: &str) -> Result<(), ApiError> {
        let interface = self.interface_mut(id)?;
        interface.status = InterfaceStatus::Available;
        if let Some(attachment) = interface.attachment.take() {
            self.attachments.remove(&attachment.id);
            if let Some(attached) = attachment.instance.and_then(|instance| self.attached.get_mut(&instance)) {
                attached.remove(id);
            }
        }
        Ok(())
    }

    /// Deletes an interface that nothing uses.
    pub(crate) fn delete_interface(&mut self, id: &str) -> Result<(), ApiError> {
        let interface = self.interface(id)?;
        let carries = self.vlans.get(id).is_some_and(|branches| !branches.is_empty());
        if interface.status != InterfaceStatus::Available || carries {
            return Err(ApiError::value(format!("Network interface '{id}' is currently in use.")));
        }
        self.remove_interface(id)
    }

    fn remove_interface(&mut self, id: &str) -> Result<(), ApiError> {
        let (addresses, prefixes, subnet) = {
            let interface = self.interface(id)?;
            (interface.addresses().collect::<Vec<_>>(), interface.prefixes.clone(), interface.subnet.clone())
        };
        let book = &mut self.subnet_mut(&subnet)?.book;
        for address in addresses {
            book.release(address);
        }
        for prefix in prefixes {
            book.release_prefix(prefix);
        }
        self.vlans.remove(id);
        self.interfaces.remove(id);
        Ok(())
    }

    /// Ends an instance: its interfaces go with it or become available. The branches of a trunk that goes stay behind,
    /// available, which is the leak that cleaners look for. Gives the state before.
    pub(crate) fn terminate(&mut self, id: &str) -> Result<String, ApiError> {
        let before = self.instance(id)?.state.clone();
        let attached: Vec<String> = self.attached.remove(id).into_iter().flatten().collect();
        for interface in attached {
            let goes = self.interface(&interface)?.attachment.as_ref().is_some_and(|one| one.delete_on_termination);
            self.loosen(&interface)?;
            if goes {
                let branches: Vec<String> =
                    self.vlans.get(&interface).into_iter().flat_map(|vlans| vlans.values().cloned()).collect();
                for branch in branches {
                    self.leave_trunk(&branch)?;
                }
                self.remove_interface(&interface)?;
            }
        }
        if let Some(instance) = self.instances.get_mut(id) {
            "terminated".clone_into(&mut instance.state);
        }
        Ok(before)
    }
}

fn check_slots(name: &str, slots: usize, most: u32) -> Result<(), ApiError> {
    if slots <= most as usize {
        return Ok(());
    }
    let message = format!("Number of private addresses will exceed limit: {slots} of {most} that {name} allows");
    Err(ApiError::client("PrivateIpAddressLimitExceeded", message))
}
