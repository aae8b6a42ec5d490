use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::limits::{
    AUDIENCE_BYTES_MAX, NAME_BYTES_MAX, NAME_SEGMENTS_MAX, SEGMENT_BYTES_MAX, UPSTREAM_SLOT_BYTES_MAX,
};

/// The text is not a canonical name of this kind. Never contains the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub struct NameError {
    kind: &'static str,
    rule: &'static str,
    /// Whether the text is a name in lower case.
    has_upper_case: bool,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, rule, has_upper_case } = self;
        let found = if *has_upper_case { "it has upper-case letters, and the form is " } else { "" };
        write!(f, "not a canonical {kind}: {found}{rule}")
    }
}

impl NameError {
    pub(super) const fn of(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule, has_upper_case: false }
    }

    /// The form of a canonical name, for the `fix` of an error.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

/// `[a-z0-9][a-z0-9-]{0,62}`: ASCII only, so that each name has one spelling.
fn is_segment(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= SEGMENT_BYTES_MAX
        && bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_path(text: &str, separator: char) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.split(separator).count() <= NAME_SEGMENTS_MAX
        && text.split(separator).all(is_segment)
}

/// Lower-case host: labels of letters, digits and inner hyphens, joined by dots (SPIFFE-ID §2.1, narrowed).
fn is_trust_domain(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(|label| is_segment(label) && !label.ends_with('-'))
}

/// An absolute URI of visible ASCII without a fragment (RFC 8707 §2), compared byte for byte.
fn is_audience(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    text.len() <= AUDIENCE_BYTES_MAX
        && matches!(scheme, "https" | "spiffe")
        && !rest.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'\\' | b'<' | b'>' | b'*'))
        && !rest
            .split(['/', '?'])
            .next()
            .unwrap_or_default()
            .bytes()
            .any(|b| b.is_ascii_uppercase() || b == b'@')
}

/// Characters that a path segment contains without escapes (RFC 3986 §3.3); not `.` or `..`.
fn is_upstream_slot(text: &str) -> bool {
    (1..=UPSTREAM_SLOT_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~:".contains(&b))
        && !text.bytes().all(|b| b == b'.')
}

/// Words that Cedar reserves: `context.parameters.in` would not be an expression.
const RESERVED: [&str; 9] = ["true", "false", "if", "then", "else", "in", "is", "like", "has"];

/// `[a-z][a-z0-9_]{0,62}`: a field of Cedar's.
fn is_parameter(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= SEGMENT_BYTES_MAX
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        && !RESERVED.contains(&text)
}

/// A JSON schema of text with a pattern.
macro_rules! json_schema {
    ($name:ident, $pattern:expr) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

pub(super) use json_schema;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $pattern:expr, $accept:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Canonical by construction: equal names are equal bytes.
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The canonical text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let accept: fn(&str) -> bool = $accept;
                if accept(text) {
                    return Ok(Self(text.into()));
                }
                let has_upper_case = accept(&text.to_ascii_lowercase());
                Err(NameError { kind: $kind, rule: $rule, has_upper_case })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        json_schema!($name, $pattern);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

/// The pattern of one segment, or of segments joined by a separator.
macro_rules! segments {
    ("") => {
        "^[a-z0-9][a-z0-9-]{0,62}$"
    };
    ($separator:literal) => {
        concat!("^[a-z0-9][a-z0-9-]{0,62}(", $separator, "[a-z0-9][a-z0-9-]{0,62})*$")
    };
}

names! {
    /// An agent's name, e.g. `research-bot`.
    AgentName, "agent name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// A role's name, e.g. `repo-reader`.
    RoleName, "role name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// An operator's name, e.g. `alice`.
    OperatorName, "operator name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// The name of an owner, e.g. a team: `payments`.
    OwnerName, "owner name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// A policy's name, e.g. `no-night-deploys`.
    PolicyName, "policy name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// An environment's name, e.g. `production`.
    EnvironmentName, "environment name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// The name of a group of approvers, e.g. `payments-leads`.
    ApproverGroupName, "approver group name", "1 to 63 of a-z, 0-9 and -, not starting with -", segments!(""), is_segment;
    /// A capability's name, segments joined by dots, e.g. `github.repo.read`. It is the OAuth scope.
    CapabilityName, "capability name", "segments of a-z, 0-9 and - joined by `.`", segments!("[.]"), |text| is_path(text, '.');
    /// The name of a parameter of a capability, e.g. `amount`.
    ParameterName, "parameter name", "1 to 63 of a-z, 0-9 and _, starting with a letter, and no word of Cedar's such as `in`", "^[a-z][a-z0-9_]{0,62}$", is_parameter;
    /// An upstream secret's name, segments joined by slashes, e.g. `github/app`.
    SecretName, "secret name", "segments of a-z, 0-9 and - joined by `/`", segments!("/"), |text| is_path(text, '/');
    /// An upstream's id for one of its values, e.g. for an API key. URLs contain it unescaped.
    UpstreamSlot, "name of an upstream slot", "1 to 128 of a-z, A-Z, 0-9, -, _, ., ~ and :, not dots alone", "^[a-zA-Z0-9_.~:-]{1,128}$", is_upstream_slot;
    /// A SPIFFE trust domain, e.g. `keyward.internal`.
    TrustDomain, "trust domain", "lower-case labels of a-z, 0-9 and - joined by `.`", "^[a-z0-9.-]{1,255}$", is_trust_domain;
    /// The audience of a token: an absolute `https` or `spiffe` URI, compared byte for byte.
    Audience, "audience", "an absolute https:// or spiffe:// URI, host in lower case, no fragment", "^(https|spiffe)://", is_audience;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_canonical_is_refused() {
        for text in
            ["", "-a", "A", "a b", "a/b", "a.b", "é", "a\u{200b}b", "a%41", "..", "а", "a\n", " a", "a_b"]
        {
            assert!(text.parse::<AgentName>().is_err(), "{text:?}");
        }
        for text in ["", "/", "a//b", "a/", "/a", "a/../b", "a/./b", "a\\b", "a.b", "A/b", "a/%2e%2e"] {
            assert!(text.parse::<SecretName>().is_err(), "{text:?}");
        }
        for text in ["", "_a", "1a", "A", "a-b", "a.b", "é", "in", "has", "true", "a b"] {
            assert!(text.parse::<ParameterName>().is_err(), "{text:?}");
        }
        for text in ["", ".", "..", "a/b", "a b", "a%2f", "a?b", "a#b", "é", "a\r\n"] {
            assert!(text.parse::<UpstreamSlot>().is_err(), "{text:?}");
        }
        for text in
            ["http://a", "https://", "https://A.example", "https://a#x", "https://u@a", "a", "https://a/*"]
        {
            assert!(text.parse::<Audience>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn error_of_a_name_says_that_it_has_upper_case_letters() {
        let error = "Reports.Read".parse::<CapabilityName>().unwrap_err();
        let expected = "not a canonical capability name: it has upper-case letters, and the form is segments of a-z, 0-9 and - \
                        joined by `.`";
        assert_eq!(error.to_string(), expected);
        let other = "reports_read".parse::<CapabilityName>().unwrap_err();
        assert!(!other.to_string().contains("upper-case"), "{other}");
    }

    #[test]
    fn canonical_names_pass_at_the_limit_and_not_beyond() {
        assert!("a".repeat(SEGMENT_BYTES_MAX).parse::<AgentName>().is_ok());
        assert!("a".repeat(SEGMENT_BYTES_MAX + 1).parse::<AgentName>().is_err());
        let long = |bytes: usize| {
            let segments = vec!["a".repeat(SEGMENT_BYTES_MAX); 4].join("/");
            format!("{}/{}", &segments[..NAME_BYTES_MAX - 2], "a".repeat(bytes - NAME_BYTES_MAX + 1))
        };
        assert!(long(NAME_BYTES_MAX).parse::<SecretName>().is_ok());
        assert!(long(NAME_BYTES_MAX + 1).parse::<SecretName>().is_err());
        let audience = |bytes: usize| format!("https://a/{}", "b".repeat(bytes - "https://a/".len()));
        assert!(audience(AUDIENCE_BYTES_MAX).parse::<Audience>().is_ok());
        assert!(audience(AUDIENCE_BYTES_MAX + 1).parse::<Audience>().is_err());
        assert!("a".repeat(SEGMENT_BYTES_MAX).parse::<ParameterName>().is_ok());
        assert!("a".repeat(SEGMENT_BYTES_MAX + 1).parse::<ParameterName>().is_err());
        let eight = ["a"; NAME_SEGMENTS_MAX].join("/");
        assert!(eight.parse::<SecretName>().is_ok());
        assert!(format!("{eight}/a").parse::<SecretName>().is_err());
        assert!("k".repeat(UPSTREAM_SLOT_BYTES_MAX).parse::<UpstreamSlot>().is_ok());
        assert!("k".repeat(UPSTREAM_SLOT_BYTES_MAX + 1).parse::<UpstreamSlot>().is_err());
        assert!("https://api.example.com/v1?x=1".parse::<Audience>().is_ok());
    }

    proptest! {
        #[test]
        fn a_name_that_parses_is_its_own_only_spelling(text in "\\PC{0,80}") {
            if let Ok(name) = text.parse::<CapabilityName>() {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert!(text.is_ascii() && text.to_lowercase() == text);
            }
        }
    }
}
