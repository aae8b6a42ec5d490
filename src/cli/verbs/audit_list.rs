use clap::Args;
use serde_json::Value;

use super::entry_fields::print_all_fields;
use crate::base::{Clock, Moment, SystemClock};
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, did_you_mean};
use crate::console::{CommandFailure, Console, moment};
use crate::wire::{
    EntriesAnswer, EntriesQuery, EntryField, EntryFilter, EntryOrder, FieldFilter, LIST_ENTRIES, MoreEntries,
    Nothing, UnknownNameAnswer,
};

/// `keyward audit list`
#[derive(Args, Debug)]
pub struct AuditList {
    /// List at most N entries
    #[arg(long, visible_alias = "last", default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// List the oldest entries first
    #[arg(long)]
    oldest_first: bool,
    /// Only entries after this sequence number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only entries before this sequence number
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    #[command(flatten)]
    filter: Box<FilterArgs>,
}

/// Which entries are wanted. An option can be repeated, except `--since` and `--until`: an entry has one of its values.
#[derive(Args, Debug)]
pub(super) struct FilterArgs {
    /// Only entries that name this agent; repeat the option for entries that name one of several agents
    #[arg(long, value_name = "NAME")]
    agent: Vec<String>,
    /// Only entries that name this instance
    #[arg(long, value_name = "ID")]
    instance: Vec<String>,
    /// Only entries that name this operator
    #[arg(long, value_name = "NAME")]
    operator: Vec<String>,
    /// Only entries that name an object of this owner, as of now
    #[arg(long, value_name = "OWNER")]
    owner: Vec<String>,
    /// Only entries that name this capability
    #[arg(long, value_name = "NAME")]
    capability: Vec<String>,
    /// Only entries that name this secret
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// Only entries that name the token with this id
    #[arg(long, value_name = "ID")]
    token: Vec<String>,
    /// Only entries that name this lease
    #[arg(long, value_name = "ID")]
    lease: Vec<String>,
    /// Only entries that name this approval
    #[arg(long, value_name = "ID")]
    approval: Vec<String>,
    /// Only events of this kind, e.g. `secret.revealed`; repeat the option for events of several kinds
    #[arg(long, value_name = "EVENT")]
    kind: Vec<String>,
    /// Only entries with this outcome: `allowed`, `denied` or `failed`
    #[arg(long, value_name = "OUTCOME")]
    outcome: Vec<String>,
    /// Only the entries of this decision
    #[arg(long, value_name = "ID")]
    decision: Vec<String>,
    /// Only entries about this incident
    #[arg(long, value_name = "ID")]
    incident: Vec<String>,
    /// Only requests from this address or network
    #[arg(long, value_name = "ADDRESS")]
    source: Vec<String>,
    /// Only entries from this time on: a time such as `2026-11-30T02:00:00Z`, a date, or a length of time before now, e.g. `6h`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only entries up to this time, in the same form
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
}

impl FilterArgs {
    /// # Errors
    /// [`CommandFailure`] if no time is in the range.
    fn check_range(&self) -> Result<(), CommandFailure> {
        let now = SystemClock::new().now();
        let time = |moment: Option<Moment>| moment.map(|moment| moment.seen_from(now));
        match (time(self.since), time(self.until)) {
            (Some(since), Some(until)) if since >= until => Err(CommandFailure::usage(
                &format!("the range is empty: `--since` is {since}, and `--until` is {until}"),
                "name an earlier time with `--since`, or a later one with `--until`; `6h` is six hours ago",
            )),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    pub(super) fn filter(&self) -> EntryFilter {
        let texts = |field| match field {
            EntryField::Agent => &self.agent,
            EntryField::Instance => &self.instance,
            EntryField::Operator => &self.operator,
            EntryField::Owner => &self.owner,
            EntryField::Capability => &self.capability,
            EntryField::SecretName => &self.secret,
            EntryField::Token => &self.token,
            EntryField::Lease => &self.lease,
            EntryField::Approval => &self.approval,
            EntryField::Kind => &self.kind,
            EntryField::Outcome => &self.outcome,
            EntryField::Decision => &self.decision,
            EntryField::Incident => &self.incident,
            EntryField::Source => &self.source,
        };
        let of_field = |field| texts(field).iter().map(move |text| FieldFilter { field, text: text.clone() });
        EntryFilter {
            fields: EntryField::ALL.into_iter().flat_map(of_field).collect(),
            since: self.since.map(|since| since.to_string()),
            until: self.until.map(|until| until.to_string()),
        }
    }
}

/// Most entries that are asked for at a time.
pub(super) const PAGE_ENTRIES: u64 = 500;

impl AuditList {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        self.check_numbers()?;
        self.filter.check_range()?;
        let order = if self.oldest_first { EntryOrder::Oldest } else { EntryOrder::Newest };
        let query = EntriesQuery {
            after: self.after,
            before: self.before,
            limit: None,
            order,
            filter: self.filter.filter(),
        };
        let client = session.operator().await?;
        let names: Vec<String> = query.filter.fields.iter().map(|field| field.text.clone()).collect();
        let mut entries = some_entries(&client, query, self.limit).await?;
        // For the table, which shows the first names of a list only.
        entries.answer.items.iter_mut().for_each(|entry| put_first(&mut entry.event, &names));
        if session.console.is_csv() {
            print_all_fields(session.console, &entries);
        } else {
            session.print_table(&client, &entries.sent, &entries.answer.items).await;
        }
        say_unknown(session.console, &entries.answer);
        if !session.console.has_page_fields() {
            self.say_more(session, &entries.answer);
        }
        Ok(())
    }

    /// # Errors
    /// [`CommandFailure`] if no sequence number is in the range.
    fn check_numbers(&self) -> Result<(), CommandFailure> {
        match (self.after, self.before) {
            (Some(after), Some(before)) if after >= before => Err(CommandFailure::usage(
                &format!("the range is empty: `--after` is {after}, and `--before` is {before}"),
                "name a smaller number with `--after`, or a larger one with `--before`; the two entries are not listed",
            )),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    fn say_more(&self, session: VerbSession<'_>, entries: &EntriesAnswer) {
        let Some(next) = entries.next_after.or(entries.next_before) else { return };
        let count = match entries.more {
            Some(MoreEntries { count, exact: true }) => format!("{count} more fit"),
            Some(MoreEntries { count, exact: false }) => format!("at least {count} more fit"),
            None => "the search is not at its end".to_owned(),
        };
        let option = if self.oldest_first { "--after" } else { "--before" };
        session.console.say(&format!(
            "{} listed, {count}: `--limit` lists more at once, `{option} {next}` continues",
            entries.items.len()
        ));
    }
}

/// Puts items that have one of these texts before the others, in every list of `event`.
fn put_first(event: &mut Value, texts: &[String]) {
    match event {
        Value::Array(items) => {
            items.sort_by_key(|item| !has_text(item, texts));
            items.iter_mut().for_each(|item| put_first(item, texts));
        }
        Value::Object(fields) => fields.values_mut().for_each(|value| put_first(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a text in `value` is one of these.
fn has_text(value: &Value, texts: &[String]) -> bool {
    match value {
        Value::String(text) => texts.contains(text),
        Value::Array(items) => items.iter().any(|item| has_text(item, texts)),
        Value::Object(fields) => fields.values().any(|value| has_text(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Says which names of the filter no object has.
pub(super) fn say_unknown(console: &Console, entries: &EntriesAnswer) {
    for UnknownNameAnswer { field, name, near } in &entries.unknown {
        let note = match field.as_ref() {
            "instance" => format!("note: no instance has the id `{name}`"),
            "owner" => format!("note: no object and no operator has the owner `{name}`"),
            kind => format!("note: no {kind} that you may see is called `{name}`"),
        };
        console.say(&format!("{note}{}", did_you_mean(near)));
    }
}

/// The first `limit` entries of all pages, as one answer.
pub(super) async fn some_entries(
    client: &Client,
    mut query: EntriesQuery,
    limit: u64,
) -> Result<Received<EntriesAnswer>, CommandFailure> {
    let (mut items, mut sent_items): (Vec<_>, Vec<Value>) = (Vec::new(), Vec::new());
    loop {
        let left = limit.saturating_sub(items.len() as u64).min(PAGE_ENTRIES);
        query.limit = usize::try_from(left).ok();
        let mut page: Received<EntriesAnswer> = client.call(LIST_ENTRIES, &Nothing, &query).await?;
        items.append(&mut page.answer.items);
        if let Some(Value::Array(more)) = page.sent.get_mut("items") {
            sent_items.append(more);
        }
        let next = page.answer.next_after.or(page.answer.next_before);
        match next.filter(|_| (items.len() as u64) < limit) {
            Some(next) if query.order == EntryOrder::Oldest => query.after = Some(next),
            Some(next) => query.before = Some(next),
            None => {
                page.answer.items = items;
                if let Some(all) = page.sent.get_mut("items") {
                    *all = Value::Array(sent_items);
                }
                return Ok(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::object_of;

    #[test]
    fn a_filtered_name_is_the_first_of_a_row() {
        let change = |name: &str| json!({ "kind": "agent", "name": name });
        for (mut event, row) in [
            (
                json!({ "agent": "a", "capabilities": ["b", "c", "d", "e", "wanted"] }),
                "wanted, b, c and 2 more",
            ),
            (
                json!({ "operator": "o", "changes": [change("a"), change("b"), change("c"), change("wanted")] }),
                "agent wanted, agent a, agent b and 1 more",
            ),
            (json!({ "operator": "o", "agent": "a" }), "a"),
        ] {
            put_first(&mut event, &["wanted".to_owned()]);
            assert_eq!(object_of(&event), row);
        }
    }
}
