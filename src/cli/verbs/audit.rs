use clap::{Args, Subcommand};

use crate::cli::client::Received;
use crate::cli::session::VerbSession;
use crate::cli::table::{Cell, columns};
use crate::console::CommandFailure;
use crate::wire::{EntriesAnswer, EntryAnswer, LIST_ENTRIES, Nothing, PageQuery};

/// `keyward audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List ledger entries, oldest first
    List(AuditList),
}

/// `keyward audit list`
#[derive(Args, Debug)]
pub struct AuditList {
    /// Only entries after this sequence number
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    pub after: u64,
    /// Most entries to list, 1 to 500
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub limit: u64,
    /// The newest N entries instead, at most 500
    #[arg(long, value_name = "N", conflicts_with_all = ["after", "limit"])]
    pub last: Option<u64>,
}

impl AuditCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::List(wanted) = self;
        let client = session.operator().await?;
        let page = async |after: u64, limit: u64| -> Result<Received<EntriesAnswer>, CommandFailure> {
            let limit = Some(usize::try_from(limit).unwrap_or(usize::MAX));
            client.call(LIST_ENTRIES, &Nothing, &PageQuery { after: Some(after), limit }).await
        };
        let entries = match wanted.last {
            None => page(wanted.after, wanted.limit).await?,
            Some(newest) => {
                let head = page(0, 1).await?.head;
                page(head.saturating_sub(newest), newest).await?
            }
        };
        session.print_table(&entries.sent, &entries.items);
        Ok(())
    }
}

/// The actor: the first of these fields that an event has.
const WHO: [&str; 3] = ["by", "operator", "agent"];
/// The object: the first of these fields that is not the actor's.
const ON: [&str; 9] =
    ["capabilities", "secret", "agent", "operator", "right", "code", "instance", "trust_domain", "token"];

columns!(EntryAnswer "entries": seq, time, ("WHAT", what), ("WHO", who), ("ON", on));

fn what(entry: &EntryAnswer) -> String {
    entry.kind.to_string()
}

fn who(entry: &EntryAnswer) -> String {
    first(entry, WHO.iter().copied()).map(|(_, text)| text).unwrap_or_default()
}

fn on(entry: &EntryAnswer) -> String {
    let who = first(entry, WHO.iter().copied()).map(|(name, _)| name);
    first(entry, ON.iter().copied().filter(|name| Some(*name) != who))
        .map(|(_, text)| text)
        .unwrap_or_default()
}

/// The first of these fields that the event has: kinds of events have different fields.
fn first(
    entry: &EntryAnswer,
    mut names: impl Iterator<Item = &'static str>,
) -> Option<(&'static str, String)> {
    names.find_map(|name| Some((name, entry.event.get(name)?.text())))
}
