use super::holder::LeaseHolder;
use super::ineligible::is_ineligible;
use super::lease_upstream::{LeaseUpstream, LeaseUpstreams};
use crate::authn::{AgentPrincipal, OperatorPrincipal};
use crate::base::limits::LEASE_LIFE_MIN_S;
use crate::base::{DecisionId, LeaseId, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::deciding::AdmittedAgent;
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::tokens::mint::relying;
use crate::broker::upstreams::Call;
use crate::broker::world::{Effect, records};
use crate::leases::{self, Lease, LeaseRenewalAttempted, LeaseRenewed, LeaseStage, LeaseUseReleased, keys};
use crate::pki::PeerCertificate;
use crate::policy::decide_lease_renewal;
use crate::secrets::SecretValue;
use crate::store::Change;

/// A later end of a lease.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The lease.
    pub lease: LeaseId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Beyond this it is never renewed.
    pub renewable_until: Timestamp,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// What was taken away from the request, in words.
    pub constrained: Vec<String>,
}

/// A renewal whose intent is durable.
pub(super) struct Attempted<'a> {
    pub(super) lease: Lease,
    pub(super) call: Call<'a>,
    pub(super) counter: LeaseUpstream,
    pub(super) admin: SecretValue,
    pub(super) renewal: Renewal,
    /// On whose word.
    pub(super) by: RenewedBy<'a>,
}

/// On whose word a lease is renewed.
pub(super) enum RenewedBy<'a> {
    /// The agent's, by this certificate.
    Agent(PeerCertificate),
    /// An operator's.
    Operator(&'a OperatorPrincipal),
}

impl AgentServices {
    /// Has a lease of the agent's own end later: upstream is told first, so that the login never ends
    /// before what the answer says.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn renew_lease(
        &self,
        principal: AgentPrincipal,
        lease: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Renewal, Failure> {
        if life_s.is_some_and(|life_s| life_s < LEASE_LIFE_MIN_S) {
            return Err(Failure::new(code::LEASE_LIFE_TOO_SHORT));
        }
        let services = &*self.0;
        let mut agent = services.admit(principal)?;
        let _turn = services.upstream.renewals.lock(lease).await;
        agent.waited();
        let attempted = retry_on_conflict!(services.attempt_renewal(&mut agent, lease, life_s))?;
        services.renew(attempted).await
    }

    /// Takes note that an agent needs a lease of its own no more, or one use of it; with the last use the
    /// login ends. Repeating it does no harm.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or it cannot be recorded.
    pub async fn give_up_lease(
        &self,
        principal: &AgentPrincipal,
        lease: LeaseId,
        used_by: Option<DecisionId>,
    ) -> Result<(), Failure> {
        let services = &*self.0;
        let _permit = services.limits.mints.admit(&principal.agent())?;
        let found = services.state.store.read(|world, _| own(world.leases.lease(lease), principal))?;
        let goes_on = match &found.stage {
            LeaseStage::Ending(_) => return Ok(()),
            LeaseStage::Intended | LeaseStage::Live { .. } => {
                used_by.is_some_and(|used| !found.uses.contains(&used))
            }
        };
        if goes_on {
            return Ok(());
        }
        let event = LeaseUseReleased { lease, agent: principal.name(), use_of: used_by };
        let effect = leases::Effect::GiveUp { lease, by: used_by };
        let change = Change::new(&event)?.effect(Effect::Lease(effect));
        services.record_of_leases(change).await?;
        Ok(())
    }
}

/// The lease, when it is this instance's. Another instance's is unknown.
fn own(lease: Option<&Lease>, principal: &AgentPrincipal) -> Result<Lease, Failure> {
    let is_own = |lease: &&Lease| lease.agent == principal.agent() && lease.instance == principal.instance();
    lease.filter(is_own).cloned().ok_or_else(|| Failure::new(code::LEASE_UNKNOWN))
}

impl Services {
    /// Tells upstream of a later end, and records it.
    pub(super) async fn renew(&self, attempted: Attempted<'_>) -> Result<Renewal, Failure> {
        let Attempted { lease, call, counter, admin, renewal, by } = attempted;
        let call_with = self.lease_call(&admin);
        let extended = counter.driver.extend(call_with, &lease.login, renewal.expires_at).await;
        self.note_answer_of(&counter.place, extended.as_ref().err());
        drop(call);
        extended.map_err(|fault| Failure::of_login(&fault))?;
        retry_on_conflict!(self.record_renewed(&lease, renewal.expires_at, &by))?;
        Ok(renewal)
    }

    async fn attempt_renewal<'a>(
        &'a self,
        agent: &mut AdmittedAgent,
        id: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Attempted<'a>, AttemptError> {
        let reading = self.state.issuing()?;
        let deciding = self.deciding(reading);
        let (principal, permit) = agent.attempt(self, reading)?;
        let caller = principal.clone();
        let (lease, counter, decision) = self.state.store.read(|world, _| {
            let lease = own(world.leases.lease(id), &principal)?;
            if is_ineligible(world, &lease) {
                return Err(Failure::new(code::LEASE_NOT_ACTIVE));
            }
            let counter = LeaseUpstreams::of(world, &lease).for_renewal();
            let context = deciding.on_records(records(world));
            let decision = decide_lease_renewal(&context, principal, permit, &lease, life_s);
            Ok((lease, counter, decision))
        })?;
        let principal = &caller;
        let grant = self.granted(principal, "lease", decision).await?;
        let counter = counter?;
        let Some(call) = self.lets_call_at(&counter.place) else {
            return Err(Failure::new(code::UPSTREAM_UNREACHABLE).into());
        };
        let (basis, lend) = (grant.basis(), grant.act());
        let event = LeaseRenewalAttempted {
            lease: id,
            agent: principal.name(),
            operator: None,
            capability: &lease.capability,
            expires_at: lend.expires_at().to_string(),
            administering: counter.administering(),
            decision: basis.decision,
            snapshot: basis.snapshot.hex(),
            rules: &basis.rules,
            request: Some(basis.request.hex()),
        };
        let as_of = principal.as_of();
        let change = relying(Change::new(&event)?, principal, std::iter::once(&lease.capability))
            .rely(keys::lease(id), as_of)
            .rely(keys::endings(), as_of)
            .advance(keys::lease(id));
        let renewal = Renewal {
            lease: id,
            expires_at: lend.expires_at(),
            renewable_until: lend.renewable_until(),
            decision: basis.decision,
            constrained: grant.constrained().to_vec(),
        };
        let admin = self.opened_for(&counter, change, as_of).await?;
        let by = RenewedBy::Agent(agent.certificate().clone());
        Ok(Attempted { lease, call, counter, admin, renewal, by })
    }

    /// Commits the intent of a call, and opens what it needs.
    pub(super) async fn opened_for(
        &self,
        counter: &LeaseUpstream,
        change: Change<Effect>,
        as_of: u64,
    ) -> Result<SecretValue, AttemptError> {
        let change = counter.relying(change, as_of);
        let stored = self.stored_for(counter).await?;
        let receipt = self.state.store.commit(change, counter.loan()).await?;
        let admin = self.signing.issuer.lend(receipt, &stored)?.deliver().pop();
        Ok(admin.ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?)
    }

    /// Records a later end, while its lease is live and its holder may have it: upstream was told, which takes
    /// time.
    async fn record_renewed(
        &self,
        lease: &Lease,
        expires_at: Timestamp,
        by: &RenewedBy<'_>,
    ) -> Result<(), AttemptError> {
        let holder = self.state.store.read(|world, as_of| {
            let found = world.leases.lease(lease.id);
            let is_live = found.is_some_and(|lease| matches!(lease.stage, LeaseStage::Live { .. }));
            let ending = || Failure::new(code::LEASE_NOT_ACTIVE);
            let holder = LeaseHolder::of(world, lease, as_of).filter(|_| is_live).ok_or_else(ending)?;
            if let RenewedBy::Agent(peer) = by {
                crate::authn::agent(peer, records(world), as_of, self.state.clock.reading())?;
            }
            Ok::<_, Failure>(holder)
        })?;
        let operator = if let RenewedBy::Operator(operator) = by { Some(*operator) } else { None };
        let event = LeaseRenewed {
            lease: lease.id,
            agent: &lease.agent_name,
            operator: operator.map(OperatorPrincipal::name),
            expires_at: expires_at.to_string(),
        };
        let key = keys::lease(lease.id);
        let change = Change::new(&event)?
            .effect(Effect::Lease(leases::Effect::Renew { lease: lease.id, expires_at }))
            .rely(keys::endings(), holder.as_of)
            .rely(key, holder.as_of);
        let change = holder.relying(change);
        let change =
            if let Some(operator) = operator { self.while_allowed(change, operator)? } else { change };
        self.record_of_leases(change).await?;
        Ok(())
    }
}
