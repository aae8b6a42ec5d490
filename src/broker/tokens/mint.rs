use std::collections::BTreeSet;

use crate::authn::{AgentPrincipal, AuthnError, Credential, live};
use crate::base::code;
use crate::base::limits::SCOPES_MAX;
use crate::base::{Audience, CapabilityName, RequestFacts, Timestamp, TokenId};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::host::clock::outlasts;
use crate::broker::reading::Reading;
use crate::broker::replay::remembered_for;
use crate::broker::retry::retry_on_conflict;
use crate::broker::world::{Effect, records};
use crate::idempotency::{IdempotencyKey, MintedBefore, Outcome, Remembered};
use crate::issuance::{MintReplay, Token};
use crate::policy::{AgentAct, Grant, Mint, MintRequest, RequestedActions, decide_again, decide_mint};
use crate::registry::Access;
use crate::revocation::Subject;
use crate::store::{Change, CommitError};
use crate::token::{TokenMinted, TokenRepeated};

/// A parsed token request.
#[derive(Clone, Debug)]
pub struct MintInput {
    /// The requested capabilities.
    pub scope: BTreeSet<CapabilityName>,
    /// The requested audience, if any.
    pub resource: Option<Audience>,
    /// The requested life in seconds, if any.
    pub life_s: Option<u32>,
    /// The requested actions, if the request has `authorization_details`.
    pub details: Option<RequestedActions>,
}

impl AgentServices {
    /// Issues a token for `principal`. A repeated request of `idempotency` gets the same token.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn mint(
        &self,
        principal: AgentPrincipal,
        input: MintInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Token, Failure> {
        if input.scope.is_empty() || input.scope.len() > SCOPES_MAX {
            return Err(Failure::new(code::SCOPE_EMPTY_OR_TOO_LONG));
        }
        let MintInput { scope, resource, life_s, details } = input;
        let request = MintRequest { scope, resource, life_s, details };
        let services = &*self.0;
        let mut agent = services.admit(principal)?;
        let issued = retry_on_conflict!(async {
            let issue = services.state.issuing()?;
            let (time, now, deciding) = (issue.time, issue.time.now(), services.deciding(issue));
            let (principal, permit) = agent.attempt(services, time)?;
            let caller = principal.clone();
            let (read, preconditions) = services.state.read_as(&caller, now, |reading| {
                let context = deciding.on(reading);
                let before = still_live(reading, &principal, reading.outcome(idempotency)?)?;
                let (decision, before) = match before {
                    Some(Remembered { seq, time, outcome: Outcome::Minted(minted) }) => {
                        let decision = decide_again(&context, principal, permit, &minted, &request);
                        (decision, Some(((seq, time), minted.token)))
                    }
                    Some(_) | None => (decide_mint(&context, principal, permit, &request), None),
                };
                Ok::<_, Failure>((reading.noting(decision), before))
            });
            let (decision, before) = read?;
            let grant = services.granted(&caller, "mint", decision).await?;
            if let Some((minted, token)) = before {
                let change = record_again(token, &grant, minted.0)?;
                let again = MintReplay { grant, token, minted };
                let receipt = services.state.commit(change, preconditions, again).await?;
                return Ok(services.signing.issuer.mint_again(receipt)?);
            }
            outlasts(time, now.plus_s(i64::from(grant.act().life_s())))?;
            let token = TokenId::mint(now, &*services.state.entropy);
            let change = record(token, idempotency, &grant, now)?;
            let receipt = services.state.commit(change, preconditions, (token, grant)).await?;
            services.notifications.meters.minted();
            Ok(services.signing.issuer.mint(receipt)?)
        });
        let issued = services.noting_clock_refusal(agent.caller(), "mint", issued).await?;
        Ok(issued.deliver())
    }
}

/// The outcome of a repeated request, unless its token is no longer valid: then it is not signed again.
fn still_live(
    reading: &Reading<'_>,
    principal: &AgentPrincipal,
    before: Option<Remembered>,
) -> Result<Option<Remembered>, Failure> {
    let Some(Remembered { seq, outcome: Outcome::Minted(minted), .. }) = &before else { return Ok(before) };
    let world = reading.subject(&Subject::Token(minted.token));
    let agent = world.registry.agent(principal.agent());
    let instance = agent.and_then(|agent| agent.instances.get(principal.instance()));
    let (Some(agent), Some(instance)) = (agent, instance) else { return Err(AuthnError::Unknown.into()) };
    let (token, capabilities) = (minted.token, &*minted.capabilities);
    let minted = Credential::MintedBefore { token, seq: *seq, agent, instance, capabilities };
    match live(minted, records(world)) {
        Ok(()) => Ok(before),
        Err(_) => {
            let why = format!(
                "the first request with this Idempotency-Key got the token {token}, which is revoked or expired by now"
            );
            Err(Failure::new(code::REPLAY_TOKEN_REVOKED).because(why))
        }
    }
}

/// The entry that precedes the token.
fn record(
    token: TokenId,
    idempotency: Option<&IdempotencyKey>,
    grant: &Grant<Mint>,
    now: Timestamp,
) -> Result<Change<Effect>, CommitError> {
    let (basis, mint) = (grant.basis(), grant.act());
    let principal = mint.principal();
    let event = TokenMinted {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        capabilities: mint.capability_names().collect(),
        audience: mint.audience(),
        expires_at: now.plus_s(i64::from(mint.life_s())).text(),
        life_s: mint.life_s(),
        certificate: principal.thumbprint().in_hex(),
        decision: basis.decision,
        outcome: grant.outcome(),
        constrained: grant.constrained(),
        snapshot: basis.snapshot.in_hex(),
        rules: &basis.rules,
        request: basis.request.in_hex(),
        facts: RequestFacts {
            left_out: mint
                .left_out()
                .iter()
                .filter(|one| one.is_declared)
                .map(|one| &one.capability)
                .collect(),
            ..RequestFacts::new(principal.roles(), basis.life_s)
        },
    };
    let minted = || {
        let named = |(name, access): &(CapabilityName, _)| (name.clone(), Access::as_str(*access).to_owned());
        Outcome::Minted(MintedBefore {
            token,
            decision: basis.decision,
            capabilities: mint.capabilities().iter().map(named).collect(),
            audience: mint.audience().clone(),
            life_s: mint.life_s(),
            constrained: grant.constrained().to_vec(),
        })
    };
    let change = Change::new(&event)?.requested_on(principal.connection());
    Ok(remembered_for(mint.life_s(), change, idempotency, minted))
}

/// The entry that precedes a further signature of the same token.
fn record_again(token: TokenId, grant: &Grant<Mint>, minted: u64) -> Result<Change<Effect>, CommitError> {
    let (basis, principal) = (grant.basis(), grant.act().principal());
    let change = Change::new(&TokenRepeated {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        minted,
        decision: basis.decision,
        snapshot: basis.snapshot.in_hex(),
    })?;
    Ok(change.requested_on(principal.connection()))
}
