use super::record::{EntryPlace, EvidenceRecord};
use super::scope::EvidenceScope;
use crate::base::Timestamp;

/// The entries of a bundle, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timeline {
    /// What the bundle is about.
    pub title: String,
    /// What was found, one fact each: a label and its text.
    pub facts: Vec<(String, String)>,
    /// The entries in order.
    pub rows: Vec<TimelineRow>,
}

/// An entry in a timeline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimelineRow {
    /// The sequence number.
    pub seq: u64,
    /// When it was written, RFC 3339.
    pub time: String,
    /// The name of the event.
    pub what: String,
    /// Who acted.
    pub who: String,
    /// What it was about.
    pub on: String,
    /// The event with all its fields, in JSON.
    pub event: String,
    /// The operator's reason, the text of a note, or the cause of a closed incident.
    pub reason: String,
}

impl Timeline {
    /// The timeline of `records`; `about` gives actor and object of an event.
    #[must_use]
    pub fn of(
        scope: &EvidenceScope,
        records: &[EvidenceRecord],
        facts: Vec<(String, String)>,
        about: impl Fn(&serde_json::Value) -> (String, String),
    ) -> Self {
        let is_in_range =
            |record: &&EvidenceRecord| matches!(record.place, EntryPlace::Subject | EntryPlace::Related);
        let in_range = records.iter().filter(is_in_range);
        let rows = in_range.map(|record| {
            let event = serde_json::from_str(&record.event).unwrap_or_default();
            let (who, on) = about(&event);
            // The text of a note, or the cause of a closed incident.
            let said = ["text", "cause"].into_iter().find_map(|field| event.get(field)?.as_str());
            let reason = record.reason().or(said).unwrap_or_default().to_owned();
            TimelineRow {
                seq: record.seq,
                time: Timestamp::from_ms(record.time_ms).to_string(),
                what: record.name.clone(),
                who,
                on,
                event: record.event.clone(),
                reason,
            }
        });
        let title = format!("Evidence about {} {}", scope.subject.kind, scope.subject.name);
        Self { title, facts, rows: rows.collect() }
    }
}
