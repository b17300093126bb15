//! Security groups and route tables: what every VPC has from the start, and what is added.
//!
//! Invariants: a VPC has one default group and one main table; a subnet is associated with one table at most.

use ipnet::Ipv4Net;

use super::super::error::ApiError;
use super::super::ids;
use super::super::seed::{self, Route, Tags};
use super::World;

const DEFAULT_GROUP: &str = "default";

#[derive(Debug, Clone)]
pub(crate) struct SecurityGroup {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) name: String,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct RouteTable {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) main: bool,
    pub(crate) subnets: Vec<String>,
    /// Those beside the local ones.
    pub(crate) routes: Vec<Route>,
    pub(crate) tags: Tags,
}

impl SecurityGroup {
    pub(super) fn to_seed(&self) -> seed::SecurityGroup {
        seed::SecurityGroup {
            id: Some(self.id.clone()),
            vpc: Some(self.vpc.clone()),
            name: self.name.clone(),
            tags: self.tags.clone(),
        }
    }
}

impl RouteTable {
    pub(super) fn to_seed(&self) -> seed::RouteTable {
        seed::RouteTable {
            id: Some(self.id.clone()),
            vpc: Some(self.vpc.clone()),
            main: self.main,
            subnets: self.subnets.clone(),
            routes: self.routes.clone(),
            tags: self.tags.clone(),
        }
    }
}

impl World {
    /// What AWS puts into every new VPC.
    pub(super) fn furnish(&mut self, vpc: &str) {
        let id = ids::part_of("sg", vpc);
        let group =
            SecurityGroup { id: id.clone(), vpc: vpc.to_owned(), name: DEFAULT_GROUP.to_owned(), tags: Tags::new() };
        self.security_groups.insert(id, group);
        let id = ids::part_of("rtb", vpc);
        let table = RouteTable {
            id: id.clone(),
            vpc: vpc.to_owned(),
            main: true,
            subnets: Vec::new(),
            routes: Vec::new(),
            tags: Tags::new(),
        };
        self.route_tables.insert(id, table);
    }

    /// Adds a group; one that is called as the VPC's default group takes its place.
    pub(crate) fn add_security_group(&mut self, group: seed::SecurityGroup) -> Result<String, ApiError> {
        let vpc = self.vpc_of(group.vpc)?;
        let namesake = self
            .security_groups
            .values()
            .find(|one| one.vpc == vpc && one.name == group.name)
            .map(|one| one.id.clone());
        match namesake {
            Some(default) if group.name == DEFAULT_GROUP => drop(self.security_groups.remove(&default)),
            Some(other) => {
                let message = format!("The security group '{}' already exists for VPC '{vpc}' ({other})", group.name);
                return Err(ApiError::client("InvalidGroup.Duplicate", message));
            }
            None => {}
        }
        let id = self.claim_id("sg", group.id)?;
        let made = SecurityGroup { id: id.clone(), vpc, name: group.name, tags: group.tags };
        self.security_groups.insert(id.clone(), made);
        Ok(id)
    }

    /// Groups that interfaces have exist, stated or not.
    pub(super) fn add_groups_of_interfaces(&mut self) {
        for interface in self.interfaces.values() {
            for id in &interface.groups {
                self.security_groups.entry(id.clone()).or_insert_with(|| SecurityGroup {
                    id: id.clone(),
                    vpc: interface.vpc.clone(),
                    name: id.clone(),
                    tags: Tags::new(),
                });
            }
        }
    }

    /// Adds a table; a main one takes the place of the VPC's.
    pub(crate) fn add_route_table(&mut self, table: seed::RouteTable) -> Result<String, ApiError> {
        let vpc = self.vpc_of(table.vpc)?;
        for subnet in &table.subnets {
            self.check_association(&vpc, subnet)?;
        }
        if table.main {
            self.route_tables.retain(|_, one| one.vpc != vpc || !one.main);
        }
        let id = self.claim_id("rtb", table.id)?;
        let made = RouteTable {
            id: id.clone(),
            vpc,
            main: table.main,
            subnets: table.subnets,
            routes: table.routes,
            tags: table.tags,
        };
        self.route_tables.insert(id.clone(), made);
        Ok(id)
    }

    /// Makes a table that of a subnet; the id of the association.
    pub(crate) fn associate_route_table(&mut self, table: &str, subnet: &str) -> Result<String, ApiError> {
        let vpc = self.route_table(table)?.vpc.clone();
        self.check_association(&vpc, subnet)?;
        if let Some(table) = self.route_tables.get_mut(table) {
            table.subnets.push(subnet.to_owned());
        }
        Ok(route_association_id(table, subnet))
    }

    /// Adds a route to a table.
    pub(crate) fn add_route(&mut self, table: &str, destination: Ipv4Net, target: &str) -> Result<(), ApiError> {
        let state = "active".to_owned();
        let known = self.route_table(table)?.routes.iter().any(|route| route.destination == destination);
        if known {
            let message = format!("The route identified by {destination} already exists.");
            return Err(ApiError::client("RouteAlreadyExists", message));
        }
        if let Some(table) = self.route_tables.get_mut(table) {
            table.routes.push(Route { destination, target: target.to_owned(), state });
        }
        Ok(())
    }

    pub(crate) fn security_group(&self, id: &str) -> Result<&SecurityGroup, ApiError> {
        self.security_groups.get(id).ok_or_else(|| ApiError::not_found("InvalidGroup.NotFound", "security group", id))
    }

    pub(crate) fn route_table(&self, id: &str) -> Result<&RouteTable, ApiError> {
        let missing = || ApiError::not_found("InvalidRouteTableID.NotFound", "routeTable ID", id);
        self.route_tables.get(id).ok_or_else(missing)
    }

    fn check_association(&self, vpc: &str, subnet: &str) -> Result<(), ApiError> {
        if self.subnet(subnet)?.vpc != vpc {
            return Err(ApiError::value(format!("{subnet} and the route table are not in the same VPC")));
        }
        match self.route_tables.values().find(|one| one.subnets.iter().any(|known| known == subnet)) {
            None => Ok(()),
            Some(other) => {
                let message = format!("the specified subnet {subnet} is associated with {} already", other.id);
                Err(ApiError::client("Resource.AlreadyAssociated", message))
            }
        }
    }

    /// The VPC that is stated, or the only one.
    fn vpc_of(&self, stated: Option<String>) -> Result<String, ApiError> {
        match stated {
            Some(vpc) => self.vpc(&vpc).map(|vpc| vpc.id.clone()),
            None if self.vpcs.len() == 1 => Ok(self.vpcs.keys().cloned().collect()),
            None => Err(ApiError::missing("VpcId")),
        }
    }
}

/// The id of the association of a table with a subnet, or with its VPC as the main one.
pub(crate) fn route_association_id(table: &str, with: &str) -> String {
    ids::part_of("rtbassoc", &format!("{table} {with}"))
}
