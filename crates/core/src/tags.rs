//! Tags of resources in EC2 and labels of objects in the cluster: pairs of texts, sorted by key.
//!
//! Nodes of a group have nearly all of their labels in common, and so have interfaces their tags: each pair is kept
//! once, where an [`Interner`](crate::intern::Interner) makes them, and a row has one word for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A key and its value.
pub type Tag = (Arc<str>, Arc<str>);

/// Tags or labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Tag>", into = "Vec<Tag>")]
pub struct Tags(Box<[Arc<Tag>]>);

impl Tags {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|tag| (*tag.0).cmp(key)).ok()?;
        self.0.get(at).map(|tag| &*tag.1)
    }

    /// Keys and values in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|tag| (&tag.0, &tag.1))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About how many bytes it takes, but for what others may share.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

impl FromIterator<Arc<Tag>> for Tags {
    fn from_iter<I: IntoIterator<Item = Arc<Tag>>>(tags: I) -> Self {
        let mut tags: Vec<Arc<Tag>> = tags.into_iter().collect();
        // Most come from maps and are in order already.
        tags.sort();
        Self(tags.into_boxed_slice())
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        tags.into_iter().map(Arc::new).collect()
    }
}

impl<const N: usize> From<[Tag; N]> for Tags {
    fn from(tags: [Tag; N]) -> Self {
        tags.into_iter().collect()
    }
}

impl From<Vec<Tag>> for Tags {
    fn from(tags: Vec<Tag>) -> Self {
        tags.into_iter().collect()
    }
}

impl From<Tags> for Vec<Tag> {
    fn from(tags: Tags) -> Self {
        tags.0.iter().map(|tag| Tag::clone(tag)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_in_whatever_order_they_come() {
        let tags = Tags::from([("b".into(), "2".into()), ("".into(), "0".into()), ("a".into(), "1".into())]);
        let keys: Vec<&str> = tags.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["", "a", "b"]);
        assert_eq!(["", "a", "b", "c"].map(|key| tags.get(key)), [Some("0"), Some("1"), Some("2"), None]);
    }

    #[test]
    fn it_is_written_down_as_pairs() {
        let tags = Tags::from([("a".into(), "1".into())]);
        let text = serde_json::to_string(&tags).unwrap();
        assert_eq!(text, r#"[["a","1"]]"#);
        assert_eq!(serde_json::from_str::<Tags>(&text).unwrap(), tags);
    }
}
