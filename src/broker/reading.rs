//! What a decision reads, and what the change that it leads to relies on.

use std::cell::RefCell;

use super::failure::Failure;
use super::replay::done_before;
use super::world::{World, records};
use crate::authn::{
    self, AuthnError, Credential, OperatorPrincipal, Records, RenewingAgent, live, operator_again,
};
use crate::base::code;
use crate::base::{
    AgentId, AgentName, CapabilityName, ClockReading, CodeId, InstanceId, OperatorName, OwnerName, RoleName,
    Scope, SecretName, Timestamp,
};
use crate::custody;
use crate::idempotency::{self, IdempotencyKey, Remembered};
use crate::ledger::{Expectation, Key};
use crate::operators::{self, Certificate, Operator};
use crate::pki::{self, PeerCertificate};
use crate::registry::{self, Agent, Delivery, Instance, NameRefusal, Owned, Registry, Role};
use crate::revocation::{self, Subject};
use crate::rotation::{self, Rotation};
use crate::secrets::{self, Secret};
use crate::store::Change;
use crate::token::{self, TokenKeys};

/// The records as of one entry. Every fact that is read is noted, so that the change that is decided on it commits
/// only while the fact is unchanged.
pub(crate) struct Reading<'w> {
    world: &'w World,
    as_of: u64,
    now: Timestamp,
    noted: RefCell<Vec<Key>>,
}

/// What a change relies on: keys, and the entry as of which each was read.
#[must_use]
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions(Vec<Expectation>);

impl Preconditions {
    /// For a change that is right after every earlier entry.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// That nothing has advanced `key` since entry `as_of`.
    pub(crate) fn of(key: Key, as_of: u64) -> Self {
        Self(vec![Expectation { key, as_of }])
    }

    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// `change`, which commits only while they hold.
    pub(crate) fn added_to<E: serde::Serialize>(self, change: Change<E>) -> Change<E> {
        self.0.into_iter().fold(change, |change, one| change.rely(one.key, one.as_of))
    }
}

impl<'w> Reading<'w> {
    pub(crate) const fn of(world: &'w World, as_of: u64, now: Timestamp) -> Self {
        Self { world, as_of, now, noted: RefCell::new(Vec::new()) }
    }

    pub(crate) fn preconditions(self) -> Preconditions {
        let (keys, as_of) = (self.noted.into_inner(), self.as_of);
        Preconditions(keys.into_iter().map(|key| Expectation { key, as_of }).collect())
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The records for an order that takes away and relies on nothing: it never comes too late.
    pub(crate) const fn unconditional(&self) -> &'w World {
        self.world
    }

    /// The records under `key`.
    fn under(&self, key: Key) -> &'w World {
        let mut noted = self.noted.borrow_mut();
        if !noted.contains(&key) {
            noted.push(key);
        }
        self.world
    }

    /// What the request of `idempotency` did, when it was carried out before.
    ///
    /// # Errors
    /// [`Failure`] when its key came with another request.
    pub(crate) fn outcome(
        &self,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Option<Remembered>, Failure> {
        self.request(idempotency);
        done_before(self.world, idempotency, self.now)
    }

    /// Notes that the request of `idempotency` was not carried out yet.
    pub(crate) fn request(&self, idempotency: Option<&IdempotencyKey>) {
        if let Some(idempotency) = idempotency {
            self.under(idempotency::keys::slot(idempotency.slot()));
        }
    }
}

/// Agents, roles and capabilities.
impl<'w> Reading<'w> {
    pub(crate) fn agent_named(&self, name: &AgentName) -> Option<&'w Agent> {
        let agent = self.under(registry::keys::agent_name(name)).registry.agent_named(name)?;
        self.under(registry::keys::agent(agent.id));
        Some(agent)
    }

    pub(crate) fn role(&self, name: &RoleName) -> Option<&'w Role> {
        self.under(registry::keys::role(name)).registry.declarations().role(name)
    }

    pub(crate) fn owner_of(&self, thing: &Owned) -> Option<&'w OwnerName> {
        let key = match thing {
            Owned::Agent(name) => registry::keys::agent_name(name),
            Owned::Role(name) => registry::keys::role(name),
            Owned::Capability(name) => registry::keys::capability(name),
        };
        self.under(key).registry.owners().of(thing)
    }

    /// Why `thing` may not be created within `scope`, when its name was used before.
    pub(crate) fn former_name(&self, scope: &Scope, thing: &Owned) -> Option<NameRefusal> {
        let registry = self.declared();
        let live = scope.owner().map_or(0, |owner| registry.live(owner));
        registry.former().keeps(scope, thing, live)
    }

    /// All that is declared.
    pub(crate) fn declared(&self) -> &'w Registry {
        &self.under(registry::keys::declarations()).registry
    }

    /// The capabilities that reach the secret called `name`.
    pub(crate) fn reaching(&self, name: &SecretName) -> Vec<CapabilityName> {
        let declared = self.declared().declarations().capabilities();
        let reaching =
            declared.filter(|one| matches!(&one.delivery, Delivery::Reveal { secret } if secret == name));
        reaching.map(|one| one.name.clone()).collect()
    }
}

/// Agents and operators as holders of credentials.
impl<'w> Reading<'w> {
    /// What a decision judges credentials by. Subjects that many credentials share are noted; what the decision is
    /// about is noted by the accessor that gives it.
    pub(crate) fn records(&self) -> Records<'w> {
        self.under(pki::keys::authority());
        records(self.under(revocation::keys::wide()))
    }

    /// The agent that may act under this id, and how many instances it has.
    pub(crate) fn acting_agent(&self, id: AgentId) -> Option<&'w Agent> {
        self.under(registry::keys::agent(id));
        self.under(registry::keys::instances(id));
        self.under(revocation::keys::subject(&Subject::Agent(id))).registry.agent(id)
    }

    pub(crate) fn acting_instance(&self, agent: &'w Agent, id: InstanceId) -> Option<&'w Instance> {
        self.under(registry::keys::certificate(id));
        self.under(revocation::keys::subject(&Subject::Instance(id)));
        agent.instances.get(id)
    }

    /// The agent that an enrolment code is for.
    pub(crate) fn agent_of_code(&self, id: CodeId) -> Option<&'w Agent> {
        self.maker_of_code(id);
        self.acting_agent(self.under(registry::keys::code(id)).registry.code(id)?.agent)
    }

    /// The operator that an enrolment code is for.
    pub(crate) fn operator_of_code(&self, id: CodeId) -> Option<&'w Operator> {
        self.maker_of_code(id);
        self.acting_operator(&self.under(operators::keys::code(id)).operators.code(id)?.operator)
    }

    /// A code is valid only while its maker could make it.
    fn maker_of_code(&self, id: CodeId) {
        let operators = &self.world.operators;
        if let Some(maker) = operators.maker_of(id).and_then(|made| operators.with(made.by)) {
            self.under(operators::keys::operator(&maker.name));
            self.under(revocation::keys::subject(&Subject::Operator(maker.id)));
        }
    }

    /// An agent's code whose second use no entry reports yet.
    pub(crate) fn unreported_code(&self, id: CodeId) -> Option<&'w registry::AgentCode> {
        let code = self.under(registry::keys::code_alarm(id)).registry.code(id)?;
        (!code.reported).then_some(code)
    }

    /// The same of an operator's code.
    pub(crate) fn unreported_operator_code(&self, id: CodeId) -> Option<&'w operators::OperatorCode> {
        let code = self.under(operators::keys::code_alarm(id)).operators.code(id)?;
        (!code.reported).then_some(code)
    }

    /// The operator of this name with its certificates.
    pub(crate) fn acting_operator(&self, name: &OperatorName) -> Option<&'w Operator> {
        self.under(operators::keys::certificates(name));
        let operator = self.operator(name)?;
        self.under(revocation::keys::subject(&Subject::Operator(operator.id)));
        Some(operator)
    }

    /// The agent or resource server that renews with `peer`, up to `grace_s` after the certificate's end.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn renewing(
        &self,
        peer: &PeerCertificate,
        grace_s: i64,
        time: ClockReading,
    ) -> Result<RenewingAgent, AuthnError> {
        authn::renewing(peer, self.records(), self.as_of, grace_s, time)
    }

    /// The operator behind `peer`.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn operator_behind(
        &self,
        peer: &PeerCertificate,
        time: ClockReading,
    ) -> Result<OperatorPrincipal, AuthnError> {
        let principal = authn::operator(peer, self.records(), self.as_of, time)?;
        self.acting_operator(principal.name());
        Ok(principal)
    }
}

/// Operators.
impl<'w> Reading<'w> {
    pub(crate) fn operator(&self, name: &OperatorName) -> Option<&'w Operator> {
        self.under(operators::keys::operator(name)).operators.named(name)
    }

    /// The operator that `principal` was, as it is now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn operator_again(
        &self,
        principal: &OperatorPrincipal,
    ) -> Result<OperatorPrincipal, AuthnError> {
        self.acting_operator(principal.name());
        self.under(revocation::keys::subject(&Subject::Operator(principal.id())));
        operator_again(principal, self.records(), self.as_of)
    }

    /// That an admin with full scope can act when `leaving` is none any more: otherwise only the host could help.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn another_admin_than(&self, leaving: &Operator) -> Result<(), Failure> {
        let world = self.under(operators::keys::admins());
        let can_act = |one: &&Operator| counting(one, world, self.now).next().is_some();
        let mut others = world.operators.all().filter(|one| one.id != leaving.id && one.is_full_admin());
        if !leaving.is_full_admin() || others.any(|one| can_act(&one)) {
            return Ok(());
        }
        Err(Failure::new(code::LAST_ADMIN))
    }
}

/// Secrets and their rotations.
impl<'w> Reading<'w> {
    pub(crate) fn secret(&self, name: &SecretName) -> Option<&'w Secret> {
        self.under(secrets::keys::existence(name));
        self.versions_of(name)
    }

    /// The same, whoever owns it and however sensitive it is.
    pub(crate) fn versions_of(&self, name: &SecretName) -> Option<&'w Secret> {
        self.under(secrets::keys::secret(name)).secrets.named(name)
    }

    /// The secret of this name, when it is within `scope`.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub(crate) fn secret_within(&self, scope: &Scope, name: &SecretName) -> Result<&'w Secret, Failure> {
        let found = self.secret(name).filter(|secret| scope.covers(secret.owner.as_ref()));
        found.ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))
    }

    pub(crate) fn rotation(&self, name: &SecretName) -> Option<&'w Rotation> {
        self.under(rotation::keys::rotation(name)).rotations.of(name)
    }

    /// The rotation of this secret, when the secret is within `scope`.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub(crate) fn rotation_within(&self, scope: &Scope, name: &SecretName) -> Result<&'w Rotation, Failure> {
        let secret = self.under(secrets::keys::existence(name)).secrets.named(name);
        let owner = secret.and_then(|secret| secret.owner.as_ref());
        let rotation = self.rotation(name).filter(|_| scope.covers(owner));
        rotation.ok_or_else(|| Failure::new(code::ROTATION_UNKNOWN))
    }

    /// What is sealed for the change is sealed by the value key of now.
    pub(crate) fn value_key(&self) {
        self.under(secrets::keys::value_key());
    }
}

/// The broker's own keys.
impl<'w> Reading<'w> {
    pub(crate) fn authorities(&self) -> &'w pki::Record {
        &self.under(pki::keys::authority()).authority
    }

    pub(crate) fn token_keys(&self) -> &'w TokenKeys {
        &self.under(token::keys::token_keys()).token_keys
    }

    pub(crate) fn checkpoint_key(&self) -> Option<(u32, Timestamp)> {
        self.under(custody::keys::checkpoint_key()).custody.checkpoint_key()
    }
}

/// The certificates of `operator` that count at `now`.
pub(crate) fn counting<'o>(
    operator: &'o Operator,
    world: &'o World,
    now: Timestamp,
) -> impl Iterator<Item = &'o Certificate> {
    let counts = move |one: &&Certificate| {
        let certificate = Credential::OperatorCertificate { operator, certificate: one, from: None };
        now < one.not_after && live(certificate, records(world)).is_ok()
    };
    operator.certificates.iter().filter(counts)
}
