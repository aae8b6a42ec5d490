//! How a use case takes something away: at once, also while the ledger does not answer.

use std::sync::Arc;
use std::time::Duration;

use super::changes::{ChangeDraft, ChangeRequest, ReadOutcome};
use super::denial::MemoryRevocation;
use super::failure::Failure;
use super::reading::Reading;
use super::replay::remembered;
use super::retry::{AttemptError, retry_on_conflict};
use super::services::{Services, State};
use super::world::{Effect, World};
use crate::base::code::Code;
use crate::base::limits::REVOCATION_WAIT_MS;
use crate::base::{IncidentId, Timestamp};
use crate::custody::{self, FailedOrder, PendingOrder, PendingOrderFailed, RevocationOrder};
use crate::idempotency::Outcome;
use crate::ledger::AppendError;
use crate::store::{Change, CommitError, ConflictDecision, OnConflict, RevocationOutcome, Settled};
use crate::telemetry::{Alarm, Alarms};

/// Something was ended, suspended or resumed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The entry of this sequence says so.
    Recorded(u64),
    /// The ledger has not taken it in time: it is in force in memory, at once, and the ledger takes it as
    /// soon as it can.
    InMemory {
        /// Whether the order is kept in the runtime directory too, so that the next start carries it out.
        kept: bool,
    },
}

/// A change that takes away: it takes effect in memory when the ledger does not take it in time.
pub(crate) struct Removal {
    pub(crate) change: Change<Effect>,
    /// What it does in memory; none for a change that waits for the ledger.
    pub(crate) denial: Option<MemoryRevocation>,
    pub(crate) order: RemovalOrder,
    /// How much it takes away, where that is counted.
    pub(crate) count: Option<usize>,
}

/// The order of a removal: the next start carries it out if the ledger does not record the removal before.
pub(crate) enum RemovalOrder {
    /// The removal does no harm after any earlier entry, and its operator is not checked again.
    Unconditional(Option<RevocationOrder>),
    /// An entry took the same away already, of this sequence if it is known, and nothing new would be taken away: the
    /// repetition gets an entry if the disk has room for one, and never the reserve.
    Repeated(Option<u64>),
    /// Decided again after an entry that changed a precondition. Its operator must still have the right.
    Conditional(RevocationOrder, DecideAgain),
}

impl RemovalOrder {
    const fn what(&self) -> Option<&RevocationOrder> {
        match self {
            Self::Unconditional(what) => what.as_ref(),
            Self::Repeated(_) => None,
            Self::Conditional(what, _) => Some(what),
        }
    }
}

/// Decides a removal again, on later records: the change, or none if an earlier entry took the same away.
pub(crate) type DecideAgain =
    Box<dyn Fn(&Reading<'_>) -> Result<Option<Change<Effect>>, Failure> + Send + Sync>;

/// What was taken away, before the caller is told.
pub(crate) struct Removed {
    pub(crate) taken: RevocationOutcome,
    /// What the next start does when the ledger does not take it before.
    pub(crate) order: Option<PendingOrder>,
    pub(crate) count: Option<usize>,
    /// The incident of a containment.
    pub(crate) incident: Option<IncidentId>,
}

impl Removed {
    /// The entry of this sequence says so.
    pub(crate) const fn recorded(seq: u64) -> Self {
        Self { taken: RevocationOutcome::Recorded(seq), order: None, count: None, incident: None }
    }
}

impl State {
    /// Takes away what `decide` says of the records of each attempt, in memory if the ledger does not answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn change_revoking(
        &self,
        request: ChangeRequest<'_>,
        decide: impl Fn(&Reading<'_>) -> Result<Removal, Failure> + Sync,
    ) -> Result<Removed, Failure> {
        retry_on_conflict!(async {
            let now = self.clock.now();
            let (removal, preconditions) = match self.read_for(request, &decide)? {
                ReadOutcome::Now(removal, preconditions) => (removal, preconditions),
                ReadOutcome::Before(before) => return Ok(Removed::recorded(before.seq)),
            };
            let incident = removal.change.incident();
            let change = self.noting_repeated(removal.change, removal.order.what(), now);
            let (change, ()) = self.completed(request, ChangeDraft::of(change, ()), preconditions)?;
            let (order, on_conflict) = match removal.order {
                RemovalOrder::Unconditional(what) => {
                    (what.map(|what| request.pending(now, what)), OnConflict::Repeat)
                }
                RemovalOrder::Repeated(earlier) => {
                    let seq = self.commit_repetition(change, earlier).await?;
                    return Ok(Removed { incident, ..Removed::recorded(seq) });
                }
                RemovalOrder::Conditional(what, again) => {
                    let order = request.pending(now, what);
                    (Some(order.clone()), decided_again(order, again, request))
                }
            };
            let taken = match removal.denial {
                Some(denial) => {
                    let still = |world: &World| {
                        let reading = Reading::of(world, 0, now);
                        decide(&reading).is_ok() && request.by.still_allowed(&reading).is_ok()
                    };
                    self.store.commit_revocation(change.revoking(denial), on_conflict, still).await?
                }
                None => RevocationOutcome::Recorded(self.store.commit(change, ()).await?.seq()),
            };
            Ok::<_, AttemptError>(Removed { taken, order, count: removal.count, incident })
        })
    }
}

impl State {
    /// Records a repetition of what entry `earlier` took away, if the ledger takes it in time. Gives the entry that says it.
    async fn commit_repetition(
        &self,
        change: Change<Effect>,
        earlier: Option<u64>,
    ) -> Result<u64, AttemptError> {
        let wait = Duration::from_millis(REVOCATION_WAIT_MS);
        let committed = tokio::time::timeout(wait, self.store.commit(change, ())).await;
        match (committed.unwrap_or(Err(CommitError::Unanswered)), earlier) {
            (Ok(receipt), _) => Ok(receipt.seq()),
            (Err(error @ CommitError::Append(AppendError::Conflict(_))), _) | (Err(error), None) => {
                Err(error.into())
            }
            (Err(_), Some(earlier)) => Ok(earlier),
        }
    }

    /// The change, which also says that a failed order was repeated if the records list one with the command of `what`.
    fn noting_repeated(
        &self,
        change: Change<Effect>,
        what: Option<&RevocationOrder>,
        now: Timestamp,
    ) -> Change<Effect> {
        let Some(command) = what.and_then(RevocationOrder::exact_command) else { return change };
        let is_repeated = |reading: &Reading<'_>| {
            let custody = &reading.unconditional().keys.custody;
            custody.failed_orders(now).any(|failed| failed.command == command)
        };
        if self.read(is_repeated).0 {
            return change.effect(Effect::Custody(custody::Effect::OrderRepeated(command)));
        }
        change
    }
}

/// The change that records that `order` failed because of `code`. The records list the order from then on.
pub(crate) fn order_failed(order: &PendingOrder, code: Code) -> Result<Change<Effect>, CommitError> {
    let failed = custody::Effect::OrderFailed(FailedOrder::of(order, code.as_str()));
    let change = Change::new(&PendingOrderFailed::new(order, code.as_str()))?;
    Ok(change.effect(Effect::Custody(failed)).urgent())
}

/// Decides `order` again: once for the idempotency key of its request, with its reason, and only while its operator has
/// the right. Otherwise an entry says that it was not carried out.
fn decided_again(order: PendingOrder, again: DecideAgain, request: ChangeRequest<'_>) -> OnConflict<World> {
    let (idempotency, connection) = (request.idempotency.cloned(), request.by.connection());
    OnConflict::Decide(Box::new(move |world, as_of| {
        let reading = Reading::of(world, as_of, order.at);
        let is_new = matches!(reading.outcome(idempotency.as_ref()), Ok(None));
        match reading.still_ordered(&order).and_then(|()| again(&reading)) {
            Ok(None) => Ok(ConflictDecision::Done),
            Ok(Some(change)) => {
                let idempotency = idempotency.as_ref().filter(|_| is_new);
                let change = remembered(change, idempotency, Outcome::Recorded).requested_on(connection);
                let change = order.reason.iter().cloned().fold(change, Change::because);
                Ok(ConflictDecision::Remove(reading.preconditions().added_to(change)))
            }
            Err(failure) => {
                let change = order_failed(&order, failure.code)?.requested_on(connection);
                Ok(ConflictDecision::Void(reading.preconditions().added_to(change)))
            }
        }
    }))
}

impl Services {
    /// Says what became of it. What is in force in memory alone is an alarm, and its order is kept until the
    /// ledger has it.
    pub(crate) async fn conclude(&self, Removed { taken, order, .. }: Removed) -> Ended {
        let recorded = match taken {
            RevocationOutcome::Recorded(seq) => return Ended::Recorded(seq),
            RevocationOutcome::InMemory(recorded) => recorded,
        };
        self.notifications.meters.alarms().raise(
            Alarm::RevocationUnrecorded,
            format_args!(
                "the data disk did not take a revocation in time: it is in force in memory alone; look at the disk of \
                 the data directory, the ledger takes the revocation once it answers"
            ),
        );
        let Some(order) = order else { return Ended::InMemory { kept: false } };
        let kept = self.state.kept_orders.keep(order.clone()).await;
        let (orders, leases) = (self.state.kept_orders.clone(), self.notifications.leases.clone());
        let meters = Arc::clone(&self.notifications.meters);
        tokio::spawn(async move {
            if let Some(settled) = recorded.wait().await {
                raise_if_void(meters.alarms(), settled, &order);
                orders.forget(order).await;
                // An end of leases that the ledger has is told upstream.
                leases.send_modify(|changes| *changes = changes.wrapping_add(1));
            }
        });
        Ended::InMemory { kept }
    }
}

/// Raises the alarm if `order` was in force in memory, and is no longer.
pub(crate) fn raise_if_void(alarms: &Alarms, settled: Settled, order: &PendingOrder) {
    let Settled::Void(seq) = settled else { return };
    let PendingOrder { at, by, what, .. } = order;
    alarms.raise(
        Alarm::PendingOrderFailed,
        format_args!(
            "the order `{what}` of {by} at {at} was in force in memory, and is not carried out; ledger entry {seq} has \
             the reason; repeat the command if it is still needed"
        ),
    );
}
