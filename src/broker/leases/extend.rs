use std::collections::BTreeSet;
use std::sync::Arc;

use super::ineligible::is_ineligible;
use super::lease_upstream::{LeaseUpstream, LeaseUpstreams};
use super::renew::{Attempted, Renewal, RenewedBy};
use super::views::is_within;
use crate::base::limits::LEASE_LIFE_MIN_S;
use crate::base::{LeaseId, RoleName, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::tokens::mint::relying_on;
use crate::broker::world::records;
use crate::leases::{Lease, LeaseRenewalAttempted, keys};
use crate::policy::{Authorised, Decision, Extend, RenewLeases, decide_lease_extension};
use crate::store::Change;

impl AdminServices {
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
        let services = &*self.0;
        let _turn = services.upstream.renewals.lock(lease).await;
        let attempted = retry_on_conflict!(services.attempt_extension(by, lease, life_s))?;
        services.renew(attempted).await
    }
}

/// A lease, the roles of its holder, and what is decided on it.
struct FoundLease {
    lease: Lease,
    roles: Arc<BTreeSet<RoleName>>,
    counter: LeaseUpstream,
    decision: Decision<Extend>,
    as_of: u64,
}

impl Services {
    async fn attempt_extension<'a>(
        &'a self,
        by: &'a Authorised<RenewLeases>,
        id: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Attempted<'a>, AttemptError> {
        let operator = by.operator();
        let FoundLease { lease, roles, counter, decision, as_of } = self.found(by, id, life_s)?;
        let grant = decision.grant().map_err(|denial| Failure::new(denial.code))?;
        let (basis, extend) = (grant.basis(), grant.act());
        let Some(call) = self.lets_call_at(&counter.place) else {
            return Err(Failure::new(code::UPSTREAM_UNREACHABLE).into());
        };
        let event = LeaseRenewalAttempted {
            lease: id,
            agent: &lease.agent_name,
            operator: Some(operator.name()),
            capability: &lease.capability,
            expires_at: extend.expires_at().to_string(),
            administering: counter.administering(),
            decision: basis.decision,
            snapshot: basis.snapshot.hex(),
            rules: &basis.rules,
            request: None,
        };
        let what = std::iter::once(&lease.capability);
        let change = relying_on(Change::new(&event)?, lease.agent, lease.instance, &roles, what, as_of)
            .rely(keys::lease(id), as_of)
            .rely(keys::endings(), as_of)
            .advance(keys::lease(id));
        let renewal = Renewal {
            lease: id,
            expires_at: extend.expires_at(),
            renewable_until: extend.renewable_until(),
            decision: basis.decision,
            constrained: grant.constrained().to_vec(),
        };
        let admin = self.opened_for(&counter, self.while_allowed(change, operator)?, as_of).await?;
        Ok(Attempted { lease, call, counter, admin, renewal, by: RenewedBy::Operator(operator) })
    }

    fn found(
        &self,
        by: &Authorised<RenewLeases>,
        id: LeaseId,
        life_s: Option<u32>,
    ) -> Result<FoundLease, Failure> {
        let reading = self.state.issuing()?;
        let deciding = self.deciding(reading);
        self.state.store.read(|world, as_of| {
            let scope = by.operator().scope();
            let lease = world.leases.lease(id).filter(|lease| is_within(world, scope, lease));
            let lease = lease.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            let agent = world.registry.agent(lease.agent).filter(|_| !is_ineligible(world, lease));
            let agent = agent.ok_or_else(|| Failure::new(code::LEASE_NOT_ACTIVE))?;
            Ok(FoundLease {
                lease: lease.clone(),
                roles: Arc::clone(&agent.roles),
                counter: LeaseUpstreams::of(world, lease).for_renewal()?,
                decision: decide_lease_extension(&deciding.on_records(records(world)), by, lease, life_s),
                as_of,
            })
        })
    }
}
