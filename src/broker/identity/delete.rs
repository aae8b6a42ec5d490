use serde::Deserialize;

use super::operators::unknown_in;
use super::standing::InstanceStanding;
use crate::base::{AgentName, OperatorName, Timestamp, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::identity::facts::counting;
use crate::broker::reading::Reading;
use crate::broker::world::{Effect, World};
use crate::leases::LeaseStage;
use crate::operators::{self, OperatorDeleted, is_of_host};
use crate::policy::{Authorised, DeleteAgents, PlaceOperators};
use crate::registry::{self, Agent, AgentDeleted, DeletedName, Owned};
use crate::store::Change;
use crate::wire::{AgentDeletedAnswer, OperatorDeletedAnswer};

impl AdminServices {
    /// Deletes the agent or resource server called `name`: its credentials are invalid from the next request on, its leases
    /// are revoked, and its name stays reserved.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn delete_agent(
        &self,
        by: &Authorised<DeleteAgents>,
        name: &AgentName,
        request: OperatorRequest<'_>,
    ) -> Result<AgentDeletedAnswer, Failure> {
        let (services, scope) = (&*self.0, by.operator().scope());
        let changed = services.state.change(ChangeRequest::of(by.operator(), request), |reading| {
            let is_within = scope.covers(reading.owner_of(&Owned::Agent(name.clone())));
            let agent = reading.agent_named(name).filter(|_| is_within);
            let agent = agent.ok_or_else(|| Failure::new(code::AGENT_UNKNOWN))?;
            room_for_deletion(reading)?;
            let world = reading.unconditional();
            let (instances, leases) = (live_instances(world, agent, reading.now()), leases_of(world, agent));
            let event = AgentDeleted {
                operator: by.operator().name(),
                agent: name,
                agent_id: agent.id,
                instances,
                leases,
            };
            let reserve = registry::Effect::Reserve(DeletedName::Agent(name.clone()));
            let change = Change::new(&event)?
                .effect(Effect::Registry(registry::Effect::RemoveAgent(agent.id)))
                .effect(Effect::Registry(reserve));
            Ok(ChangeDraft::of(change, Counts { instances, leases, certificates: 0 }))
        });
        let (seq, Counts { instances, leases, .. }) = self.deleted(changed.await?)?;
        services.notifications.connections.forget(name);
        services.notifications.leases_changed();
        Ok(AgentDeletedAnswer { seq, instances, leases })
    }

    /// Deletes the operator called `name`, unless it is the last one who administers everything: its certificates and codes
    /// are invalid from the next request on, and its name stays reserved.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn delete_operator(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        request: OperatorRequest<'_>,
    ) -> Result<OperatorDeletedAnswer, Failure> {
        if is_of_host(name) {
            return Err(Failure::new(code::OPERATOR_IS_BREAK_GLASS).mended_by(
                "it cannot be deleted; to end its access run `keyward operator revoke break-glass`",
            ));
        }
        let grace_s = self.0.settings.operator_renewal_grace_s;
        let changed = self.0.state.change(ChangeRequest::of(by.operator(), request), |reading| {
            let operator = reading.operator(name).ok_or_else(|| unknown_in(reading, name))?;
            reading.another_admin_than(operator, grace_s)?;
            room_for_deletion(reading)?;
            let certificates = counting(operator, reading.unconditional(), reading.now()).count();
            let event = OperatorDeleted {
                by: by.operator().name(),
                operator: name,
                operator_id: operator.id,
                certificates,
            };
            let reserve = registry::Effect::Reserve(DeletedName::Operator(name.clone()));
            let change = Change::new(&event)?
                .effect(Effect::Operators(operators::Effect::Remove(name.clone())))
                .effect(Effect::Registry(reserve));
            Ok(ChangeDraft::of(change, Counts { certificates, ..Counts::default() }))
        });
        let (seq, Counts { certificates, .. }) = self.deleted(changed.await?)?;
        Ok(OperatorDeletedAnswer { seq, certificates })
    }

    /// The entry of a deletion and its counts, also for a repeated request. Open connections are judged again.
    fn deleted(&self, changed: Changed<Counts>) -> Result<(u64, Counts), Failure> {
        self.0.notifications.revocations_changed();
        Ok(match changed {
            Changed::Recorded { seq, value } => (seq, value),
            Changed::Before(before) => (before.seq, self.0.state.said(&before)?),
        })
    }
}

/// What a deletion ends, as its event says it.
#[derive(Debug, Default, Deserialize)]
struct Counts {
    #[serde(default)]
    instances: usize,
    #[serde(default)]
    leases: usize,
    #[serde(default)]
    certificates: usize,
}

/// Checks that the broker can remember one more deleted name.
fn room_for_deletion(reading: &Reading<'_>) -> Result<(), Failure> {
    if reading.declared().former().has_room_for_deletion() {
        return Ok(());
    }
    Err(Failure::new(code::TOO_MANY_FORMER_NAMES).mended_by(
        "the name could not be reserved: revoke the agent or the operator instead (`keyward agent revoke NAME`, `keyward operator revoke NAME`)",
    ))
}

fn live_instances(world: &World, agent: &Agent, now: Timestamp) -> usize {
    let standing = |instance| InstanceStanding::of(world, agent, instance, now);
    agent.instances.iter().filter(|one| standing(*one) == InstanceStanding::Live).count()
}

fn leases_of(world: &World, agent: &Agent) -> usize {
    let leases = world.leases.of_agent(agent.id);
    leases.filter(|lease| !matches!(lease.stage, LeaseStage::Ending(_))).count()
}
