use clap::Subcommand;

use super::audit_list::AuditList;
use super::audit_tail::AuditTail;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::CommandFailure;
use crate::wire::{EntryAnswer, GET_ENTRY, actor_of, object_of};

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
}

impl AuditCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Show { seq } => session.show(GET_ENTRY, seq).await,
            Self::Tail(tail) => tail.run(session).await,
        }
    }
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
