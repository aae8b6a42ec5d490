use super::lease_upstream::LeaseUpstreams;
use super::renew::{Attempted, LeaseToRenew, Renewal, RenewedBy};
use super::requested_life::is_long_enough;
use super::views::is_within;
use crate::base::{LeaseId, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::policy::{Authorised, Denial, RenewLeases, decide_lease_extension};

impl AdminServices {
    /// Renews a lease within the operator's scope, up to the end that its holder could request.
    ///
    /// # Errors
    /// [`Failure`] if there is no such lease, or it cannot be renewed further.
    pub async fn extend_lease(
        &self,
        by: &Authorised<RenewLeases>,
        lease: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Renewal, Failure> {
        is_long_enough(life_s)?;
        let services = &*self.0;
        let _turn = services.upstream.renewals.lock(lease).await;
        let attempted = retry_on_conflict!(services.attempt_extension(by, lease, life_s))?;
        services.renew(attempted).await
    }
}

impl Services {
    async fn attempt_extension<'a>(
        &'a self,
        by: &'a Authorised<RenewLeases>,
        id: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Attempted<'a>, AttemptError> {
        let deciding = self.deciding(self.state.issuing()?);
        let (read, preconditions) = self.state.read(|reading| {
            let (world, scope) = (reading.unconditional(), by.operator().scope());
            let lease = reading.lease(id).filter(|lease| is_within(world, scope, lease));
            let lease = lease.ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))?;
            reading.lease_holder(lease).ok_or_else(|| Failure::new(code::LEASE_NOT_ACTIVE))?;
            reading.past_reads(lease.holder.agent);
            let counter = LeaseUpstreams::of(world, lease).for_renewal(reading)?;
            let decision = decide_lease_extension(&deciding.timed_on(reading), by, lease, life_s);
            Ok::<_, Failure>((LeaseToRenew { lease: lease.clone(), counter }, decision))
        });
        let (target, decision) = read?;
        // The denial of an operator's request has no entry that its id could name.
        let denied = |denial: Box<Denial>| {
            let mut failure = Failure::from(*denial);
            failure.decision = None;
            failure
        };
        let grant = decision.grant().map_err(denied)?;
        let (basis, extend) = (grant.basis(), grant.act());
        let renewal = Renewal {
            lease: id,
            expires_at: extend.expires_at(),
            renewable_until: extend.renewable_until(),
            decision: basis.decision,
            constrained: grant.constrained().to_vec(),
        };
        self.attempt(target, renewal, basis, RenewedBy::Operator(by.operator()), preconditions).await
    }
}
