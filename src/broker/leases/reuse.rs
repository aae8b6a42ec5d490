use super::ineligible::is_ineligible;
use crate::authn::AgentPrincipal;
use crate::base::limits::LEASE_USES_MAX;
use crate::base::{CapabilityName, LeaseId, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::replay::remembered_for;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::leases::{Lease, LeaseStage};
use crate::store::Change;

/// Whether a live login can be returned again.
pub(super) fn is_reusable(world: &World, lease: &Lease) -> bool {
    let offered = world.leases.offer(&lease.capability).map(|(_, upstream)| *upstream);
    // A password that an earlier value key sealed can soon not be opened any more.
    let turned = world.secrets.turned().map(|wraps| wraps.since);
    offered == Some(lease.login.upstream)
        && lease.uses.len() < LEASE_USES_MAX
        && turned.is_none_or(|since| lease.issued.at > since)
}

/// The login of the instance of `principal` that ends last, of those that `is_sufficient` accepts.
pub(super) fn own_login<'w>(
    reading: &Reading<'w>,
    principal: &AgentPrincipal,
    capability: &CapabilityName,
    is_sufficient: &dyn Fn(&Lease) -> bool,
) -> Option<&'w Lease> {
    let world = reading.unconditional();
    let will_do = |lease: &&Lease| {
        lease.capability == *capability
            && lease.holder.instance == principal.instance()
            && matches!(lease.stage, LeaseStage::Live { .. })
            && is_reusable(world, lease)
            && !is_ineligible(world, lease)
            && lease.ends.expires_at > reading.now()
            && is_sufficient(lease)
    };
    world.leases.of_agent(principal.agent()).filter(will_do).max_by_key(|lease| lease.ends.expires_at)
}

/// `change`, which also stores this login as the outcome of the request for `life_s` seconds.
pub(super) fn remembering_lease(
    change: Change<Effect>,
    idempotency: Option<&IdempotencyKey>,
    lease: LeaseId,
    life_s: i64,
) -> Change<Effect> {
    let life_s = u32::try_from(life_s).unwrap_or_default();
    remembered_for(life_s, change, idempotency, || Outcome::Lent(lease))
}

impl Services {
    /// The lease of an earlier attempt of the request, also if its login is still being created; `None` after its
    /// end.
    pub(super) fn earlier_login<'w>(
        &self,
        reading: &Reading<'w>,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Option<&'w Lease>, Failure> {
        let Some(Remembered { outcome: Outcome::Lent(id), .. }) = reading.outcome(idempotency)? else {
            return Ok(None);
        };
        let world = reading.unconditional();
        let Some(lease) = world.leases.lease(id).filter(|lease| lease.ends.expires_at > reading.now()) else {
            return Ok(None);
        };
        match lease.stage {
            LeaseStage::Live { .. } if is_ineligible(world, lease) => {
                Err(Failure::new(code::LEASE_NOT_ACTIVE))
            }
            LeaseStage::Live { .. } if is_reusable(world, lease) => Ok(Some(lease)),
            LeaseStage::Live { .. } => {
                let why = format!(
                    "the first request with this Idempotency-Key got the lease {id}, whose password the broker does not send again"
                );
                Err(Failure::new(code::REPLAY_SECRET_NOT_STORED).because(why))
            }
            LeaseStage::Intended if self.is_creating(id) => Ok(Some(lease)),
            // Its login was not created, and will not be.
            LeaseStage::Intended | LeaseStage::Ending(_) => Ok(None),
        }
    }

    /// Waits until no task of this process is creating the login of `lease`.
    pub(super) async fn await_creation(&self, lease: LeaseId) {
        let mut changes = self.notifications.leases.subscribe();
        while self.is_creating(lease) && changes.changed().await.is_ok() {}
    }
}
