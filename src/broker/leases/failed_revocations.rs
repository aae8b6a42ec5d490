use super::lease_upstream::{LeaseUpstreams, revocations_at};
use super::revoke::{Chosen, LeasesEnded, agents_of, named, selection};
use super::views::{described, is_wholly_within, is_within};
use crate::base::{LeaseId, Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::removals::Ended;
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::leases::{self, Lease, LeaseForgotten, LeaseStage, LeasesRetried};
use crate::policy::{Authorised, EndLeases, ForgetLeases};
use crate::telemetry::Alarm;
use crate::upstream::is_shut_out;

impl AdminServices {
    /// Retries failed revocations now.
    ///
    /// # Errors
    /// [`Failure`], also if no revocation of the chosen leases has failed.
    pub async fn retry_leases(
        &self,
        by: &Authorised<EndLeases>,
        chosen: &Chosen,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<LeasesEnded, Failure> {
        let services = &*self.0;
        let operator = by.operator();
        let changed = services.state.change(ChangeRequest::by(operator, idempotency), |reading| {
            let world = reading.unconditional();
            let which = selection(world, operator.scope(), chosen)?;
            let failing = world.leases.all().filter(|lease| lease.is_failing() && which.has(lease));
            let failing: Vec<&Lease> = failing.collect();
            let places: Vec<_> =
                failing.iter().map(|lease| LeaseUpstreams::of(world, lease).place()).collect();
            if places.is_empty() {
                return Err(Failure::new(code::LEASE_INVALID_STATE));
            }
            let (lease, agent, capability) = named(chosen);
            let (operator, count, agents) = (operator.name(), places.len(), agents_of(&failing));
            let event = LeasesRetried { operator, lease, agent, agents, capability, count };
            Ok(ChangeDraft::new(&event, places)?.effect(Effect::Lease(leases::Effect::Retry(which))))
        });
        let changed = changed.await?;
        let (ended, places) = (Ended::Recorded(changed.seq()), changed.value());
        for place in places.iter().flatten().flatten() {
            services.try_again_at(&revocations_at(place));
        }
        services.notifications.leases_changed();
        Ok(LeasesEnded { ended, count: places.map(|places| places.len()) })
    }

    /// Removes a lease whose revocation failed from the records, and raises an alarm: the login may still exist.
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
        let request = ChangeRequest::by(operator, idempotency).because(Some(reason));
        let changed = services.state.change(request, |reading| {
            let (world, scope) = (reading.unconditional(), operator.scope());
            let found = reading.lease(lease).filter(|one| is_within(world, scope, one));
            let found = found.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            if !is_wholly_within(world, scope, found) {
                return Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT));
            }
            let LeaseStage::Ending(leases::Ending { failures, trouble: Some(trouble), .. }) = &found.stage
            else {
                return Err(Failure::new(code::LEASE_INVALID_STATE));
            };
            let (open, upstream) = (!is_shut_out(&trouble.code), described(world, found));
            let event = LeaseForgotten {
                lease,
                agent: &found.holder.agent_name,
                capability: &found.capability,
                login: &found.login.name,
                upstream: upstream.clone(),
                operator: operator.name(),
                reason,
                code: &trouble.code,
                failures: *failures,
                open,
            };
            let draft = ChangeDraft::new(&event, (found.login.name.clone(), upstream, open))?;
            Ok(draft.effect(Effect::Lease(leases::Effect::Ended(lease))))
        });
        let changed = changed.await?;
        let seq = changed.seq();
        let Some((login, upstream, open)) = changed.value() else { return Ok(Forgotten { seq, open: None }) };
        services.notifications.leases_changed();
        services.notifications.meters.alarms().raise(
            Alarm::LeaseForgotten,
            format_args!(
                "the login {login} at {upstream} was not revoked and may still exist ({}): {} had the broker forget \
                 lease {lease}; check that the role is gone",
                if open { "it may still log in" } else { "it can no longer log in" },
                operator.name()
            ),
        );
        Ok(Forgotten { seq, open: Some(open) })
    }
}

/// A lease that was removed although its login could not be revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forgotten {
    /// The ledger entry.
    pub seq: u64,
    /// Whether the login could still log in, if known; unknown for a repeated request.
    pub open: Option<bool>,
}
