use super::lease_upstream::{LeaseUpstreams, revocations_at};
use super::revoke::{Chosen, LeasesEnded, named, selection};
use super::views::{described, is_wholly_within, is_within};
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{LeaseId, Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::removals::Ended;
use crate::broker::replay::{done_before, remembering};
use crate::broker::retry::retry_on_conflict;
use crate::broker::world::Effect;
use crate::idempotency::{IdempotencyKey, Outcome};
use crate::leases::{self, LeaseForgotten, LeaseStage, LeasesRetried, keys};
use crate::policy::{Authorised, EndLeases, ForgetLeases};
use crate::store::Change;
use crate::telemetry::Alarm;
use crate::upstream::is_shut_out;

impl AdminServices {
    /// Has the revocation of logins that failed retried now.
    ///
    /// # Errors
    /// [`Failure`], also when none of those chosen has failed.
    pub async fn retry_leases(
        &self,
        by: &Authorised<EndLeases>,
        chosen: &Chosen,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<LeasesEnded, Failure> {
        let services = &*self.0;
        let operator = by.operator();
        retry_on_conflict!(async {
            let (before, selected, as_of) = services.state.store.read(|world, as_of| {
                let selected = selection(world, operator.scope(), chosen).map(|which| {
                    let failing = world.leases.all().filter(|lease| lease.is_failing() && which.has(lease));
                    let places = failing.map(|lease| LeaseUpstreams::of(world, lease).place());
                    (places.collect::<Vec<_>>(), which)
                });
                (done_before(world, idempotency, services.state.clock.now()), selected, as_of)
            });
            if let Some(before) = before? {
                return Ok(LeasesEnded { ended: Ended::Recorded(before.seq), count: None });
            }
            let (places, which) = selected?;
            let count = places.len();
            if count == 0 {
                return Err(Failure::new(code::LEASE_INVALID_STATE).into());
            }
            let (lease, agent, capability) = named(chosen);
            let event = LeasesRetried { operator: operator.name(), lease, agent, capability, count };
            let effect = leases::Effect::Retry(which);
            let mut change = Change::new(&event)?.effect(Effect::Lease(effect));
            change = remembering(change, idempotency, as_of, OUTCOME_LIFE_S, || Outcome::Recorded);
            for place in places.iter().flatten() {
                services.try_again_at(&revocations_at(place));
            }
            let seq = services.record_of_leases(services.while_allowed(change, operator)?).await?;
            Ok(LeasesEnded { ended: Ended::Recorded(seq), count: Some(count) })
        })
    }

    /// Gives up on a login that could not be revoked: it may still exist, and the operator answers for it.
    /// An alarm.
    ///
    /// # Errors
    /// [`Failure`], also when its revocation has not failed.
    pub async fn forget_lease(
        &self,
        by: &Authorised<ForgetLeases>,
        lease: LeaseId,
        reason: &Reason,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Forgotten, Failure> {
        let services = &*self.0;
        let operator = by.operator();
        retry_on_conflict!(async {
            let (before, found, as_of) = services.state.store.read(|world, as_of| {
                let found = world.leases.lease(lease).filter(|one| is_within(world, operator.scope(), one));
                let found = found.map(|lease| {
                    let is_whole = is_wholly_within(world, operator.scope(), lease);
                    (lease.clone(), described(world, lease), is_whole)
                });
                (done_before(world, idempotency, services.state.clock.now()), found, as_of)
            });
            if let Some(before) = before? {
                return Ok(Forgotten { seq: before.seq, open: None });
            }
            let (found, upstream, is_whole) = found.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            if !is_whole {
                return Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT).into());
            }
            let LeaseStage::Ending(leases::Ending { failures, trouble: Some(trouble), .. }) = &found.stage
            else {
                return Err(Failure::new(code::LEASE_INVALID_STATE).into());
            };
            let open = !is_shut_out(&trouble.code);
            let event = LeaseForgotten {
                lease,
                agent: &found.agent_name,
                capability: &found.capability,
                login: &found.login,
                upstream: upstream.clone(),
                operator: operator.name(),
                reason,
                code: &trouble.code,
                failures: *failures,
                open,
            };
            let key = keys::lease(lease);
            let mut change =
                Change::new(&event)?.effect(Effect::Lease(leases::Effect::Ended(lease))).rely(key, as_of);
            change = remembering(change, idempotency, as_of, OUTCOME_LIFE_S, || Outcome::Recorded);
            let seq = services.record_of_leases(services.while_allowed(change, operator)?).await?;
            services.notifications.meters.alarms().raise(
                Alarm::LeaseForgotten,
                format_args!(
                    "the login {} at {upstream} was not revoked and may still exist ({}): {} had the broker forget \
                     lease {lease}; check that the role is gone",
                    found.login,
                    if open { "it may still log in" } else { "it can no longer log in" },
                    operator.name()
                ),
            );
            Ok(Forgotten { seq, open: Some(open) })
        })
    }
}

/// A login that the broker gave up on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forgotten {
    /// The entry that says so.
    pub seq: u64,
    /// Whether the login could still log in, as far as the broker knows; unknown when the request had been
    /// carried out before.
    pub open: Option<bool>,
}
