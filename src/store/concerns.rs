//! Whom an event concerns: the agents and operators that it names. The rule goes by the names of fields, so that no
//! event can forget it and every reader of the ledger can check it: `agent`, `agents`, `removed_agents`, `operator`,
//! `operators` and `by` (which may also say that nobody with a name did it, in a text with a space), at any depth, and
//! `name` after a `kind` of `agent`, `resource-server` or `operator`.

use std::fmt;

use serde::de::value::Error;
use serde::ser::{self, Serialize, Serializer};

use crate::ledger::Key;

/// The keys of the agents and operators that `event` names, each once, in order.
pub(super) fn concerned_by<V: Serialize>(event: &V) -> Vec<Key> {
    let mut found = Vec::new();
    // What has no JSON form is refused elsewhere.
    drop(event.serialize(Finder { noun: None, found: &mut found }));
    found.sort_unstable();
    found.dedup();
    found
}

/// What a text names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Noun {
    Agent,
    Operator,
}

impl Noun {
    fn of_field(name: &str) -> Option<Self> {
        match name {
            "agent" | "agents" | "removed_agents" => Some(Self::Agent),
            "operator" | "operators" | "by" => Some(Self::Operator),
            _ => None,
        }
    }

    fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "agent" | "resource-server" => Some(Self::Agent),
            "operator" => Some(Self::Operator),
            _ => None,
        }
    }

    fn key(self, name: &str) -> Key {
        Key::of(if self == Self::Agent { "agent" } else { "operator" }, name.as_bytes())
    }
}

/// Goes through a value; texts directly in it name a `noun`.
struct Finder<'a> {
    noun: Option<Noun>,
    found: &'a mut Vec<Key>,
}

impl Finder<'_> {
    fn note(&mut self, text: &str) {
        if let Some(noun) = self.noun.filter(|_| !text.is_empty() && !text.contains(' ')) {
            self.found.push(noun.key(text));
        }
    }
}

macro_rules! nothing {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, _: $type) -> Result<(), Error> {
            Ok(())
        }
    )*};
}

impl<'a> Serializer for Finder<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = ObjectFields<'a>;
    type SerializeStruct = ObjectFields<'a>;
    type SerializeStructVariant = ObjectFields<'a>;

    nothing!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_bytes: &[u8], serialize_unit_struct: &'static str
    );

    fn serialize_str(mut self, text: &str) -> Result<(), Error> {
        self.note(text);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(mut self, text: &T) -> Result<(), Error> {
        if self.noun.is_some() {
            self.note(&text.to_string());
        }
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(Finder { noun: Noun::of_field(variant), found: self.found })
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<ObjectFields<'a>, Error> {
        Ok(ObjectFields { of: self, kind: None, field: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<ObjectFields<'a>, Error> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<ObjectFields<'a>, Error> {
        self.serialize_map(None)
    }
}

/// Goes through the fields of an object. The fields of one that names a noun are names themselves.
struct ObjectFields<'a> {
    of: Finder<'a>,
    /// What the field `kind` has said.
    kind: Option<Noun>,
    /// The field whose value comes next.
    field: String,
}

impl ObjectFields<'_> {
    fn value<T: Serialize + ?Sized>(&mut self, field: &str, value: &T) -> Result<(), Error> {
        let noun = match field {
            // The names of a map of agents are theirs, not those of fields.
            _ if self.of.noun.is_some() => None,
            "kind" => {
                let kind = serde_json::to_value(value).unwrap_or_default();
                self.kind = kind.as_str().and_then(Noun::of_kind);
                None
            }
            "name" => self.kind,
            field => Noun::of_field(field),
        };
        value.serialize(Finder { noun, found: self.of.found })
    }
}

macro_rules! elements {
    ($($trait:ident: $method:ident),*) => {$(
        impl ser::$trait for Finder<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                value.serialize(Finder { noun: self.noun, found: self.found })
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

elements!(
    SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for ObjectFields<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), Error> {
                self.value(field, value)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for ObjectFields<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let key = serde_json::to_value(key).unwrap_or_default();
        self.field = key.as_str().unwrap_or_default().to_owned();
        let field = std::mem::take(&mut self.field);
        self.of.note(&field);
        self.field = field;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let field = std::mem::take(&mut self.field);
        self.value(&field, value)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(agents: &[&str], operators: &[&str]) -> Vec<Key> {
        let agents = agents.iter().map(|name| Noun::Agent.key(name));
        let mut keys: Vec<Key> =
            agents.chain(operators.iter().map(|name| Noun::Operator.key(name))).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn an_event_concerns_the_agents_and_operators_that_it_names() {
        for (event, agents, operators) in [
            (json!({ "agent": "a", "by": "o", "code": "a" }), &["a"][..], &["o"][..]),
            (json!({ "agent": null, "by": "host uid 0" }), &[], &[]),
            (json!({ "operator": "o", "by": "o", "secret": "agent" }), &[], &["o"]),
            (
                json!({ "agents": { "a": ["role"], "b": [] }, "removed_agents": ["c", "a"] }),
                &["a", "b", "c"],
                &[],
            ),
            (
                json!({ "changes": [{ "kind": "agent", "name": "a" }, { "kind": "role", "name": "r" }] }),
                &["a"],
                &[],
            ),
            (
                json!({ "subject": { "kind": "operator", "id": "x", "name": "o" }, "by": "p" }),
                &[],
                &["o", "p"],
            ),
            (json!(["agent"]), &[], &[]),
        ] {
            assert_eq!(concerned_by(&event), keys(agents, operators), "{event}");
        }
    }
}
