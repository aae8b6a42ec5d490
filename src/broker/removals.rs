//! How a use case takes something away: at once, also while the ledger does not answer.

use super::changes::{ChangeDraft, ChangeRequest, Initiator, ReadOutcome};
use super::denial::MemoryRevocation;
use super::failure::Failure;
use super::reading::Reading;
use super::replay::remembered;
use super::retry::{AttemptError, retry_on_conflict};
use super::services::{Services, State};
use super::world::{Effect, World};
use crate::base::Timestamp;
use crate::custody::{PendingOrder, RevocationOrder};
use crate::idempotency::Outcome;
use crate::store::{Change, OnConflict, RevocationOutcome};
use crate::telemetry::Alarm;

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
    /// What the next start does when the ledger does not take it before.
    pub(crate) order: Option<RevocationOrder>,
    pub(crate) on_conflict: OnConflict<World>,
    /// How much it takes away, where that is counted.
    pub(crate) count: Option<usize>,
}

/// What was taken away, before the caller is told.
pub(crate) struct Removed {
    pub(crate) taken: RevocationOutcome,
    /// What the next start does when the ledger does not take it before.
    pub(crate) order: Option<PendingOrder>,
    pub(crate) count: Option<usize>,
}

impl Removed {
    /// The entry of this sequence says so.
    pub(crate) const fn recorded(seq: u64) -> Self {
        Self { taken: RevocationOutcome::Recorded(seq), order: None, count: None }
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
            let (change, ()) = self.completed(request, ChangeDraft::of(removal.change, ()), preconditions)?;
            let taken = match removal.denial {
                Some(denial) => {
                    let still = |world: &World| {
                        let reading = Reading::of(world, 0, now);
                        decide(&reading).is_ok() && request.by.still_allowed(&reading).is_ok()
                    };
                    let on_conflict = judged(removal.on_conflict, request, now);
                    self.store.commit_revocation(change.revoking(denial), on_conflict, still).await?
                }
                None => RevocationOutcome::Recorded(self.store.commit(change, ()).await?.seq()),
            };
            let order = removal.order.map(|what| PendingOrder {
                at: now,
                by: request.by.name().to_owned(),
                reason: request.reason.cloned(),
                what,
            });
            Ok::<_, AttemptError>(Removed { taken, order, count: removal.count })
        })
    }
}

/// `on_conflict`, where what is decided again is decided for `request`: only while the operator who asked is allowed to,
/// once for its idempotency key, and with its reason.
fn judged(on_conflict: OnConflict<World>, request: ChangeRequest<'_>, now: Timestamp) -> OnConflict<World> {
    let OnConflict::Decide(decide) = on_conflict else { return on_conflict };
    let (operator, idempotency) = (request.by.operator().cloned(), request.idempotency.cloned());
    let reason = request.reason.cloned();
    OnConflict::Decide(Box::new(move |world, as_of| {
        let reading = Reading::of(world, as_of, now);
        reading.request(idempotency.as_ref());
        let by = operator.as_ref().map(Initiator::Operator);
        by.map_or(Ok(()), |by| by.still_allowed(&reading)).ok()?;
        let change = remembered(decide(world, as_of)?, idempotency.as_ref(), Outcome::Recorded);
        let change = reason.iter().cloned().fold(change, Change::because);
        Some(reading.preconditions().added_to(change))
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
        tokio::spawn(async move {
            if recorded.wait().await.is_some() {
                orders.forget(order.what).await;
                // An end of leases that the ledger has is told upstream.
                leases.send_modify(|changes| *changes = changes.wrapping_add(1));
            }
        });
        Ended::InMemory { kept }
    }
}
