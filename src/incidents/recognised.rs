use serde::Serialize;

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

impl Event for ValueRecognised<'_> {
    const KIND: Kind = Kind(0x0e20);
    const NAME: &'static str = "value.recognised";
}
