//! `keyward incident show`: the record of an incident, or a report about a subject.

use clap::Args;
use serde_json::Value;

use super::audit_list::{say_unknown, some_entries};
use super::incident_subject::{body_of, resolve};
use super::incidents::named;
use crate::base::{IncidentId, Moment, SubjectName};
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, moment};
use crate::wire::{
    EntriesQuery, EntryField, EntryFilter, EntryOrder, FieldFilter, GET_INCIDENT, Nothing, REPORT_SUBJECT,
    SubjectReportAnswer, SubjectReportBody,
};

/// `keyward incident show`
#[derive(Args, Debug)]
pub struct IncidentShowArgs {
    /// The incident's id; or the subject of a report: agent/NAME, instance/ID, operator/NAME, owner/NAME, capability/NAME, secret/NAME, token/ID, network/CIDR, everything, or the name of an agent or operator
    pub incident: String,
    /// The report begins at this time: a time such as `2026-11-30T02:00:00Z`, a date, or a length of time before now
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = moment)]
    pub since: Moment,
    /// List the entries of the ledger about the incident or the subject instead, the oldest first
    #[arg(long)]
    pub timeline: bool,
}

/// Most entries of a timeline.
const TIMELINE_ENTRIES_MAX: u64 = 20_000;

impl IncidentShowArgs {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let id = self.incident.strip_prefix(IncidentId::PREFIX);
        if id.is_some_and(|id| id.starts_with('_')) {
            let incident: IncidentId = self.incident.parse()?;
            if self.timeline {
                let field = FieldFilter { field: EntryField::Incident, text: incident.to_string() };
                return list(session, EntryFilter { fields: vec![field], since: None, until: None }).await;
            }
            let shown = session.operator().await?.call(GET_INCIDENT, &incident, &Nothing).await?;
            session.print_object_as(&shown.sent, || for_people(&shown.sent));
            return Ok(());
        }
        let client = session.operator().await?;
        let subject = resolve(&client, &self.incident, session.console).await?;
        if self.timeline {
            return list(session, self.entries_of(&subject)?).await;
        }
        let body = SubjectReportBody { subject: body_of(&subject), since: self.since.to_string() };
        let report = client.call(REPORT_SUBJECT, &Nothing, &body).await?;
        session.print_object_as(&report.sent, || with_names(&report.sent));
        if let Some(line) = read_nothing(&report) {
            session.console.say(&line);
        }
        if !report.entries.complete {
            session.console.say(&format!(
                "the report has the newest {} entries of this time: a later `--since` has fewer",
                report.entries.read
            ));
        }
        Ok(())
    }

    /// The entries about the subject.
    fn entries_of(&self, subject: &SubjectName) -> Result<EntryFilter, CommandFailure> {
        let field = EntryField::ALL.into_iter().find(|field| field.as_str() == subject.kind());
        let field = if matches!(subject, SubjectName::Network(_)) { Some(EntryField::Source) } else { field };
        let text = subject.name().or_else(|| subject.id());
        let fields = match (field, text) {
            (Some(field), Some(text)) => vec![FieldFilter { field, text }],
            (None, None) => Vec::new(),
            _ => {
                let why = format!("entries of the ledger do not name a {}", subject.kind());
                let fix = "name an agent, instance, operator, owner, capability, secret, token or network";
                return Err(CommandFailure::usage(&why, fix));
            }
        };
        Ok(EntryFilter { fields, since: Some(self.since.to_string()), until: None })
    }
}

/// The line about a subject of which the ledger has no reading of a secret, so that an empty list is not taken for a failure.
fn read_nothing(report: &SubjectReportAnswer) -> Option<String> {
    let SubjectReportAnswer { subject, since, entries, secrets, services, logins, .. } = report;
    // Operators read no values: their report has what they did.
    let acts_only = subject.kind == "operator" && entries.read > 0;
    if !secrets.is_empty() || acts_only {
        return None;
    }
    let mut nothing = vec!["no secret was read"];
    if subject.kind != "secret" {
        let none = [(services.is_empty(), "no token was issued"), (logins.is_empty(), "no login was issued")];
        nothing.extend(none.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what));
    }
    let extent = match (entries.read, entries.complete) {
        (0, true) => "the ledger has no entry about the subject in this time".to_owned(),
        (1, true) => "the ledger has 1 entry about the subject in this time".to_owned(),
        (read, true) => format!("the ledger has {read} entries about the subject in this time"),
        (read, false) => format!("only the newest {read} entries of this time were searched"),
    };
    Some(format!("{}: {} since {since}; {extent}", named(subject), nothing.join(", ")))
}

/// A report in which each number of names with the first of them is one text: `2: bot, other`.
fn with_names(sent: &Value) -> Value {
    match sent {
        Value::Object(fields) => match (fields.get("count"), fields.get("names")) {
            (Some(count), Some(Value::Array(names))) if fields.len() == 2 => text_of(count, names).into(),
            _ => fields.iter().map(|(field, value)| (field.clone(), with_names(value))).collect(),
        },
        Value::Array(items) => items.iter().map(with_names).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => sent.clone(),
    }
}

fn text_of(count: &Value, names: &[Value]) -> String {
    let shown: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    let count = count.as_u64().unwrap_or_default();
    let more = count.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
    match (shown.is_empty(), more) {
        (true, _) => count.to_string(),
        (false, 0) => format!("{count}: {}", shown.join(", ")),
        (false, more) => format!("{count}: {}, and {more} without a name here", shown.join(", ")),
    }
}

/// Lists these entries.
async fn list(session: VerbSession<'_>, filter: EntryFilter) -> Result<(), CommandFailure> {
    let query = EntriesQuery { order: EntryOrder::Oldest, filter, ..EntriesQuery::default() };
    let client = session.operator().await?;
    let entries = some_entries(&client, query, TIMELINE_ENTRIES_MAX).await?;
    session.print_table(&client, &entries.sent, &entries.items).await;
    say_unknown(session.console, &entries.answer);
    Ok(())
}

/// An incident with its subjects as `keyward contain` takes them, and the times of their containments.
fn for_people(sent: &Value) -> Value {
    let mut shown = sent.clone();
    let subjects = shown.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten();
    for fields in subjects.filter_map(Value::as_object_mut) {
        if let Some(subject) = fields.get("subject") {
            let text = |field: &str| subject.get(field).and_then(Value::as_str);
            let kind = text("kind").unwrap_or_default();
            let which = text("name").or_else(|| text("id"));
            let form = which.map_or_else(|| kind.to_owned(), |which| format!("{kind}/{which}"));
            fields.insert("subject".to_owned(), form.into());
        }
        for step in ["contained", "lifted"] {
            if let Some(at) = fields.get(step).and_then(|step| step.get("at")).cloned() {
                fields.insert(step.to_owned(), at);
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report_about(kind: &str, read: u64, complete: bool) -> SubjectReportAnswer {
        serde_json::from_value(json!({
            "subject": { "kind": kind, "name": "bot" }, "since": "S", "until": "U",
            "entries": { "read": read, "complete": complete }, "baseline": { "read": 0, "complete": true },
            "denied": 0, "unusual": [], "secrets": [], "services": [], "logins": [], "sources": [],
            "credentials": [], "capabilities": [], "left_out": 0,
        }))
        .unwrap()
    }

    #[test]
    fn subject_that_read_nothing_is_named() {
        let line = |kind, read, complete| read_nothing(&report_about(kind, read, complete));
        let nothing = "agent `bot`: no secret was read, no token was issued, no login was issued since S; ";
        assert_eq!(
            line("agent", 3, true),
            Some(format!("{nothing}the ledger has 3 entries about the subject in this time"))
        );
        assert_eq!(
            line("agent", 9, false),
            Some(format!("{nothing}only the newest 9 entries of this time were searched"))
        );
        let secret = line("secret", 0, true).unwrap();
        assert!(
            secret.starts_with("secret `bot`: no secret was read since S; the ledger has no entry"),
            "{secret}"
        );
        assert_eq!(line("operator", 3, true), None, "the report has what the operator did");
    }

    #[test]
    fn names_in_a_report_are_one_text() {
        let report = json!({ "secrets": [
            { "secret": "a/b", "readers": { "count": 3, "names": ["bot", "other"] }, "can_read": { "count": 0, "names": [] } },
        ] });
        let shown = with_names(&report);
        assert_eq!(shown["secrets"][0]["readers"], "3: bot, other, and 1 without a name here");
        assert_eq!(shown["secrets"][0]["can_read"], "0");
    }
}
