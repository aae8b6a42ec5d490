//! Revocations take effect in time, also while the disk hangs or fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::change::{Change, CommitError, RevokingChange, StoredState};
use super::follow::InMemoryState;
use super::handle::Store;
use super::withheld::Settled;
use crate::base::Sensitive;
use crate::base::limits::{REVOCATION_RETRY_MS, REVOCATION_WAIT_MS};
use crate::ledger::{AppendError, Draft, Ledger, Pending};

/// The result of a revocation.
#[must_use]
#[derive(Debug)]
pub enum RevocationOutcome {
    /// The entry of this sequence says so.
    Recorded(u64),
    /// It is in force in memory; the store keeps trying to record it.
    InMemory(PendingRecord),
}

/// Resolves once the ledger has taken a denial; with `None` when it never will.
#[derive(Debug)]
pub struct PendingRecord(oneshot::Receiver<Settled>);

impl PendingRecord {
    /// Waits for it.
    pub async fn wait(self) -> Option<Settled> {
        self.0.await.ok()
    }
}

/// What is submitted for a denial whose entry met a conflict.
#[must_use]
#[derive(Debug)]
pub enum ConflictDecision<E> {
    /// The change that takes the same away.
    Remove(Change<E>),
    /// An earlier entry took the same away: the denial needs no entry.
    Done,
    /// The denial may not be recorded any more. The entry of this change says why, and is durable before the denial is
    /// lifted.
    Void(Change<E>),
}

/// Decides on the state as of an entry what is submitted for a denial. After an error the denial stays in force until the
/// next start.
pub type DecideOnConflict<W> =
    Box<dyn Fn(&W, u64) -> Result<ConflictDecision<<W as StoredState>::Effect>, CommitError> + Send + Sync>;

/// What is submitted for a denial when entries before its own have changed what it relied on.
pub enum OnConflict<W: StoredState> {
    /// The same, which relies on nothing: it is harmless after every earlier entry.
    Repeat,
    /// What this decides.
    Decide(DecideOnConflict<W>),
}

impl<W: StoredState> OnConflict<W> {
    /// What is submitted in place of `draft` when the ledger could not take that.
    fn again(&self, draft: &Draft) -> Draft {
        let mut again = copy(draft);
        if matches!(self, Self::Repeat) {
            // It has been decided, and is in force: it relies on nothing any more.
            again.expect.clear();
        }
        again
    }
}

impl<W: StoredState> fmt::Debug for OnConflict<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Repeat) { "Repeat" } else { "Decide" })
    }
}

impl<W: StoredState> Store<W> {
    /// Commits a change that takes away. When the ledger has not taken it within `REVOCATION_WAIT_MS`, or
    /// cannot, it takes effect in memory, provided that `decide` still says so of the state as it is then;
    /// and the ledger is asked until it has it.
    ///
    /// From then on its subject is denied regardless of sequence, and the receipt of a change that relied on
    /// the subject is not delivered, also when its entry becomes durable first.
    ///
    /// When `decide` says otherwise by then, the ledger has as long again to take the change.
    ///
    /// A change that is harmless after every earlier entry does not wait for unrecorded denials: while one of a subject
    /// that all callers share is in force, others can be revoked too.
    ///
    /// # Errors
    /// [`CommitError`]; [`CommitError::Unanswered`] when the ledger has not taken it by then, and may still do so;
    /// after `AppendError::Conflict` the use case reads and decides again.
    pub async fn commit_revocation(
        &self,
        taking: RevokingChange<W::Effect, W::Denial>,
        on_conflict: OnConflict<W>,
        decide: impl FnOnce(&W) -> bool,
    ) -> Result<RevocationOutcome, CommitError> {
        if self.is_read_only() {
            return Err(CommitError::ReadOnly);
        }
        let RevokingChange { change, denial } = taking;
        if matches!(on_conflict, OnConflict::Decide(_)) {
            self.memory.withheld.check_before(&change.relied_on()).map_err(AppendError::Conflict)?;
        }
        let draft = change.into_draft::<W>()?;
        let again = on_conflict.again(&draft);
        let mut pending = self.ledger.append(draft);
        let patience = Duration::from_millis(REVOCATION_WAIT_MS);
        let first = match tokio::time::timeout(patience, &mut pending).await {
            Ok(Ok(committed)) => {
                Box::pin(self.anchors.reached(committed.seq())).await;
                return Ok(RevocationOutcome::Recorded(committed.seq()));
            }
            Ok(Err(error)) if !is_unrecorded(&error) => return Err(error.into()),
            Ok(Err(error)) => {
                tracing::error!(%error, "a revocation is in force in memory only: the ledger could not record it");
                Err(error)
            }
            Err(_) => {
                tracing::error!(
                    "a revocation is in force in memory only: the ledger has not answered in time"
                );
                Ok(pending)
            }
        };
        if !self.memory.deny(&denial, decide) {
            // Something else was denied meanwhile: the ledger decides which of them counts.
            return self.recorded(first?).await;
        }
        let (sender, recorded) = oneshot::channel();
        if let Some(place) = self.memory.unrecorded.take() {
            let (memory, ledger) = (Arc::clone(&self.memory), Arc::clone(&self.ledger));
            tokio::spawn(async move {
                let _place = place;
                let (memory, ledger) = (&*memory, &*ledger);
                let submitted = Submitted { memory, ledger, again, on_conflict, settles: Settled::Recorded };
                if let Some(settled) = submitted.until_taken(first).await {
                    memory.settle_denial(&denial, settled);
                    // Nobody has to wait for it.
                    sender.send(settled).unwrap_or(());
                }
            });
        }
        Ok(RevocationOutcome::InMemory(PendingRecord(recorded)))
    }

    /// Waits until the ledger has taken an entry that takes away, and the entry is anchored.
    async fn recorded(&self, pending: Pending) -> Result<RevocationOutcome, CommitError> {
        let answer = tokio::time::timeout(Duration::from_millis(REVOCATION_WAIT_MS), pending);
        let committed = answer.await.map_err(|_| CommitError::Unanswered)??;
        Box::pin(self.anchors.reached(committed.seq())).await;
        Ok(RevocationOutcome::Recorded(committed.seq()))
    }
}

/// Whether what takes away is done in memory because of this.
const fn is_unrecorded(error: &AppendError) -> bool {
    match error {
        AppendError::Failed | AppendError::Unwritten | AppendError::NoSpace | AppendError::Busy => true,
        AppendError::Conflict(_) | AppendError::TooLarge => false,
    }
}

fn copy(draft: &Draft) -> Draft {
    Draft {
        kind: draft.kind,
        event: draft.event.clone(),
        delta: Sensitive::new(draft.delta.expose().clone()),
        expect: draft.expect.clone(),
        advance: draft.advance.clone(),
        space: draft.space,
        concerns: draft.concerns.clone(),
        cause: draft.cause.clone(),
    }
}

/// The entry of a denial that the ledger has not taken yet.
struct Submitted<'a, W: StoredState> {
    memory: &'a InMemoryState<W>,
    ledger: &'a Ledger,
    /// What is submitted when the ledger refuses it.
    again: Draft,
    on_conflict: OnConflict<W>,
    /// What the entry of `again` makes of the denial.
    settles: fn(u64) -> Settled,
}

impl<W: StoredState> Submitted<'_, W> {
    /// Submits it until the ledger takes it; `None` once the ledger has failed, which it does until the next start.
    async fn until_taken(mut self, mut last: Result<Pending, AppendError>) -> Option<Settled> {
        loop {
            let answer = match last {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(committed) => return Some((self.settles)(committed.seq())),
                Err(AppendError::Conflict(_)) => match self.decide_again() {
                    Ok(None) => {}
                    Ok(Some(settled)) => return Some(settled),
                    Err(error) => {
                        tracing::error!(%error, "a revocation in memory cannot be recorded before the next start");
                        return None;
                    }
                },
                Err(AppendError::Unwritten | AppendError::NoSpace | AppendError::Busy) => {
                    tokio::time::sleep(Duration::from_millis(REVOCATION_RETRY_MS)).await;
                }
                Err(AppendError::Failed | AppendError::TooLarge) => return None,
            }
            last = Ok(self.ledger.append(copy(&self.again)));
        }
    }

    /// Decides what is submitted next; the end of the denial if it needs no entry.
    fn decide_again(&mut self) -> Result<Option<Settled>, CommitError> {
        let OnConflict::Decide(decide) = &self.on_conflict else { return Ok(None) };
        let decided = {
            let (world, as_of) = self.memory.read();
            decide(&world, as_of)
        };
        let (change, settles): (_, fn(u64) -> Settled) = match decided? {
            ConflictDecision::Remove(change) => (change, Settled::Recorded),
            ConflictDecision::Void(change) => (change, Settled::Void),
            ConflictDecision::Done => return Ok(Some(Settled::Done)),
        };
        (self.again, self.settles) = (change.into_draft::<W>()?, settles);
        Ok(None)
    }
}
