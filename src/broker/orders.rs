use std::collections::BTreeSet;

use super::desk::Core;
use super::end_keys::KeyWord;
use super::failure::Failure;
use super::leases::Selected;
use super::operators::operator_unknown;
use super::revoke::{Applied, Ended, Found, Revocation, Word, agent_with, holder_of, unknown};
use super::rotate_keys::Force;
use super::world::World;
use crate::base::code::{self, Code};
use crate::custody::{LeasesOf, Order, OrderInVain, Orders, TakeAway};
use crate::idempotency::Once;
use crate::keyring::Stage;
use crate::leases::Selection;
use crate::pki::Serial;
use crate::registry::Narrowing;
use crate::revocation::Subject;
use crate::store::{Change, Settled, Taken};

/// Why an order has nothing to take away: there is no such thing, or it is taken away already.
const IN_VAIN: &[Code] = &[
    code::SUBJECT_UNKNOWN,
    code::OPERATOR_UNKNOWN,
    code::LEASE_UNKNOWN,
    code::SECRET_UNKNOWN,
    code::VERSION_UNKNOWN,
    code::VERSION_NOT_FORMER,
    code::ROTATION_UNDER_WAY,
    code::GENERATION_UNKNOWN,
    code::GENERATION_STAGE,
];

impl Core {
    /// Carries out what was ordered while the broker was sealed, and what a stop came before that was in
    /// force in memory alone; and forgets it when all of it is on the ledger. A stop in between does all of
    /// it again.
    pub(super) async fn carry_out(&self, orders: &mut Orders) -> Result<(), Failure> {
        self.carry_out_each(orders.waiting(), "while sealed").await?;
        let kept = self.kept.waiting();
        self.carry_out_each(&kept, "before the start").await?;
        for order in kept {
            self.kept.forget(order.what).await;
        }
        Ok(orders.clear()?)
    }

    async fn carry_out_each(&self, orders: &[Order], when: &str) -> Result<(), Failure> {
        for Order { at, by, what } in orders {
            let by_then = format!("{by}, {when}");
            let applied = self.apply_order(&by_then, what, None).await;
            let recorded = match applied {
                Ok(Applied { taken: Taken::Recorded(seq), .. }) => Ok(Some(Settled::Recorded(seq))),
                // Durable before anybody is served: the order is forgotten afterwards.
                Ok(Applied { taken: Taken::InMemory(recorded), .. }) => Ok(recorded.wait().await),
                Err(failure) => Err(failure),
            };
            match recorded {
                Ok(Some(_)) => {}
                Ok(None) => return Err(Failure::new(code::LEDGER_FAILED)),
                Err(failure) if IN_VAIN.contains(&failure.code) => {
                    let code = failure.code.as_str();
                    let event = OrderInVain { by, at: at.to_string(), what, code };
                    self.store.commit(Change::new(&event)?, ()).await?.redeem();
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    pub(super) async fn take_away(
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
fn selection(world: &World, leases: &LeasesOf) -> Selection {
    match leases {
        LeasesOf::Each(ids) => Selection::Each(ids.clone()),
        LeasesOf::Everybody => Selection::All,
        LeasesOf::Some { agents, capabilities } => {
            let agents = agents.iter().filter_map(|name| world.registry.agent_named(name));
            let agents: BTreeSet<_> = agents.map(|agent| agent.id).collect();
            Selection::Within { agents, capabilities: capabilities.clone() }
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
