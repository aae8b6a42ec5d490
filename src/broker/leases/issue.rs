use std::collections::BTreeSet;

use super::holder::LeaseHolder;
use super::ineligible::is_ineligible;
use super::lease_upstream::{LeaseUpstream, LoginInCreation};
use super::reuse::{EarlierLogin, is_reusable, remembering_lease};
use crate::authn::{AgentPrincipal, may_be_issued, may_open};
use crate::base::limits::{LEASE_LIFE_MIN_S, LEASE_LIFE_S};
use crate::base::{CapabilityName, LeaseId, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::deciding::AdmittedAgent;
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::tokens::mint::relying;
use crate::broker::upstreams::Call;
use crate::broker::world::{Effect, World, records};
use crate::idempotency::IdempotencyKey;
use crate::issuance::{CreatedLogin, IssuedLogin, LeaseReplay, Leasing, LoginPermit};
use crate::leases::{
    self, EndReason, Lease, LeaseFailed, LeaseIntended, LeaseIntent, LeaseIssued, LeaseReused,
    LeaseSelection, LeaseStage, keys,
};
use crate::pki::PeerCertificate;
use crate::policy::{Grant, IssueLease, LeaseCount, LeaseRequest, decide_lease, decide_lease_again};
use crate::secrets::SecretValue;
use crate::store::{Change, CommitError};
use crate::upstream::{LeaseDriver, NewLogin, UpstreamFault, UpstreamOutcome};

/// What a request for a login says, parsed.
#[derive(Clone, Debug)]
pub struct LeaseInput {
    /// What it is for.
    pub capability: CapabilityName,
    /// How long it is to last, in seconds, if the request says so.
    pub life_s: Option<u32>,
    /// Whether one that there is will do.
    pub freshness: Freshness,
}

/// Whether a login that the same instance was handed before will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// It will, as long as half of the life asked for is left.
    Any,
    /// It will not.
    Fresh,
}

/// A login on its way to an agent, and where it logs in.
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
    /// Hands a login to `principal`: one that its instance has, or one that is made now.
    /// A request that was carried out before gets the login that it got.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn lease(
        &self,
        principal: AgentPrincipal,
        input: &LeaseInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Leased, Failure> {
        if input.life_s.is_some_and(|life_s| life_s < LEASE_LIFE_MIN_S) {
            return Err(Failure::new(code::LEASE_LIFE_TOO_SHORT));
        }
        let services = &*self.0;
        services.await_admin_secret(&input.capability).await?;
        let id = principal.agent();
        let mut agent = services.admit(principal)?;
        loop {
            let begun = {
                let _turn = services.upstream.leasing.lock(id).await;
                agent.waited();
                retry_on_conflict!(services.begin_lease(&mut agent, input, idempotency))?
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

/// What a decision on a lease reads.
struct LeaseFacts {
    /// The entry that declared the upstream.
    upstream: u64,
    counter: Option<Result<LeaseUpstream, Failure>>,
    count: LeaseCount,
    /// A login that the instance has and that will do.
    again: Option<Lease>,
}

enum LeaseStep<'a> {
    /// One that was made before.
    Reused(Box<Leased>),
    /// One that is to be made now.
    Intended(Box<Intended<'a>>),
    /// One that is being made for the same request.
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

fn lease_facts(world: &World, principal: &AgentPrincipal, input: &LeaseInput, now: Timestamp) -> LeaseFacts {
    let declarations = world.registry.declarations();
    let offer = world.leases.offer(&input.capability);
    let upstream = offer.map_or(0, |(_, upstream)| *upstream);
    let administering = offer.and_then(|(_, upstream)| LeaseUpstream::of(world, *upstream).ok());
    let may_lend =
        may_be_issued(records(world), (principal.roles(), principal.instance()), &input.capability)
            && administering.is_none_or(|counter| may_open(records(world), counter.administering()));
    let own =
        || world.leases.of_agent(principal.agent()).filter(|lease| lease.capability == input.capability);
    let declared = declarations.capability(&input.capability).map_or(0, |one| one.max_life_s);
    let asked = input.life_s.unwrap_or(LEASE_LIFE_S).min(declared);
    let will_do = |lease: &&Lease| {
        lease.instance == principal.instance()
            && matches!(lease.stage, LeaseStage::Live { .. })
            && is_reusable(world, lease)
            && !is_ineligible(world, lease)
            && lease.expires_at.seconds_since(now) >= i64::from(asked / 2)
    };
    let again = own().filter(will_do).max_by_key(|lease| lease.expires_at);
    let again = again.filter(|_| input.freshness == Freshness::Any).cloned();
    LeaseFacts {
        upstream,
        counter: offer.map(|(_, upstream)| LeaseUpstream::of(world, *upstream)),
        count: LeaseCount {
            outstanding: own().filter(|lease| !lease.is_over(now)).count(),
            per_agent: offer.filter(|_| may_lend).map(|(offer, _)| offer.per_agent),
        },
        again,
    }
}

impl Services {
    /// Waits while the password that administers the upstream is between its old value and its new one.
    async fn await_admin_secret(&self, capability: &CapabilityName) -> Result<(), Failure> {
        let admin = self.state.store.read(|world, _| {
            let (_, upstream) = world.leases.offer(capability)?;
            LeaseUpstream::of(world, *upstream).ok().map(|counter| counter.administering().clone())
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
        let reading = self.state.issuing()?;
        let deciding = self.deciding(reading);
        let now = reading.now();
        let (principal, permit) = agent.attempt(self, reading)?;
        let caller = principal.clone();
        let request = LeaseRequest { capability: input.capability.clone(), life_s: input.life_s };
        let decided = self.state.store.read(|world, _| {
            let mut lease_facts = lease_facts(world, &principal, input, now);
            match self.earlier_login(world, idempotency, now)? {
                Some(EarlierLogin::Live(lease)) => lease_facts.again = Some(*lease),
                Some(EarlierLogin::InCreation(lease)) => return Ok(Err(lease)),
                None => {}
            }
            let context = deciding.on_records(records(world));
            let decision = match &lease_facts.again {
                Some(lease) => decide_lease_again(&context, principal, permit, &request, lease),
                None => decide_lease(&context, principal, permit, &request, lease_facts.count),
            };
            Ok::<_, Failure>(Ok((lease_facts, decision)))
        })?;
        let (lease_facts, decision) = match decided {
            Ok(decided) => decided,
            Err(lease) => return Ok(LeaseStep::InCreation(lease)),
        };
        let grant = self.granted(&caller, "lease", decision).await?;
        let counter = lease_facts.counter.ok_or_else(|| Failure::new(code::LEASE_NOT_GRANTED))??;
        match lease_facts.again {
            Some(lease) => self.reuse_login(&*counter.driver, lease, grant, idempotency, now).await,
            None => self.intend(counter, lease_facts.upstream, grant, idempotency, now).await,
        }
    }

    async fn reuse_login(
        &self,
        driver: &dyn LeaseDriver,
        lease: Lease,
        grant: Grant<IssueLease>,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<LeaseStep<'_>, AttemptError> {
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
        };
        let used = leases::Effect::Use { lease: lease.id, by: basis.decision };
        let (as_of, key) = (principal.as_of(), keys::lease(lease.id));
        let change = relying(Change::new(&event)?, principal, std::iter::once(lend.capability()))
            .effect(Effect::Lease(used))
            .rely(keys::offer(lend.capability()), as_of)
            .rely(keys::endings(), as_of)
            .rely(crate::secrets::keys::value_key(), as_of)
            .rely(key, as_of);
        let change =
            remembering_lease(change, idempotency, as_of, lease.id, lease.expires_at.seconds_since(now));
        let again = LeaseReplay { grant, lease: lease.id, login: lease.login, sealed };
        let receipt = self.state.store.commit(change, again).await?;
        let login = self.signing.issuer.lease_again(receipt)?.deliver();
        Ok(LeaseStep::Reused(Box::new(Leased::at(driver, login, true))))
    }

    /// Makes the login's name durable before upstream hears of it, and opens what upstream is called with.
    async fn intend(
        &self,
        counter: LeaseUpstream,
        upstream: u64,
        grant: Grant<IssueLease>,
        idempotency: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<LeaseStep<'_>, AttemptError> {
        self.values.sealer.has_room().map_err(Failure::from)?;
        let Some(call) = self.lets_call_at(&counter.place) else {
            return Err(Failure::new(code::UPSTREAM_UNREACHABLE).into());
        };
        let lease = LeaseId::mint(now, &*self.state.entropy);
        let making = LoginInCreation::of(self, lease);
        let (basis, lend) = (grant.basis(), grant.act());
        let principal = lend.principal();
        let intent = LeaseIntent {
            id: lease,
            agent: principal.agent(),
            agent_name: principal.name().clone(),
            instance: principal.instance(),
            capability: lend.capability().clone(),
            login: self.login_of(lease),
            upstream,
            first_use: basis.decision,
            expires_at: lend.expires_at(),
            renewable_until: lend.renewable_until(),
        };
        let event = LeaseIntended {
            lease,
            agent: principal.name(),
            instance: principal.instance(),
            capability: lend.capability(),
            login: &intent.login,
            upstream: counter.driver.describe(),
            expires_at: lend.expires_at().to_string(),
            administering: counter.administering(),
            decision: basis.decision,
            outcome: grant.outcome(),
            constrained: grant.constrained(),
            snapshot: basis.snapshot.hex(),
            rules: &basis.rules,
            request: basis.request.hex(),
        };
        let (as_of, counted) = (principal.as_of(), keys::of_agent(principal.agent()));
        let change = relying(Change::new(&event)?, principal, std::iter::once(lend.capability()))
            .effect(Effect::Lease(leases::Effect::Intend(Box::new(intent.clone()))))
            .rely(keys::offer(lend.capability()), as_of)
            .rely(counted, as_of);
        let change =
            remembering_lease(change, idempotency, as_of, lease, lend.expires_at().seconds_since(now));
        let change = counter.relying(change, as_of);
        let stored = self.stored_for(&counter).await?;
        let leasing = Leasing { grant, lease, loan: counter.loan() };
        let receipt = self.state.store.commit(change, leasing).await?;
        let (underway, lent) = self.signing.issuer.begin_lease(receipt, &stored)?;
        let admin = lent.deliver().pop().ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?;
        Ok(LeaseStep::Intended(Box::new(Intended { making, call, underway, admin, counter, intent })))
    }

    /// The name of a lease's login: prefix and the lease's own characters, nothing that needs quoting.
    fn login_of(&self, lease: LeaseId) -> String {
        let text = lease.to_string();
        let own = text.rsplit('_').next().unwrap_or_default();
        format!("{}{own}", self.upstream.login_prefix)
    }

    async fn create_login(&self, peer: &PeerCertificate, intended: Intended<'_>) -> Result<Leased, Failure> {
        let Intended { making, call, underway, admin, counter, intent } = intended;
        let per_agent = self
            .state
            .store
            .read(|world, _| world.leases.offer(&intent.capability).map_or(0, |(offer, _)| offer.per_agent));
        let (name, until) = (intent.login.as_str(), intent.expires_at);
        let login = NewLogin { name, until, per_agent };
        let made = counter.driver.create(self.lease_call(&admin), login).await;
        drop(admin);
        self.note_answer_of(&counter.place, made.as_ref().err());
        drop(call);
        let password = match made {
            Ok(password) => password,
            Err(fault) => {
                self.lease_failed(&intent, &fault).await?;
                return Err(Failure::of_login(&fault));
            }
        };
        let receipt = retry_on_conflict!(self.record_created(peer, &intent, &password))?;
        let made = CreatedLogin { underway, login: intent.login, password };
        let login = self.signing.issuer.lease(receipt, made)?.deliver();
        drop(making);
        self.notifications.meters.leased();
        Ok(Leased::at(&*counter.driver, login, false))
    }

    /// Records that upstream made the login, unless it was ended meanwhile, or the agent may not have it any
    /// more: making it takes time. A lease that stays an intent is ended.
    async fn record_created(
        &self,
        peer: &PeerCertificate,
        intent: &LeaseIntent,
        password: &SecretValue,
    ) -> Result<crate::ledger::Receipt<LeaseId>, AttemptError> {
        let holding = self.state.store.read(|world, as_of| {
            let lease = world.leases.lease(intent.id).filter(|lease| lease.stage == LeaseStage::Intended);
            let holding = lease.and_then(|lease| LeaseHolder::of(world, lease, as_of));
            crate::authn::agent(peer, records(world), as_of, self.state.clock.reading())?;
            holding.ok_or_else(|| Failure::new(code::LEASE_NOT_ACTIVE))
        })?;
        let as_of = holding.as_of;
        let event = LeaseIssued {
            lease: intent.id,
            agent: &intent.agent_name,
            capability: &intent.capability,
            login: &intent.login,
        };
        let sealed = self.values.sealer.seal_login(intent.id, password, &*self.state.entropy)?;
        let digest = self.values.digests.digest(password.expose());
        let key = keys::lease(intent.id);
        let change = holding
            .relying(Change::new(&event)?)
            .effect(Effect::Lease(leases::Effect::Issue { lease: intent.id, sealed, digest }))
            .rely(crate::secrets::keys::value_key(), as_of)
            .rely(keys::endings(), as_of)
            .rely(key, as_of);
        Ok(self.state.store.commit(change, intent.id).await?)
    }

    /// What certainly did not come about has ended; of anything else the end is brought about.
    async fn lease_failed(&self, intent: &LeaseIntent, fault: &UpstreamFault) -> Result<(), CommitError> {
        let unknown = fault.outcome == UpstreamOutcome::Unknown;
        tracing::warn!(
            lease = %intent.id, code = %fault.code, upstream = fault.detail, unknown,
            reason = %fault.explained().why, "a login was not created"
        );
        let event = LeaseFailed {
            lease: intent.id,
            agent: &intent.agent_name,
            capability: &intent.capability,
            login: &intent.login,
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
        let change = Change::new(&event)?.effect(Effect::Lease(effect));
        self.record_of_leases(change).await?;
        Ok(())
    }
}
