use std::collections::BTreeSet;

use crate::base::code;
use crate::base::limits::{CODE_LIFE_MAX_S, CODE_LIFE_S, CODE_USES_MAX, OUTCOME_LIFE_S, ROLES_MAX};
use crate::base::{AgentId, AgentName, CodeId, Network, RoleName, Scope, Sensitive, Timestamp};
use crate::broker::administration::authorise::{code_expiry, record_maker};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::once::{done_before, remembering, told_once};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::Effect;
use crate::crypto::sha256;
use crate::idempotency::{Once, Outcome};
use crate::pki::{EnrolmentCode, SpiffeId};
use crate::policy::{Authorised, InviteAgents};
use crate::registry::{AgentInvited, AgentKind, AgentSpec, Kept, Owned, keys};
use crate::store::Change;

/// What an invitation is to be good for.
#[derive(Debug)]
pub struct InviteInput {
    /// The agent.
    pub agent: AgentName,
    /// The roles to create it with, or those that it must hold; nothing is said by none.
    pub roles: BTreeSet<RoleName>,
    /// How many keys can redeem the code; 1 when nothing is said.
    pub uses: Option<u32>,
    /// How long it can be redeemed, in seconds; 15 minutes when nothing is said.
    pub life_s: Option<u32>,
    /// From where; from anywhere when nothing is said.
    pub network: Option<Network>,
}

/// A code to hand to whoever runs the agent.
#[derive(Debug)]
pub struct Invitation {
    /// The agent.
    pub agent: AgentName,
    /// The code's id, by which the ledger knows it.
    pub id: CodeId,
    /// The code itself.
    pub code: Sensitive<String>,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
}

/// What the state says about the agent that is invited.
struct Invitee {
    id: AgentId,
    kind: AgentKind,
    create: Option<AgentSpec>,
}

impl AdminDesk {
    /// Makes an enrolment code. With roles, an agent that does not exist yet is created with them, and
    /// may have as many instances as the code has uses; an agent that exists must hold exactly these.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn invite(
        &self,
        by: &Authorised<InviteAgents>,
        input: InviteInput,
        once: Option<&Once>,
    ) -> Result<Invitation, Failure> {
        let core = &*self.0;
        let (uses, life_s) = bounds(&input)?;
        if input.roles.len() > ROLES_MAX {
            return Err(Failure::new(code::TOO_MANY_ROLES));
        }
        let scope = by.operator().scope();
        deciding_again!(async {
            let reading = core.certifying(life_s)?;
            let now = reading.now();
            let (invitee, before, as_of) = core.state.store.read(|world, as_of| {
                let invitee = invitee(core, &world.registry, (&input, scope), uses, now);
                (invitee, done_before(world, once, now), as_of)
            });
            told_once(before?.as_ref())?;
            let Invitee { id: agent_id, kind, create } = invitee?;
            let spiffe = core.agent_spiffe(&input.agent, kind);
            let code = core.enrolment_code(spiffe, &core.settings.address, now);
            let id = code.id;
            let expires_at = code_expiry(by.operator(), reading.earliest().plus_s(life_s));
            let event = AgentInvited {
                operator: by.operator().name(),
                agent: &input.agent,
                agent_id,
                code: id,
                expires_at: expires_at.to_string(),
                uses,
                network: input.network.map(|network| network.to_string()),
                created_with: create.as_ref().map(|spec| spec.roles.iter().cloned().collect()),
            };
            let mut change = Change::new(&event)?
                .rely(keys::agent_name(&input.agent), as_of)
                .rely(keys::agent(agent_id), as_of);
            if let Some(spec) = create {
                for role in &spec.roles {
                    change = change.rely(keys::role(role), as_of);
                }
                change = change
                    .rely(keys::declarations(), as_of)
                    .effect(Effect::Registry(crate::registry::Effect::PutAgent { id: agent_id, spec }));
                if let Some(owner) = scope.owner().cloned() {
                    let (thing, owner) = (Owned::Agent(input.agent.clone()), Some(owner));
                    change = change.effect(Effect::Registry(crate::registry::Effect::Own { thing, owner }));
                }
            }
            let hash = sha256(code.secret.expose());
            let digest = core.values.digests.digest(code.secret.expose());
            change = change.effect(Effect::Registry(crate::registry::Effect::IssueCode {
                id,
                agent: agent_id,
                hash,
                digest,
                expires_at,
                uses,
                network: input.network,
            }));
            change = change.effect(record_maker(by.operator(), id, expires_at));
            change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Invited(id));
            let change = core.while_allowed(change, by.operator())?;
            let receipt = core.state.store.commit(change, code).await?;
            Ok(Invitation { agent: input.agent.clone(), id, code: receipt.redeem().to_text(), expires_at })
        })
    }
}

impl Core {
    /// A new code that enrols `spiffe`, which reaches the broker at `address`.
    pub(in crate::broker) fn enrolment_code(
        &self,
        spiffe: SpiffeId,
        address: &str,
        now: Timestamp,
    ) -> EnrolmentCode {
        EnrolmentCode {
            spiffe,
            address: address.to_owned(),
            pin: self.signing.issuer.authority().key_pin(),
            id: CodeId::mint(now, &*self.state.entropy),
            secret: Sensitive::filled(|secret| self.state.entropy.fill(secret)),
        }
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

fn invitee(
    core: &Core,
    registry: &crate::registry::Registry,
    (input, scope): (&InviteInput, &Scope),
    uses: u32,
    now: Timestamp,
) -> Result<Invitee, Again> {
    let (name, roles) = (&input.agent, &input.roles);
    let reaches = |thing: &Owned| scope.covers(registry.owners().of(thing));
    if let Some(agent) = registry.agent_named(name) {
        if !reaches(&Owned::Agent(name.clone())) {
            return Err(Again::Stop(Failure::new(code::AGENT_UNKNOWN)));
        }
        if !roles.is_empty() && *agent.roles != *roles {
            return Err(Again::Stop(Failure::new(code::AGENT_ROLES_MISMATCH)));
        }
        return Ok(Invitee { id: agent.id, kind: agent.kind(), create: None });
    }
    if roles.is_empty() {
        return Err(Again::Stop(Failure::new(code::AGENT_UNKNOWN).mended_by(
            "name a role to create it with (`--role`), or declare it in a file and `keyward apply` it",
        )));
    }
    let live = scope.owner().map_or(0, |owner| registry.live(owner));
    match registry.former().keeps(scope, &Owned::Agent(name.clone()), live) {
        None => {}
        Some(Kept::OfAnother) => return Err(Again::Stop(Failure::new(code::NAME_RESERVED_BY_OWNER))),
        Some(Kept::NoRoom | Kept::Full) => {
            return Err(Again::Stop(Failure::new(code::TOO_MANY_FORMER_NAMES)));
        }
    }
    let known =
        |role: &RoleName| registry.declarations().role(role).is_some() && reaches(&Owned::Role(role.clone()));
    if !roles.iter().all(known) {
        return Err(Again::Stop(Failure::new(code::ROLE_UNKNOWN)));
    }
    let spec = AgentSpec { name: name.clone(), roles: roles.clone(), max_instances: uses };
    Ok(Invitee { id: AgentId::mint(now, &*core.state.entropy), kind: AgentKind::Agent, create: Some(spec) })
}
