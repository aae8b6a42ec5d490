use form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::base::limits::UPSTREAM_TEMPLATE_BYTES_MAX;
use crate::base::{RotationId, UpstreamSlot};
use crate::secrets::SecretValue;

/// The fields of a template, between `{{` and `}}`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Field {
    /// The value of the request: the new one, the checked one, or the revoked one.
    Value,
    /// The value that works at the moment.
    Current,
    /// The value of the secret that administers the upstream.
    Admin,
    /// The upstream's own id of the value.
    Slot,
    /// The rotation's id, so that the upstream can name the origin of the value.
    Rotation,
}

impl Field {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Current => "current",
            Self::Admin => "admin",
            Self::Slot => "slot",
            Self::Rotation => "rotation",
        }
    }

    /// Whether its value is secret.
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::Value | Self::Current | Self::Admin)
    }
}

/// The values of fields in one call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filling<'a> {
    pub(super) value: Option<&'a SecretValue>,
    pub(super) current: Option<&'a SecretValue>,
    pub(super) admin: Option<&'a SecretValue>,
    pub(super) slot: Option<&'a UpstreamSlot>,
    pub(super) rotation: Option<RotationId>,
}

impl Filling<'_> {
    /// The value of `field`; `None` if the call has none.
    pub(super) fn of(&self, field: Field) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = |value: &SecretValue| value.expose().to_vec();
        let bytes = match field {
            Field::Value => self.value.map(bytes),
            Field::Current => self.current.map(bytes),
            Field::Admin => self.admin.map(bytes),
            Field::Slot => self.slot.map(|slot| slot.as_str().as_bytes().to_vec()),
            Field::Rotation => self.rotation.map(|id| id.to_string().into_bytes()),
        };
        bytes.map(Zeroizing::new)
    }
}

/// The encoding of a value, which keeps any content inside the value (ROT-11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spelling {
    /// In a JSON string.
    Json,
    /// In a field of a form.
    Form,
    /// Unchanged: it is the whole content, or the context refuses terminators.
    Plain,
}

impl Spelling {
    fn write(self, value: &[u8], to: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Json => {
                let text = std::str::from_utf8(value).ok()?;
                let quoted = Zeroizing::new(serde_json::to_string(text).ok()?);
                let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
                to.extend_from_slice(inside.as_bytes());
            }
            Self::Form => byte_serialize(value).for_each(|part| to.extend_from_slice(part.as_bytes())),
            Self::Plain => to.extend_from_slice(value),
        }
        Some(())
    }
}

/// A text with fields in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Field(Field),
}

impl Template {
    /// Parses `text` with the fields `known`.
    ///
    /// # Errors
    /// The problem, without repeating the text.
    pub(super) fn read(text: &str, known: &[Field]) -> Result<Self, String> {
        if text.len() > UPSTREAM_TEMPLATE_BYTES_MAX {
            return Err(format!("it is longer than {UPSTREAM_TEMPLATE_BYTES_MAX} bytes"));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once("{{") {
            let at = text.chars().count().saturating_sub(behind.chars().count()).saturating_sub(1);
            let Some((name, after)) = behind.split_once("}}") else {
                return Err(format!("`{{{{` at character {at} is not closed"));
            };
            let Some(field) = known.iter().find(|field| field.as_str() == name) else {
                let known: Vec<String> = known.iter().map(|field| format!("`{}`", field.as_str())).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(format!("the field at character {at} is not known here; known fields: {known}"));
            };
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Field(*field));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.0.iter().filter_map(|part| if let Part::Field(field) = part { Some(*field) } else { None })
    }

    /// The text with the values of its fields; `None` if a value is missing or cannot be encoded.
    pub(super) fn filled(&self, with: &Filling<'_>, spelling: Spelling) -> Option<Zeroizing<Vec<u8>>> {
        self.replaced(spelling, |field| with.of(field))
    }

    /// The text with `sample` instead of every field.
    pub(super) fn sampled(&self, sample: &str, spelling: Spelling) -> Option<Zeroizing<Vec<u8>>> {
        self.replaced(spelling, |_| Some(Zeroizing::new(sample.as_bytes().to_vec())))
    }

    fn replaced(
        &self,
        spelling: Spelling,
        stands_for: impl Fn(Field) -> Option<Zeroizing<Vec<u8>>>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(Vec::new());
        for part in &self.0 {
            match part {
                Part::Text(part) => text.extend_from_slice(part.as_bytes()),
                Part::Field(field) => spelling.write(&stands_for(*field)?, &mut text)?,
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Sensitive;

    const ALL: [Field; 5] = [Field::Value, Field::Current, Field::Admin, Field::Slot, Field::Rotation];

    fn filled(template: &str, value: &[u8], spelling: Spelling) -> Option<Vec<u8>> {
        let value = SecretValue::new(Sensitive::new(value.to_vec())).unwrap();
        let filling = Filling { value: Some(&value), ..Filling::default() };
        Template::read(template, &ALL).unwrap().filled(&filling, spelling).map(|text| text.to_vec())
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place_and_nothing_of_it() {
        let refused = |text: &str, known: &[Field], says: &str| {
            let error = Template::read(text, known).unwrap_err();
            assert!(error.contains(says) && !error.contains("CNRY"), "{error}");
        };
        refused("ab{{CNRY}}", &ALL, "character 3 is not known here; known fields: `value`, `current`");
        refused("ab{{ value }}", &ALL, "not known here");
        refused("é{{value", &ALL, "character 2 is not closed");
        refused("{{value}}{{", &ALL, "character 10 is not closed");
        refused("{{value}}", &[Field::Slot], "known fields: `slot`");
        refused("{{value}}", &[], "known fields: none");
        refused("{{{{value}}}}", &ALL, "not known here");
        assert!(Template::read(&"x".repeat(UPSTREAM_TEMPLATE_BYTES_MAX), &ALL).is_ok());
        refused(&"x".repeat(UPSTREAM_TEMPLATE_BYTES_MAX + 1), &ALL, "longer than");
    }

    /// Hazard ROT-11.
    #[test]
    fn a_value_stays_one_value_in_every_spelling() {
        let nasty = "\",\"admin\":true,\"x\":\"\\ \n\u{7f}&a=b%+é{{value}}";
        let json = filled(r#"{"key":"{{value}}"}"#, nasty.as_bytes(), Spelling::Json).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(read, serde_json::json!({ "key": nasty }));
        let form = filled("key={{value}}&end=1", nasty.as_bytes(), Spelling::Form).unwrap();
        let read: Vec<_> = form_urlencoded::parse(&form).collect();
        assert_eq!(read, [("key".into(), nasty.into()), ("end".into(), "1".into())]);
        assert_eq!(filled("<{{value}}>", b"\xff\x00", Spelling::Plain).unwrap(), b"<\xff\x00>");
        assert_eq!(filled(r#""{{value}}""#, b"\xff", Spelling::Json), None, "no text");
        assert_eq!(filled("{{current}}", b"x", Spelling::Plain), None, "nothing for it");
        assert_eq!(filled("}} {a}", b"x", Spelling::Plain).unwrap(), b"}} {a}");
    }

    proptest! {
        /// Hazard ROT-11.
        #[test]
        fn no_value_becomes_more_than_a_value(value in "\\PC{1,40}|[\"\\\\{}&=%+\\x00-\\x1f]{1,40}") {
            let json = filled(r#"{"a":"x{{value}}y","b":1}"#, value.as_bytes(), Spelling::Json).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(read, serde_json::json!({ "a": format!("x{value}y"), "b": 1 }));
            let form = filled("a={{value}}&b=1", value.as_bytes(), Spelling::Form).unwrap();
            let read: Vec<(String, String)> = form_urlencoded::parse(&form).into_owned().collect();
            prop_assert_eq!(read, [("a".to_owned(), value), ("b".to_owned(), "1".to_owned())]);
        }
    }
}
