use serde_json::Value;

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
    /// The details of an incident's record that the operator stated: subjects, people, times and follow-up actions.
    pub stated: String,
}

impl Timeline {
    /// The timeline of `records`; `about` gives actor and object of an event.
    #[must_use]
    pub fn of(
        scope: &EvidenceScope,
        records: &[EvidenceRecord],
        facts: Vec<(String, String)>,
        about: impl Fn(&Value) -> (String, String),
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
                stated: stated(&record.name, &event),
            }
        });
        let title = format!("Evidence about {} {}", scope.subject.kind, scope.subject.name);
        Self { title, facts, rows: rows.collect() }
    }
}

/// The fields of an event about the record of an incident, with their labels.
const DETAILS: [(&str, &str); 7] = [
    ("subjects", "further subjects"),
    ("people", "people"),
    ("first_sign_at", "first sign"),
    ("detected_at", "detection"),
    ("contained_at", "containment"),
    ("recovered_at", "recovery"),
    ("follow_ups", "follow-up actions"),
];

/// What an operator stated for the record of an incident with the event called `name`.
fn stated(name: &str, event: &Value) -> String {
    if !["incident.opened", "incident.updated", "incident.closed"].contains(&name) {
        return String::new();
    }
    let parts = DETAILS.into_iter().filter_map(|(field, label)| {
        let value = event.get(field)?;
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let texts: Vec<String> = values.iter().filter_map(detail).collect();
        (!texts.is_empty()).then(|| format!("{label}: {}", texts.join(", ")))
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// A text, or a subject.
fn detail(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let kind = value.get("kind")?.as_str()?;
    let which = ["name", "id"].into_iter().find_map(|field| value.get(field)?.as_str());
    Some(which.map_or_else(|| kind.to_owned(), |which| format!("{kind} {which}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn row_of_an_updated_incident_has_what_was_added() {
        let event = json!({
            "incident": "inc_1",
            "subject": { "kind": "agent", "name": "a" },
            "subjects": [{ "kind": "secret", "name": "s" }, { "kind": "instance", "id": "inst_1", "agent": "a" }],
            "people": ["ann@corp.example", "bob"],
            "first_sign_at": "2026-11-30T02:00:00Z",
        });
        let found = "further subjects: secret s, instance inst_1; people: ann@corp.example, bob; \
                     first sign: 2026-11-30T02:00:00Z";
        assert_eq!(stated("incident.updated", &event), found);
        assert_eq!(stated("incident.contained", &event), "");
        let closed = json!({ "cause": "a log", "follow_ups": ["scan logs"], "recovered_at": "T" });
        assert_eq!(stated("incident.closed", &closed), "recovery: T; follow-up actions: scan logs");
    }
}
