use crate::base::Connection;
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
use crate::registry::{self, DeclarationsNarrowed, Removals, RemovedPairs};
use crate::store::{Change, CommitError, ConflictDecision, OnConflict};

impl Services {
    /// Commits `change`, an application with these `removals`. The removals alone are in force when the ledger has
    /// not taken the application in time, and are recorded by themselves when the application cannot be.
    pub(crate) async fn apply_removals(
        &self,
        request: ChangeRequest<'_>,
        change: Change<Effect>,
        removals: Removals,
    ) -> Result<Removed, CommitError> {
        let now = self.state.clock.now();
        let mut withheld = Vec::new();
        removals.touched(&mut withheld);
        let order = request.pending(now, order(&removals));
        let taking = change.revoking(MemoryRevocation::withdrawal(now, removals.clone(), withheld));
        let connection = request.by.connection();
        let on_conflict = withdrawn_again(order.clone(), connection, request.idempotency.cloned(), removals);
        let still = |world: &World| request.by.still_allowed(&Reading::of(world, 0, now)).is_ok();
        let taken = self.state.store.commit_revocation(taking, on_conflict, still).await?;
        Ok(Removed { taken, order: Some(order), count: None, incident: None })
    }

    /// Applies `removals` for a user of the broker's host.
    pub(crate) async fn remove_declared(
        &self,
        request: ChangeRequest<'_>,
        removals: Removals,
    ) -> Result<Removed, Failure> {
        let by = request.by.name();
        let change = self.state.read(|reading| withdrawn(reading.unconditional(), by, &removals)).0?;
        let applied = self.apply_removals(request, request.attribute(change), removals).await?;
        self.notifications.revocations_changed();
        Ok(applied)
    }
}

/// The removals by themselves, with the reason of `order`. The outcome of its request is remembered with them.
fn withdrawn_again(
    order: PendingOrder,
    connection: Option<Connection>,
    idempotency: Option<IdempotencyKey>,
    removals: Removals,
) -> OnConflict<World> {
    OnConflict::Decide(Box::new(move |world, as_of| {
        let reading = Reading::of(world, as_of, order.at);
        let change = withdrawn(world, &order.by, &removals)?.requested_on(connection);
        let change = order.reason.iter().cloned().fold(change, Change::because);
        let change = match reading.outcome(idempotency.as_ref()) {
            Ok(None) => remembered(change, idempotency.as_ref(), Outcome::Recorded),
            Ok(Some(_)) | Err(_) => change,
        };
        Ok(ConflictDecision::Remove(reading.preconditions().added_to(change)))
    }))
}

/// Without preconditions: it only revokes, and is valid after every earlier application.
fn withdrawn(world: &World, by: &str, removals: &Removals) -> Result<Change<Effect>, CommitError> {
    let narrowing = world.registry.remaining(removals);
    let removed = RemovedPairs { roles: &removals.roles, agents: &removals.agents };
    let withdraw = registry::Effect::Withdraw(removals.clone());
    let change = Change::new(&DeclarationsNarrowed { by, narrowing: &narrowing, removed })?;
    Ok(change.effect(Effect::Registry(withdraw)).urgent())
}

fn order(removals: &Removals) -> RevocationOrder {
    let Removals { capabilities, roles, agents, removed_agents, ids } = removals.clone();
    RevocationOrder::RemoveDeclared { capabilities, roles, agents, removed_agents, ids }
}
