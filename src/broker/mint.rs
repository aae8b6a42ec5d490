use std::collections::BTreeSet;

use super::desk::{Again, AgentDesk, Core, deciding_again, records};
use super::failure::Failure;
use super::world::{Effect, World};
use crate::authn::{AgentPrincipal, PresentError};
use crate::base::code;
use crate::base::limits::SCOPES_MAX;
use crate::base::{Audience, CapabilityName, Timestamp, TokenId};
use crate::issuance::Token;
use crate::pki::PeerCertificate;
use crate::policy::{Basis, Decision, Denial, Grant, Mint, MintRequest, decide_mint};
use crate::quota::{Limited, Note, Permit};
use crate::registry::keys;
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError, Event};
use crate::token::{TokenDenied, TokenMinted, TokenRefused};

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
    /// Mints a token for the agent behind `peer`.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded.
    pub async fn mint(&self, peer: &PeerCertificate, input: MintInput) -> Result<Token, Failure> {
        if input.scope.is_empty() || input.scope.len() > SCOPES_MAX {
            return Err(Failure::new(code::SCOPE_EMPTY_OR_TOO_LONG));
        }
        let request = MintRequest { scope: input.scope, resource: input.resource, life_s: input.life_s };
        let core = &*self.0;
        let mut permit = None;
        let issued = deciding_again!(async {
            let now = core.clock.now();
            let (principal, decision) = decide(core, peer, &request, &mut permit, now)?;
            let grant = match decision {
                Decision::Allow(grant) | Decision::Constrain(grant) => grant,
                Decision::Deny(denial) => {
                    return Err(Again::Stop(core.refuse(&principal, "mint", denial).await));
                }
            };
            let token = TokenId::mint(now, &*core.entropy);
            let change = record(token, &grant, now)?;
            let receipt = core.store.commit(change, (token, grant)).await?;
            Ok(core.issuer.mint(receipt)?)
        })?;
        Ok(issued.deliver())
    }
}

fn decide(
    core: &Core,
    peer: &PeerCertificate,
    request: &MintRequest,
    permit: &mut Option<Permit>,
    now: Timestamp,
) -> Result<(AgentPrincipal, Decision<Mint>), Again> {
    let (principal, declarations) = core.store.read(|world: &World, as_of| {
        let principal = crate::authn::agent(peer, records(world), as_of, now);
        (principal, std::sync::Arc::clone(world.registry.declarations()))
    });
    let principal = principal?;
    let permit = core.admit(permit, &principal)?;
    let decision = core.decision(now);
    let decided = decide_mint(
        &declarations,
        principal.clone(),
        (request, permit),
        &core.settings.tokens,
        (decision, &core.digests),
        now,
    );
    Ok((principal, decided))
}

/// The entry that precedes the token: it relies on everything the decision relied on.
fn record(token: TokenId, grant: &Grant<Mint>, now: Timestamp) -> Result<Change<Effect>, CommitError> {
    let (basis, mint) = (grant.basis(), grant.act());
    let principal = mint.principal();
    let outcome = if mint.constrained().is_empty() { "allow" } else { "constrain" };
    let event = TokenMinted {
        agent: principal.name(),
        instance: principal.instance(),
        token,
        capabilities: mint.capabilities().iter().map(|(name, _)| name).collect(),
        audience: mint.audience(),
        expires_at: now.plus_s(i64::from(mint.life_s())).to_string(),
        certificate: principal.thumbprint().hex(),
        decision: basis.decision,
        outcome,
        constrained: mint.constrained(),
        snapshot: basis.snapshot.hex(),
        rules: &basis.rules,
        request: basis.request.hex(),
    };
    let names = mint.capabilities().iter().map(|(name, _)| name);
    Ok(relying(Change::new(&event)?, principal, names))
}

/// Relies on the agent, its roles and these capabilities being as they were when it was identified.
pub(super) fn relying<'a>(
    change: Change<Effect>,
    principal: &AgentPrincipal,
    capabilities: impl Iterator<Item = &'a CapabilityName>,
) -> Change<Effect> {
    let as_of = principal.as_of();
    let mut change = change
        .rely(keys::agent(principal.agent()), as_of)
        .rely(revocation::keys::subject(Subject::Agent(principal.agent())), as_of)
        .rely(revocation::keys::subject(Subject::Instance(principal.instance())), as_of);
    for role in principal.roles() {
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
    pub(super) async fn refuse(
        &self,
        principal: &AgentPrincipal,
        action: &'static str,
        denial: Denial,
    ) -> Failure {
        let Basis { decision, snapshot, rules, request } = &denial.basis;
        if let Note::Record { unrecorded } = self.denials.note(&principal.agent()) {
            let event = TokenDenied {
                agent: principal.name(),
                instance: principal.instance(),
                action,
                decision: *decision,
                code: denial.code.as_str(),
                snapshot: snapshot.hex(),
                rules,
                request: request.hex(),
                unrecorded,
            };
            self.record_refusal(&event).await;
        }
        denial.into()
    }

    /// One permit a request, however often it has to be decided.
    pub(super) fn admit<'p>(
        &self,
        permit: &'p mut Option<Permit>,
        principal: &AgentPrincipal,
    ) -> Result<&'p Permit, Limited> {
        match permit {
            Some(permit) => Ok(permit),
            None => Ok(permit.insert(self.mints.admit(&principal.agent())?)),
        }
    }

    /// Records that a token was not taken from `principal`, and turns it into an answer.
    pub(super) async fn refuse_token(&self, principal: &AgentPrincipal, error: PresentError) -> Failure {
        let failure = Failure::from(error);
        if let Note::Record { unrecorded } = self.denials.note(&principal.agent()) {
            let token = match error {
                PresentError::OtherHolder(token) | PresentError::Revoked(token) => Some(token),
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

    pub(super) async fn record_refusal<V: Event + Sync>(&self, event: &V) {
        let recorded = match Change::new(event) {
            Ok(change) => self.store.commit(change, ()).await.map(|receipt| receipt.redeem()),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            tracing::error!(%error, what = V::NAME, "a refusal could not be recorded");
        }
    }
}
