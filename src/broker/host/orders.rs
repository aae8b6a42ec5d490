use std::collections::BTreeSet;

use crate::base::code::{self, Code};
use crate::broker::changes::ChangeRequest;
use crate::broker::failure::Failure;
use crate::broker::identity::operators::operator_unknown;
use crate::broker::identity::revoke::{FoundSubject, Revocation, agent_with, holder_of, unknown};
use crate::broker::keys::key_order::SigningKey;
use crate::broker::keys::staging::{Force, StageChange};
use crate::broker::leases::Selected;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removed, raise_if_void};
use crate::broker::secrets::versions::NamedVersion;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::custody::{LeasesOf, Orders, PendingOrder, PendingOrderFailed, RevocationOrder};
use crate::keyring::KeyStage;
use crate::leases::LeaseSelection;
use crate::pki::Serial;
use crate::registry::Narrowing;
use crate::store::{PendingRecord, RevocationOutcome};
use crate::telemetry::{Alarm, Alarms};

/// Failures of orders without effect: the object does not exist, or is revoked already.
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

/// Failures of orders whose operator no longer has the right.
const NOT_ALLOWED: &[Code] = &[
    code::CERTIFICATE_REVOKED,
    code::CERTIFICATE_SUSPENDED,
    code::CERTIFICATE_UNKNOWN,
    code::AUTHORITY_REVOKED,
    code::OPERATOR_ROLE_INSUFFICIENT,
    code::OPERATOR_SCOPE_INSUFFICIENT,
];

/// An order that is in force in memory only.
pub(crate) struct UnrecordedOrder {
    order: PendingOrder,
    recorded: PendingRecord,
}

impl UnrecordedOrder {
    /// The order, once it is settled; `None` if the ledger cannot record it before the next start.
    pub(crate) async fn settled(self, alarms: &Alarms) -> Option<RevocationOrder> {
        let settled = self.recorded.wait().await?;
        raise_if_void(alarms, settled, &self.order);
        Some(self.order.what)
    }
}

impl Services {
    /// Carries out the orders of a sealed broker, and those that were in force in memory only when the process ended,
    /// and forgets each recorded order. After a stop in between, the next start repeats this. An order that the
    /// ledger cannot record now is in force in memory again, and is returned: its file stays until the order is
    /// settled.
    pub(crate) async fn carry_out(&self, orders: &mut Orders) -> Result<Vec<UnrecordedOrder>, Failure> {
        let kept = self.state.kept_orders.waiting();
        let while_sealed = orders.waiting().iter().map(|order| (order, "while sealed"));
        let before = kept.iter().map(|order| (order, "before the start"));
        let (mut done, mut unrecorded) = (Vec::new(), Vec::new());
        for (order, when) in while_sealed.chain(before) {
            match self.carry_out_one(order, when).await? {
                None => done.push(order.what.clone()),
                Some(recorded) => unrecorded.push(UnrecordedOrder { order: order.clone(), recorded }),
            }
        }
        for what in done {
            orders.forget(&what)?;
            self.state.kept_orders.forget(what).await;
        }
        Ok(unrecorded)
    }

    /// `None` if the order is settled.
    async fn carry_out_one(
        &self,
        order: &PendingOrder,
        when: &str,
    ) -> Result<Option<PendingRecord>, Failure> {
        let PendingOrder { at, by, reason, what, operator } = order;
        // Without addition to the name of an operator: the name links the entry to the operator.
        let by_then = if operator.is_some() { by.clone() } else { format!("{by}, {when}") };
        let request = if what.depends_on_right() {
            ChangeRequest::by_order(order)
        } else {
            ChangeRequest::by_host(&by_then, None).because(reason.as_ref())
        };
        match self.apply_order(request, what).await {
            Ok(Removed { taken: RevocationOutcome::Recorded(_), .. }) => Ok(None),
            Ok(Removed { taken: RevocationOutcome::InMemory(recorded), .. }) => {
                tracing::error!(?what, %at, %by, "the ledger cannot record an order now: it is in force in memory, and stored in the runtime directory");
                Ok(Some(recorded))
            }
            Err(failure) if IN_VAIN.contains(&failure.code) => {
                self.state.record(&PendingOrderFailed::new(order, failure.code.as_str())).await?;
                Ok(None)
            }
            Err(failure) if NOT_ALLOWED.contains(&failure.code) => {
                self.state.record(&PendingOrderFailed::new(order, failure.code.as_str())).await?;
                self.notifications.meters.alarms().raise(
                    Alarm::PendingOrderFailed,
                    format_args!(
                        "the revocation that {by} ordered at {at} is not carried out ({}): {what:?}; repeat the \
                         revocation if it is still needed",
                        failure.code
                    ),
                );
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn carry_out_order(
        &self,
        request: ChangeRequest<'_>,
        what: &RevocationOrder,
    ) -> Result<Ended, Failure> {
        let applied = self.apply_order(request, what).await?;
        Ok(self.conclude(applied).await)
    }

    async fn apply_order(
        &self,
        request: ChangeRequest<'_>,
        what: &RevocationOrder,
    ) -> Result<Removed, Failure> {
        let how = match what {
            RevocationOrder::SuspendAgent(_) | RevocationOrder::SuspendOperator(_) => Revocation::Suspend,
            RevocationOrder::RevokeAgent(_)
            | RevocationOrder::RevokeInstance(_)
            | RevocationOrder::RevokeCertificate(_)
            | RevocationOrder::RevokeToken(_)
            | RevocationOrder::RevokeOperator(_) => Revocation::Revoke,
            RevocationOrder::RevokeLeases(leases) => {
                let find = |world: &World| Ok(Selected::by_order(selection(world, leases)));
                return self.revoke_leases(request, &find).await;
            }
            RevocationOrder::DestroyVersion { secret, version } => {
                let version = NamedVersion { name: secret.clone(), number: *version };
                return self.destroy_version(request, version).await;
            }
            RevocationOrder::RevokeTokenKey(generation) => {
                let change =
                    StageChange { key: SigningKey::Token, generation: *generation, stage: KeyStage::Revoked };
                return self.end_key(request, change, Force::Yes).await;
            }
            RevocationOrder::TaintAuthority(generation) | RevocationOrder::RevokeAuthority(generation) => {
                let is_tainted = matches!(what, RevocationOrder::TaintAuthority(_));
                let stage = if is_tainted { KeyStage::Tainted } else { KeyStage::Revoked };
                let change = StageChange { key: SigningKey::Authority, generation: *generation, stage };
                return self.end_key(request, change, Force::Yes).await;
            }
            RevocationOrder::NarrowDeclarations { capabilities, roles, agents, removed_agents } => {
                let narrowing = Narrowing {
                    capabilities: capabilities.clone(),
                    roles: roles.clone(),
                    agents: agents.clone(),
                    removed_agents: removed_agents.clone(),
                };
                return self.narrow(request, narrowing).await;
            }
        };
        let find = |reading: &Reading<'_>| found(reading.unconditional(), what);
        self.apply_revocation(request, how, &find).await
    }
}

/// The leases that an order selects.
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

/// The subject of the order. A user of the host may also revoke the last admin.
fn found(world: &World, what: &RevocationOrder) -> Result<FoundSubject, Failure> {
    match what {
        RevocationOrder::RevokeAgent(name) | RevocationOrder::SuspendAgent(name) => {
            let agent = world.registry.agent_named(name).ok_or_else(unknown)?;
            Ok(FoundSubject::of_agent(agent))
        }
        RevocationOrder::RevokeInstance(id) => {
            let agent = agent_with(world, *id).ok_or_else(unknown)?;
            Ok(FoundSubject::of_instance(*id, agent))
        }
        RevocationOrder::RevokeCertificate(serial) => {
            let (id, agent) = holder_of(world, Serial::from_bytes(*serial)).ok_or_else(unknown)?;
            Ok(FoundSubject::of_instance(id, agent))
        }
        RevocationOrder::RevokeToken(id) => Ok(FoundSubject::of_token(*id)),
        RevocationOrder::RevokeOperator(name) | RevocationOrder::SuspendOperator(name) => {
            let operator = world.operators.named(name).ok_or_else(operator_unknown)?;
            Ok(FoundSubject::of_operator(operator))
        }
        RevocationOrder::RevokeLeases(_)
        | RevocationOrder::DestroyVersion { .. }
        | RevocationOrder::RevokeTokenKey(_)
        | RevocationOrder::TaintAuthority(_)
        | RevocationOrder::RevokeAuthority(_)
        | RevocationOrder::NarrowDeclarations { .. } => Err(unknown()),
    }
}
