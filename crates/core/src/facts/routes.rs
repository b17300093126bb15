//! Where a subnet's traffic to the internet goes, by the route tables of its VPC.

use std::collections::BTreeMap;

use crate::{
    ids::{SubnetId, VpcId},
    inventory::{RouteTable, Subnet},
};

/// Route tables by what uses them.
#[derive(Debug, Default)]
pub(crate) struct Routes<'a> {
    associated: BTreeMap<&'a SubnetId, &'a RouteTable>,
    main: BTreeMap<&'a VpcId, &'a RouteTable>,
}

impl<'a> Routes<'a> {
    /// From EC2's rows.
    pub(crate) fn of(tables: &'a [RouteTable]) -> Self {
        let mut routes = Self::default();
        for table in tables {
            routes.associated.extend(table.subnets.iter().map(|subnet| (subnet, table)));
            if table.main {
                routes.main.insert(&table.vpc, table);
            }
        }
        routes
    }

    /// The subnet's table. A subnet without an association uses its VPC's main table.
    pub(crate) fn table(&self, subnet: &Subnet) -> Option<&'a RouteTable> {
        self.associated.get(&subnet.id).or_else(|| self.main.get(&subnet.vpc)).copied()
    }

    /// The target of the subnet's default IPv4 route (`igw-…`, `nat-…`, `tgw-…`), if it has one.
    pub(crate) fn default_route(&self, subnet: &Subnet) -> Option<&'a str> {
        let default = self.table(subnet)?.routes.iter().find(|(destination, _)| destination.prefix_len() == 0);
        default.map(|(_, target)| &**target)
    }

    /// Whether it is a public subnet: its default route is an internet gateway.
    pub(crate) fn is_public(&self, subnet: &Subnet) -> bool {
        self.default_route(subnet).is_some_and(|target| target.starts_with("igw-"))
    }
}
