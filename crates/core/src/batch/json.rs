//! JSON as the batch reads it: objects keep their order and refuse a name given twice, numbers are whole or wrong.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::error::{ErrorCode, LineError};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// A number that is not whole, or beyond 64 bits.
    OtherNumber,
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

pub(super) fn parse(text: &str) -> Result<Json<'_>, LineError> {
    serde_json::from_str(text).map_err(|error| LineError::new(ErrorCode::BadJson, error.to_string()))
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = access.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::new();
        while let Some(Name(name)) = access.next_key()? {
            object.push((name, access.next_value()?));
        }
        Ok(Json::Object(object))
    }
}

/// A member's name, borrowed from the line unless it is escaped. (A plain `Cow` would always be owned.)
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(serde::de::Error::custom("a name must be a string")),
        }
    }
}

/// The fields of one object, and where it stands in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'j, 'a> {
    place: &'static str,
    members: &'j [(Cow<'a, str>, Json<'a>)],
}

impl<'j, 'a> Fields<'j, 'a> {
    /// The object's fields, if it is one and has none but the known, each once.
    pub(super) fn of(place: &'static str, json: &'j Json<'a>, known: &[&str]) -> Result<Self, LineError> {
        let fields = Self { place, members: members(place, json)? };
        for (index, (name, _)) in fields.members.iter().enumerate() {
            if !known.contains(&&**name) {
                let message = format!("{place}unknown field `{name}`");
                return Err(LineError::new(ErrorCode::UnknownField, message));
            }
            fields.once(index, name)?;
        }
        Ok(fields)
    }

    /// The object's fields, whatever their names.
    pub(super) fn any(place: &'static str, json: &'j Json<'a>) -> Result<Self, LineError> {
        let fields = Self { place, members: members(place, json)? };
        for (index, (name, _)) in fields.members.iter().enumerate() {
            fields.once(index, name)?;
        }
        Ok(fields)
    }

    fn once(&self, index: usize, name: &str) -> Result<(), LineError> {
        if self.members[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(LineError::bad(format!("{}`{name}` is given twice", self.place)));
        }
        Ok(())
    }

    pub(super) fn members(&self) -> &'j [(Cow<'a, str>, Json<'a>)] {
        self.members
    }

    /// A field's value; `null` is the same as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'j Json<'a>> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    pub(super) fn missing(&self, name: &str) -> LineError {
        LineError::new(ErrorCode::MissingField, format!("{}`{name}` is required", self.place))
    }

    pub(super) fn bad(&self, name: &str, expected: &str) -> LineError {
        LineError::bad(format!("{}`{name}`: expected {expected}", self.place))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'j str>, LineError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(name, "a string")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, LineError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.bad(name, "true or false")),
        }
    }

    /// A whole number of at least `least`.
    pub(super) fn int(&self, name: &str, least: i64) -> Result<Option<i64>, LineError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Int(value)) if *value >= least => Ok(Some(*value)),
            Some(_) => Err(self.bad(name, &format!("a whole number, {least} or more"))),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn small(&self, name: &str, least: i64, most: i64) -> Result<Option<u32>, LineError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Int(value)) if (least..=most).contains(value) => Ok(u32::try_from(*value).ok()),
            Some(_) => Err(self.bad(name, &format!("a whole number from {least} to {most}"))),
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, LineError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let expected = || words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        found.map(Some).ok_or_else(|| self.bad(name, &expected()))
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<&'j [Json<'a>]>, LineError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::List(list)) => Ok(Some(list)),
            Some(_) => Err(self.bad(name, "a list")),
        }
    }
}

fn members<'j, 'a>(place: &str, json: &'j Json<'a>) -> Result<&'j [(Cow<'a, str>, Json<'a>)], LineError> {
    match json {
        Json::Object(members) => Ok(members),
        _ => Err(LineError::bad(format!("{place}expected an object"))),
    }
}
