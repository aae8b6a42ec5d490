use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

use super::backend::Backend;
use super::checks::{CheckedAt, NewestFindings, check, count_missing};
use super::claim::{ANOTHER_WRITER, Claim, ClaimOutcome, confirm, state_for};
use super::fault::DatabaseFault;
use super::head::{EntryMark, HeadRow};
use super::locks::{lock, lock_head};
use super::log_use::LogUse;
use super::others::{is_first_of, read_others};
use super::rows::{BatchRows, EntryRow, PAGE_ENTRIES, page, row_number};
use super::session::{CommitOutcome, Session};
use super::target::DatabaseTarget;
use super::trouble::Trouble;
use crate::base::Stopwatch;
use crate::base::encoding::hex;
use crate::base::limits::PROBE_EVERY_S;
use crate::config::Replication;
use crate::ledger::{BatchId, Begun, Closing, Entry};

/// The writer's side of the database. One writer session may write at a time: the head row names it, so that one which
/// was paused or cut off while another broker took over writes nothing any more. If the ledger is shared, the lock of the
/// head row orders the batches of all writers, and each reads the entries of the others before it writes.
pub(super) struct Writer {
    target: DatabaseTarget,
    session: Option<Session>,
    claim: Option<Claim>,
    /// The server's process that held the lock of the ledger last.
    holder: Option<Backend>,
    closing: Closing,
    /// The newest entry that this writer knows of. The head never goes back behind it.
    seen: EntryMark,
    /// The last entry of the batch whose outcome is unknown.
    in_doubt: Option<EntryMark>,
    findings: NewestFindings,
    /// Since the newest check; `None` until the session is checked.
    checked: Option<Stopwatch>,
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

/// A write that changes nothing: once it is acknowledged, the standbys have all that was there before it.
const CONFIRM: &str = "UPDATE keyward.head SET confirmations = confirmations + 1";

/// The head moves only from the entry that the batch was numbered after, and only for the writer that holds it.
const INSERT: &str = "WITH moved AS (UPDATE keyward.head SET seq = $3, node = $4 WHERE seq = $5 AND writer = $6 RETURNING seq) \
     INSERT INTO keyward.entries (seq, entry) \
     SELECT added.seq, added.entry FROM moved, unnest($1, $2) AS added (seq, entry)";

impl Writer {
    pub(super) fn new(target: DatabaseTarget, standbys_missing: Arc<AtomicU32>) -> Self {
        let (closing, findings) = (Closing::default(), NewestFindings::shown_in(standbys_missing));
        let (session, claim, holder, in_doubt, checked) = (None, None, None, None, None);
        let seen = EntryMark::NONE;
        Self { target, session, claim, holder, closing, seen, in_doubt, findings, checked }
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
        let mut session = Session::open(&self.target).await?;
        self.check(&mut session, CheckedAt::Start).await?;
        let head = HeadRow::read(&session.send(HeadRow::SELECT).await?)?;
        claim.check_sharing(&head)?;
        if claim.purpose == LogUse::Look || !claim.claimant.may_claim(head.claimed_by()) {
            return self.look(session, claim).await;
        }
        if !claim.is_shared() {
            self.lock_for(&mut session, claim).await?;
        }
        let head = lock_head(&mut session).await?;
        claim.check_sharing(&head)?;
        if !claim.claimant.may_claim(head.claimed_by()) {
            return Err(DatabaseFault::Unusable(
                "another broker has claimed the ledger in the database: stop one of the two".to_owned(),
            ));
        }
        let state = state_for(claim, &head)?.number();
        let (ledger, writer) = (hex(claim.ledger.as_bytes()), hex(&claim.mark()));
        let owner = if claim.is_shared() {
            "NULL".to_owned()
        } else {
            format!("decode('{}', 'hex')", hex(&claim.claimant.lock.to_be_bytes()))
        };
        let claimed = format!(
            "UPDATE keyward.head SET ledger = decode('{ledger}', 'hex'), writer = decode('{writer}', 'hex'), \
             owner = {owner}, state = {state}"
        );
        session.send(&claimed).await?;
        confirm(&mut session, &self.target, &self.closing).await?;
        (self.session, self.claim, self.seen) = (Some(session), Some(claim), head.newest);
        Ok(ClaimOutcome::Claimed)
    }

    /// Takes the lock of the ledger, once the session of a broker that has just ended is gone.
    async fn lock_for(&mut self, session: &mut Session, claim: Claim) -> Result<(), DatabaseFault> {
        let waited = Stopwatch::start();
        while !lock(session, claim.ledger).await? {
            if waited.elapsed() > CLAIM {
                return Err(DatabaseFault::Unusable(
                    "another broker uses the ledger in the database: stop it first; if no other broker runs, a commit of a \
                     broker that has ended still waits for a standby: check the standbys, and try again"
                        .to_owned(),
                ));
            }
            sleep(CLAIM_EVERY).await;
        }
        self.holder = Some(session.backend());
        Ok(())
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
        self.findings.take(check(session, self.target.replication, at).await?);
        self.checked = Some(Stopwatch::start());
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

    /// Locks the head for a batch, and reads the entries of others before it.
    pub(super) async fn begin(&mut self) -> Result<Begun, Trouble> {
        // The server may have ended a session that was not used for a while: once, that is no trouble.
        let was_open = self.session.as_ref().is_some_and(Session::is_usable);
        let begun = self.try_begin().await;
        let is_open = self.session.as_ref().is_some_and(Session::is_usable);
        if was_open && !is_open && matches!(begun, Err(Trouble::Again(_))) {
            return self.try_begin().await;
        }
        begun
    }

    async fn try_begin(&mut self) -> Result<Begun, Trouble> {
        self.session().await?;
        self.check_if_due().await?;
        let session = self.session.as_mut().ok_or(Trouble::Again(DatabaseFault::Lost))?;
        let head = lock_head(session).await?;
        let begun = self.continued_from(&head).await;
        if !matches!(begun, Ok(Begun::Held(_))) {
            self.release().await;
        }
        begun
    }

    /// The entries of others up to the head, which this session holds.
    async fn continued_from(&mut self, head: &HeadRow) -> Result<Begun, Trouble> {
        self.check_head(head)?;
        if head.newest == self.seen {
            return Ok(Begun::Held(Vec::new()));
        }
        if !self.claim.is_some_and(|claim| claim.is_shared()) {
            return Err(Trouble::Stop(ANOTHER_WRITER.to_owned()));
        }
        let session = self.session.as_mut().ok_or(Trouble::Again(DatabaseFault::Lost))?;
        let others = read_others(session, self.target.replication, self.seen, head.newest).await?;
        self.seen = others.last;
        let is_all = others.last == head.newest;
        Ok(if is_all { Begun::Held(others.entries) } else { Begun::Behind(others.entries) })
    }

    /// Repeats the checks of the start before the first batch of a session, and from time to time.
    async fn check_if_due(&mut self) -> Result<(), Trouble> {
        if self.checked.as_ref().is_some_and(|checked| checked.elapsed() < CHECK_EVERY) {
            return Ok(());
        }
        let Some(mut session) = self.session.take() else { return Ok(()) };
        let checked = match self.check(&mut session, CheckedAt::Running).await {
            Ok(()) => Ok(()),
            // A promoted standby may be unusable because it has no standbys yet, and lack entries too.
            Err(fault) if session.is_usable() => {
                self.look_for_loss(&mut session).await.and(Err(fault.into()))
            }
            Err(fault) => Err(fault.into()),
        };
        self.session = Some(session);
        checked
    }

    /// Refuses a head that is not the continuation of what this writer knows, without its lock.
    async fn look_for_loss(&self, session: &mut Session) -> Result<(), Trouble> {
        self.check_head(&HeadRow::read(&session.send(HeadRow::SELECT).await?)?)
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
        let mark = claim.mark();
        let (node, writer) = (last.node.as_bytes().as_slice(), mark.as_slice());
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
        match self.commit_counting().await {
            CommitOutcome::Committed => {
                self.seen = last;
                Ok(())
            }
            CommitOutcome::Unknown => {
                self.in_doubt = Some(last);
                Err(Trouble::Unknown)
            }
        }
    }

    /// Commits what the session has begun. While the answer does not come, the missing standbys are counted.
    async fn commit_counting(&mut self) -> CommitOutcome {
        let Self { session, target, closing, findings, .. } = self;
        let Some(session) = session else { return CommitOutcome::Unknown };
        tokio::select! {
            biased;
            outcome = session.commit(target, closing) => outcome,
            never = count_missing(target, findings) => match never {},
        }
    }

    /// Whether the batch of unknown outcome was committed; otherwise it never will be.
    ///
    /// The lock of the head proves that no COMMIT of the batch is under way, and the acknowledged write that the server
    /// is the primary, and that a standby has what was looked up.
    pub(super) async fn look_up(&mut self, batch: &BatchId) -> Result<bool, Trouble> {
        let (mut has_warned, mut pause) = (false, LOOK_UP_FIRST);
        loop {
            let done = self.try_look_up(batch).await;
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

    async fn try_look_up(&mut self, batch: &BatchId) -> Result<bool, Trouble> {
        let head = lock_head(self.session().await?).await?;
        if let Err(trouble) = self.check_head(&head) {
            self.release().await;
            return Err(trouble);
        }
        let (session, seq) = (self.session().await?, batch.first_seq);
        let found = page(session, seq, seq, 1).await?.into_iter().next();
        session.send(CONFIRM).await?;
        if self.commit_counting().await == CommitOutcome::Unknown {
            return Err(Trouble::Again(DatabaseFault::Lost));
        }
        let in_doubt = self.in_doubt.take();
        if found.as_ref().is_some_and(|row| is_first_of(row, batch)) {
            self.seen = in_doubt.unwrap_or(head.newest);
            return Ok(true);
        }
        // Others that share the ledger may have taken its place, and their entries come with the next batch.
        if self.claim.is_some_and(|claim| claim.is_shared()) || head.newest == self.seen {
            return Ok(false);
        }
        Err(Trouble::Stop(ANOTHER_WRITER.to_owned()))
    }

    /// A write without an entry, and the entries of others before it.
    pub(super) async fn probe(&mut self) -> Result<Vec<Entry>, Trouble> {
        let seen = self.seen;
        let probed = self.try_probe().await;
        if probed.is_err() {
            // What was read of others was not given to the ledger.
            self.seen = seen;
        }
        probed
    }

    async fn try_probe(&mut self) -> Result<Vec<Entry>, Trouble> {
        let others = match self.begin().await? {
            Begun::Held(others) => others,
            Begun::Behind(others) => return Ok(others),
        };
        let session = self.session().await?;
        if let Err(fault) = session.send(CONFIRM).await {
            session.roll_back().await;
            return Err(fault.into());
        }
        match self.commit_counting().await {
            CommitOutcome::Committed => Ok(others),
            CommitOutcome::Unknown => Err(Trouble::Again(DatabaseFault::Lost)),
        }
    }

    /// Notes that the ledger is closed in good order, and where it is continued. A broker does so unless the database
    /// does not answer; the end of a move is committed like an entry, because data are put aside after it.
    pub(super) async fn close(&mut self) -> Result<(), DatabaseFault> {
        let Some(claim) = self.claim.take() else { return Ok(()) };
        if claim.is_shared() {
            return Ok(());
        }
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

    /// A session that holds the lock of the ledger. A new one is checked before its first batch: rights that have changed
    /// do not keep a batch in doubt from being looked up.
    async fn session(&mut self) -> Result<&mut Session, Trouble> {
        let is_usable = self.session.as_ref().is_some_and(Session::is_usable);
        if !is_usable {
            self.session = None;
            let mut session = Session::open(&self.target).await?;
            if let Some(claim) = self.claim.filter(|claim| !claim.is_shared()) {
                self.lock_again(&mut session, claim).await?;
            }
            (self.session, self.checked) = (Some(session), None);
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
        let claim = self.claim.ok_or(Trouble::Again(DatabaseFault::Lost))?;
        claim.check_head(head, self.seen, self.target.replication)
    }
}

const BEYOND_THE_HEAD: &str =
    "the database has an entry after the head of the ledger, which the broker has not written";
