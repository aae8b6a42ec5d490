use clap::Subcommand;

use super::audit_list::AuditList;
use super::audit_tail::AuditTail;
use crate::broker::event_kinds;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::{CommandFailure, Console};
use crate::wire::{EntryAnswer, EventKindOutput, FixedText, GET_ENTRY, Items, actor_of, object_of};

/// `keyward audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List ledger entries, the newest first
    List(AuditList),
    /// Show an entry, and the entries before it of the same agents and operators
    Show {
        /// The entry's sequence number
        #[arg(value_name = "SEQ", value_parser = sequence)]
        seq: u64,
    },
    /// Show the newest entries, and follow new ones
    Tail(AuditTail),
    /// List the kinds of entries that this version writes, for `--kind`, with their outcomes
    Kinds,
}

impl AuditCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Show { seq } => session.show(GET_ENTRY, seq).await,
            Self::Tail(tail) => tail.run(session).await,
            Self::Kinds => {
                kinds(session.console);
                Ok(())
            }
        }
    }
}

/// Prints the kinds of entries. Needs no broker and no identity.
fn kinds(console: &Console) {
    let items: Vec<EventKindOutput> = event_kinds()
        .into_iter()
        .map(|(kind, outcome)| EventKindOutput { kind: kind.into(), outcome: outcome.map(FixedText::from) })
        .collect();
    if console.is_json() {
        console.json(&Items { items });
        return;
    }
    let row = |one: &EventKindOutput| {
        vec![one.kind.to_string(), one.outcome.as_ref().map(ToString::to_string).unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    console.table("kinds", &["KIND", "OUTCOME"], &rows);
}

/// A sequence number. The id of a decision is not one: several entries can have it.
fn sequence(text: &str) -> Result<u64, String> {
    if text.starts_with("dec_") {
        return Err(format!(
            "this is the id of a decision; `keyward audit list --decision {text}` lists its entries"
        ));
    }
    text.parse()
        .map_err(|_| "a sequence number is a whole number, as `keyward audit list` prints it".to_owned())
}

columns!(EntryAnswer "entries": seq, time, ("WHAT", what), ("WHO", who), ("ON", on));

fn what(entry: &EntryAnswer) -> String {
    entry.kind.to_string()
}

fn who(entry: &EntryAnswer) -> String {
    if entry.actor_hidden { "(agent of another owner)".to_owned() } else { actor_of(&entry.event) }
}

fn on(entry: &EntryAnswer) -> String {
    object_of(&entry.event)
}
