//! Cuts the items out of a file: one at a time as text, so that a large list is never in memory as a whole.
//!
//! What kubectl and the AWS CLI write comes in many wrappings, and all are unwrapped here: a list under its key, several
//! such documents one after another (pages), a bare array of items or of answers, a single object. How far the file
//! could be read is part of the answer: what was whole before a break is kept.

use std::{borrow::Cow, cell::RefCell, fmt, io::Read};

use ipam_audit_api::views::why;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Arrays and answers inside of arrays are unwrapped so deep.
const DEEPEST: usize = 4;

/// How far a file could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Whether anything of the expected shape was there, be it an empty list.
    pub(crate) has_list: bool,
    /// What is wrong with the file as a whole; what follows the place was not read.
    pub(crate) broken: Option<String>,
    /// Whether the last page says that there are more.
    pub(crate) more_pages: bool,
}

/// Reads a file to its end or to its break; each item is handed over as it comes.
pub(crate) fn items(text: impl Read, list_key: &str, item: &mut dyn FnMut(&str)) -> Ending {
    let walk = Walk { list_key, state: RefCell::new(State { item, ending: Ending::default() }) };
    let mut documents = serde_json::Deserializer::from_reader(text);
    let mut broken = None;
    while broken.is_none() && documents.end().is_err() {
        let document = Value { walk: &walk, depth: 0 }.deserialize(&mut documents);
        broken = document.err().map(|error| describe(&error));
    }
    let mut ending = walk.state.into_inner().ending;
    ending.broken = broken.or(ending.broken);
    ending
}

/// An error in words, without any of the file's own: values may be secret.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    match error.line() {
        0 => why(error),
        line => format!("{} at line {line}, column {}", why(error), error.column()),
    }
}

struct State<'a> {
    item: &'a mut dyn FnMut(&str),
    ending: Ending,
}

struct Walk<'f> {
    list_key: &'f str,
    state: RefCell<State<'f>>,
}

impl Walk<'_> {
    fn item(&self, text: &str) {
        let mut state = self.state.borrow_mut();
        state.ending.has_list = true;
        (state.item)(text);
    }

    fn list_found(&self) {
        self.state.borrow_mut().ending.has_list = true;
    }

    fn break_off(&self, what: String) {
        self.state.borrow_mut().ending.broken.get_or_insert(what);
    }

    /// An element of an array: a wrapping to open, or an item.
    fn element(&self, text: &str, depth: usize) {
        let is_wrapping = text.starts_with('[') || (text.starts_with('{') && has_key(text, self.list_key));
        if !is_wrapping || depth > DEEPEST {
            return self.item(text);
        }
        let mut inner = serde_json::Deserializer::from_str(text);
        if let Err(error) = (Value { walk: self, depth }).deserialize(&mut inner) {
            self.break_off(describe(&error));
        }
    }

    /// A document without the list: a single object, or something else altogether.
    fn lone(&self, fields: &[(String, Box<RawValue>)]) {
        let field = |wanted: &str| fields.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.get());
        if field("kind") == Some("\"Status\"") {
            return self.break_off("it is an error answer of the API server".to_owned());
        }
        if fields.is_empty() {
            return;
        }
        if let [(only, value)] = fields
            && value.get().starts_with('[')
        {
            return self.break_off(format!("it holds a list `{only}`, not `{}`", self.list_key));
        }
        let mut object = String::from("{");
        for (index, (key, value)) in fields.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            object.push_str(comma);
            object.push_str(&serde_json::Value::from(key.as_str()).to_string());
            object.push(':');
            object.push_str(value.get());
        }
        object.push('}');
        self.item(&object);
    }
}

/// A whole document, or an array or object inside of it.
#[derive(Clone, Copy)]
struct Value<'w, 'f> {
    walk: &'w Walk<'f>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    /// `null`, which a program writes for a list without items, and a query that found nothing.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.walk.list_found();
        while let Some(element) = list.next_element::<Box<RawValue>>()? {
            self.walk.element(element.get(), self.depth + 1);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Vec::new();
        let mut has_list = false;
        let mut more_pages = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.walk.list_key {
                has_list = true;
                map.next_value_seed(List(self.walk))?;
                continue;
            }
            let value = map.next_value::<Box<RawValue>>()?;
            more_pages |= names_another_page(&key, value.get());
            fields.push((key, value));
        }
        if has_list {
            self.walk.state.borrow_mut().ending.more_pages = more_pages;
        } else {
            self.walk.lone(&fields);
        }
        Ok(())
    }
}

/// The list under its key.
struct List<'w, 'f>(&'w Walk<'f>);

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list under `{}`", self.0.list_key)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.list_found();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.list_found();
        while let Some(item) = list.next_element::<Box<RawValue>>()? {
            self.0.item(item.get());
        }
        Ok(())
    }
}

/// Whether a field of a page is the token of the next: `NextToken` of EC2, `metadata.continue` of Kubernetes.
fn names_another_page(key: &str, value: &str) -> bool {
    #[derive(Deserialize)]
    struct ListMeta<'a> {
        #[serde(borrow, rename = "continue")]
        token: Option<Cow<'a, str>>,
    }
    match key {
        "NextToken" => !matches!(value, "null" | "\"\""),
        "metadata" => serde_json::from_str::<ListMeta<'_>>(value)
            .is_ok_and(|meta| meta.token.is_some_and(|token| !token.is_empty())),
        _ => false,
    }
}

/// Whether an object has a key, looking no deeper.
fn has_key(object: &str, wanted: &str) -> bool {
    struct Keys<'a>(&'a str);

    impl<'de> DeserializeSeed<'de> for Keys<'_> {
        type Value = bool;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
            deserializer.deserialize_map(self)
        }
    }

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                found |= key == self.0;
                map.next_value::<IgnoredAny>()?;
            }
            Ok(found)
        }
    }

    Keys(wanted).deserialize(&mut serde_json::Deserializer::from_str(object)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, key: &str) -> (Vec<String>, Ending) {
        let mut found = Vec::new();
        let ending = items(text.as_bytes(), key, &mut |item| found.push(item.to_owned()));
        (found, ending)
    }

    #[test]
    fn every_wrapping_is_opened() {
        for text in [
            r#"{"apiVersion": "v1", "items": [{"a":1},{"a":2}], "kind": "List", "metadata": {"resourceVersion": ""}}"#,
            r#"{"items": [{"a":1}]}{"items": [{"a":2}]}"#,
            "{\"items\": [{\"a\":1}], \"kind\": \"List\"}\r\n{\"a\":2}\r\n\r\n",
            r#"[{"a":1},{"a":2}]"#,
            r#"[[{"a":1}],[{"a":2}]]"#,
            r#"[{"items": [{"a":1}]}, {"items": [{"a":2}]}]"#,
            r#"{"a":1} {"a":2}"#,
        ] {
            let (found, ending) = read(text, "items");
            assert_eq!(found, [r#"{"a":1}"#, r#"{"a":2}"#], "{text}");
            assert_eq!(ending, Ending { has_list: true, ..Ending::default() }, "{text}");
        }
    }

    #[test]
    fn nothing_is_not_the_same_as_an_empty_list() {
        for (text, has_list) in
            [("", false), ("\n", false), ("{}", false), ("null", false), ("[]", true), (r#"{"items": null}"#, true)]
        {
            let (found, ending) = read(text, "items");
            assert_eq!((found.len(), ending.has_list, ending.broken), (0, has_list, None), "{text}");
        }
    }

    #[test]
    fn what_was_whole_before_the_break_is_kept_and_the_place_is_named() {
        for (text, count, what) in [
            ("{\"items\": [{\"a\":1},\n{\"a\":", 1, "it ends too early at line 2, column 5"),
            ("{\"items\": [{\"a\":1}, oops]}", 1, "it is not JSON at line 1, column 21"),
            ("{\"items\": [{\"a\":1}]}\nkilled", 1, "it is not JSON at line 2, column 1"),
            ("Error from server (Forbidden)", 0, "it is not JSON at line 1, column 1"),
            ("{\"items\": \"secret\"}", 0, "expected a list under `items` at line 1, column 18"),
            ("\"secret\"", 0, "expected a list or an object at line 1, column 8"),
            ("{\"kind\": \"Status\", \"code\": 403}", 0, "it is an error answer of the API server"),
            ("{\"Vpcs\": [{\"a\":1}]}", 0, "it holds a list `Vpcs`, not `items`"),
        ] {
            let (found, ending) = read(text, "items");
            assert_eq!((found.len(), ending.broken.as_deref()), (count, Some(what)), "{text}");
        }
    }

    #[test]
    fn a_page_that_is_not_the_last_is_told() {
        for (text, more) in [
            (r#"{"Subnets": [], "NextToken": "x"}"#, true),
            (r#"{"Subnets": [], "NextToken": null}"#, false),
            (r#"{"Subnets": [], "NextToken": "x"} {"Subnets": []}"#, false),
        ] {
            assert_eq!(read(text, "Subnets").1.more_pages, more, "{text}");
        }
        assert!(read(r#"{"items": [], "metadata": {"continue": "x"}}"#, "items").1.more_pages);
    }

    #[test]
    fn deep_nesting_ends() {
        let text = "[".repeat(100_000);
        assert!(read(&text, "items").1.broken.is_some());
    }
}
