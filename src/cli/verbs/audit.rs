use clap::{Args, Subcommand};

use super::audit_object::object;
use crate::cli::client::{Client, Received};
use crate::cli::session::VerbSession;
use crate::cli::table::{Cell, columns};
use crate::console::CommandFailure;
use crate::wire::{EntriesAnswer, EntryAnswer, LIST_ENTRIES, Nothing, OPERATOR_WHOAMI, PageQuery};

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
        let entries = match wanted.last {
            None => some_entries(&client, wanted.after, wanted.limit).await?,
            Some(newest) if is_limited(&client).await? => {
                let entries = last_entries(&client, newest).await?;
                session.print_table(&client, &entries, &entries.items).await;
                return Ok(());
            }
            Some(newest) => {
                let head = page(&client, 0, 1).await?.head;
                page(&client, head.saturating_sub(newest), newest).await?
            }
        };
        session.print_table(&client, &entries.sent, &entries.items).await;
        Ok(())
    }
}

async fn page(client: &Client, after: u64, limit: u64) -> Result<Received<EntriesAnswer>, CommandFailure> {
    let limit = Some(usize::try_from(limit).unwrap_or(usize::MAX));
    client.call(LIST_ENTRIES, &Nothing, &PageQuery { after: Some(after), limit }).await
}

/// Whether the operator is bound to an owner: then the entries that it sees are not all that there are.
async fn is_limited(client: &Client) -> Result<bool, CommandFailure> {
    Ok(client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?.owner.is_some())
}

/// The first `limit` entries after `after`. A page may be empty, and not be the last one.
async fn some_entries(
    client: &Client,
    after: u64,
    limit: u64,
) -> Result<Received<EntriesAnswer>, CommandFailure> {
    let mut entries = page(client, after, limit).await?;
    while let Some(next) = entries.next_after.filter(|_| entries.items.is_empty()) {
        entries = page(client, next, limit).await?;
    }
    Ok(entries)
}

/// The last `newest` entries, found on all pages.
async fn last_entries(client: &Client, newest: u64) -> Result<EntriesAnswer, CommandFailure> {
    let newest = usize::try_from(newest).unwrap_or(usize::MAX);
    let mut all = page(client, 0, PAGE_ENTRIES).await?.answer;
    while let Some(next) = all.next_after {
        let more = page(client, next, PAGE_ENTRIES).await?.answer;
        all.items.extend(more.items);
        let surplus = all.items.len().saturating_sub(newest);
        drop(all.items.drain(..surplus));
        (all.next_after, all.head) = (more.next_after, more.head);
    }
    let surplus = all.items.len().saturating_sub(newest);
    drop(all.items.drain(..surplus));
    Ok(all)
}

/// The size of the pages on which the last entries are found.
const PAGE_ENTRIES: u64 = 500;

/// The actor: the first of these fields that an event has.
const WHO: [&str; 3] = ["by", "operator", "agent"];

columns!(EntryAnswer "entries": seq, time, ("WHAT", what), ("WHO", who), ("ON", on));

fn what(entry: &EntryAnswer) -> String {
    entry.kind.to_string()
}

fn who(entry: &EntryAnswer) -> String {
    actor(entry).map(|(_, text)| text).unwrap_or_default()
}

fn on(entry: &EntryAnswer) -> String {
    object(&entry.event, actor(entry).map(|(field, _)| field))
}

/// The field that names the actor, with its text.
fn actor(entry: &EntryAnswer) -> Option<(&'static str, String)> {
    WHO.iter().find_map(|field| Some((*field, entry.event.get(*field)?.text())))
}
