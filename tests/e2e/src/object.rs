//! Objects as a user reads them: untyped, by what their fields are called.

use anyhow::{Context, Result};
use kube::api::{DynamicObject, ListParams};
use kube::core::gvk::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::Value;

/// A cluster-scoped kind of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `IpamAudit`
    Audit,
    /// `NodeIpamReport`
    Node,
    /// `SubnetIpamReport`
    Subnet,
}

impl Kind {
    /// Its name in kubectl and in roles.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Audit => "ipamaudits",
            Self::Node => "nodeipamreports",
            Self::Subnet => "subnetipamreports",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Audit => "IpamAudit",
            Self::Node => "NodeIpamReport",
            Self::Subnet => "SubnetIpamReport",
        }
    }

    pub(crate) fn api(self, client: &Client) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("ipam-audit.dev", "v1alpha1", self.name());
        Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, self.plural()))
    }
}

/// An object as the API server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object(Value);

/// A condition of an object; everything is empty if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'a> {
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// Its reason.
    pub reason: &'a str,
    /// Its message.
    pub message: &'a str,
}

impl From<Value> for Object {
    fn from(object: Value) -> Self {
        Self(object)
    }
}

impl Object {
    pub(crate) async fn get(client: &Client, kind: Kind, name: &str) -> Result<Option<Self>> {
        let found = kind.api(client).get_opt(name).await?;
        found.as_ref().map(Self::of).transpose()
    }

    pub(crate) async fn list(client: &Client, kind: Kind) -> Result<Vec<Self>> {
        let found = kind.api(client).list(&ListParams::default()).await?;
        found.items.iter().map(Self::of).collect()
    }

    fn of(object: &DynamicObject) -> Result<Self> {
        serde_json::to_value(object).map(Self).context("an object is not JSON")
    }

    /// A part of it by JSON pointer; null if there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A text by JSON pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// A number by JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).as_i64()
    }

    /// The elements of a list by JSON pointer; none if there is no list.
    pub fn items(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Condition<'_> {
        let conditions = self.items("/status/conditions");
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let field = |name: &str| found.and_then(|condition| condition[name].as_str()).unwrap_or_default();
        Condition { status: field("status"), reason: field("reason"), message: field("message") }
    }

    /// Every condition as `Type=Status`, in the order of the object.
    pub fn conditions(&self) -> Vec<String> {
        let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        let conditions = self.items("/status/conditions").iter();
        conditions.map(|condition| format!("{}={}", text(condition, "type"), text(condition, "status"))).collect()
    }

    /// The codes of its findings, in the order of the object.
    pub fn codes(&self) -> Vec<&str> {
        self.items("/status/findings").iter().filter_map(|finding| finding["code"].as_str()).collect()
    }
}
