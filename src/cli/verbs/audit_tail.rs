use std::time::Duration;

use clap::Args;
use tokio::signal::unix::SignalKind;

use super::audit_list::{FilterArgs, say_unknown, some_entries};
use crate::base::{Clock, SystemClock, code};
use crate::cli::client::{Attempts, Received};
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, Console, signals};
use crate::wire::{EntriesAnswer, EntriesQuery, EntryAnswer, EntryFilter, EntryOrder};

/// `keyward audit tail`
#[derive(Args, Debug)]
pub struct AuditTail {
    /// Wait for new entries and print them, also after a restart of the broker, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Begin with the newest N entries
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    lines: u64,
    #[command(flatten)]
    filter: Box<FilterArgs>,
}

/// The time between two looks for new entries.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most entries that are printed at a time.
const AT_ONCE: u64 = 500;

impl AuditTail {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let filter = self.filter.filter();
        let client = session.operator().await?;
        // Without a filter: the number of the newest entry is where new ones begin, whether it fits or not.
        let newest = EntriesQuery { limit: None, order: EntryOrder::Newest, ..EntriesQuery::default() };
        let newest = some_entries(&client, newest, 1).await?;
        let head = newest.answer.items.first().map_or(newest.answer.head, |newest| newest.seq);
        let begun = EntriesQuery {
            before: head.checked_add(1),
            order: EntryOrder::Newest,
            filter: filter.clone(),
            ..EntriesQuery::default()
        };
        let mut last = some_entries(&client, begun, self.lines.max(1)).await?;
        say_unknown(session.console, &last.answer);
        session.print_stream_head::<EntryAnswer>();
        if self.lines > 0 {
            last.answer.items.reverse();
            if let Some(items) = last.sent.get_mut("items").and_then(serde_json::Value::as_array_mut) {
                items.reverse();
            }
            session.print_stream(&last, &last.items);
        }
        if !self.follow {
            return Ok(());
        }
        let interrupted = |_| CommandFailure::new(code::COMMAND_FAILED);
        let mut interrupt = signals::listen(SignalKind::interrupt()).map_err(interrupted)?;
        let mut terminate = signals::listen(SignalKind::terminate()).map_err(interrupted)?;
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            () = until_unread(session.console) => Ok(()),
            ended = follow(session, filter, head) => ended,
        }
    }
}

/// Returns when nobody reads standard output any more.
async fn until_unread(console: &Console) {
    while !console.is_unread() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Prints entries after `after` as they come. A failure that may pass is reported, and waited for.
async fn follow(session: VerbSession<'_>, filter: EntryFilter, after: u64) -> Result<(), CommandFailure> {
    let (clock, mut attempts, mut after) = (SystemClock::new(), Attempts::default(), after);
    let mut is_behind = false;
    loop {
        let wait = if is_behind { Duration::ZERO } else { LOOK_EVERY };
        let due = clock.elapsed().saturating_add(wait);
        tokio::time::sleep(attempts.next(due).saturating_sub(clock.elapsed())).await;
        match new_entries(session, &filter, after).await {
            Ok(page) => {
                if attempts.succeeded(clock.elapsed()).is_some() {
                    session.console.say("keyward audit tail: the broker answers again");
                }
                session.print_stream(&page, &page.items);
                // A whole page: everything up to the newest entry was searched.
                after = page.next_after.unwrap_or(page.head).max(after);
                is_behind = page.next_after.is_some();
            }
            Err(failure) if failure.is_outage() || failure.is_unavailable() => {
                is_behind = false;
                if attempts.failed(&failure, clock.elapsed()).is_some() {
                    session.console.say(&format!("keyward audit tail: {}; waiting", failure.why()));
                }
            }
            Err(failure) => return Err(failure),
        }
        session.console.delivered()?;
    }
}

async fn new_entries(
    session: VerbSession<'_>,
    filter: &EntryFilter,
    after: u64,
) -> Result<Received<EntriesAnswer>, CommandFailure> {
    let query = EntriesQuery { after: Some(after), filter: filter.clone(), ..EntriesQuery::default() };
    some_entries(&session.operator().await?, query, AT_ONCE).await
}
