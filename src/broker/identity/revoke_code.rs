use super::facts::counting;
use super::standing::InstanceStanding;
use crate::authn::{Credential, live};
use crate::base::code::{self, CodeClass};
use crate::base::{AgentId, AgentName, CodeId, InstanceId, OperatorName, Scope, Serial, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeRequest, OperatorRequest};
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::services::Services;
use crate::broker::world::{Effect, World, records};
use crate::custody::RevocationOrder;
use crate::operators::{self, OperatorCode};
use crate::policy::{Authorised, Contain};
use crate::registry::{self, AgentCode, CodeRevoked, Owned};
use crate::store::Change;
use crate::wire::OpenCodeAnswer;

/// A revoked enrolment code.
#[derive(Debug)]
pub struct RevokedCode {
    /// How it was revoked.
    pub ended: Ended,
    /// Whether it had ended before.
    pub had_ended: bool,
    /// What was enrolled with it, which stays valid.
    pub enrolled: CodeUse,
}

/// The subject of an enrolment code, and what was enrolled with the code.
#[derive(Debug)]
pub enum CodeUse {
    /// A code of an agent or resource server.
    Agent {
        /// The name.
        name: AgentName,
        /// The instances that enrolled and are live.
        instances: Vec<InstanceId>,
    },
    /// A code of an operator.
    Operator {
        /// The name.
        name: OperatorName,
        /// The serial number of the certificate of the enrolment, unless it is revoked.
        serial: Option<Serial>,
    },
}

/// The record of a code within a scope.
enum FoundCode<'w> {
    Agent(&'w AgentCode, &'w AgentName),
    Operator(&'w OperatorCode),
}

impl AdminServices {
    /// Revokes one enrolment code; what was enrolled with it stays valid. Codes of operators need the scope `all`.
    ///
    /// # Errors
    /// [`Failure`] if there is no such code within the scope, or it ended more than a day ago.
    pub async fn revoke_code(
        &self,
        by: &Authorised<Contain>,
        id: CodeId,
        request: OperatorRequest<'_>,
    ) -> Result<RevokedCode, Failure> {
        let (state, scope) = (&self.0.state, by.operator().scope());
        let had_ended = state.read(|reading| {
            let found = found(reading.unconditional(), id, scope)?;
            let revocations = &reading.unconditional().revocations;
            let has_ended = found.expires_at() <= reading.now() || revocations.codes.contains(id);
            // A replayed request has ended it itself.
            let is_new = matches!(reading.outcome(request.idempotency), Ok(None));
            Ok::<_, Failure>(has_ended && is_new)
        });
        let had_ended = had_ended.0?;
        let request = ChangeRequest::of(by.operator(), request);
        let removed = self.0.apply_code_revocation(request, id, scope).await.map_err(|failure| {
            if !had_ended || failure.code.sort() != CodeClass::Unavailable {
                return failure;
            }
            let why = format!(
                "the enrolment code had ended before this request, and the ledger does not record the repetition: {}",
                failure.why
            );
            failure.because(why)
        })?;
        let ended = self.0.conclude(removed).await;
        // After the revocation, so that no enrolment is missed.
        let enrolled = state.read(|reading| {
            let world = reading.unconditional();
            found(world, id, scope).map(|code| code.enrolled(world, reading.now()))
        });
        let enrolled = enrolled.0?;
        Ok(RevokedCode { ended, had_ended, enrolled })
    }
}

impl Services {
    /// Without preconditions, so that a revocation never conflicts with other changes.
    pub(crate) async fn apply_code_revocation(
        &self,
        request: ChangeRequest<'_>,
        id: CodeId,
        scope: &Scope,
    ) -> Result<Removed, Failure> {
        let revoked = self.state.change_revoking(request, |reading| {
            let (by, code) = (request.by.name(), id);
            let found = found(reading.unconditional(), id, scope)?;
            // A code that has ended stays ended: only a denial that is not durable yet needs an entry.
            let is_denied = reading.unconditional().revocations.codes.contains(id);
            let is_repeated = found.expires_at() <= reading.now() && !is_denied;
            let (event, effect) = match found {
                FoundCode::Agent(_, agent) => (
                    CodeRevoked { by, code, agent: Some(agent), operator: None },
                    Effect::Registry(registry::Effect::EndCodes(vec![id])),
                ),
                FoundCode::Operator(OperatorCode { operator, .. }) => (
                    CodeRevoked { by, code, agent: None, operator: Some(operator) },
                    Effect::Operators(operators::Effect::EndCodes(vec![id])),
                ),
            };
            let change = Change::new(&event)?.effect(effect);
            if is_repeated {
                return Ok(Removal {
                    change,
                    denial: None,
                    order: RemovalOrder::Repeated(None),
                    count: None,
                });
            }
            let change = change.urgent();
            let order = RemovalOrder::Unconditional(Some(RevocationOrder::RevokeCode(id)));
            Ok(Removal { change, denial: Some(MemoryRevocation::Codes(vec![id])), order, count: None })
        });
        revoked.await
    }
}

impl FoundCode<'_> {
    const fn expires_at(&self) -> Timestamp {
        match self {
            Self::Agent(code, _) => code.expires_at,
            Self::Operator(code) => code.expires_at,
        }
    }

    /// What was enrolled with the code and is valid now.
    fn enrolled(&self, world: &World, now: Timestamp) -> CodeUse {
        match self {
            Self::Agent(code, name) => {
                let agent = world.registry.agent(code.agent);
                let is_live = |id: &InstanceId| {
                    let found = agent.and_then(|agent| Some((agent, agent.instances.get(*id)?)));
                    found.is_some_and(|(agent, instance)| {
                        InstanceStanding::of(world, agent, instance, now) == InstanceStanding::Live
                    })
                };
                CodeUse::Agent {
                    name: (*name).clone(),
                    instances: code.instances().filter(is_live).collect(),
                }
            }
            Self::Operator(code) => {
                let operator = world.operators.named(&code.operator);
                let counts = |serial: &[u8; 16]| {
                    operator.is_some_and(|one| counting(one, world, now).any(|held| held.serial == *serial))
                };
                let serial = code.redeemed.map(|(serial, _)| serial).filter(counts);
                CodeUse::Operator { name: code.operator.clone(), serial: serial.map(Serial::from_bytes) }
            }
        }
    }
}

/// The code of this id within `scope`, of an agent or operator that exists.
fn found<'w>(world: &'w World, id: CodeId, scope: &Scope) -> Result<FoundCode<'w>, Failure> {
    if let Some(code) = world.registry.code(id)
        && let Some(agent) = world.registry.agent(code.agent)
        && scope.covers(world.registry.owners().of(&Owned::Agent(agent.name.clone())))
    {
        return Ok(FoundCode::Agent(code, &agent.name));
    }
    let code = world.operators.code(id).filter(|_| *scope == Scope::Everything);
    let code = code.filter(|code| world.operators.named(&code.operator).is_some());
    code.map(FoundCode::Operator).ok_or_else(|| Failure::new(code::ENROLMENT_CODE_UNKNOWN))
}

/// The codes of an agent that can be redeemed, the oldest first.
pub(crate) fn open_codes_of_agent(world: &World, agent: AgentId, now: Timestamp) -> Vec<OpenCodeAnswer> {
    let is_of = |code: &&AgentCode| {
        code.agent == agent
            && now < code.expires_at
            && !code.is_used_up()
            && live(Credential::Code { code, from: None }, records(world)).is_ok()
    };
    let view = |code: &AgentCode| {
        let used = u32::try_from(code.instances().count()).unwrap_or(u32::MAX);
        let left = code.uses.saturating_sub(used);
        open_code(world, code.id, code.expires_at, left)
    };
    let mut codes: Vec<_> = world.registry.codes().filter(is_of).map(view).collect();
    codes.sort_unstable_by_key(|code| code.id);
    codes
}

/// The codes of an operator that can be redeemed, the oldest first.
pub(crate) fn open_codes_of_operator(
    world: &World,
    operator: &OperatorName,
    now: Timestamp,
) -> Vec<OpenCodeAnswer> {
    let is_of = |code: &&OperatorCode| {
        code.operator == *operator
            && now < code.expires_at
            && code.redeemed.is_none()
            && live(Credential::OperatorCode { code, from: None }, records(world)).is_ok()
    };
    let codes = world.operators.codes().filter(is_of);
    codes.map(|code| open_code(world, code.id, code.expires_at, 1)).collect()
}

fn open_code(world: &World, id: CodeId, expires_at: Timestamp, uses_left: u32) -> OpenCodeAnswer {
    let maker = world.operators.maker_of(id).and_then(|made| world.operators.with(made.by));
    OpenCodeAnswer {
        id,
        expires_at: expires_at.to_string(),
        uses_left,
        made_by: maker.map(|maker| maker.name.clone()),
    }
}
