use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A value of an event, whose texts are borrowed. It costs a part of what [`Value`] costs, and the search index reads every
/// event.
#[derive(Debug)]
pub(super) enum EventNode<'e> {
    Text(Cow<'e, str>),
    Items(Vec<Self>),
    Fields(Vec<(Cow<'e, str>, Self)>),
    /// No text: a number, a truth value or null.
    Other,
}

impl<'e> EventNode<'e> {
    /// The event in `json`; [`Self::Other`] if it is none.
    pub(super) fn read(json: &'e [u8]) -> Self {
        serde_json::from_slice(json).unwrap_or(Self::Other)
    }
}

impl<'e> From<&'e Value> for EventNode<'e> {
    fn from(value: &'e Value) -> Self {
        match value {
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(items) => Self::Items(items.iter().map(Self::from).collect()),
            Value::Object(fields) => {
                let field =
                    |(name, value): (&'e String, &'e Value)| (Cow::Borrowed(name.as_str()), value.into());
                Self::Fields(fields.iter().map(field).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Other,
        }
    }
}

impl<'e> Deserialize<'e> for EventNode<'e> {
    fn deserialize<D: Deserializer<'e>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! without_text {
    ($($method:ident: $type:ty),*) => {$(
        fn $method<E>(self, _: $type) -> Result<EventNode<'e>, E> {
            Ok(EventNode::Other)
        }
    )*};
}

impl<'e> Visitor<'e> for NodeVisitor {
    type Value = EventNode<'e>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    without_text!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_unit<E>(self) -> Result<EventNode<'e>, E> {
        Ok(EventNode::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'e str) -> Result<EventNode<'e>, E> {
        Ok(EventNode::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<EventNode<'e>, E> {
        Ok(EventNode::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'e>>(self, mut items: A) -> Result<EventNode<'e>, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(EventNode::Items(all))
    }

    fn visit_map<A: MapAccess<'e>>(self, mut fields: A) -> Result<EventNode<'e>, A::Error> {
        let mut all = Vec::new();
        while let Some((name, value)) = fields.next_entry::<EventNode<'e>, EventNode<'e>>()? {
            if let EventNode::Text(name) = name {
                all.push((name, value));
            }
        }
        Ok(EventNode::Fields(all))
    }
}
