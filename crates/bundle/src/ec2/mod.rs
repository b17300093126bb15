//! From the AWS CLI's output to the rows of the engine.
//!
//! What a row cannot do without and has not is an error that names the field: absent is never zero. Words stay words, for
//! EC2 has more of them every year.

mod instance;
mod instance_type;
mod interface;
mod network;

use std::str::FromStr;

use ipam_audit_api::views::Interner;
use ipam_audit_core::tags::Tags;
use serde::Deserialize;

pub(crate) use self::{
    instance::instances,
    instance_type::instance_type,
    interface::interface,
    network::{reservation, route_table, security_group, subnet, vpc},
};
use crate::wrong::Wrong;

/// A tag of a resource.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: Option<String>,
}

/// The item that is being converted, to name it in an error.
struct Item<'a>(&'a str);

impl<'a> Item<'a> {
    /// The item by its id; without one there is nothing to name but its place in the file.
    fn named(id: Option<&'a String>, field: &str) -> Result<Self, Wrong> {
        match id {
            Some(id) if !id.is_empty() => Ok(Self(id)),
            _ => Err(Wrong::nameless(format!("it has no readable {field}"))),
        }
    }

    fn need<T>(&self, value: Option<T>, field: &str) -> Result<T, Wrong> {
        value.ok_or_else(|| Wrong::of(self.0, format!("it has no readable {field}")))
    }

    fn parse<T: FromStr>(&self, text: &str, field: &str) -> Result<T, Wrong> {
        self.need(text.parse().ok(), field)
    }

    /// A number that EC2 gives as signed and never means to be negative.
    fn count(&self, number: Option<i64>, field: &str) -> Result<u32, Wrong> {
        self.need(number.and_then(|number| u32::try_from(number).ok()), field)
    }
}

/// Tags as rows keep them: sorted by key.
fn tags(tags: Option<Vec<Tag>>, texts: &mut Interner) -> Tags {
    let tags = tags.into_iter().flatten();
    tags.map(|tag| texts.tag(&tag.key, tag.value.as_deref().unwrap_or_default())).collect()
}

/// A text that is there and says something.
fn said(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
