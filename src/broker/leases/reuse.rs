use super::ineligible::is_ineligible;
use crate::base::limits::LEASE_USES_MAX;
use crate::base::{LeaseId, Timestamp, code};
use crate::broker::failure::Failure;
use crate::broker::replay::{done_before, remembering};
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::leases::{Lease, LeaseStage};
use crate::store::Change;

/// What became of the login that a request was handed before.
pub(super) enum EarlierLogin {
    /// It can be handed over once more.
    Live(Box<Lease>),
    /// It is being created.
    InCreation(LeaseId),
}

/// Whether a live login can be handed over once more.
pub(super) fn is_reusable(world: &World, lease: &Lease) -> bool {
    let offered = world.leases.offer(&lease.capability).map(|(_, upstream)| *upstream);
    // What was sealed by an earlier value key does not open for much longer.
    let turned = world.secrets.turned().map(|wraps| wraps.since);
    offered == Some(lease.upstream)
        && lease.uses.len() < LEASE_USES_MAX
        && turned.is_none_or(|since| lease.issued_at > since)
}

/// `change`, remembering for `life_s` seconds that the request of `idempotency` was handed this login.
pub(super) fn remembering_lease(
    change: Change<Effect>,
    idempotency: Option<&IdempotencyKey>,
    as_of: u64,
    lease: LeaseId,
    life_s: i64,
) -> Change<Effect> {
    let life_s = u32::try_from(life_s).unwrap_or_default();
    remembering(change, idempotency, as_of, life_s, || Outcome::Lent(lease))
}

impl Services {
    /// What the request of `idempotency` was handed before; nothing once that is over: it would be of no use.
    pub(super) fn earlier_login(
        &self,
        world: &World,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Option<EarlierLogin>, Failure> {
        let Some(Remembered { outcome: Outcome::Lent(id), .. }) = done_before(world, idempotency, now)?
        else {
            return Ok(None);
        };
        let Some(lease) = world.leases.lease(id).filter(|lease| lease.expires_at > now) else {
            return Ok(None);
        };
        match lease.stage {
            LeaseStage::Live { .. } if is_ineligible(world, lease) => {
                Err(Failure::new(code::LEASE_NOT_ACTIVE))
            }
            LeaseStage::Live { .. } if is_reusable(world, lease) => {
                Ok(Some(EarlierLogin::Live(Box::new(lease.clone()))))
            }
            LeaseStage::Live { .. } => {
                let why = format!(
                    "the first request with this Idempotency-Key got the lease {id}, whose password the broker does not send again"
                );
                Err(Failure::new(code::REPLAY_SECRET_NOT_STORED).because(why))
            }
            LeaseStage::Intended if self.is_creating(id) => Ok(Some(EarlierLogin::InCreation(id))),
            // It was not made, and is not going to be.
            LeaseStage::Intended | LeaseStage::Ending(_) => Ok(None),
        }
    }

    /// Waits until nobody in this process makes the login of `lease` any more.
    pub(super) async fn await_creation(&self, lease: LeaseId) {
        let mut changes = self.notifications.leases.subscribe();
        while self.is_creating(lease) && changes.changed().await.is_ok() {}
    }
}
