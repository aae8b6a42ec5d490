use serde::Serialize;

use super::scope::EvidenceSubject;
use crate::base::OperatorName;
use crate::ledger::Kind;
use crate::store::Event;

/// An operator made an evidence bundle. Its entry is the last one of the bundle: it links to the last entry before that
/// concerns the subject.
#[derive(Debug, Serialize)]
pub struct EvidenceExported<'a> {
    /// The operator.
    pub by: &'a OperatorName,
    /// The subject of the bundle.
    pub subject: &'a EvidenceSubject,
    /// The subjects of an incident.
    #[serde(skip_serializing_if = "<[EvidenceSubject]>::is_empty")]
    pub subjects: &'a [EvidenceSubject],
    /// The beginning of its range.
    pub since: String,
    /// The end of its range, if it is not this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Event for EvidenceExported<'_> {
    const KIND: Kind = Kind(0x0d01);
    const NAME: &'static str = "evidence.exported";
}
