use serde::Serialize;

use crate::base::IncidentId;
use crate::ledger::Kind;
use crate::store::Event;

/// A leaked text was compared with the stored values. The entry has no part of the text.
#[derive(Debug, Serialize)]
pub struct ValueRecognised<'a> {
    /// The operator's name.
    pub by: &'a str,
    /// What it is; empty if it is unknown.
    pub found: &'a [RecognisedValue],
}

/// What a leaked text is.
#[derive(Debug, Serialize)]
pub struct RecognisedValue {
    /// `token`, `enrolment-code`, `secret` or `login`.
    pub kind: String,
    /// The name of the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of the token or code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The lease of a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// The version of the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// The broker refused a text for the record of an incident, because the text contains a secret. The entry has no part of
/// the text.
#[derive(Debug, Serialize)]
pub struct TextRefused<'a> {
    /// The operator's name.
    pub by: &'a str,
    /// The incident; none for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// `form` (a word has the form of a token or an enrolment code) or `value` (a word is a value that the broker knows).
    pub found: &'static str,
}

impl Event for TextRefused<'_> {
    const KIND: Kind = Kind(0x0e21);
    const NAME: &'static str = "text.refused";
}

impl Event for ValueRecognised<'_> {
    const KIND: Kind = Kind(0x0e20);
    const NAME: &'static str = "value.recognised";
}
