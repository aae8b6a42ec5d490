use std::collections::BTreeSet;

use super::lease_upstream::{LeaseUpstream, LoginInCreation};
use super::requested_life::is_long_enough;
use super::reuse::{own_login, remembering_lease};
use crate::authn::{AgentPrincipal, may_be_issued, may_open};
use crate::base::{CapabilityName, LeaseId, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::deciding::{AdmittedAgent, IssueTime};
use crate::broker::failure::Failure;
use crate::broker::reading::{Preconditions, Reading};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::upstreams::Call;
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::issuance::{CreatedLogin, IssuedLogin, LeaseReplay, Leasing, LoginPermit};
use crate::leases::{
    self, EndReason, Lease, LeaseEnds, LeaseFailed, LeaseHolder, LeaseIntended, LeaseIntent, LeaseIssued,
    LeaseLogin, LeaseReused, LeaseSelection, LeaseStage,
};
use crate::ledger::Receipt;
use crate::pki::PeerCertificate;
use crate::policy::{
    AgentAct, Grant, IssueLease, LeaseCount, LeaseRequest, created_lease_refusal, decide_lease,
    decide_lease_again, sufficient_lease,
};
use crate::secrets::SecretValue;
use crate::store::{Change, CommitError};
use crate::upstream::{LeaseDriver, NewLogin, UpstreamFault, UpstreamOutcome};

/// A parsed request for a login.
#[derive(Clone, Debug)]
pub struct LeaseInput {
    /// The capability.
    pub capability: CapabilityName,
    /// The requested life, in seconds.
    pub life_s: Option<u32>,
    /// Whether an existing login may be returned.
    pub freshness: Freshness,
}

/// Whether a login that the same instance already has may be returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Yes, while it has half of the life that a new one would get.
    Any,
    /// No.
    Fresh,
}

/// A login for an agent, and its upstream.
#[derive(Debug)]
pub struct Leased {
    /// The login.
    pub login: IssuedLogin,
    /// How a client reaches the upstream, as its driver describes it.
    pub connection: serde_json::Map<String, serde_json::Value>,
    /// Whether the instance had it before.
    pub reused: bool,
}

impl Leased {
    fn at(driver: &dyn LeaseDriver, login: IssuedLogin, reused: bool) -> Self {
        Self { login, connection: driver.connection(), reused }
    }
}

impl AgentServices {
    /// Gives a login to `principal`: an existing one of its instance, or a new one. A repeated request gets the same
    /// login.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn lease(
        &self,
        principal: AgentPrincipal,
        input: &LeaseInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Leased, Failure> {
        is_long_enough(input.life_s)?;
        let services = &*self.0;
        services.await_admin_secret(&input.capability).await?;
        let id = principal.agent();
        let mut agent = services.admit(principal)?;
        loop {
            let begun = {
                let _turn = services.upstream.leasing.lock(id).await;
                agent.waited();
                let begun = retry_on_conflict!(services.begin_lease(&mut agent, input, idempotency));
                services.noting_clock_refusal(agent.caller(), "lease", begun).await?
            };
            match begun {
                LeaseStep::Reused(leased) => return Ok(*leased),
                LeaseStep::Intended(intended) => {
                    return services.create_login(agent.certificate(), *intended).await;
                }
                LeaseStep::InCreation(lease) => services.await_creation(lease).await,
            }
        }
    }
}

enum LeaseStep<'a> {
    /// An existing login.
    Reused(Box<Leased>),
    /// A new login.
    Intended(Box<Intended<'a>>),
    /// A login that another attempt of the same request is creating.
    InCreation(LeaseId),
}

/// A login whose intent is durable.
struct Intended<'a> {
    making: LoginInCreation<'a>,
    call: Call<'a>,
    underway: LoginPermit,
    admin: SecretValue,
    counter: LeaseUpstream,
    intent: LeaseIntent,
}

/// The number of leases of `capability` that the agent has, and its limit at the declared upstream.
fn lease_count(
    reading: &Reading<'_>,
    principal: &AgentPrincipal,
    capability: &CapabilityName,
    counter: Option<&LeaseUpstream>,
) -> LeaseCount {
    let (records, now) = (reading.records(), reading.now());
    let may_lend = may_be_issued(records, principal.roles(), principal.instance(), capability)
        && counter.is_none_or(|counter| may_open(records, counter.administering()));
    let own = reading.leases_of(principal.agent()).filter(|lease| lease.capability == *capability);
    LeaseCount {
        outstanding: own.filter(|lease| !lease.is_over(now)).count(),
        per_agent: reading.lease_offer(capability).filter(|_| may_lend).map(|(offer, _)| offer.per_agent),
    }
}

impl Services {
    /// Waits while a rotation changes the password of the administering login.
    async fn await_admin_secret(&self, capability: &CapabilityName) -> Result<(), Failure> {
        let (admin, _) = self.state.read(|reading| {
            let (_, upstream) = reading.lease_offer(capability)?;
            let counter = LeaseUpstream::of(reading.unconditional(), *upstream).ok()?;
            Some(counter.administering().clone())
        });
        match admin {
            Some(admin) => self.await_swap(&admin).await,
            None => Ok(()),
        }
    }

    async fn begin_lease(
        &self,
        agent: &mut AdmittedAgent,
        input: &LeaseInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<LeaseStep<'_>, AttemptError> {
        let issue = self.state.issuing()?;
        let (now, deciding) = (issue.time.now(), self.deciding(issue));
        let (principal, permit) = agent.attempt(self, issue.time)?;
        let caller = principal.clone();
        let (capability, life_s) = (input.capability.clone(), input.life_s);
        let request = LeaseRequest { capability, life_s };
        let (read, preconditions) = self.state.read_as(&caller, now, |reading| {
            let context = deciding.timed_on(reading);
            let again = match self.earlier_login(reading, idempotency)? {
                Some(lease) if lease.stage == LeaseStage::Intended => return Ok(Err(lease.id)),
                Some(lease) => Some(lease),
                None if input.freshness == Freshness::Fresh => None,
                None => {
                    let is_sufficient = sufficient_lease(&context, &principal, &request);
                    own_login(reading, &principal, &request.capability, &is_sufficient)
                }
            };
            let offer = reading.lease_offer(&request.capability);
            let counter = offer.map(|(_, upstream)| LeaseUpstream::of(reading.unconditional(), *upstream));
            let Some(lease) = again else {
                let known = counter.as_ref().and_then(|counter| counter.as_ref().ok());
                let count = lease_count(reading, &principal, &request.capability, known);
                let counter = counter.map(|counter| counter.map(|counter| counter.noted(reading)));
                let decision = decide_lease(&context, principal, permit, &request, count);
                return Ok(Ok((reading.noting(decision), counter, None)));
            };
            reading.value_key();
            let again = reading.lease(lease.id).cloned();
            let decision = decide_lease_again(&context, principal, permit, &request, lease);
            Ok::<_, Failure>(Ok((reading.noting(decision), counter, again)))
        });
        let (decision, counter, again) = match read? {
            Ok(decided) => decided,
            Err(lease) => return Ok(LeaseStep::InCreation(lease)),
        };
        let grant = self.granted(&caller, "lease", decision).await?;
        let counter = counter.ok_or_else(|| Failure::new(code::LEASE_NOT_GRANTED))??;
        match again {
            Some(lease) => {
                let login = self.reuse_login(lease, grant, idempotency, now, preconditions).await?;
                Ok(LeaseStep::Reused(Box::new(Leased::at(&*counter.driver, login, true))))
            }
            None => self.intend(counter, grant, idempotency, now, preconditions).await,
        }
    }

    async fn reuse_login(
        &self,
        lease: Lease,
        grant: Grant<IssueLease>,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
        preconditions: Preconditions,
    ) -> Result<IssuedLogin, AttemptError> {
        let LeaseStage::Live { sealed, .. } = lease.stage else { return Err(AttemptError::Retry) };
        let (basis, lend) = (grant.basis(), grant.act());
        let principal = lend.principal();
        let event = LeaseReused {
            lease: lease.id,
            agent: principal.name(),
            instance: principal.instance(),
            capability: lend.capability(),
            decision: basis.decision,
            snapshot: basis.snapshot.hex(),
            rules: &basis.rules,
            request: basis.request.hex(),
            facts: basis.facts(principal.roles()),
        };
        let used = leases::Effect::Use { lease: lease.id, by: basis.decision };
        let change = Change::new(&event)?.requested_on(principal.connection()).effect(Effect::Lease(used));
        let left_s = lease.ends.expires_at.seconds_since(now);
        let change = remembering_lease(change, idempotency, lease.id, left_s);
        let again = LeaseReplay { grant, lease: lease.id, login: lease.login.name, sealed };
        let receipt = self.state.commit(change, preconditions, again).await?;
        Ok(self.signing.issuer.lease_again(receipt)?.deliver())
    }

    /// Records the login's name before the call of the upstream, and opens the administering secret.
    async fn intend(
        &self,
        counter: LeaseUpstream,
        grant: Grant<IssueLease>,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
        preconditions: Preconditions,
    ) -> Result<LeaseStep<'_>, AttemptError> {
        self.values.sealer.has_room().map_err(Failure::from)?;
        let call = self.lets_call_at(&counter.place).map_err(|circuit| Failure::not_tried(&circuit))?;
        let lease = LeaseId::mint(now, &*self.state.entropy);
        let making = LoginInCreation::of(self, lease);
        let (basis, lend) = (grant.basis(), grant.act());
        let principal = lend.principal();
        let intent = LeaseIntent {
            id: lease,
            holder: LeaseHolder {
                agent: principal.agent(),
                agent_name: principal.name().clone(),
                instance: principal.instance(),
            },
            capability: lend.capability().clone(),
            login: LeaseLogin { name: self.login_of(lease), upstream: counter.declared },
            first_use: basis.decision,
            ends: LeaseEnds { expires_at: lend.expires_at(), renewable_until: lend.renewable_until() },
        };
        let event = LeaseIntended {
            lease,
            agent: principal.name(),
            instance: principal.instance(),
            capability: lend.capability(),
            login: &intent.login.name,
            upstream: counter.driver.describe(),
            expires_at: lend.expires_at().to_string(),
            administering: counter.administering(),
            decision: basis.decision,
            outcome: grant.outcome(),
            constrained: grant.constrained(),
            snapshot: basis.snapshot.hex(),
            rules: &basis.rules,
            request: basis.request.hex(),
            facts: basis.facts(principal.roles()),
        };
        let intend = leases::Effect::Intend(Box::new(intent.clone()));
        let change = Change::new(&event)?.requested_on(principal.connection()).effect(Effect::Lease(intend));
        let change = remembering_lease(change, idempotency, lease, lend.expires_at().seconds_since(now));
        let stored = self.stored_for(&counter).await?;
        let leasing = Leasing { grant, lease, loan: counter.loan() };
        let receipt = self.state.commit(change, preconditions, leasing).await?;
        let (underway, lent) = self.signing.issuer.begin_lease(receipt, &stored)?;
        let admin = lent.deliver().pop().ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?;
        Ok(LeaseStep::Intended(Box::new(Intended { making, call, underway, admin, counter, intent })))
    }

    /// The name of a lease's login: the prefix and characters of the lease's id. It needs no quoting.
    fn login_of(&self, lease: LeaseId) -> String {
        let text = lease.to_string();
        let own = text.rsplit('_').next().unwrap_or_default();
        format!("{}{own}", self.upstream.login_prefix)
    }

    async fn create_login(&self, peer: &PeerCertificate, intended: Intended<'_>) -> Result<Leased, Failure> {
        let Intended { making, call, underway, admin, counter, intent } = intended;
        let (offer, _) = self.state.read(|reading| reading.lease_offer(&intent.capability).cloned());
        let per_agent = offer.map_or(0, |(offer, _)| offer.per_agent);
        let (name, until) = (intent.login.name.as_str(), intent.ends.expires_at);
        let login = NewLogin { name, until, per_agent };
        let made = counter.driver.create(self.lease_call(&admin), login).await;
        drop(admin);
        self.note_answer_of(&counter.place, made.as_ref().err());
        drop(call);
        let password = match made {
            Ok(password) => password,
            Err(fault) => {
                self.lease_failed(peer, &intent, &fault).await?;
                return Err(Failure::of_login(&fault));
            }
        };
        let receipt = retry_on_conflict!(self.record_created(peer, &intent, &password))?;
        let made = CreatedLogin { underway, login: intent.login.name, password };
        let login = self.signing.issuer.lease(receipt, made)?.deliver();
        drop(making);
        self.notifications.meters.leased();
        Ok(Leased::at(&*counter.driver, login, false))
    }

    /// Records the created login, unless the lease was ended or the agent lost its right during the call. A lease
    /// that stays an intent is ended.
    async fn record_created(
        &self,
        peer: &PeerCertificate,
        intent: &LeaseIntent,
        password: &SecretValue,
    ) -> Result<Receipt<LeaseId>, AttemptError> {
        let time = self.state.clock.reading();
        let deciding = self.deciding(IssueTime { time, as_of: 0 });
        let (read, preconditions) = self.state.read(|reading| {
            reading.value_key();
            let lease = reading.lease(intent.id).filter(|lease| lease.stage == LeaseStage::Intended);
            let holder = lease.and_then(|lease| reading.lease_holder(lease));
            let principal = reading.agent_behind(peer, time)?;
            holder.map(|_| ()).ok_or_else(|| Failure::new(code::LEASE_NOT_ACTIVE))?;
            match created_lease_refusal(&deciding.on(reading), &principal, &intent.capability) {
                Some(refusal) => Err(Failure::new(refusal.code).because(refusal.why)),
                None => Ok(()),
            }
        });
        read?;
        let event = LeaseIssued {
            lease: intent.id,
            agent: &intent.holder.agent_name,
            capability: &intent.capability,
            login: &intent.login.name,
        };
        let sealed = self.values.sealer.seal_login(intent.id, password, &*self.state.entropy)?;
        let digest = self.values.digests.digest(password.expose());
        let issue = leases::Effect::Issue { lease: intent.id, sealed, digest };
        let change = Change::new(&event)?.requested_on(peer.connection()).effect(Effect::Lease(issue));
        Ok(self.state.commit(change, preconditions, intent.id).await?)
    }

    /// If the upstream certainly created no login, the lease has ended. Otherwise it is revoked.
    async fn lease_failed(
        &self,
        peer: &PeerCertificate,
        intent: &LeaseIntent,
        fault: &UpstreamFault,
    ) -> Result<(), CommitError> {
        let unknown = fault.outcome == UpstreamOutcome::Unknown;
        tracing::warn!(
            lease = %intent.id, code = %fault.code, upstream = fault.detail, unknown,
            reason = %fault.explained().why, "a login was not created"
        );
        let event = LeaseFailed {
            lease: intent.id,
            agent: &intent.holder.agent_name,
            capability: &intent.capability,
            login: &intent.login.name,
            code: fault.code.as_str(),
            upstream: fault.detail.clone(),
            unknown,
        };
        let effect = match fault.outcome {
            UpstreamOutcome::Refused => leases::Effect::Ended(intent.id),
            UpstreamOutcome::Unknown => {
                let which = LeaseSelection::Each(BTreeSet::from([intent.id]));
                leases::Effect::End { which, why: EndReason::Unfinished }
            }
        };
        let change = Change::new(&event)?.requested_on(peer.connection()).effect(Effect::Lease(effect));
        self.record_of_leases(change, Preconditions::none()).await
    }
}
