use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A JSON object. `T` alone would also accept an array of the fields' values.
#[derive(Debug)]
pub struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(FieldVisitor(PhantomData)).map(Self)
    }
}

/// A field with an array of objects.
pub(super) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(from)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// A field with an object, or with none.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(from)?.map(|object| object.0))
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default, deserialize_with = "objects")]
        inner: Vec<Inner>,
        #[serde(default, deserialize_with = "object")]
        one: Option<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        text: String,
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        let read = |text: &str| serde_json::from_str::<Object<Outer>>(text).map(|object| object.0);
        let good = read(r#"{"name":"a","inner":[{"text":"b"}]}"#).unwrap();
        let inner = vec![Inner { text: "b".to_owned() }];
        assert_eq!(good, Outer { name: "a".to_owned(), inner, one: None });
        let one = read(r#"{"name":"a","one":{"text":"b"}}"#).unwrap().one;
        assert_eq!(one, Some(Inner { text: "b".to_owned() }));
        for bad in [
            r#"{"name":"a","one":["b"]}"#,
            r#"["a"]"#,
            r#"["a",[]]"#,
            r#"{"name":"a","inner":[["b"]]}"#,
            r#""a""#,
            "null",
        ] {
            assert!(read(bad).unwrap_err().is_data(), "{bad}");
        }
        let unknown = read("{\"name\":\"a\",\n\"x\":1}").unwrap_err();
        assert!(unknown.to_string().starts_with("unknown field") && unknown.line() == 2, "{unknown}");
    }
}
