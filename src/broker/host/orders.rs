use std::collections::BTreeSet;

use crate::base::code::{self, Code};
use crate::broker::failure::Failure;
use crate::broker::identity::operators::operator_unknown;
use crate::broker::identity::revoke::{
    Applied, Ended, Found, Revocation, Word, agent_with, holder_of, unknown,
};
use crate::broker::keys::end_keys::KeyWord;
use crate::broker::keys::rotate_keys::Force;
use crate::broker::leases::Selected;
use crate::broker::services::Core;
use crate::broker::world::World;
use crate::custody::{LeasesOf, Order, Orders, PendingOrderFailed, TakeAway};
use crate::idempotency::Once;
use crate::keyring::Stage;
use crate::leases::LeaseSelection;
use crate::pki::Serial;
use crate::registry::Narrowing;
use crate::revocation::Subject;
use crate::store::{Change, Recorded, Taken};

/// Why an order has nothing to take away: there is no such thing, or it is taken away already.
const IN_VAIN: &[Code] = &[
    code::SUBJECT_UNKNOWN,
    code::OPERATOR_UNKNOWN,
    code::LEASE_UNKNOWN,
    code::SECRET_UNKNOWN,
    code::VERSION_UNKNOWN,
    code::VERSION_INVALID_STATE,
    code::ROTATION_IN_PROGRESS,
    code::GENERATION_UNKNOWN,
    code::GENERATION_INVALID_STATE,
];

/// An order that is in force in memory alone.
pub(in crate::broker) struct Unrecorded {
    what: TakeAway,
    recorded: Recorded,
}

impl Unrecorded {
    /// The order, once the ledger has it; `None` when it never will.
    pub(in crate::broker) async fn settled(self) -> Option<TakeAway> {
        self.recorded.wait().await.map(|_| self.what)
    }
}

impl Core {
    /// Carries out what was ordered while the broker was sealed, and what was in force in memory alone when
    /// the process ended, and forgets each order that is on the ledger. A stop in between does all of it
    /// again. An order that the ledger cannot take now, on a full disk, is in force in memory alone again,
    /// and is returned: its file is kept until the ledger has it.
    pub(in crate::broker) async fn carry_out(&self, orders: &mut Orders) -> Result<Vec<Unrecorded>, Failure> {
        let kept = self.state.kept_orders.waiting();
        let while_sealed = orders.waiting().iter().map(|order| (order, "while sealed"));
        let before = kept.iter().map(|order| (order, "before the start"));
        let (mut done, mut unrecorded) = (Vec::new(), Vec::new());
        for (order, when) in while_sealed.chain(before) {
            match self.carry_out_one(order, when).await? {
                None => done.push(order.what.clone()),
                Some(recorded) => unrecorded.push(Unrecorded { what: order.what.clone(), recorded }),
            }
        }
        for what in done {
            orders.forget(&what)?;
            self.state.kept_orders.forget(what).await;
        }
        Ok(unrecorded)
    }

    /// `None` once the order is on the ledger.
    async fn carry_out_one(&self, order: &Order, when: &str) -> Result<Option<Recorded>, Failure> {
        let Order { at, by, what } = order;
        match self.apply_order(&format!("{by}, {when}"), what, None).await {
            Ok(Applied { taken: Taken::Recorded(_), .. }) => Ok(None),
            Ok(Applied { taken: Taken::InMemory(recorded), .. }) => {
                tracing::error!(?what, %at, %by, "the ledger cannot take an order now: it is in force in memory and kept");
                Ok(Some(recorded))
            }
            Err(failure) if IN_VAIN.contains(&failure.code) => {
                let code = failure.code.as_str();
                let event = PendingOrderFailed { by, at: at.to_string(), what, code };
                self.state.store.commit(Change::new(&event)?, ()).await?.redeem();
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    pub(in crate::broker) async fn take_away(
        &self,
        by: &str,
        what: &TakeAway,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let applied = self.apply_order(by, what, once).await?;
        Ok(self.conclude(applied).await)
    }

    async fn apply_order(&self, by: &str, what: &TakeAway, once: Option<&Once>) -> Result<Applied, Failure> {
        let how = match what {
            TakeAway::SuspendAgent(_) | TakeAway::SuspendOperator(_) => Revocation::Suspend,
            TakeAway::RevokeAgent(_)
            | TakeAway::RevokeInstance(_)
            | TakeAway::RevokeCertificate(_)
            | TakeAway::RevokeToken(_)
            | TakeAway::RevokeOperator(_) => Revocation::Revoke,
            TakeAway::RevokeLeases(leases) => {
                let find = |world: &World| Ok(Selected::by_order(selection(world, leases)));
                return self.revoke_leases(Word::Host(by), once, &find).await.map(|(applied, _)| applied);
            }
            TakeAway::DestroyVersion { secret, version } => {
                return self.destroy_version(Word::Host(by), (secret, *version), once).await;
            }
            TakeAway::RevokeTokenKey(generation) => {
                return self.revoke_token_key(KeyWord::of_host(by), *generation).await;
            }
            TakeAway::TaintAuthority(generation) => {
                let to = (*generation, Stage::Tainted);
                return self.end_authority(KeyWord::of_host(by), to, Force::Yes).await;
            }
            TakeAway::RevokeAuthority(generation) => {
                let to = (*generation, Stage::Revoked);
                return self.end_authority(KeyWord::of_host(by), to, Force::Yes).await;
            }
            TakeAway::NarrowDeclarations { capabilities, roles, agents, removed_agents } => {
                let narrowing = Narrowing {
                    capabilities: capabilities.clone(),
                    roles: roles.clone(),
                    agents: agents.clone(),
                    removed_agents: removed_agents.clone(),
                };
                return self.narrow(by, narrowing).await;
            }
        };
        self.apply_revocation(Word::Host(by), how, once, &|world: &World| found(world, what)).await
    }
}

/// The leases that an order names, as far as they are known.
fn selection(world: &World, leases: &LeasesOf) -> LeaseSelection {
    match leases {
        LeasesOf::Each(ids) => LeaseSelection::Each(ids.clone()),
        LeasesOf::Everybody => LeaseSelection::All,
        LeasesOf::Some { agents, capabilities } => {
            let agents = agents.iter().filter_map(|name| world.registry.agent_named(name));
            let agents: BTreeSet<_> = agents.map(|agent| agent.id).collect();
            LeaseSelection::Within { agents, capabilities: capabilities.clone() }
        }
    }
}

/// What it is that is to be taken away. Whoever is on the host is above every operator: nobody has to be
/// left over to administer.
fn found(world: &World, what: &TakeAway) -> Result<Found, Failure> {
    match what {
        TakeAway::RevokeAgent(name) | TakeAway::SuspendAgent(name) => {
            let agent = world.registry.agent_named(name).ok_or_else(unknown)?;
            Ok(Found::of_agent(Subject::Agent(agent.id), agent))
        }
        TakeAway::RevokeInstance(id) => {
            let agent = agent_with(world, *id).ok_or_else(unknown)?;
            Ok(Found::of_agent(Subject::Instance(*id), agent))
        }
        TakeAway::RevokeCertificate(serial) => {
            let (id, agent) = holder_of(world, Serial::from_bytes(*serial)).ok_or_else(unknown)?;
            Ok(Found::of_agent(Subject::Instance(id), agent))
        }
        TakeAway::RevokeToken(id) => Ok(Found::of_token(*id)),
        TakeAway::RevokeOperator(name) | TakeAway::SuspendOperator(name) => {
            let operator = world.operators.named(name).ok_or_else(operator_unknown)?;
            Ok(Found::of_operator(operator))
        }
        TakeAway::RevokeLeases(_)
        | TakeAway::DestroyVersion { .. }
        | TakeAway::RevokeTokenKey(_)
        | TakeAway::TaintAuthority(_)
        | TakeAway::RevokeAuthority(_)
        | TakeAway::NarrowDeclarations { .. } => Err(unknown()),
    }
}
