use std::collections::BTreeSet;

use crate::authn::{AgentPrincipal, AuthnError, Credential, PresentError, live};
use crate::base::code;
use crate::base::limits::SCOPES_MAX;
use crate::base::{
    AgentId, Audience, CapabilityName, ClockReading, InstanceId, RoleName, Timestamp, TokenId,
};
use crate::broker::desk::{AgentDesk, records};
use crate::broker::failure::Failure;
use crate::broker::host::clock::outlasts;
use crate::broker::once::{done_before, remembering};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::idempotency::{MintedBefore, Once, Outcome, Remembered};
use crate::issuance::{MintAgain, Token};
use crate::pki::{self, PeerCertificate};
use crate::policy::{Basis, Decision, Demands, Denial, Grant, Mint, MintRequest, decide_again, decide_mint};
use crate::quota::{Limited, Note, Permit};
use crate::registry::{Access, keys};
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError, Event};
use crate::token::{TokenDenied, TokenMinted, TokenRefused, TokenRepeated};

/// What a token request says, parsed.
#[derive(Clone, Debug)]
pub struct MintInput {
    /// The capabilities asked for.
    pub scope: BTreeSet<CapabilityName>,
    /// The audience asked for, if any.
    pub resource: Option<Audience>,
    /// The life asked for, in seconds, if any.
    pub life_s: Option<u32>,
}

impl AgentDesk {
    /// Mints a token for the agent behind `peer`. The request of `once` mints one, and gets that one again.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn mint(
        &self,
        peer: &PeerCertificate,
        input: MintInput,
        once: Option<&Once>,
    ) -> Result<Token, Failure> {
        if input.scope.is_empty() || input.scope.len() > SCOPES_MAX {
            return Err(Failure::new(code::SCOPE_EMPTY_OR_TOO_LONG));
        }
        let request = MintRequest { scope: input.scope, resource: input.resource, life_s: input.life_s };
        let core = &*self.0;
        let mut permit = None;
        let issued = deciding_again!(async {
            let reading = core.issuing()?;
            let now = reading.now();
            let Decided { principal, decision, before } =
                decide(core, peer, (&request, once), &mut permit, reading)?;
            let grant = match decision {
                Decision::Allow(grant) | Decision::Constrain(grant) => grant,
                Decision::Deny(denial) => {
                    return Err(Again::Stop(core.refuse(&principal, "mint", denial).await));
                }
            };
            if let Some((minted, token)) = before {
                let change = record_again(token, &grant, minted.0)?;
                let receipt = core.state.store.commit(change, MintAgain { grant, token, minted }).await?;
                return Ok(core.signing.issuer.mint_again(receipt)?);
            }
            outlasts(reading, now.plus_s(i64::from(grant.act().life_s())))?;
            let token = TokenId::mint(now, &*core.state.entropy);
            let change = record((token, once), &grant, now)?;
            let receipt = core.state.store.commit(change, (token, grant)).await?;
            core.notifications.meters.minted();
            Ok(core.signing.issuer.mint(receipt)?)
        })?;
        Ok(issued.deliver())
    }
}

struct Decided {
    principal: AgentPrincipal,
    decision: Decision<Mint>,
    /// The entry that minted the token before, its time, and the token, when the request was repeated.
    before: Option<((u64, Timestamp), TokenId)>,
}

fn decide(
    core: &Core,
    peer: &PeerCertificate,
    (request, once): (&MintRequest, Option<&Once>),
    permit: &mut Option<Permit>,
    reading: ClockReading,
) -> Result<Decided, Again> {
    let now = reading.now();
    let (principal, declarations, demands, before) = core.state.store.read(|world: &World, as_of| {
        let principal = crate::authn::agent(peer, records(world), as_of, reading);
        let before = done_before(world, once, now);
        let before = principal.as_ref().map_or(Ok(None), |principal| still_live(world, principal, before?));
        let holder = principal.as_ref().ok();
        let demands = match &before {
            Ok(Some(Remembered { outcome: Outcome::Minted(minted), .. })) => {
                Demands::of(records(world), holder, minted.capabilities.iter().map(|(name, _)| name))
            }
            Ok(_) | Err(_) => Demands::of(records(world), holder, &request.scope),
        };
        (principal, std::sync::Arc::clone(world.registry.declarations()), demands, before)
    });
    let principal = principal?;
    let permit = core.admit(permit, &principal)?;
    let facts = (&*declarations, &demands);
    let (basis, limits) = ((core.state.decision(now), &core.state.digests), &core.settings.tokens);
    if let Some(Remembered { seq, time, outcome: Outcome::Minted(minted) }) = before? {
        let asked = (&minted, permit);
        let decision = decide_again(facts, principal.clone(), asked, limits, basis, reading);
        return Ok(Decided { principal, decision, before: Some(((seq, time), minted.token)) });
    }
    let asked = (request, permit);
    let decision = decide_mint(facts, principal.clone(), asked, limits, basis, reading);
    Ok(Decided { principal, decision, before: None })
}

/// What the request did before, unless the token that it minted counts no more: it is not signed again.
fn still_live(
    world: &World,
    principal: &AgentPrincipal,
    before: Option<Remembered>,
) -> Result<Option<Remembered>, Failure> {
    let Some(Remembered { seq, outcome: Outcome::Minted(minted), .. }) = &before else { return Ok(before) };
    let agent = world.registry.agent(principal.agent());
    let instance = agent.and_then(|agent| agent.instances.get(principal.instance()));
    let (Some(agent), Some(instance)) = (agent, instance) else { return Err(AuthnError::Unknown.into()) };
    let (token, capabilities) = (minted.token, &*minted.capabilities);
    let minted = Credential::MintedBefore { token, seq: *seq, agent, instance, capabilities };
    match live(minted, records(world)) {
        Ok(()) => Ok(before),
        Err(_) => {
            let why =
                format!("the token {token} was minted by this request before, and does not count any more");
            Err(Failure::new(code::REPLAY_TOKEN_REVOKED).because(why))
        }
    }
}

/// The entry that precedes the token: it relies on everything the decision relied on.
fn record(
    (token, once): (TokenId, Option<&Once>),
    grant: &Grant<Mint>,
    now: Timestamp,
) -> Result<Change<Effect>, CommitError> {
    let (basis, mint) = (grant.basis(), grant.act());
    let principal = mint.principal();
    let outcome = if mint.constrained().is_empty() { "allow" } else { "constrain" };
    let event = TokenMinted {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        capabilities: mint.capabilities().iter().map(|(name, _)| name).collect(),
        audience: mint.audience(),
        expires_at: now.plus_s(i64::from(mint.life_s())).text(),
        life_s: mint.life_s(),
        certificate: principal.thumbprint().in_hex(),
        decision: basis.decision,
        outcome,
        constrained: mint.constrained(),
        snapshot: basis.snapshot.in_hex(),
        rules: &basis.rules,
        request: basis.request.in_hex(),
    };
    let names = mint.capabilities().iter().map(|(name, _)| name);
    let change = relying(Change::new(&event)?, principal, names);
    let minted = || {
        let named = |(name, access): &(CapabilityName, _)| (name.clone(), Access::as_str(*access).to_owned());
        Outcome::Minted(MintedBefore {
            token,
            decision: basis.decision,
            capabilities: mint.capabilities().iter().map(named).collect(),
            audience: mint.audience().clone(),
            life_s: mint.life_s(),
            constrained: mint.constrained().to_vec(),
        })
    };
    Ok(remembering(change, (once, principal.as_of()), mint.life_s(), minted))
}

/// The entry that precedes the same token's being signed once more.
fn record_again(token: TokenId, grant: &Grant<Mint>, minted: u64) -> Result<Change<Effect>, CommitError> {
    let (basis, mint) = (grant.basis(), grant.act());
    let principal = mint.principal();
    let event = TokenRepeated {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        minted,
        decision: basis.decision,
        snapshot: basis.snapshot.in_hex(),
    };
    let names = mint.capabilities().iter().map(|(name, _)| name);
    let change = relying(Change::new(&event)?, principal, names);
    Ok(change.rely(revocation::keys::subject(&Subject::Token(token)), principal.as_of()))
}

/// Relies on the agent, its certificate, the authorities, its roles and these capabilities being as they were
/// when it was identified.
pub(in crate::broker) fn relying<'a>(
    change: Change<Effect>,
    principal: &AgentPrincipal,
    capabilities: impl Iterator<Item = &'a CapabilityName>,
) -> Change<Effect> {
    let who = (principal.agent(), principal.instance());
    relying_on(change, who, principal.roles(), capabilities, principal.as_of())
}

/// The same of whoever the records know by these ids, as of entry `as_of`.
pub(in crate::broker) fn relying_on<'a>(
    change: Change<Effect>,
    (agent, instance): (AgentId, InstanceId),
    roles: &BTreeSet<RoleName>,
    capabilities: impl Iterator<Item = &'a CapabilityName>,
    as_of: u64,
) -> Change<Effect> {
    let mut change = change
        .rely(pki::keys::authority(), as_of)
        .rely(revocation::keys::wide(), as_of)
        .rely(keys::agent(agent), as_of)
        .rely(keys::certificate(instance), as_of)
        .rely(revocation::keys::subject(&Subject::Agent(agent)), as_of)
        .rely(revocation::keys::subject(&Subject::Instance(instance)), as_of);
    for role in roles {
        change = change.rely(keys::role(role), as_of);
    }
    for capability in capabilities {
        change = change.rely(keys::capability(capability), as_of);
    }
    change
}

impl Core {
    /// Records a denial, unless its agent has had its share of entries, and turns it into an answer.
    /// An answer that says no does not wait for more than that: a denial that cannot be recorded is
    /// still a denial.
    pub(in crate::broker) async fn refuse(
        &self,
        principal: &AgentPrincipal,
        action: &'static str,
        denial: Denial,
    ) -> Failure {
        self.notifications.meters.denied(denial.code.as_str());
        let Basis { decision, snapshot, rules, request } = &denial.basis;
        if let Note::Record { unrecorded } = self.limits.denials.note(&principal.agent()) {
            let event = TokenDenied {
                agent: principal.name(),
                instance: principal.instance(),
                action,
                decision: *decision,
                code: denial.code.as_str(),
                snapshot: snapshot.in_hex(),
                rules,
                request: request.in_hex(),
                unrecorded,
            };
            self.record_refusal(&event).await;
        }
        denial.into()
    }

    /// One permit a request, however often it has to be decided.
    pub(in crate::broker) fn admit<'p>(
        &self,
        permit: &'p mut Option<Permit>,
        principal: &AgentPrincipal,
    ) -> Result<&'p Permit, Limited> {
        match permit {
            Some(permit) => Ok(permit),
            None => Ok(permit.insert(self.limits.mints.admit(&principal.agent())?)),
        }
    }

    /// Records that a token was not taken from `principal`, and turns it into an answer.
    pub(in crate::broker) async fn refuse_token(
        &self,
        principal: &AgentPrincipal,
        error: PresentError,
    ) -> Failure {
        self.suspect_token(principal.spiffe().to_string(), error).await;
        let failure = Failure::from(error);
        if let Note::Record { unrecorded } = self.limits.denials.note(&principal.agent()) {
            let token = match error {
                PresentError::OtherHolder(token)
                | PresentError::Revoked(token)
                | PresentError::NotIssued(token)
                | PresentError::Unrecorded { token, .. } => Some(token),
                PresentError::Token(_) => None,
            };
            self.record_refusal(&TokenRefused {
                agent: principal.name(),
                instance: principal.instance(),
                code: failure.code.as_str(),
                token,
                unrecorded,
            })
            .await;
        }
        failure
    }

    pub(in crate::broker) async fn record_refusal<V: Event + Sync>(&self, event: &V) {
        let recorded = match Change::new(event) {
            Ok(change) => self.state.store.commit(change, ()).await.map(|receipt| receipt.redeem()),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            tracing::error!(%error, what = V::NAME, "a refusal could not be recorded");
        }
    }
}
