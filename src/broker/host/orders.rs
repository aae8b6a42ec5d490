use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::code::{self, Code};
use crate::base::limits::REVOCATION_WAIT_MS;
use crate::base::{Scope, Timestamp};
use crate::broker::changes::{ChangeRequest, StoredOrder};
use crate::broker::failure::Failure;
use crate::broker::host::settled::{OrderSettlement, SettledOrder};
use crate::broker::identity::operators::operator_unknown;
use crate::broker::identity::revoke::{FoundSubject, Revocation, agent_with, unknown};
use crate::broker::identity::revoke_certificate::{holder_of, operator_of};
use crate::broker::incidents::contain::ContainmentOrder;
use crate::broker::keys::key_order::SigningKey;
use crate::broker::keys::staging::{Force, StageChange};
use crate::broker::leases::Selected;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removed, order_failed, raise_if_void};
use crate::broker::secrets::versions::{NamedVersion, is_destroyed};
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::custody::{FailedOrder, LeasesOf, Orders, PendingOrder, RevocationOrder};
use crate::keyring::KeyStage;
use crate::leases::LeaseSelection;
use crate::ledger::Receipt;
use crate::pki::Serial;
use crate::registry::{Narrowing, Removals};
use crate::store::{PendingRecord, RevocationOutcome};
use crate::telemetry::{Alarm, Alarms};

/// Failures of orders without effect: the object does not exist, or is revoked already.
const IN_VAIN: &[Code] = &[
    code::SUBJECT_UNKNOWN,
    code::OPERATOR_UNKNOWN,
    code::ENROLMENT_CODE_UNKNOWN,
    code::LEASE_UNKNOWN,
    code::SECRET_UNKNOWN,
    code::VERSION_UNKNOWN,
    code::VERSION_INVALID_STATE,
    code::ROTATION_IN_PROGRESS,
    code::ROTATION_IN_GRACE_PERIOD,
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
    pub(crate) async fn settled(self, alarms: &Alarms) -> Option<PendingOrder> {
        let settled = self.recorded.wait().await?;
        raise_if_void(alarms, settled, &self.order);
        Some(self.order)
    }
}

/// The result of a stored order at a start.
enum OrderResult {
    /// Carried out: its file forgets it.
    CarriedOut,
    /// Not carried out, as the records list: its file forgets it.
    Failed,
    /// In force in memory only.
    InMemory(PendingRecord),
    /// Not carried out, and the ledger cannot record that now: the next start decides again.
    Kept(Code),
}

impl Services {
    /// Carries out the orders of a sealed broker, and those that were in force in memory only when the process ended,
    /// and forgets each recorded order. After a stop in between, the next start repeats this. An order that the
    /// ledger cannot record now is in force in memory again, and is returned: its file stays until the order is
    /// settled.
    pub(crate) async fn carry_out(&self, orders: &mut Orders) -> Result<Vec<UnrecordedOrder>, Failure> {
        self.raise_failed_earlier();
        let kept = self.state.kept_orders.waiting();
        let while_sealed = orders.waiting().iter().map(|order| (order, "while sealed"));
        let before = kept.iter().map(|order| (order, "before the start"));
        let (mut done, mut unrecorded, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (order, when) in while_sealed.chain(before) {
            let settlement = match self.carry_out_one(order, when).await? {
                OrderResult::CarriedOut => {
                    done.push(order.clone());
                    OrderSettlement::CarriedOut
                }
                OrderResult::Failed => {
                    done.push(order.clone());
                    continue;
                }
                OrderResult::InMemory(recorded) => {
                    unrecorded.push(UnrecordedOrder { order: order.clone(), recorded });
                    OrderSettlement::InMemory
                }
                OrderResult::Kept(code) => OrderSettlement::Failed(code),
            };
            all.push(SettledOrder { order: order.clone(), settlement });
        }
        self.state.kept_orders.settled().set(all);
        for order in done {
            orders.forget(&order)?;
            self.state.kept_orders.forget(order).await;
        }
        Ok(unrecorded)
    }

    /// Raises the alarm again for each order that failed before this start and was not repeated since.
    fn raise_failed_earlier(&self) {
        let now = self.state.clock.now();
        for FailedOrder { command, by, at, code } in self.failed_orders(now) {
            self.notifications.meters.alarms().raise(
                Alarm::PendingOrderFailed,
                format_args!(
                    "the order `{command}` of {by} at {at} was not carried out ({code}) before this start, and was not \
                     repeated; if it is still needed, repeat the command with the right name"
                ),
            );
        }
    }

    /// The failed orders that the records list, oldest first.
    pub(crate) fn failed_orders(&self, now: Timestamp) -> Vec<FailedOrder> {
        let failed = |reading: &Reading<'_>| {
            reading.unconditional().keys.custody.failed_orders(now).cloned().collect()
        };
        self.state.read(failed).0
    }

    /// Whether a failed order is listed.
    pub(crate) fn has_failed_orders(&self, now: Timestamp) -> bool {
        self.state.kept_orders.settled().has_failed() || !self.failed_orders(now).is_empty()
    }

    async fn carry_out_one(&self, order: &PendingOrder, when: &str) -> Result<OrderResult, Failure> {
        let PendingOrder { at, by, what, operator, .. } = order;
        if self.is_carried_out(order) {
            return Ok(OrderResult::CarriedOut);
        }
        // Without addition to the name of an operator: the name links the entry to the operator.
        let by_then = if operator.is_some() { by.clone() } else { format!("{by}, {when}") };
        let request = if what.depends_on_right() {
            ChangeRequest::by_order(order)
        } else {
            ChangeRequest::by_stored(StoredOrder { by: &by_then, order })
        };
        match self.apply_order(request, what).await {
            Ok(Removed { taken: RevocationOutcome::Recorded(_), .. }) => Ok(OrderResult::CarriedOut),
            Ok(Removed { taken: RevocationOutcome::InMemory(recorded), .. }) => {
                tracing::error!(%what, %at, %by, "the ledger cannot record an order now: it is in force in memory, and stored in the runtime directory");
                Ok(OrderResult::InMemory(recorded))
            }
            Err(failure) if IN_VAIN.contains(&failure.code) || NOT_ALLOWED.contains(&failure.code) => {
                Ok(self.not_carried_out(order, failure.code).await)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the ledger has the destruction or the containment already: a stop came before its order was forgotten. The
    /// containment may have been lifted since. An earlier containment by the same incident is not the ordered one.
    fn is_carried_out(&self, PendingOrder { at, what, .. }: &PendingOrder) -> bool {
        let read = |reading: &Reading<'_>| {
            if let RevocationOrder::DestroyVersion { secret, version } = what {
                return is_destroyed(reading, secret, *version);
            }
            let RevocationOrder::Contain { incident, subject, .. } = what else { return false };
            let incident = reading.unconditional().incidents().recorded_incident(*incident);
            let containment = incident.and_then(|incident| incident.containment_of(subject));
            containment.is_some_and(|containment| containment.last.at >= *at)
        };
        self.state.read(read).0
    }

    /// Raises the alarm that `order` was not carried out, because of `code`, and records it.
    async fn not_carried_out(&self, order: &PendingOrder, code: Code) -> OrderResult {
        let PendingOrder { at, by, what, .. } = order;
        let was =
            if what.depends_on_right() { "was in force in memory, and is" } else { "was pending, and is" };
        self.notifications.meters.alarms().raise(
            Alarm::PendingOrderFailed,
            format_args!(
                "the order `{what}` of {by} at {at} {was} not carried out ({code}); if it is still needed, repeat the \
                 command with the right name"
            ),
        );
        let wait = Duration::from_millis(REVOCATION_WAIT_MS);
        let recording = async {
            let change = order_failed(order, code)?.requested_on(order.connection);
            self.state.store.commit(change, ()).await.map(Receipt::redeem)
        };
        match tokio::time::timeout(wait, recording).await {
            Ok(Ok(())) => OrderResult::Failed,
            Ok(Err(error)) => {
                tracing::error!(%error, %what, %by, "the ledger cannot record that an order was not carried out: the next start tries again");
                OrderResult::Kept(code)
            }
            Err(_) => {
                tracing::error!(%what, %by, "the ledger did not record in time that an order was not carried out: the next start tries again");
                OrderResult::Kept(code)
            }
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
                let removals =
                    self.state.read(|reading| reading.unconditional().registry.removals_of(&narrowing)).0;
                return self.remove_declared(request, removals).await;
            }
            RevocationOrder::RemoveDeclared { capabilities, roles, agents, removed_agents, ids } => {
                let removals = Removals {
                    capabilities: capabilities.clone(),
                    roles: roles.clone(),
                    agents: agents.clone(),
                    removed_agents: removed_agents.clone(),
                    ids: ids.clone(),
                };
                return self.remove_declared(request, removals).await;
            }
            RevocationOrder::Contain { incident, subject, spared } => {
                let order = ContainmentOrder { incident: *incident, subject, spared: *spared, joins: false };
                return self.apply_containment(request, order).await;
            }
            RevocationOrder::Freeze => return self.apply_freeze(request).await,
            RevocationOrder::RevokeCode(id) => {
                return self.apply_code_revocation(request, *id, &Scope::Everything).await;
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
            let serial = Serial::from_bytes(*serial);
            if let Some((id, agent)) = holder_of(world, serial) {
                return Ok(FoundSubject::of_instance(id, agent));
            }
            Ok(FoundSubject::of_certificate(serial, operator_of(world, serial).ok_or_else(unknown)?))
        }
        RevocationOrder::RevokeToken(id) => Ok(FoundSubject::of_token(*id)),
        RevocationOrder::RevokeOperator(name) | RevocationOrder::SuspendOperator(name) => {
            let operator = world.operators.named(name).ok_or_else(|| operator_unknown(world, name))?;
            Ok(FoundSubject::of_operator(operator))
        }
        RevocationOrder::RevokeLeases(_)
        | RevocationOrder::DestroyVersion { .. }
        | RevocationOrder::RevokeTokenKey(_)
        | RevocationOrder::TaintAuthority(_)
        | RevocationOrder::RevokeAuthority(_)
        | RevocationOrder::NarrowDeclarations { .. }
        | RevocationOrder::RemoveDeclared { .. }
        | RevocationOrder::Contain { .. }
        | RevocationOrder::Freeze
        | RevocationOrder::RevokeCode(_) => Err(unknown()),
    }
}
