use std::collections::BTreeSet;

use super::desk::{AdminDesk, Again, Core, deciding_again};
use super::failure::{Failure, FailureKind};
use super::world::Effect;
use crate::authn::OperatorPrincipal;
use crate::base::limits::{CODE_LIFE_S, ROLES_MAX};
use crate::base::{AgentId, AgentName, CodeId, RoleName, Sensitive, Timestamp};
use crate::crypto::sha256;
use crate::registry::{AgentInvited, AgentSpec, EnrolmentCode, keys};
use crate::store::Change;

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
    create: Option<AgentSpec>,
}

impl AdminDesk {
    /// Makes an enrolment code for the agent called `name`. With `roles`, an agent that does not
    /// exist yet is created with them; an agent that exists must hold exactly these.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn invite(
        &self,
        operator: &OperatorPrincipal,
        name: AgentName,
        roles: BTreeSet<RoleName>,
    ) -> Result<Invitation, Failure> {
        let core = &*self.0;
        if roles.len() > ROLES_MAX {
            return Err(Failure::new(
                FailureKind::Invalid,
                "too_many_roles",
                "an agent holds at most 32 roles",
                "name fewer roles, or declare one role that holds what they hold",
            ));
        }
        deciding_again!(async {
            let now = core.clock.now();
            let (invitee, as_of) =
                core.store.read(|world, as_of| (invitee(core, &world.registry, &name, &roles, now), as_of));
            let Invitee { id: agent_id, create } = invitee?;
            let id = CodeId::mint(now, &*core.entropy);
            let code = EnrolmentCode {
                address: core.settings.address.clone(),
                pin: core.issuer.authority().key_pin(),
                id,
                secret: Sensitive::filled(|secret| core.entropy.fill(secret)),
            };
            let expires_at = now.plus_s(CODE_LIFE_S);
            let event = AgentInvited {
                operator: operator.name(),
                agent: &name,
                agent_id,
                code: id,
                expires_at: expires_at.to_string(),
                created_with: create.as_ref().map(|spec| spec.roles.iter().cloned().collect()),
            };
            let mut change =
                Change::new(&event)?.rely(keys::agent_name(&name), as_of).rely(keys::agent(agent_id), as_of);
            if let Some(spec) = create {
                for role in &spec.roles {
                    change = change.rely(keys::role(role), as_of);
                }
                change = change
                    .rely(keys::declarations(), as_of)
                    .advance(keys::agents())
                    .advance(keys::agent_name(&name))
                    .advance(keys::agent(agent_id))
                    .effect(Effect::Registry(crate::registry::Effect::PutAgent { id: agent_id, spec }));
            }
            let hash = sha256(code.secret.expose());
            change = change.effect(Effect::Registry(crate::registry::Effect::IssueCode {
                id,
                agent: agent_id,
                hash,
                expires_at,
            }));
            let receipt = core.store.commit(change, code).await?;
            Ok(Invitation { agent: name.clone(), id, code: receipt.redeem().to_text(), expires_at })
        })
    }
}

fn invitee(
    core: &Core,
    registry: &crate::registry::Registry,
    name: &AgentName,
    roles: &BTreeSet<RoleName>,
    now: Timestamp,
) -> Result<Invitee, Again> {
    if let Some(agent) = registry.agent_named(name) {
        if !roles.is_empty() && agent.roles != *roles {
            return Err(Again::Stop(Failure::new(
                FailureKind::Conflict,
                "agent_has_other_roles",
                "the agent exists and holds other roles than the invitation names",
                "leave the roles out of the invitation, or change them in the agent's declaration and `keyward apply` it",
            )));
        }
        return Ok(Invitee { id: agent.id, create: None });
    }
    if roles.is_empty() {
        return Err(Again::Stop(Failure::new(
            FailureKind::NotFound,
            "agent_unknown",
            "there is no agent of this name",
            "name a role to create it with (`--role`), or declare it in a file and `keyward apply` it",
        )));
    }
    if roles.iter().any(|role| registry.declarations().role(role).is_none()) {
        return Err(Again::Stop(Failure::new(
            FailureKind::NotFound,
            "role_unknown",
            "a role that the invitation names is not declared",
            "declare the role in a file and `keyward apply` it; `keyward role list` shows those there are",
        )));
    }
    let spec = AgentSpec { name: name.clone(), roles: roles.clone(), max_instances: 1 };
    Ok(Invitee { id: AgentId::mint(now, &*core.entropy), create: Some(spec) })
}
