use crate::base::{DecisionId, SecretName, Sensitivity, code};
use crate::broker::desk::{AgentDesk, records};
use crate::broker::failure::Failure;
use crate::broker::retry::{Again, deciding_again};
use crate::broker::tokens::mint::relying;
use crate::pki::PeerCertificate;
use crate::policy::{Decision, Demands, RevealRequest, decide_reveal};
use crate::revocation::{self, Subject};
use crate::rotation::Rotation;
use crate::secrets::{SecretRevealed, SecretValue, keys};
use crate::store::Change;
use crate::token;

/// A secret on its way to an agent.
#[derive(Debug)]
pub struct Revealed {
    /// The value.
    pub value: SecretValue,
    /// Its version.
    pub version: u32,
    /// The decision that allowed it.
    pub decision: DecisionId,
}

impl AgentDesk {
    /// Hands the secret called `name` to the agent behind `peer`, on the token `bearer`.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded. A secret that is not there and
    /// one that may not be seen get the same answer.
    pub async fn reveal(
        &self,
        peer: &PeerCertificate,
        bearer: &str,
        name: &SecretName,
    ) -> Result<Revealed, Failure> {
        let core = &*self.0;
        let mut permit = None;
        deciding_again!(async {
            let reading = core.issuing()?;
            let now = reading.now();
            let (principal, declarations, secret, swapping) = core.state.store.read(|world, as_of| {
                (
                    crate::authn::agent(peer, records(world), as_of, reading),
                    std::sync::Arc::clone(world.registry.declarations()),
                    world.secrets.named(name).cloned(),
                    world.rotations.of(name).is_some_and(Rotation::is_swapping),
                )
            });
            let principal = principal?;
            let permit = core.admit(&mut permit, &principal)?;
            // The token is verified by keys that are no older than what the entry relies on.
            core.follow_token_keys()?;
            let presented = core.present(principal.clone(), bearer, reading)?;
            let token = match presented {
                Ok(token) => token,
                Err(error) => return Err(Again::Stop(core.refuse_token(&principal, error).await)),
            };
            let current = secret.as_ref().and_then(|secret| Some((secret.id, secret.current?)));
            let version = current.map(|(id, version)| (id, version.number));
            let demands = core
                .state
                .store
                .read(|world, _| Demands::of(records(world), Some(&principal), token.capabilities()));
            let request = RevealRequest { token, secret: name.clone(), current: version, demands };
            let decision = core.state.decision(now);
            let basis = (decision, &core.state.digests);
            let grant = match decide_reveal(&declarations, request, permit, basis, now) {
                Decision::Allow(grant) | Decision::Constrain(grant) => grant,
                Decision::Deny(denial) => {
                    return Err(Again::Stop(core.refuse(&principal, "reveal", denial).await));
                }
            };
            if swapping {
                core.settled(name).await?;
                return Err(Again::Retry);
            }
            let (basis, reveal) = (grant.basis(), grant.act());
            let (id, version) = reveal.current();
            let event = SecretRevealed {
                agent: principal.name(),
                instance: principal.instance(),
                token: reveal.token(),
                capability: reveal.capability(),
                secret: name,
                sensitivity: secret.as_ref().map_or(Sensitivity::default(), |secret| secret.sensitivity),
                version,
                decision,
                snapshot: basis.snapshot.in_hex(),
                rules: &basis.rules,
                request: basis.request.in_hex(),
            };
            let change = relying(Change::new(&event)?, &principal, std::iter::once(reveal.capability()))
                .rely(keys::secret(name), principal.as_of())
                .rely(token::keys::token_keys(), principal.as_of())
                .rely(revocation::keys::subject(&Subject::Token(reveal.token())), principal.as_of());
            let (_, kept) = current.ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
            let stored = core.stored_version(id, kept).await?;
            let receipt = core.state.store.commit(change, grant).await?;
            let issued = core.signing.issuer.reveal(receipt, &stored)?;
            Ok(Revealed { value: issued.deliver(), version, decision })
        })
    }
}
