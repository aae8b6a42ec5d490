//! The reads of a decision, which become the preconditions of its change. Reads of only one noun are in its folder.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::effect::clock_key;
use super::failure::Failure;
use super::replay::done_before;
use super::world::{World, records};
use crate::authn::Records;
use crate::base::code;
use crate::base::{
    AgentId, AgentName, CapabilityName, InstanceId, OwnerName, RoleName, Scope, SecretName, Timestamp,
};
use crate::custody::{self, Custody};
use crate::idempotency::{self, IdempotencyKey, Remembered};
use crate::ledger::{Expectation, Key};
use crate::pki;
use crate::registry::{self, Agent, Delivery, NameRefusal, Owned, Registry, Role};
use crate::revocation::{self, Subject};
use crate::rotation::{self, Rotation};
use crate::rules;
use crate::secrets::{self, Secret, Version};
use crate::store::{Change, Store};
use crate::token::{self, TokenKeys};

/// The records as of one entry. Every read is noted, so that the change commits only if the fact is unchanged.
pub(crate) struct Reading<'w> {
    world: &'w World,
    as_of: u64,
    now: Timestamp,
    noted: RefCell<Vec<Expectation>>,
}

/// The preconditions of a change: keys, and the entry as of which each was read.
#[must_use]
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions(Vec<Expectation>);

impl Preconditions {
    /// No preconditions: the change is valid after every earlier entry.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// The precondition that no entry after `as_of` has advanced `key`.
    pub(crate) fn of(key: Key, as_of: u64) -> Self {
        Self(vec![Expectation { key, as_of }])
    }

    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// These preconditions as of entry `seq`, which was committed under them.
    pub(crate) fn since(mut self, seq: u64) -> Self {
        self.0.iter_mut().for_each(|one| one.as_of = seq);
        self
    }

    /// `change` with these preconditions.
    pub(crate) fn added_to<E: serde::Serialize>(self, change: Change<E>) -> Change<E> {
        change.rely_on(self.0)
    }
}

/// The number of preconditions of a token with some roles and capabilities.
const USUAL_EXPECTATIONS: usize = 8;

impl<'w> Reading<'w> {
    pub(crate) fn of(world: &'w World, as_of: u64, now: Timestamp) -> Self {
        Self { world, as_of, now, noted: RefCell::new(Vec::with_capacity(USUAL_EXPECTATIONS)) }
    }

    /// Reads the records of `store` at `now` for a change.
    pub(crate) fn in_store<T>(
        store: &Store<World>,
        now: Timestamp,
        read: impl FnOnce(&Reading<'_>) -> T,
    ) -> (T, Preconditions) {
        store.read(|world, as_of| Reading::of(world, as_of, now).noting_all(read))
    }

    /// The result of `read`, with its preconditions.
    pub(crate) fn noting_all<T>(self, read: impl FnOnce(&Self) -> T) -> (T, Preconditions) {
        (read(&self), self.preconditions())
    }

    pub(crate) fn preconditions(self) -> Preconditions {
        Preconditions(self.noted.into_inner())
    }

    pub(super) const fn as_of(&self) -> u64 {
        self.as_of
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The records for a revocation, without preconditions.
    pub(crate) const fn unconditional(&self) -> &'w World {
        self.world
    }

    /// The records under `key`.
    pub(super) fn under(&self, key: Key) -> &'w World {
        self.note(Expectation { key, as_of: self.as_of });
        self.world
    }

    fn note(&self, one: Expectation) {
        let mut noted = self.noted.borrow_mut();
        if !noted.contains(&one) {
            noted.push(one);
        }
    }

    /// The outcome of the request of `idempotency`, if it was carried out before.
    ///
    /// # Errors
    /// [`Failure`] if its key belongs to another request.
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

    /// The failure if the name of `thing` was used before outside of `scope`.
    pub(crate) fn former_name(&self, scope: &Scope, thing: &Owned) -> Option<NameRefusal> {
        let registry = self.declared();
        let live = scope.owner().map_or(0, |owner| registry.live(owner));
        registry.former().keeps(scope, thing, live)
    }

    /// Notes that no agent is added.
    pub(crate) fn no_other_agents(&self) {
        self.under(registry::keys::agents());
    }

    /// All declarations.
    pub(crate) fn declared(&self) -> &'w Registry {
        &self.under(registry::keys::declarations()).registry
    }

    /// The capabilities that deliver the secret `name`.
    pub(crate) fn reaching(&self, name: &SecretName) -> Vec<CapabilityName> {
        let declared = self.declared().declarations().capabilities();
        let reaching =
            declared.filter(|one| matches!(&one.delivery, Delivery::Reveal { secret } if secret == name));
        reaching.map(|one| one.name.clone()).collect()
    }
}

/// Whom credentials are judged by.
impl<'w> Reading<'w> {
    /// The records that a decision judges credentials by. Shared subjects are noted here, other objects by their accessors.
    pub(crate) fn records(&self) -> Records<'w> {
        self.under(pki::keys::authority());
        self.under(rules::keys::rules());
        records(self.under(revocation::keys::wide()))
    }

    /// The marks of `subject`: whether it was revoked or suspended.
    pub(crate) fn subject(&self, subject: &Subject) -> &'w World {
        self.under(revocation::keys::subject(subject))
    }

    /// Notes that the agent reads no sensitive secret meanwhile, if a policy tests its last read of one.
    pub(crate) fn past_reads(&self, agent: AgentId) {
        if self.world.rules().test_past_reads() {
            self.under(registry::keys::sensitive_reads(agent));
        }
    }

    /// Notes that an instance of an agent with `roles` holds `capabilities`.
    pub(crate) fn holds<'a>(
        &self,
        agent: AgentId,
        instance: InstanceId,
        roles: &BTreeSet<RoleName>,
        capabilities: impl IntoIterator<Item = &'a CapabilityName>,
    ) {
        self.under(registry::keys::agent(agent));
        self.under(registry::keys::certificate(instance));
        self.subject(&Subject::Agent(agent));
        self.subject(&Subject::Instance(instance));
        for role in roles {
            self.under(registry::keys::role(role));
        }
        for capability in capabilities {
            self.under(registry::keys::capability(capability));
        }
    }
}

/// Secrets and their rotations.
impl<'w> Reading<'w> {
    pub(crate) fn secret(&self, name: &SecretName) -> Option<&'w Secret> {
        self.under(secrets::keys::existence(name));
        self.versions_of(name)
    }

    /// The secret of this name, in any scope.
    pub(crate) fn versions_of(&self, name: &SecretName) -> Option<&'w Secret> {
        self.under(secrets::keys::secret(name)).secrets.named(name)
    }

    /// The secret of this name, if it is within `scope`.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist.
    pub(crate) fn secret_within(&self, scope: &Scope, name: &SecretName) -> Result<&'w Secret, Failure> {
        let found = self.secret(name).filter(|secret| !secret.is_deleted());
        let found = found.filter(|secret| scope.covers(secret.owner.as_ref()));
        found.ok_or_else(|| match self.rotation_within(scope, name) {
            Ok(_) => without_value(name),
            Err(_) => Failure::new(code::SECRET_UNKNOWN),
        })
    }

    pub(crate) fn rotation(&self, name: &SecretName) -> Option<&'w Rotation> {
        self.under(rotation::keys::rotation(name)).rotations.of(name)
    }

    /// The rotation of this secret, if the secret is within `scope`.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist.
    pub(crate) fn rotation_within(&self, scope: &Scope, name: &SecretName) -> Result<&'w Rotation, Failure> {
        let secret = self.under(secrets::keys::existence(name)).secrets.named(name);
        let owner = secret.and_then(|secret| secret.owner.as_ref());
        let rotation = self.rotation(name).filter(|_| scope.covers(owner));
        rotation.ok_or_else(|| Failure::new(code::ROTATION_UNKNOWN))
    }

    /// The recorded state of this version, without revocations in memory.
    pub(crate) fn recorded_version(&self, name: &SecretName, number: u32) -> Option<Version> {
        self.under(secrets::keys::secret(name)).recorded_secrets().named(name)?.version(number)
    }

    /// Notes that the change relies on the present value key.
    pub(crate) fn value_key(&self) {
        self.under(secrets::keys::value_key());
    }
}

/// The broker's own keys.
impl<'w> Reading<'w> {
    pub(crate) fn authorities(&self) -> &'w pki::Record {
        &self.under(pki::keys::authority()).keys.authority
    }

    pub(crate) fn token_keys(&self) -> &'w TokenKeys {
        &self.under(token::keys::token_keys()).keys.token_keys
    }

    /// Notes that the clock was not adjusted after entry `as_of`, which was in the records before the clock was read.
    pub(crate) fn clock(&self, as_of: u64) {
        self.note(Expectation { key: clock_key(), as_of });
    }

    /// Whether the clock was adjusted after entry `seq`.
    pub(crate) fn is_clock_adjusted_since(&self, seq: u64) -> bool {
        self.under(clock_key()).clock_adjusted() > seq
    }

    /// The slots and the root key of the keyring.
    pub(crate) fn slots(&self) -> &'w Custody {
        &self.under(custody::keys::slots()).keys.custody
    }

    /// The location of the data directory.
    pub(crate) fn location(&self) -> &'w Custody {
        &self.under(custody::keys::location()).keys.custody
    }

    pub(crate) fn checkpoint_key(&self) -> Option<(u32, Timestamp)> {
        self.under(custody::keys::checkpoint_key()).keys.custody.checkpoint_key()
    }
}

/// The failure for a secret whose rotation has not made the first value yet.
fn without_value(name: &SecretName) -> Failure {
    Failure::new(code::SECRET_UNKNOWN)
        .because(format!("secret `{name}` has no value yet: its rotation makes the first one"))
        .mended_by(format!(
            "make it now: `keyward secret rotate {name}`; `keyward rotation show {name}` shows the state"
        ))
}
