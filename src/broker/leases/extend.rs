use std::sync::Arc;

use super::counter::{Counter, Counters};
use super::end::is_bereft;
use super::renew::{Attempted, By, Renewal};
use super::views::is_within;
use crate::base::limits::LEASE_LIFE_MIN_S;
use crate::base::{LeaseId, RoleName, Timestamp, code};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::tokens::mint::relying_on;
use crate::leases::{Lease, LeaseRenewalAttempted, keys};
use crate::policy::{Authorised, Holder, RenewLeases, decide_lease_extension};
use crate::registry::Declarations;
use crate::store::Change;

impl AdminDesk {
    /// Has a lease end later that is within the operator's reach, as far as its holder could have it do so.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or it may end no later.
    pub async fn renew_lease(
        &self,
        by: &Authorised<RenewLeases>,
        lease: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Renewal, Failure> {
        if life_s.is_some_and(|life_s| life_s < LEASE_LIFE_MIN_S) {
            return Err(Failure::new(code::LEASE_LIFE_TOO_SHORT));
        }
        let core = &*self.0;
        let _turn = core.upstream.renewals.turn_of(lease).await;
        let attempted = deciding_again!(core.attempt_extension(by, lease, life_s))?;
        core.renew(attempted).await
    }
}

/// A lease and its holder, as the records have them.
struct Found {
    lease: Lease,
    roles: std::collections::BTreeSet<RoleName>,
    not_after: Timestamp,
    declarations: Arc<Declarations>,
    counter: Counter,
    as_of: u64,
}

impl Core {
    async fn attempt_extension<'a>(
        &'a self,
        by: &'a Authorised<RenewLeases>,
        id: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Attempted<'a>, Again> {
        let (now, operator) = (self.issuing()?.now(), by.operator());
        let Found { lease, roles, not_after, declarations, counter, as_of } = self.found(by, id)?;
        let holder = Holder { roles: &roles, not_after };
        let extension = decide_lease_extension(&declarations, by, (&lease, holder), life_s, now);
        let extension = extension.map_err(Failure::new)?;
        let Some(call) = self.lets_call_at(&counter.place) else {
            return Err(Failure::new(code::UPSTREAM_UNREACHABLE).into());
        };
        let decision = self.state.decision(now);
        let event = LeaseRenewalAttempted {
            lease: id,
            agent: &lease.agent_name,
            operator: Some(operator.name()),
            capability: &lease.capability,
            expires_at: extension.expires_at.to_string(),
            administering: counter.administering(),
            decision,
            snapshot: extension.snapshot.hex(),
            rules: &extension.rules,
            request: None,
        };
        let (who, what) = ((lease.agent, lease.instance), std::iter::once(&lease.capability));
        let change = relying_on(Change::new(&event)?, who, &roles, what, as_of)
            .rely(keys::lease(id), as_of)
            .rely(keys::endings(), as_of)
            .advance(keys::lease(id));
        let renewal = Renewal {
            lease: id,
            expires_at: extension.expires_at,
            renewable_until: extension.renewable_until,
            decision,
            constrained: extension.constrained,
        };
        let admin = self.opened_for(&counter, (self.while_allowed(change, operator)?, as_of)).await?;
        Ok(Attempted { lease, call, counter, admin, renewal, by: By::Operator(operator) })
    }

    fn found(&self, by: &Authorised<RenewLeases>, id: LeaseId) -> Result<Found, Failure> {
        self.state.store.read(|world, as_of| {
            let scope = by.operator().scope();
            let lease = world.leases.lease(id).filter(|lease| is_within(world, scope, lease));
            let lease = lease.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            let agent = world.registry.agent(lease.agent).filter(|_| !is_bereft(world, lease));
            let instance = agent.and_then(|agent| Some((agent, agent.instances.get(lease.instance)?)));
            let (agent, instance) = instance.ok_or_else(|| Failure::new(code::LEASE_ENDING))?;
            Ok(Found {
                lease: lease.clone(),
                roles: agent.roles.iter().cloned().collect(),
                not_after: instance.not_after(),
                declarations: Arc::clone(world.registry.declarations()),
                counter: Counters::of(world, lease).for_renewal()?,
                as_of,
            })
        })
    }
}
