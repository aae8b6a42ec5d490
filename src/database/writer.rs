use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

use super::backend::Backend;
use super::checks::{CheckedAt, Findings, NOT_REPLICATED, check, is_replicated};
use super::claim::{Claim, ClaimOutcome, confirm, state_for};
use super::fault::DatabaseFault;
use super::head::{EntryMark, HeadRow};
use super::log_use::LogUse;
use super::rows::{BatchRows, EntryRow, PAGE_ENTRIES, page, row_number};
use super::session::{CommitOutcome, Session};
use super::target::DatabaseTarget;
use super::trouble::Trouble;
use crate::base::encoding::hex;
use crate::base::limits::PROBE_EVERY_S;
use crate::base::{LedgerId, Stopwatch};
use crate::config::Replication;
use crate::ledger::Closing;

/// The writer's side of the database. One writer session may write at a time: the head row names it, so that one which
/// was paused or cut off while another broker took over writes nothing any more.
pub(super) struct Writer {
    target: DatabaseTarget,
    session: Option<Session>,
    claim: Option<Claim>,
    /// The server's process that held the lock of the ledger last.
    holder: Option<Backend>,
    closing: Closing,
    /// The newest entry that this writer knows of. The head never goes back behind it.
    seen: EntryMark,
    /// The newest findings of the checks.
    found: Option<Findings>,
    standbys_missing: Arc<AtomicU32>,
    /// Since the newest check.
    checked: Stopwatch,
}

/// How long a start waits for the session of a broker that has just ended.
const CLAIM: Duration = Duration::from_secs(10);
const CLAIM_EVERY: Duration = Duration::from_millis(100);
/// First and longest pause between two attempts to look up a batch, each of which logs in anew; it doubles.
const LOOK_UP_FIRST: Duration = Duration::from_millis(200);
const LOOK_UP_LONGEST: Duration = Duration::from_secs(2);
/// How often the checks of the start are repeated.
const CHECK_EVERY: Duration = Duration::from_secs(PROBE_EVERY_S);
/// Longest wait of a broker's close.
const CLOSE: Duration = Duration::from_secs(5);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// A write that changes nothing: once it is acknowledged, the standbys have all that was there before it.
const CONFIRM: &str = "UPDATE keyward.head SET confirmations = confirmations + 1";

/// The head moves only from the entry that the batch was numbered after, and only for the writer that holds it.
const INSERT: &str = "WITH moved AS (UPDATE keyward.head SET seq = $3, node = $4 WHERE seq = $5 AND writer = $6 RETURNING seq) \
     INSERT INTO keyward.entries (seq, entry) \
     SELECT added.seq, added.entry FROM moved, unnest($1, $2) AS added (seq, entry)";

impl Writer {
    pub(super) fn new(target: DatabaseTarget, standbys_missing: Arc<AtomicU32>) -> Self {
        let closing = Closing::default();
        let (seen, checked) = (EntryMark::NONE, Stopwatch::start());
        Self {
            target,
            session: None,
            claim: None,
            holder: None,
            closing,
            seen,
            found: None,
            standbys_missing,
            checked,
        }
    }

    /// Claims the ledger for a writer session. What was written before is durable then, at the standbys too.
    ///
    /// For read-only mode, and for a copy of a data directory, nothing is claimed or changed.
    pub(super) async fn claim(
        &mut self,
        claim: Claim,
        closing: Closing,
    ) -> Result<ClaimOutcome, DatabaseFault> {
        self.closing = closing;
        let unusable = |why: &str| Err(DatabaseFault::Unusable(why.to_owned()));
        let mut session = Session::open(&self.target).await?;
        self.check(&mut session, CheckedAt::Start).await?;
        let head = HeadRow::read(&session.send(HeadRow::SELECT).await?)?;
        if claim.purpose == LogUse::Look || !claim.claimant.may_claim(head.claimed_by()) {
            return self.look(session, claim).await;
        }
        let waited = Stopwatch::start();
        while !lock(&mut session, claim.ledger).await? {
            if waited.elapsed() > CLAIM {
                return unusable(
                    "another broker uses the ledger in the database: stop it first; if no other broker runs, a commit of a \
                     broker that has ended still waits for a standby: check the standbys, and try again",
                );
            }
            sleep(CLAIM_EVERY).await;
        }
        self.holder = Some(session.backend());
        let head = lock_head(&mut session).await?;
        if !claim.claimant.may_claim(head.claimed_by()) {
            return unusable("another broker has claimed the ledger in the database: stop one of the two");
        }
        let state = state_for(claim, &head)?.number();
        let (ledger, writer) = (hex(claim.ledger.as_bytes()), hex(&claim.writer));
        let owner = hex(&claim.claimant.lock.to_be_bytes());
        let claimed = format!(
            "UPDATE keyward.head SET ledger = decode('{ledger}', 'hex'), writer = decode('{writer}', 'hex'), \
             owner = decode('{owner}', 'hex'), state = {state}"
        );
        session.send(&claimed).await?;
        confirm(&mut session, &self.target, &self.closing).await?;
        (self.session, self.claim, self.seen) = (Some(session), Some(claim), head.newest);
        Ok(ClaimOutcome::Claimed)
    }

    /// Opens the ledger for reading. Entries that no standby has could be lost in a failover, so they are not shown.
    async fn look(&mut self, mut session: Session, claim: Claim) -> Result<ClaimOutcome, DatabaseFault> {
        let unusable = |why: &str| Err(DatabaseFault::Unusable(why.to_owned()));
        if matches!(claim.purpose, LogUse::TakeBack | LogUse::MoveAway) {
            return unusable(
                "the broker of another data directory has claimed the ledger in the database: if no other broker will serve \
                 these data again, run `keyward adopt`, start the broker once, and repeat the move",
            );
        }
        let head = HeadRow::read(&session.send(HeadRow::SELECT).await?)?;
        state_for(claim, &head)?;
        if self.target.replication == Replication::Required && !session.is_at_standbys().await {
            return unusable(
                "no synchronous standby has the newest entries of the ledger yet: connect the standbys, and start again",
            );
        }
        (self.session, self.seen) = (Some(session), head.newest);
        Ok(ClaimOutcome::ReadOnly)
    }

    /// Checks what the broker requires of the database. Warnings are repeated only when they are new.
    async fn check(&mut self, session: &mut Session, at: CheckedAt) -> Result<(), DatabaseFault> {
        let found = check(session, self.target.replication, at).await?;
        found.warn_after(self.found);
        self.standbys_missing.store(found.standbys_missing, Ordering::Relaxed);
        (self.found, self.checked) = (Some(found), Stopwatch::start());
        Ok(())
    }

    /// The newest entry.
    pub(super) const fn seen(&self) -> EntryMark {
        self.seen
    }

    /// A page of entries.
    pub(super) async fn page(&mut self, from: u64, through: u64) -> Result<Vec<EntryRow>, DatabaseFault> {
        page(self.session.as_mut().ok_or(DatabaseFault::Lost)?, from, through, PAGE_ENTRIES).await
    }

    /// Locks the head for a batch.
    pub(super) async fn begin(&mut self) -> Result<(), Trouble> {
        // The server may have ended a session that was not used for a while: once, that is no trouble.
        let was_open = self.session.as_ref().is_some_and(Session::is_usable);
        let begun = self.try_begin().await;
        let is_open = self.session.as_ref().is_some_and(Session::is_usable);
        if was_open && !is_open && matches!(begun, Err(Trouble::Again(_))) {
            return self.try_begin().await;
        }
        begun
    }

    async fn try_begin(&mut self) -> Result<(), Trouble> {
        self.check_if_due().await?;
        let head = lock_head(self.session().await?).await?;
        let checked = self.check_head(&head).and_then(|()| {
            if head.newest == self.seen { Ok(()) } else { Err(Trouble::Stop(ANOTHER_WRITER.to_owned())) }
        });
        if checked.is_err() {
            self.release().await;
        }
        checked
    }

    /// Repeats the checks of the start from time to time; a new session is checked when it is opened.
    async fn check_if_due(&mut self) -> Result<(), Trouble> {
        if self.checked.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        let Some(mut session) = self.session.take().filter(Session::is_usable) else { return Ok(()) };
        let checked = self.check(&mut session, CheckedAt::Running).await;
        self.session = Some(session);
        Ok(checked?)
    }

    /// Ends the transaction, and frees the head.
    pub(super) async fn release(&mut self) {
        if let Some(session) = &mut self.session {
            session.roll_back().await;
        }
    }

    /// Makes a batch durable; `last` is its last entry.
    pub(super) async fn commit(&mut self, batch: BatchRows, last: EntryMark) -> Result<(), Trouble> {
        let lost = || Trouble::Again(DatabaseFault::Lost);
        let claim = self.claim.ok_or_else(lost)?;
        let session = self.session.as_mut().filter(|session| session.is_usable()).ok_or_else(lost)?;
        let (seq, before) = (row_number(last.seq), row_number(self.seen.seq));
        let (node, writer) = (last.node.as_bytes().as_slice(), claim.writer.as_slice());
        let inserted = session
            .execute(
                INSERT,
                &[
                    (&batch.seqs, Type::INT8_ARRAY),
                    (&batch.stored, Type::BYTEA_ARRAY),
                    (&seq, Type::INT8),
                    (&node, Type::BYTEA),
                    (&before, Type::INT8),
                    (&writer, Type::BYTEA),
                ],
            )
            .await;
        let inserted = match inserted {
            Ok(rows) if rows == batch.seqs.len() as u64 => Ok(()),
            Ok(_) => Err(Trouble::Stop(ANOTHER_WRITER.to_owned())),
            // A row beyond the head is none that this ledger has written.
            Err(fault) if fault.is_duplicate() => Err(Trouble::Stop(BEYOND_THE_HEAD.to_owned())),
            // No COMMIT was sent: the server drops what it has of the batch.
            Err(fault) => Err(fault.into()),
        };
        if inserted.is_err() {
            session.roll_back().await;
            return inserted;
        }
        match session.commit(&self.target, &self.closing).await {
            CommitOutcome::Committed => {
                self.seen = last;
                Ok(())
            }
            CommitOutcome::Unknown => Err(Trouble::Unknown),
        }
    }

    /// The entry `seq`, with which a batch of unknown outcome begins, if that was committed; otherwise it never will be.
    ///
    /// The lock of the head proves that no COMMIT of the batch is under way, and the acknowledged write that the server
    /// is the primary, and that a standby has what was looked up.
    pub(super) async fn look_up(&mut self, seq: u64) -> Result<Option<EntryRow>, Trouble> {
        let (mut has_warned, mut pause) = (false, LOOK_UP_FIRST);
        loop {
            let done = self.try_look_up(seq).await;
            let goes_on = matches!(done, Err(Trouble::Again(_) | Trouble::Full));
            if !goes_on || self.closing.has_begun() {
                return done;
            }
            if !has_warned {
                tracing::warn!(
                    ?done,
                    "the database has not said yet whether the newest entries were committed"
                );
            }
            has_warned = true;
            self.session = None;
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LOOK_UP_LONGEST);
        }
    }

    async fn try_look_up(&mut self, seq: u64) -> Result<Option<EntryRow>, Trouble> {
        let head = lock_head(self.session().await?).await?;
        if let Err(trouble) = self.check_head(&head) {
            self.release().await;
            return Err(trouble);
        }
        let (target, closing) = (self.target.clone(), self.closing.clone());
        let session = self.session().await?;
        let found = page(session, seq, seq, 1).await?.into_iter().next();
        session.send(CONFIRM).await?;
        if session.commit(&target, &closing).await == CommitOutcome::Unknown {
            return Err(Trouble::Again(DatabaseFault::Lost));
        }
        if found.is_none() && head.newest != self.seen {
            return Err(Trouble::Stop(ANOTHER_WRITER.to_owned()));
        }
        self.seen = head.newest;
        Ok(found)
    }

    /// A write without an entry.
    pub(super) async fn probe(&mut self) -> Result<(), Trouble> {
        self.begin().await?;
        let (target, closing) = (self.target.clone(), self.closing.clone());
        let session = self.session().await?;
        if let Err(fault) = session.send(CONFIRM).await {
            session.roll_back().await;
            return Err(fault.into());
        }
        match session.commit(&target, &closing).await {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::Unknown => Err(Trouble::Again(DatabaseFault::Lost)),
        }
    }

    /// Notes that the ledger is closed in good order, and where it is continued. A broker does so unless the database
    /// does not answer; the end of a move is committed like an entry, because data are put aside after it.
    pub(super) async fn close(&mut self) -> Result<(), DatabaseFault> {
        let Some(claim) = self.claim.take() else { return Ok(()) };
        // Without a session, nothing says that the ledger is closed.
        let mut session = self.session.take().ok_or(DatabaseFault::Lost)?;
        let (writer, state) = (hex(&claim.writer), claim.purpose.ends_with().number());
        let closed = format!(
            "UPDATE keyward.head SET writer = NULL, state = {state} WHERE writer = decode('{writer}', 'hex')"
        );
        if matches!(claim.purpose, LogUse::Serve | LogUse::Look) {
            let closed = timeout(CLOSE, session.send(&closed)).await;
            return closed.unwrap_or(Err(DatabaseFault::Slow)).map(drop);
        }
        let head = lock_head(&mut session).await?;
        if head.writer != Some(claim.writer) || head.newest != self.seen {
            return Err(DatabaseFault::Unusable(ANOTHER_WRITER.to_owned()));
        }
        session.send(&closed).await?;
        confirm(&mut session, &self.target, &self.closing).await
    }

    /// A session that holds the lock of the ledger.
    async fn session(&mut self) -> Result<&mut Session, Trouble> {
        let is_usable = self.session.as_ref().is_some_and(Session::is_usable);
        if !is_usable {
            self.session = None;
            let mut session = Session::open(&self.target).await?;
            if let Some(claim) = self.claim {
                self.check(&mut session, CheckedAt::Running).await?;
                self.lock_again(&mut session, claim).await?;
            }
            self.session = Some(session);
        }
        self.session.as_mut().ok_or(Trouble::Again(DatabaseFault::Lost))
    }

    /// Takes the lock of the ledger for a new session. The server may not have noticed that the former one has ended: where
    /// its connection hangs, it never would.
    async fn lock_again(&mut self, session: &mut Session, claim: Claim) -> Result<(), Trouble> {
        let mut is_locked = lock(session, claim.ledger).await?;
        if !is_locked && let Some(former) = self.holder {
            session.send(&former.end_idle()).await?;
            is_locked = lock(session, claim.ledger).await?;
        }
        if is_locked {
            self.holder = Some(session.backend());
            return Ok(());
        }
        let head = HeadRow::read(&session.send(HeadRow::SELECT).await?)?;
        if head.writer != Some(claim.writer) {
            return Err(Trouble::Stop(ANOTHER_WRITER.to_owned()));
        }
        let why = "the server has not noticed yet that the broker's former session has ended";
        Err(Trouble::Again(DatabaseFault::Unusable(why.to_owned())))
    }

    /// Refuses a head that is not the continuation of what this writer knows.
    fn check_head(&self, head: &HeadRow) -> Result<(), Trouble> {
        let stop = |why: &str| Err(Trouble::Stop(why.to_owned()));
        let claim = self.claim.ok_or(Trouble::Again(DatabaseFault::Lost))?;
        if head.newest.seq < self.seen.seq || (head.newest.seq == self.seen.seq && head.newest != self.seen) {
            return Err(Trouble::Lost(format!(
                "the ledger in the database ends at entry {}, and does not continue entry {}, which the broker has \
                 acknowledged: entries are lost",
                head.newest.seq, self.seen.seq
            )));
        }
        if head.ledger != Some(claim.ledger) {
            return stop("the database holds the ledger of another broker");
        }
        if head.writer != Some(claim.writer) {
            return stop(ANOTHER_WRITER);
        }
        if !is_replicated(&head.standbys, self.target.replication) {
            return Err(Trouble::Again(DatabaseFault::Unusable(NOT_REPLICATED.to_owned())));
        }
        Ok(())
    }
}

const BEYOND_THE_HEAD: &str =
    "the database has an entry after the head of the ledger, which the broker has not written";
const ANOTHER_WRITER: &str = "another broker has taken over the ledger in the database";

/// Takes the lock that tells a running broker from one that has ended. The session holds it to its end.
async fn lock(session: &mut Session, ledger: LedgerId) -> Result<bool, DatabaseFault> {
    let [.., a, b, c, d, e, f, g, h] = *ledger.as_bytes();
    let key = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let rows = session.send(&format!("SELECT pg_try_advisory_lock({key})")).await?;
    Ok(rows.last().and_then(|row| row.try_get(0).ok().flatten()) == Some("t"))
}

/// Begins a transaction that holds the head.
async fn lock_head(session: &mut Session) -> Result<HeadRow, DatabaseFault> {
    let locked = session.send(&format!("{BEGIN}; {} FOR UPDATE", HeadRow::SELECT)).await;
    let head = locked.and_then(|rows| HeadRow::read(&rows));
    if head.is_err() {
        session.roll_back().await;
    }
    head
}
