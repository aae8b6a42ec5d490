use crate::base::AgentId;
use crate::broker::changes::ChangeRequest;
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::removals::Removed;
use crate::broker::replay::remembered;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::custody::{PendingOrder, RevocationOrder};
use crate::idempotency::{IdempotencyKey, Outcome};
use crate::ledger::Key;
use crate::registry::{self, DeclarationsNarrowed, Narrowing, keys};
use crate::store::{Change, CommitError, ConflictDecision, OnConflict};

impl Services {
    /// Commits `change`, an application that takes `narrowing` away. That much is in force when the ledger has
    /// not taken the application in time, and is recorded by itself when the application cannot be.
    pub(crate) async fn apply_narrowing(
        &self,
        request: ChangeRequest<'_>,
        change: Change<Effect>,
        narrowing: Narrowing,
    ) -> Result<Removed, CommitError> {
        let now = self.state.clock.now();
        let agents = self.state.read(|reading| named(reading.unconditional(), &narrowing)).0;
        let withheld = touched(&agents, &narrowing);
        let order = request.pending(now, order(&narrowing));
        let taking =
            change.revoking(MemoryRevocation::narrowing(now, narrowing.clone(), agents.clone(), withheld));
        let on_conflict = narrowed_again(order.clone(), request.idempotency.cloned(), narrowing, agents);
        let still = |world: &World| request.by.still_allowed(&Reading::of(world, 0, now)).is_ok();
        let taken = self.state.store.commit_revocation(taking, on_conflict, still).await?;
        Ok(Removed { taken, order: Some(order), count: None })
    }

    /// Applies `narrowing` for a user of the broker's host.
    pub(crate) async fn narrow(
        &self,
        request: ChangeRequest<'_>,
        narrowing: Narrowing,
    ) -> Result<Removed, Failure> {
        let by = request.by.name();
        let change = self.state.read(|reading| narrowed(reading.unconditional(), by, &narrowing, &[])).0?;
        let applied = self.apply_narrowing(request, request.explain(change), narrowing).await?;
        self.notifications.revocations_changed();
        Ok(applied)
    }
}

/// The narrowing by itself, with the reason of `order`. The outcome of its request is remembered with it. It advances
/// `agents`, which it named at first: in memory, those that it removes are gone.
fn narrowed_again(
    order: PendingOrder,
    idempotency: Option<IdempotencyKey>,
    narrowing: Narrowing,
    agents: Vec<AgentId>,
) -> OnConflict<World> {
    OnConflict::Decide(Box::new(move |world, as_of| {
        let reading = Reading::of(world, as_of, order.at);
        let change = narrowed(world, &order.by, &narrowing, &agents)?;
        let change = order.reason.iter().cloned().fold(change, Change::because);
        let change = match reading.outcome(idempotency.as_ref()) {
            Ok(None) => remembered(change, idempotency.as_ref(), Outcome::Recorded),
            Ok(Some(_)) | Err(_) => change,
        };
        Ok(ConflictDecision::Remove(reading.preconditions().added_to(change)))
    }))
}

/// Without preconditions: it only revokes, and is valid after every earlier application.
fn narrowed(
    world: &World,
    by: &str,
    narrowing: &Narrowing,
    before: &[AgentId],
) -> Result<Change<Effect>, CommitError> {
    let mut agents = named(world, narrowing);
    agents.extend(before.iter().filter(|agent| world.registry.agent(**agent).is_none()));
    let restrict = registry::Effect::Restrict { narrowing: narrowing.clone(), agents };
    Ok(Change::new(&DeclarationsNarrowed { by, narrowing })?.effect(Effect::Registry(restrict)).urgent())
}

/// The agents that it names.
fn named(world: &World, narrowing: &Narrowing) -> Vec<AgentId> {
    let names = narrowing.agents.keys().chain(&narrowing.removed_agents);
    names.filter_map(|name| world.registry.agent_named(name)).map(|agent| agent.id).collect()
}

/// What a grant relies on that something of it is taken away from.
fn touched(agents: &[AgentId], narrowing: &Narrowing) -> Vec<Key> {
    let mut touched: Vec<Key> = agents.iter().copied().map(keys::agent).collect();
    touched.extend(narrowing.roles.keys().map(keys::role));
    touched.extend(narrowing.capabilities.iter().map(keys::capability));
    touched
}

fn order(narrowing: &Narrowing) -> RevocationOrder {
    let Narrowing { capabilities, roles, agents, removed_agents } = narrowing.clone();
    RevocationOrder::NarrowDeclarations { capabilities, roles, agents, removed_agents }
}
