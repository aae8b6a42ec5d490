use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::collect::Collected;
use super::incident_facts::incident_facts;
use crate::base::Timestamp;
use crate::evidence::{EntryPlace, EvidenceRecord, EvidenceScope, Timeline};
use crate::wire::{IncidentAnswer, actor_of, object_of};

/// Names in one line of a summary.
const NAMES_MAX: usize = 20;
/// The timeline of `records`, with a summary before it; `incident` is the content of `incident.json`.
pub(super) fn timeline(
    scope: &EvidenceScope,
    records: &[EvidenceRecord],
    collected: &Collected,
    incident: Option<&Value>,
    by: &str,
) -> Timeline {
    let of_subject: Vec<&EvidenceRecord> =
        records.iter().filter(|record| record.place == EntryPlace::Subject).collect();
    let mut facts = vec![("Subject".to_owned(), format!("{} {}", scope.subject.kind, scope.subject.name))];
    let record = incident.and_then(|incident| incident.get("record"));
    let record: Option<IncidentAnswer> =
        record.and_then(|record| serde_json::from_value(record.clone()).ok());
    facts.extend(record.iter().flat_map(incident_facts));
    facts.extend([
        ("Range".to_owned(), range(scope)),
        ("Made by".to_owned(), by.to_owned()),
        ("Entries".to_owned(), counts(&of_subject)),
        ("Secret values delivered".to_owned(), secrets(&of_subject)),
        ("Database logins given".to_owned(), logins(&of_subject)),
        ("Addresses in these entries".to_owned(), sources(&of_subject)),
        ("What it proves".to_owned(), completeness(collected)),
        ("Affected subjects".to_owned(), subjects(scope)),
        ("Rotations".to_owned(), rotations(records)),
        ("Declarations of the decisions (SHA-256 of the policy snapshot)".to_owned(), snapshots(records)),
    ]);
    facts.retain(|(_, fact)| !fact.is_empty());
    Timeline::of(scope, records, facts, about)
}

/// The times that were asked for.
fn range(scope: &EvidenceScope) -> String {
    let since = match scope.since_ms {
        0 => "the beginning of the ledger".to_owned(),
        since_ms => Timestamp::from_ms(since_ms).to_string(),
    };
    let until = match scope.until_ms {
        Some(until_ms) => Timestamp::from_ms(until_ms).to_string(),
        None => format!("entry {}, which records this bundle", scope.through),
    };
    format!("{since} to {until}")
}

fn counts(records: &[&EvidenceRecord]) -> String {
    if records.is_empty() {
        return "no entries in the range".to_owned();
    }
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        let count = by_name.entry(&record.name).or_default();
        *count = count.saturating_add(1);
    }
    let each = by_name.iter().map(|(name, count)| format!("{count} {name}"));
    format!("{} in the range: {}", records.len(), named(each))
}

/// Every version of a secret that left the broker, and when it did so first.
fn secrets(records: &[&EvidenceRecord]) -> String {
    let mut read: BTreeMap<String, i64> = BTreeMap::new();
    for record in records.iter().filter(|record| record.name == "secret.revealed") {
        let event: Value = serde_json::from_str(&record.event).unwrap_or_default();
        let secret = event.get("secret").and_then(Value::as_str);
        if let Some((secret, version)) = secret.zip(event.get("version").and_then(Value::as_u64)) {
            read.entry(format!("{secret} version {version}")).or_insert(record.time_ms);
        }
    }
    if read.is_empty() {
        return "none in the range".to_owned();
    }
    named(read.iter().map(|(secret, first)| format!("{secret} (first at {})", Timestamp::from_ms(*first))))
}

fn sources(records: &[&EvidenceRecord]) -> String {
    let mut found = BTreeSet::new();
    for record in records {
        let event: Value = serde_json::from_str(&record.event).unwrap_or_default();
        let named = ["source", "peer"].into_iter().filter_map(|name| event.get(name)?.as_str());
        found.extend(named.map(str::to_owned));
    }
    named(found.into_iter())
}

/// The capabilities under which database logins were given, and how often.
fn logins(records: &[&EvidenceRecord]) -> String {
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    for record in records.iter().filter(|record| record.name == "lease.issued") {
        let event: Value = serde_json::from_str(&record.event).unwrap_or_default();
        let capability = event.get("capability").and_then(Value::as_str).unwrap_or("unknown");
        let count = given.entry(capability.to_owned()).or_default();
        *count = count.saturating_add(1);
    }
    if given.is_empty() {
        return "none in the range".to_owned();
    }
    named(given.iter().map(|(capability, count)| format!("{count} for {capability}")))
}

/// The subjects of an incident, and whether their entries link each other.
fn subjects(scope: &EvidenceScope) -> String {
    named(scope.subjects.iter().map(|subject| {
        let proof = if subject.link().is_some() { "with proof of completeness" } else { "without" };
        format!("{} {} ({proof})", subject.kind, subject.name)
    }))
}

/// The steps of rotations in the bundle, and how often each one occurs.
fn rotations(records: &[EvidenceRecord]) -> String {
    let mut steps: BTreeMap<String, usize> = BTreeMap::new();
    let related = records.iter().filter(|record| record.place == EntryPlace::Related);
    for record in related.filter(|record| record.name.starts_with("rotation.")) {
        let event: Value = serde_json::from_str(&record.event).unwrap_or_default();
        let secret = event.get("secret").and_then(Value::as_str).unwrap_or("unknown");
        let count = steps.entry(format!("{} of {secret}", record.name)).or_default();
        *count = count.saturating_add(1);
    }
    named(steps.iter().map(|(step, count)| format!("{count} {step}")))
}

/// The declarations of the decisions in the range, each with the first entry that names it.
fn snapshots(records: &[EvidenceRecord]) -> String {
    let of_range =
        records.iter().filter(|record| matches!(record.place, EntryPlace::Subject | EntryPlace::Related));
    let (mut known, mut found): (BTreeSet<String>, Vec<String>) = (BTreeSet::new(), Vec::new());
    for record in of_range {
        let event: Value = serde_json::from_str(&record.event).unwrap_or_default();
        // An application of declarations has a snapshot, too, and is no decision.
        let is_decision = record.name != "declarations.applied";
        let snapshot = event.get("snapshot").and_then(Value::as_str).filter(|_| is_decision);
        if let Some(snapshot) = snapshot.filter(|one| !known.contains(*one)) {
            known.insert(snapshot.to_owned());
            found.push(format!("{snapshot} (first in entry {})", record.seq));
        }
    }
    named(found.into_iter())
}

fn completeness(collected: &Collected) -> String {
    let related = collected.searched_from.map_or_else(
        || "Rotations of the secrets in the range are listed, too.".to_owned(),
        |first| {
            format!(
                "Rotations, and entries about subjects without proof of completeness, were not searched before entry {first}, \
                 because the search index of the broker did not have these entries yet, or too many entries come from the \
                 networks of the incident."
            )
        },
    );
    format!("nothing, before the bundle is verified: see README.txt. {related}")
}

/// Names with a comma between them, and how many more there are.
fn named(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown = names.into_iter().take(NAMES_MAX).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown}, and {more} more") }
}

fn about(event: &Value) -> (String, String) {
    (actor_of(event), object_of(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::EvidenceSubject;

    #[test]
    fn a_range_has_the_stated_times() {
        let of = |since_ms: i64, until_ms: Option<i64>| {
            let subject = EvidenceSubject { kind: "agent".to_owned(), name: "a".to_owned() };
            range(&EvidenceScope {
                subject,
                incident: None,
                subjects: Vec::new(),
                since_ms,
                until_ms,
                through: 7,
            })
        };
        let until = Timestamp::from_ms(5_000);
        assert_eq!(of(0, Some(5_000)), format!("the beginning of the ledger to {until}"));
        assert_eq!(of(5_000, None), format!("{until} to entry 7, which records this bundle"));
        assert_eq!(counts(&[]), "no entries in the range");
    }
}
