use std::collections::BTreeSet;

use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::{CODE_LIFE_MAX_S, CODE_LIFE_S, CODE_USES_MAX, ROLES_MAX};
use crate::base::{AgentId, AgentName, CodeId, Network, Person, RoleName, Scope, Sensitive, Timestamp};
use crate::broker::administration::authorise::{code_expiry, record_maker};
use crate::broker::administration::near_names::{NamedKind, near_within};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::incidents::resume::check_not_contained;
use crate::broker::reading::Reading;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::crypto::{Digest, KeyedDigest, sha256};
use crate::idempotency::{IdempotencyKey, Outcome};
use crate::operators;
use crate::pki::{EnrolmentCode, SpiffeId};
use crate::policy::{Authorised, InviteAgents};
use crate::registry::{self, AgentInvited, AgentKind, AgentSpec, NameRefusal, Owned};
use crate::revocation::Subject;

/// The content of an invitation.
#[derive(Debug)]
pub struct InviteInput {
    /// The agent.
    pub agent: AgentName,
    /// The roles of a new agent, or the required roles of an existing one; empty for any.
    pub roles: BTreeSet<RoleName>,
    /// Number of keys that can redeem the code; 1 by default.
    pub uses: Option<u32>,
    /// Life of the code, in seconds; 900 by default.
    pub life_s: Option<u32>,
    /// Network from which the code can be redeemed; all by default.
    pub network: Option<Network>,
    /// The person for whom a new agent acts, or the required one of an existing agent.
    pub person: Option<Person>,
}

/// A new enrolment code for an agent.
#[derive(Debug)]
pub struct Invitation {
    /// The agent.
    pub agent: AgentName,
    /// The code's id, which the ledger records.
    pub id: CodeId,
    /// The code itself.
    pub code: Sensitive<String>,
    /// The end of its life.
    pub expires_at: Timestamp,
}

/// The records of the invited agent.
struct InvitedAgent {
    known: Option<AgentId>,
    kind: AgentKind,
    create: Option<AgentSpec>,
}

impl AdminServices {
    /// Makes an enrolment code. With roles, an agent that does not exist yet is created with them, and
    /// may have as many instances as the code has uses; an agent that exists must hold exactly these.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn invite(
        &self,
        by: &Authorised<InviteAgents>,
        input: InviteInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Invitation, Failure> {
        let services = &*self.0;
        let (uses, life_s) = bounds(&input)?;
        if input.roles.len() > ROLES_MAX {
            return Err(Failure::new(code::TOO_MANY_ROLES));
        }
        let scope = by.operator().scope();
        let new_agent = AgentId::mint(services.state.clock.now(), &*services.state.entropy);
        retry_on_conflict!(async {
            let made = services.make_code(by.operator(), life_s)?;
            let decide = |reading: &Reading<'_>| {
                let InvitedAgent { known, kind, create } = invitee(reading, &input, scope)?;
                let agent_id = known.unwrap_or(new_agent);
                let expires_at = made.expires_at(reading);
                let event = AgentInvited {
                    operator: by.operator().name(),
                    agent: &input.agent,
                    agent_id,
                    code: made.id,
                    expires_at: expires_at.to_string(),
                    uses,
                    network: input.network.map(|network| network.to_string()),
                    created_with: create.as_ref().map(|spec| spec.roles.iter().cloned().collect()),
                    max_instances: create.as_ref().map(|spec| spec.max_instances),
                    owner: create.as_ref().and(scope.owner()),
                    person: create.as_ref().and(input.person.as_ref()),
                };
                let mut draft =
                    ChangeDraft::new(&event, (kind, expires_at))?.outcome(Outcome::Invited(made.id));
                for effect in created(create, agent_id, input.person.as_ref(), scope) {
                    draft = draft.effect(Effect::Registry(effect));
                }
                let issue = registry::Effect::IssueCode {
                    id: made.id,
                    agent: agent_id,
                    hash: made.hash,
                    digest: made.digest,
                    expires_at,
                    uses,
                    network: input.network,
                };
                Ok(made.with_maker(draft.effect(Effect::Registry(issue)), by.operator()))
            };
            let request = ChangeRequest::by(by.operator(), idempotency);
            let (kind, expires_at) = services.state.change_once(request, &decide).await?.new_value()?;
            let (id, spiffe) = (made.id, services.agent_spiffe(&input.agent, kind));
            let code = services.code_text(made, spiffe, &services.settings.address);
            Ok::<_, AttemptError>(Invitation { agent: input.agent.clone(), id, code, expires_at })
        })
    }
}

/// Creates an agent that does not exist yet, for the owner of `scope`.
fn created(
    create: Option<AgentSpec>,
    id: AgentId,
    person: Option<&Person>,
    scope: &Scope,
) -> Vec<registry::Effect> {
    let Some(spec) = create else { return Vec::new() };
    let thing = Owned::Agent(spec.name.clone());
    let owner = scope.owner().cloned().map(|owner| registry::Effect::Own { thing, owner: Some(owner) });
    let agent = spec.name.clone();
    let person = person.cloned().map(|person| registry::Effect::ActsFor { agent, person: Some(person) });
    [registry::Effect::PutAgent { id, spec }].into_iter().chain(owner).chain(person).collect()
}

/// A new enrolment code.
pub(crate) struct MadeCode {
    pub(crate) id: CodeId,
    secret: Sensitive<[u8; 32]>,
    pub(crate) hash: Digest,
    /// The digest that recognises the secret.
    pub(crate) digest: KeyedDigest,
    expires_at: Timestamp,
    /// The entry as of which the clock was read.
    as_of: u64,
}

impl MadeCode {
    /// The end of its life. The change that records it relies on the clock that it is by.
    pub(crate) fn expires_at(&self, reading: &Reading<'_>) -> Timestamp {
        reading.clock(self.as_of);
        self.expires_at
    }

    /// `draft` with the operator that makes the code.
    pub(crate) fn with_maker<T>(&self, draft: ChangeDraft<T>, by: &OperatorPrincipal) -> ChangeDraft<T> {
        let draft = draft.effect(record_maker(by, self.id, self.expires_at));
        let Some(from) = by.from() else { return draft };
        let from = operators::Effect::MadeFrom { code: self.id, address: from.to_canonical() };
        draft.effect(Effect::Operators(from))
    }
}

impl Services {
    /// A new code of `by`.
    ///
    /// # Errors
    /// [`Failure`] while the clocks disagree.
    pub(crate) fn make_code(&self, by: &OperatorPrincipal, life_s: i64) -> Result<MadeCode, Failure> {
        let (issue, entropy) = (self.state.certifying(life_s)?, &*self.state.entropy);
        let secret = Sensitive::filled(|secret| entropy.fill(secret));
        Ok(MadeCode {
            id: CodeId::mint(issue.time.now(), entropy),
            hash: sha256(secret.expose()),
            digest: self.values.digests.digest(secret.expose()),
            secret,
            expires_at: code_expiry(by, issue.time.earliest().plus_s(life_s)),
            as_of: issue.as_of,
        })
    }

    /// The text of the code, which enrols `spiffe` at `address`.
    pub(crate) fn code_text(
        &self,
        MadeCode { id, secret, .. }: MadeCode,
        spiffe: SpiffeId,
        address: &str,
    ) -> Sensitive<String> {
        let pin = self.signing.issuer.authority().key_pin();
        EnrolmentCode { spiffe, address: address.to_owned(), pin, id, secret }.to_text()
    }
}

/// Uses and life of the code.
fn bounds(input: &InviteInput) -> Result<(u32, i64), Failure> {
    let (uses, life_s) = (input.uses.unwrap_or(1), input.life_s.map_or(CODE_LIFE_S, i64::from));
    if (1..=CODE_USES_MAX).contains(&uses) && (1..=CODE_LIFE_MAX_S).contains(&life_s) {
        return Ok((uses, life_s));
    }
    Err(Failure::new(code::INVITATION_OUT_OF_RANGE))
}

fn invitee(reading: &Reading<'_>, input: &InviteInput, scope: &Scope) -> Result<InvitedAgent, Failure> {
    let (name, roles) = (&input.agent, &input.roles);
    let reaches = |thing: &Owned| scope.covers(reading.owner_of(thing));
    if let Some(agent) = reading.agent_named(name) {
        if !reaches(&Owned::Agent(name.clone())) {
            return Err(Failure::new(code::AGENT_UNKNOWN));
        }
        if !roles.is_empty() && *agent.roles != *roles {
            return Err(Failure::new(code::AGENT_ROLES_MISMATCH));
        }
        if input.person.is_some() && input.person != agent.person {
            return Err(Failure::new(code::AGENT_PERSON_MISMATCH));
        }
        let subject = Subject::Agent(agent.id);
        check_not_contained(reading, &subject)?;
        if reading.subject(&subject).revocations.is_blocked(&subject) {
            return Err(Failure::new(code::AGENT_SUSPENDED)
                .because(format!("the agent `{name}` is suspended: its enrolment codes would be refused"))
                .mended_by(format!("resume it first: `keyward agent resume {name}`, then invite it again")));
        }
        return Ok(InvitedAgent { known: Some(agent.id), kind: agent.kind(), create: None });
    }
    if roles.is_empty() {
        return Err(Failure::new(code::AGENT_UNKNOWN).mended_by(
            "name a role for the new agent or operator (`--role`), or declare it in a file and `keyward apply` it",
        ));
    }
    match reading.former_name(scope, &Owned::Agent(name.clone())) {
        None => {}
        Some(NameRefusal::Deleted) => {
            let why = format!("an agent or a resource server `{name}` was deleted; its name stays reserved");
            return Err(Failure::new(code::NAME_DELETED).because(why));
        }
        Some(NameRefusal::OfAnother) => return Err(Failure::new(code::NAME_RESERVED_BY_OWNER)),
        Some(NameRefusal::NoRoom | NameRefusal::Full) => {
            return Err(Failure::new(code::TOO_MANY_FORMER_NAMES));
        }
    }
    let known = |role: &RoleName| reading.role(role).is_some() && reaches(&Owned::Role(role.clone()));
    if let Some(role) = roles.iter().find(|role| !known(role)) {
        let near = near_within(reading.unconditional(), scope, NamedKind::Role, role.as_str());
        let why = format!("no role that you may see is called `{role}`{near}");
        return Err(Failure::new(code::ROLE_UNKNOWN).because(why));
    }
    let spec = AgentSpec { name: name.clone(), roles: roles.clone(), max_instances: input.uses.unwrap_or(1) };
    Ok(InvitedAgent { known: None, kind: AgentKind::Agent, create: Some(spec) })
}
