//! What is wrong with a bundle, by name: the file, the item in it, and what cannot be understood. Never a value that
//! could be secret.

use std::fmt;

use ipam_audit_api::views::Malformed;

use crate::stream;

/// Something in a bundle that is not as it should be. The rest of the bundle is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file, as its path in the bundle.
    pub file: String,
    /// The item in it: `item 17 (shop/resizer-1)`.
    pub item: Option<String>,
    /// What is wrong, and where in the file or in the item.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, item, what } = self;
        match item {
            Some(item) => write!(f, "{file}: {item}: {what}"),
            None => write!(f, "{file}: {what}"),
        }
    }
}

/// Why an item is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The item's name, if it has one.
    pub(crate) name: Option<String>,
    pub(crate) what: String,
}

impl Wrong {
    pub(crate) fn of(name: &str, what: impl Into<String>) -> Self {
        Self { name: Some(name.to_owned()), what: what.into() }
    }

    pub(crate) fn nameless(what: impl Into<String>) -> Self {
        Self { name: None, what: what.into() }
    }
}

impl From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        Self::nameless(stream::describe(&error))
    }
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self { name: Some(malformed.object), what: malformed.what }
    }
}
