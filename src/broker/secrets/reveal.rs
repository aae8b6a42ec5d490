use crate::authn::AgentPrincipal;
use crate::base::{DecisionId, SecretName, Sensitivity, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::rotation::next_rotation;
use crate::broker::world::Effect;
use crate::policy::decide_reveal;
use crate::registry;
use crate::revocation::Subject;
use crate::rotation::Rotation;
use crate::secrets::{Secret, SecretRevealed, SecretValue};
use crate::store::Change;

/// A value for an agent.
#[derive(Debug)]
pub struct Revealed {
    /// The value.
    pub value: SecretValue,
    /// Its version.
    pub version: u32,
    /// The time of the next rotation, if one is planned.
    pub next_rotation: Option<Timestamp>,
    /// The decision that allowed it.
    pub decision: DecisionId,
}

/// The state of a secret when the decision was made.
struct ReadSecret {
    secret: Option<Secret>,
    swapping: bool,
    next: Option<Timestamp>,
}

impl AgentServices {
    /// Returns the secret `name` to `principal`, by the token `bearer`.
    ///
    /// # Errors
    /// [`Failure`]; a denial of an authenticated agent is recorded. Secrets that do not exist and secrets that are
    /// not granted get the same response.
    pub async fn reveal(
        &self,
        principal: AgentPrincipal,
        bearer: &str,
        name: &SecretName,
    ) -> Result<Revealed, Failure> {
        let services = &*self.0;
        let mut agent = services.admit(principal)?;
        let revealed = retry_on_conflict!(async {
            let issue = services.state.issuing()?;
            let (time, deciding) = (issue.time, services.deciding(issue));
            let (principal, permit) = agent.attempt(services, time)?;
            // The keys that verify the token are no older than the state that the entry relies on.
            services.follow_token_keys()?;
            let token = match services.present(principal.clone(), bearer, time)? {
                Ok(token) => token,
                Err(error) => return Err(AttemptError::Stop(services.refuse_token(&principal, error).await)),
            };
            let (read, preconditions) = services.state.read_as(&principal, time.now(), |reading| {
                reading.token_keys();
                reading.subject(&Subject::Token(token.token()));
                let secret = reading.versions_of(name).cloned();
                let rotation = reading.unconditional().rotations.of(name);
                let next = rotation.and_then(|rotation| next_rotation(rotation, reading.now()));
                let swapping = rotation.is_some_and(Rotation::is_swapping);
                let decision = decide_reveal(&deciding.on(reading), token, permit, name);
                (reading.noting(decision), ReadSecret { secret, swapping, next })
            });
            let (decision, ReadSecret { secret, swapping, next }) = read;
            let grant = services.granted(&principal, "reveal", decision).await?;
            if swapping {
                services.await_swap(name).await?;
                return Err(AttemptError::Retry);
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
                decision: basis.decision,
                snapshot: basis.snapshot.in_hex(),
                rules: &basis.rules,
                request: basis.request.in_hex(),
                facts: basis.facts(principal.roles()),
            };
            let mut change = Change::new(&event)?.requested_on(principal.connection());
            if event.sensitivity == Sensitivity::High {
                let read = registry::Effect::ReadSensitive(principal.agent());
                change = change.effect(Effect::Registry(read));
            }
            let kept =
                secret.and_then(|secret| secret.current).ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
            let decision = basis.decision;
            let stored = services.stored_version(id, kept).await?;
            let receipt = services.state.commit(change, preconditions, grant).await?;
            let issued = services.signing.issuer.reveal(receipt, &stored)?;
            Ok(Revealed { value: issued.deliver(), version, next_rotation: next, decision })
        });
        services.noting_clock_refusal(agent.caller(), "reveal", revealed).await
    }
}
