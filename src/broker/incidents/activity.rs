//! What entries of the ledger say that a subject did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::base::limits::INCIDENT_NAMES_MAX;
use crate::broker::administration::events::is_denial;
use crate::revocation::CertificateRefused;
use crate::store::Event as _;
use crate::wire::{
    ActiveSourceAnswer, ActsAnswer, EntryAnswer, NamesAnswer, ReachedLoginAnswer, ReachedServiceAnswer,
    RefusedCertificatesAnswer, UnusualAnswer, actor_of,
};

/// When something was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) first: String,
    pub(super) last: String,
    pub(super) count: u64,
}

/// A token that was issued.
#[derive(Clone, Debug)]
pub(super) struct IssuedToken {
    pub(super) token: String,
    pub(super) seq: u64,
    pub(super) instance: String,
    pub(super) capabilities: Vec<String>,
    pub(super) expires_at: String,
}

/// Whose entries are the activity of a subject.
#[derive(Clone, Copy, Debug)]
pub(super) enum Actors<'a> {
    /// All.
    Any,
    /// Those of the agent or operator with this name.
    One(&'a str),
    /// Those of agents, and not those of operators that handle the subject.
    Agents,
}

impl<'a> Actors<'a> {
    const fn name(self) -> Option<&'a str> {
        match self {
            Self::One(name) => Some(name),
            Self::Any | Self::Agents => None,
        }
    }

    fn include(self, event: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::One(name) => actor_of(event) == name,
            // The name of an agent is not shown to every operator.
            Self::Agents => text(event, "by").or_else(|| text(event, "operator")).is_none(),
        }
    }
}

/// The activity of a subject in a time. Entries are added newest first.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) entries: u64,
    pub(super) denied: u64,
    pub(super) refused: Option<RefusedCertificatesAnswer>,
    pub(super) secrets: BTreeMap<(String, u64), Readings>,
    pub(super) tokens: Vec<IssuedToken>,
    capabilities: BTreeMap<String, Seen>,
    services: BTreeMap<String, (Seen, BTreeSet<String>)>,
    logins: Vec<ReachedLoginAnswer>,
    sources: BTreeMap<String, (Seen, BTreeSet<String>)>,
    /// What the actor did, by the kinds of entries.
    acts: BTreeMap<String, Seen>,
    /// Entries by date and hour, e.g. `2026-11-30T02`.
    hours: BTreeMap<String, u64>,
}

/// Entries of the time before that are needed for a statement about hours and rates.
const HABIT_ENTRIES_MIN: u64 = 50;
/// A rate is unusual if the busiest hour has this many times the entries of the busiest hour before.
const RATE_FACTOR: u64 = 3;
/// Characters of date and hour in a time.
const HOUR_CHARS: usize = 13;

impl Seen {
    /// At `time`, which is not later than all before.
    fn note(&mut self, time: &str) {
        if self.count == 0 {
            time.clone_into(&mut self.last);
        }
        time.clone_into(&mut self.first);
        self.count = self.count.saturating_add(1);
    }
}

/// The readings of a version of a secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    pub(super) seen: Seen,
    agents: BTreeSet<String>,
    /// The instances of agents whose names the operator does not see.
    hidden: BTreeSet<String>,
}

impl Readings {
    fn note(&mut self, time: &str, event: &Value) {
        self.seen.note(time);
        match (text(event, "agent"), text(event, "instance")) {
            (Some(agent), _) => {
                self.agents.insert(agent.to_owned());
            }
            (None, Some(instance)) => {
                self.hidden.insert(instance.to_owned());
            }
            (None, None) => {}
        }
    }

    /// The agents that read it; the count has those too whose names are not seen.
    pub(super) fn readers(&self) -> NamesAnswer {
        let count = self.agents.len().saturating_add(self.hidden.len());
        NamesAnswer { count, names: self.agents.iter().take(INCIDENT_NAMES_MAX).cloned().collect() }
    }
}

impl Activity {
    /// Adds an entry. Only those of `actors` count for sources and habits.
    pub(super) fn add(&mut self, entry: &EntryAnswer, actors: Actors<'_>) {
        let (event, time) = (&entry.event, entry.time.as_str());
        self.entries = self.entries.saturating_add(1);
        if let Some(actor) = actors.name().filter(|_| entry.kind == CertificateRefused::NAME) {
            self.note_refused(event, actor, time);
        }
        if !actors.include(event) {
            return;
        }
        if let Some(source) = text(event, "source").or_else(|| text(event, "peer")) {
            let (seen, connections) = self.sources.entry(source.to_owned()).or_default();
            seen.note(time);
            connections.extend(text(event, "connection").map(str::to_owned));
        }
        let hour: String = time.chars().take(HOUR_CHARS).collect();
        let count = self.hours.entry(hour).or_default();
        *count = count.saturating_add(1);
        self.acts.entry(entry.kind.to_string()).or_default().note(time);
        let capabilities = names(event, "capabilities").into_iter().chain(text(event, "capability"));
        match &*entry.kind.to_string() {
            "token.minted" => self.add_token(entry),
            "secret.revealed" => {
                if let (Some(secret), Some(version)) = (text(event, "secret"), number(event, "version")) {
                    self.secrets.entry((secret.to_owned(), version)).or_default().note(time, event);
                }
            }
            "lease.issued" => self.logins.push(ReachedLoginAnswer {
                lease: text(event, "lease").unwrap_or_default().to_owned(),
                capability: text(event, "capability").unwrap_or_default().to_owned(),
                at: time.to_owned(),
            }),
            kind => {
                let denied = u64::from(is_denial(kind));
                self.denied = self.denied.saturating_add(denied);
                return;
            }
        }
        for capability in capabilities {
            self.capabilities.entry(capability.to_owned()).or_default().note(time);
        }
    }

    /// Adds the refusals of `name` that a summary counts.
    fn note_refused(&mut self, event: &Value, name: &str, time: &str) {
        let callers = event.get("callers").and_then(Value::as_array).into_iter().flatten();
        for caller in callers.filter(|caller| text(caller, "name") == Some(name)) {
            let sources = caller.get("sources").and_then(Value::as_array).into_iter().flatten();
            for source in sources {
                let count = |field| number(source, field).unwrap_or_default();
                let refused = self.refused.get_or_insert_with(|| RefusedCertificatesAnswer {
                    count: 0,
                    last_at: time.to_owned(),
                    last_source: text(source, "source").unwrap_or_default().to_owned(),
                });
                refused.count =
                    refused.count.saturating_add(count("presented")).saturating_add(count("requests"));
            }
        }
    }

    fn add_token(&mut self, entry: &EntryAnswer) {
        let event = &entry.event;
        let capabilities: Vec<String> = names(event, "capabilities").into_iter().map(str::to_owned).collect();
        if let Some(audience) = text(event, "audience") {
            let (seen, named) = self.services.entry(audience.to_owned()).or_default();
            seen.note(&entry.time);
            named.extend(capabilities.iter().cloned());
        }
        let field = |name| text(event, name).unwrap_or_default().to_owned();
        let (token, instance, expires_at) = (field("token"), field("instance"), field("expires_at"));
        self.tokens.push(IssuedToken { token, seq: entry.seq, instance, capabilities, expires_at });
    }

    /// Whether the capability was used.
    pub(super) fn used(&self, capability: &str) -> bool {
        self.capabilities.contains_key(capability)
    }

    pub(super) fn services(&self) -> Vec<ReachedServiceAnswer> {
        let service = |(audience, (seen, capabilities)): (&String, &(Seen, BTreeSet<String>))| {
            let Seen { first, last, count } = seen.clone();
            let capabilities = capabilities.iter().cloned().collect();
            ReachedServiceAnswer { audience: audience.clone(), capabilities, first, last, count }
        };
        self.services.iter().map(service).collect()
    }

    /// What the actor did, the newest kind first.
    pub(super) fn acts(&self) -> Vec<ActsAnswer> {
        let mut acts: Vec<ActsAnswer> = self
            .acts
            .iter()
            .map(|(kind, Seen { first, last, count })| ActsAnswer {
                kind: kind.clone(),
                count: *count,
                first: first.clone(),
                last: last.clone(),
            })
            .collect();
        acts.sort_by(|one, other| other.last.cmp(&one.last));
        acts
    }

    pub(super) fn logins(&self) -> Vec<ReachedLoginAnswer> {
        self.logins.clone()
    }

    pub(super) fn sources(&self) -> Vec<ActiveSourceAnswer> {
        let source = |(source, (seen, connections)): (&String, &(Seen, BTreeSet<String>))| {
            let Seen { first, last, count } = seen.clone();
            let connections = connections.len() as u64;
            ActiveSourceAnswer { source: source.clone(), first, last, count, connections }
        };
        self.sources.iter().map(source).collect()
    }

    /// What it did that is not in `before`, or far from it.
    pub(super) fn unusual(&self, before: &Self) -> Vec<UnusualAnswer> {
        if self.hours.is_empty() {
            return Vec::new();
        }
        if before.hours.is_empty() {
            return vec![UnusualAnswer { what: "first-use".into(), which: None, at: self.first() }];
        }
        let mut found = Vec::new();
        let sources = self.sources.iter().map(|(name, (seen, _))| (name, seen));
        let is_new_source = |name: &String| !before.sources.contains_key(name);
        found.extend(new("new-source", sources.filter(|(name, _)| is_new_source(name))));
        let capabilities = self.capabilities.iter().filter(|(name, _)| !before.used(name));
        found.extend(new("new-capability", capabilities));
        let secrets = self.secrets.iter().map(|((secret, _), readings)| (secret, &readings.seen));
        let is_known = |secret: &String| before.secrets.keys().any(|(known, _)| known == secret);
        let unknown: BTreeMap<&String, &Seen> = secrets.filter(|(secret, _)| !is_known(secret)).collect();
        found.extend(new("new-secret", unknown));
        if before.entries >= HABIT_ENTRIES_MIN {
            found.extend(self.unusual_times(before));
        }
        found.truncate(INCIDENT_NAMES_MAX);
        found
    }

    fn unusual_times(&self, before: &Self) -> Vec<UnusualAnswer> {
        let usual: BTreeSet<&str> = before.hours.keys().map(|hour| hour_of_day(hour)).collect();
        let mut found: BTreeMap<&str, &String> = BTreeMap::new();
        for hour in self.hours.keys().filter(|hour| !usual.contains(hour_of_day(hour))) {
            found.entry(hour_of_day(hour)).or_insert(hour);
        }
        let hours = found.into_iter().map(|(of_day, hour)| UnusualAnswer {
            what: "hour".into(),
            which: Some(format!("{of_day}:00 UTC")),
            at: Some(format!("{hour}:00:00Z")),
        });
        let busiest = |one: &Self| one.hours.values().copied().max().unwrap_or_default();
        let most = self.hours.iter().max_by_key(|(_, count)| **count);
        let rate = most.filter(|(_, count)| **count > busiest(before).saturating_mul(RATE_FACTOR));
        let rate = rate.map(|(hour, count)| UnusualAnswer {
            what: "rate".into(),
            which: Some(format!("{count} an hour, {} before", busiest(before))),
            at: Some(format!("{hour}:00:00Z")),
        });
        hours.chain(rate).collect()
    }

    fn first(&self) -> Option<String> {
        self.sources.values().map(|(seen, _)| seen.first.clone()).min()
    }
}

fn new<'a>(
    what: &'static str,
    names: impl IntoIterator<Item = (&'a String, &'a Seen)>,
) -> Vec<UnusualAnswer> {
    let unusual = |(name, seen): (&String, &Seen)| UnusualAnswer {
        what: what.into(),
        which: Some(name.clone()),
        at: Some(seen.first.clone()),
    };
    names.into_iter().map(unusual).collect()
}

/// The hour of the day in a date with an hour.
fn hour_of_day(hour: &str) -> &str {
    hour.rsplit('T').next().unwrap_or_default()
}

fn text<'e>(event: &'e Value, field: &str) -> Option<&'e str> {
    event.get(field)?.as_str()
}

fn number(event: &Value, field: &str) -> Option<u64> {
    event.get(field)?.as_u64()
}

fn names<'e>(event: &'e Value, field: &str) -> Vec<&'e str> {
    let items = event.get(field).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(kind: &'static str, time: &str, event: Value) -> EntryAnswer {
        let (time, leaf) = (time.to_owned(), String::new());
        EntryAnswer {
            seq: 1,
            time,
            kind: kind.into(),
            event,
            redacted: false,
            actor_hidden: false,
            reason: None,
            leaf,
        }
    }

    fn read(day: u32, hour: u32, source: &str, secret: &str) -> EntryAnswer {
        let event = json!({
            "agent": "bot", "capability": "c", "secret": secret, "version": 1, "source": source, "connection": "conn_1",
        });
        entry("secret.revealed", &format!("2026-11-{day:02}T{hour:02}:00:00.000Z"), event)
    }

    fn of(entries: &[EntryAnswer]) -> Activity {
        let mut activity = Activity::default();
        entries.iter().for_each(|entry| activity.add(entry, Actors::One("bot")));
        activity
    }

    fn said(unusual: &[UnusualAnswer]) -> Vec<String> {
        let line = |one: &UnusualAnswer| format!("{} {}", one.what, one.which.as_deref().unwrap_or_default());
        unusual.iter().map(line).collect()
    }

    #[test]
    fn what_is_new_since_the_time_before_is_unusual() {
        let before = of(&[read(1, 9, "10.0.0.1", "a")]);
        let now = of(&[read(2, 9, "10.0.0.2", "b"), read(2, 9, "10.0.0.1", "a")]);
        assert_eq!(said(&now.unusual(&before)), ["new-source 10.0.0.2", "new-secret b"]);
        assert_eq!(said(&now.unusual(&now)), Vec::<String>::new());
        assert_eq!(said(&now.unusual(&Activity::default())), ["first-use "]);
    }

    #[test]
    fn hours_and_rates_are_compared_with_enough_entries_before() {
        let days = |count: u32| -> Vec<EntryAnswer> {
            (0..count).map(|at| read(1 + at % 28, 9, "10.0.0.1", "a")).collect()
        };
        let night: Vec<EntryAnswer> = (0..9).map(|_| read(29, 3, "10.0.0.1", "a")).collect();
        assert_eq!(said(&of(&night).unusual(&of(&days(49)))), Vec::<String>::new(), "too few");
        let unusual = of(&night).unusual(&of(&days(56)));
        assert_eq!(said(&unusual), ["hour 03:00 UTC", "rate 9 an hour, 2 before"]);
    }

    #[test]
    fn every_refusal_of_the_actor_is_counted_as_denied() {
        let event = json!({ "agent": "bot", "source": "10.0.0.1" });
        let of_kind = |kind| entry(kind, "2026-11-01T09:00:00.000Z", event.clone());
        let kinds = ["request.denied", "operator.denied", "token.refused", "issuance.refused"];
        assert_eq!(of(&kinds.map(of_kind)).denied, 4);
        assert_eq!(of(&["secret.stored", "rotation.failed"].map(of_kind)).denied, 0);
    }

    #[test]
    fn what_others_did_to_the_subject_is_not_its_activity() {
        let by_admin =
            json!({ "by": "admin", "subject": { "kind": "agent", "name": "bot" }, "source": "10.9.9.9" });
        let activity = of(&[entry("subject.suspended", "2026-11-01T09:00:00.000Z", by_admin)]);
        assert_eq!((activity.entries, activity.sources().len(), activity.acts().len()), (1, 0, 0));
    }

    #[test]
    fn entries_of_operators_are_no_use_of_a_secret() {
        let mut activity = Activity::default();
        let stored = json!({ "by": "admin", "secret": "a", "source": "10.9.9.9" });
        let stored = entry("secret.stored", "2026-11-01T08:00:00.000Z", stored);
        [read(1, 9, "10.0.0.1", "a"), stored].iter().for_each(|one| activity.add(one, Actors::Agents));
        let sources: Vec<String> = activity.sources().into_iter().map(|one| one.source).collect();
        assert_eq!((activity.entries, sources), (2, vec!["10.0.0.1".to_owned()]));
    }
}
