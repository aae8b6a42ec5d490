use super::ineligible::is_ineligible;
use super::lease_upstream::{LeaseUpstream, LeaseUpstreams};
use super::requested_life::is_long_enough;
use crate::authn::{AgentPrincipal, OperatorPrincipal};
use crate::base::{DecisionId, LeaseId, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::changes::Initiator;
use crate::broker::deciding::AdmittedAgent;
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::upstreams::Call;
use crate::broker::world::Effect;
use crate::leases::{self, Lease, LeaseRenewalAttempted, LeaseRenewed, LeaseStage, keys};
use crate::pki::PeerCertificate;
use crate::policy::{Basis, decide_lease_renewal};
use crate::secrets::SecretValue;
use crate::store::Change;

/// A later end of a lease.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The lease.
    pub lease: LeaseId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The limit of all renewals.
    pub renewable_until: Timestamp,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The restrictions of the request, as text.
    pub constrained: Vec<String>,
}

/// A lease to renew, and its upstream.
pub(super) struct LeaseToRenew {
    pub(super) lease: Lease,
    pub(super) counter: LeaseUpstream,
}

/// A renewal whose intent is durable.
pub(super) struct Attempted<'a> {
    pub(super) target: LeaseToRenew,
    pub(super) call: Call<'a>,
    pub(super) admin: SecretValue,
    /// The entry of the intent.
    pub(super) seq: u64,
    pub(super) renewal: Renewal,
    /// The requester.
    pub(super) by: RenewedBy<'a>,
}

/// The requester of a renewal.
pub(super) enum RenewedBy<'a> {
    /// The agent with this certificate.
    Agent(PeerCertificate),
    /// An operator.
    Operator(&'a OperatorPrincipal),
}

impl RenewedBy<'_> {
    const fn initiator(&self) -> Initiator<'_> {
        match self {
            Self::Agent(peer) => Initiator::Holder(peer.connection()),
            Self::Operator(operator) => Initiator::Operator(operator),
        }
    }
}

impl AgentServices {
    /// Renews a lease of the agent. The upstream is called first, so that the login never ends before the time in the
    /// response.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn renew_lease(
        &self,
        principal: AgentPrincipal,
        lease: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Renewal, Failure> {
        is_long_enough(life_s)?;
        let services = &*self.0;
        let mut agent = services.admit(principal)?;
        let _turn = services.upstream.renewals.lock(lease).await;
        agent.waited();
        let attempted = retry_on_conflict!(services.attempt_renewal(&mut agent, lease, life_s));
        let attempted = services.noting_clock_refusal(agent.caller(), "lease", attempted).await?;
        services.renew(attempted).await
    }
}

impl Services {
    /// Extends the login at the upstream, and records the new end.
    pub(super) async fn renew(&self, attempted: Attempted<'_>) -> Result<Renewal, Failure> {
        let Attempted { target: LeaseToRenew { lease, counter }, call, admin, seq, renewal, by } = attempted;
        let call_with = self.lease_call(&admin);
        let extended = counter.driver.extend(call_with, &lease.login.name, renewal.expires_at).await;
        self.note_answer_of(&counter.place, extended.as_ref().err());
        drop(call);
        extended.map_err(|fault| Failure::of_login(&fault))?;
        retry_on_conflict!(self.record_renewed(&lease, renewal.expires_at, seq, &by))?;
        Ok(renewal)
    }

    async fn attempt_renewal<'a>(
        &'a self,
        agent: &mut AdmittedAgent,
        id: LeaseId,
        life_s: Option<u32>,
    ) -> Result<Attempted<'a>, AttemptError> {
        let issue = self.state.issuing()?;
        let (time, deciding) = (issue.time, self.deciding(issue));
        let (principal, permit) = agent.attempt(self, time)?;
        let caller = principal.clone();
        let (read, preconditions) = self.state.read_as(&caller, time.now(), |reading| {
            let lease = reading.own_lease(id, &principal)?;
            if is_ineligible(reading.unconditional(), lease) {
                return Err(Failure::new(code::LEASE_NOT_ACTIVE));
            }
            let counter = LeaseUpstreams::of(reading.unconditional(), lease).for_renewal(reading);
            let decision =
                decide_lease_renewal(&deciding.timed_on(reading), principal, permit, lease, life_s);
            Ok((lease.clone(), counter, reading.noting(decision)))
        });
        let (lease, counter, decision) = read?;
        let grant = self.granted(&caller, "lease", decision).await?;
        let (basis, lend) = (grant.basis(), grant.act());
        let renewal = Renewal {
            lease: id,
            expires_at: lend.expires_at(),
            renewable_until: lend.renewable_until(),
            decision: basis.decision,
            constrained: grant.constrained().to_vec(),
        };
        let by = RenewedBy::Agent(agent.certificate().clone());
        let target = LeaseToRenew { lease, counter: counter? };
        self.attempt(target, renewal, basis, by, preconditions).await
    }

    /// Records the intent of the renewal, and opens the administering secret.
    pub(super) async fn attempt<'a>(
        &'a self,
        target: LeaseToRenew,
        renewal: Renewal,
        basis: &Basis,
        by: RenewedBy<'a>,
        preconditions: Preconditions,
    ) -> Result<Attempted<'a>, AttemptError> {
        let LeaseToRenew { lease, counter } = &target;
        let call = self.lets_call_at(&counter.place).map_err(|circuit| Failure::not_tried(&circuit))?;
        let event = LeaseRenewalAttempted {
            lease: lease.id,
            agent: &lease.holder.agent_name,
            operator: by.initiator().operator().map(OperatorPrincipal::name),
            capability: &lease.capability,
            expires_at: renewal.expires_at.to_string(),
            administering: counter.administering(),
            decision: basis.decision,
            snapshot: basis.snapshot.hex(),
            rules: &basis.rules,
            request: matches!(by, RenewedBy::Agent(_)).then(|| basis.request.hex()),
        };
        let change = Change::new(&event)?.requested_on(by.initiator().connection());
        let change = change.advance(keys::lease(lease.id));
        let preconditions = preconditions.and(self.state.still_allowed(by.initiator())?);
        let (admin, seq) = self.open_admin_secret(counter, change, preconditions).await?;
        Ok(Attempted { target, call, admin, seq, renewal, by })
    }

    /// Records the new end, if the lease is still live and its holder still has the right after the call of the
    /// upstream.
    async fn record_renewed(
        &self,
        lease: &Lease,
        expires_at: Timestamp,
        seq: u64,
        by: &RenewedBy<'_>,
    ) -> Result<(), AttemptError> {
        let time = self.state.clock.reading();
        let (read, preconditions) = self.state.read(|reading| {
            // The new end was computed with the clock of the intent.
            if reading.is_clock_adjusted_since(seq) {
                let why = "the clock was adjusted while the upstream was told of the later end";
                return Err(Failure::new(code::MODIFIED_CONCURRENTLY).because(why));
            }
            let found = reading.lease(lease.id);
            let is_live = found.is_some_and(|lease| matches!(lease.stage, LeaseStage::Live { .. }));
            if !is_live || reading.lease_holder(lease).is_none() {
                return Err(Failure::new(code::LEASE_NOT_ACTIVE));
            }
            if let RenewedBy::Agent(peer) = by {
                reading.agent_behind(peer, time)?;
            }
            Ok(())
        });
        read?;
        let event = LeaseRenewed {
            lease: lease.id,
            agent: &lease.holder.agent_name,
            operator: by.initiator().operator().map(OperatorPrincipal::name),
            expires_at: expires_at.to_string(),
        };
        let renew = leases::Effect::Renew { lease: lease.id, expires_at };
        let preconditions = preconditions.and(self.state.still_allowed(by.initiator())?);
        let change = Change::new(&event)?.requested_on(by.initiator().connection());
        let change = change.effect(Effect::Lease(renew));
        Ok(self.record_of_leases(change, preconditions).await?)
    }
}
