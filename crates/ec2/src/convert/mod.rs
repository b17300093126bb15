//! From the SDK's types to the rows of the engine.
//!
//! Every field of the SDK is optional. What a row cannot do without and has not is an error that names the field:
//! absent is never zero, and never the first value of an enum. Words stay words, for the SDK's enums lag behind EC2.

mod instance;
mod instance_type;
mod interface;
mod network;
mod routing;

use std::{fmt, str::FromStr, sync::Arc};

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{
    intern::Interner,
    tags::{Tag, Tags},
};

pub(crate) use self::{
    instance::{UNREAD as UNREAD_OF_INSTANCE, instance},
    instance_type::instance_type,
    interface::{UNREAD as UNREAD_OF_INTERFACE, interface},
    network::{reservation, subnet, vpc},
    routing::{route_table, security_group},
};

/// An item of an answer that cannot be a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    item: String,
    field: &'static str,
}

impl Malformed {
    pub(crate) fn new(item: impl Into<String>, field: &'static str) -> Self {
        Self { item: item.into(), field }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no readable {}", self.item, self.field)
    }
}

/// The item that is being converted, to name it in an error.
struct Item<'a>(&'a str);

impl<'a> Item<'a> {
    /// The item by its id; without one there is nothing to name but its kind.
    fn named(id: Option<&'a str>, kind: &'static str, field: &'static str) -> Result<Self, Malformed> {
        id.filter(|id| !id.is_empty()).map(Self).ok_or_else(|| Malformed::new(kind, field))
    }

    fn need<T>(&self, value: Option<T>, field: &'static str) -> Result<T, Malformed> {
        value.ok_or_else(|| Malformed::new(self.0, field))
    }

    fn parse<T: FromStr>(&self, text: &str, field: &'static str) -> Result<T, Malformed> {
        self.need(text.parse().ok(), field)
    }

    /// A number that EC2 gives as signed and never means to be negative.
    fn count(&self, number: Option<i32>, field: &'static str) -> Result<u32, Malformed> {
        self.need(number.and_then(|number| u32::try_from(number).ok()), field)
    }

    fn tags<'t>(&self, tags: impl IntoIterator<Item = &'t sdk::Tag>, texts: &mut Interner) -> Result<Tags, Malformed> {
        let pair = |tag: &sdk::Tag| -> Result<Arc<Tag>, Malformed> {
            let key = self.need(tag.key(), "tag key")?;
            // A tag without a value is a label, and EC2 keeps its value as an empty text.
            Ok(texts.tag(key, tag.value().unwrap_or_default()))
        };
        tags.into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_an_id_is_named_by_its_kind() {
        let nameless = Item::named(None, "a subnet", "subnetId").map(|_| ()).unwrap_err();
        assert_eq!(nameless.to_string(), "a subnet has no readable subnetId");
    }

    #[test]
    fn counts_are_neither_absent_nor_negative() {
        let item = Item("subnet-1");
        assert_eq!(item.count(Some(0), "count"), Ok(0));
        for bad in [None, Some(-1409)] {
            assert_eq!(item.count(bad, "count"), Err(Malformed::new("subnet-1", "count")));
        }
    }

    #[test]
    fn tags_are_sorted_by_key_and_need_one() {
        let tag = |key: &str, value: &str| sdk::Tag::builder().key(key).value(value).build();
        let tags = Item("eni-1").tags(&[tag("b", "2"), tag("a", "1")], &mut Interner::default());
        let keys: Vec<String> = tags.unwrap().iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["a", "b"]);
        let nameless = sdk::Tag::builder().value("1").build();
        assert!(Item("eni-1").tags(&[nameless], &mut Interner::default()).is_err());
    }
}
