//! Writes an account as a seed in which everything is stated.

use super::super::seed::{self, Assigned, Ec2Seed};
use super::{Interface, World};

impl World {
    /// The seed that loads as this account.
    pub fn to_seed(&self) -> Ec2Seed {
        Ec2Seed {
            account: self.account.clone(),
            region: self.region.clone(),
            placement: self.placement,
            vpcs: self.vpcs.values().map(vpc).collect(),
            subnets: self.subnets.values().map(subnet).collect(),
            instances: self.instances.values().map(instance).collect(),
            interfaces: self.interfaces.values().map(interface).collect(),
            reservations: self.reservations.values().map(reservation).collect(),
            security_groups: self.security_groups.values().map(super::SecurityGroup::to_seed).collect(),
            route_tables: self.route_tables.values().map(super::RouteTable::to_seed).collect(),
        }
    }
}

fn vpc(vpc: &super::Vpc) -> seed::Vpc {
    seed::Vpc { id: Some(vpc.id.clone()), cidr: vpc.cidr, associations: vpc.secondary.clone(), tags: vpc.tags.clone() }
}

fn subnet(subnet: &super::Subnet) -> seed::Subnet {
    seed::Subnet {
        id: Some(subnet.id.clone()),
        vpc: Some(subnet.vpc.clone()),
        cidr: subnet.cidr,
        zone: subnet.zone.clone(),
        zone_id: Some(subnet.zone_id.clone()),
        tags: subnet.tags.clone(),
        state: subnet.state.clone(),
        owner: Some(subnet.owner.clone()),
    }
}

fn instance(instance: &super::Instance) -> seed::Instance {
    seed::Instance {
        id: Some(instance.id.clone()),
        instance_type: instance.type_name.clone(),
        subnet: instance.subnet.clone(),
        zone: Some(instance.zone.clone()),
        state: instance.state.clone(),
        tags: instance.tags.clone(),
    }
}

fn interface(interface: &Interface) -> seed::Interface {
    seed::Interface {
        id: Some(interface.id.clone()),
        subnet: interface.subnet.clone(),
        kind: interface.kind.clone(),
        description: interface.description.clone(),
        status: Some(interface.status),
        requester_id: interface.requester_id.clone(),
        requester_managed: interface.requester_managed,
        owner: Some(interface.owner.clone()),
        groups: interface.groups.clone(),
        primary: interface.primary,
        secondary: stated(&interface.secondary),
        prefixes: stated(&interface.prefixes),
        attachment: interface.attachment.as_ref().map(attachment),
        trunk: interface
            .branch_of
            .as_ref()
            .map(|place| seed::TrunkAssociation { trunk: place.trunk.clone(), vlan: place.vlan }),
        tags: interface.tags.clone(),
        operator: interface.operator.clone(),
    }
}

/// These, or none in the form that a seed without any has.
fn stated<T: Clone>(list: &[T]) -> Assigned<T> {
    if list.is_empty() { Assigned::default() } else { Assigned::List(list.to_vec()) }
}

fn attachment(attachment: &super::Attachment) -> seed::Attachment {
    seed::Attachment {
        instance: attachment.instance.clone(),
        instance_owner: Some(attachment.instance_owner.clone()),
        device_index: attachment.device_index,
        card_index: attachment.card_index,
        delete_on_termination: attachment.delete_on_termination,
        attach_time: Some(attachment.attached_at),
        status: Some(attachment.status.clone()),
    }
}

fn reservation(reservation: &super::Reservation) -> seed::Reservation {
    seed::Reservation {
        id: Some(reservation.id.clone()),
        subnet: reservation.subnet.clone(),
        cidr: reservation.cidr,
        kind: reservation.kind,
        description: reservation.description.clone(),
    }
}
