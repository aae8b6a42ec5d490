use crate::base::code;
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{OwnerName, SecretId, SecretName, Sensitive, Sensitivity, Timestamp};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::once::{done_before, remembering};
use crate::broker::retry::deciding_again;
use crate::broker::rotation::next_of;
use crate::broker::secrets::classify::Reached;
use crate::broker::secrets::versions::Surplus;
use crate::broker::world::Effect;
use crate::idempotency::{Once, Outcome, Remembered};
use crate::policy::{Authorised, StoreSecrets};
use crate::rotation::{self, Rotation};
use crate::secrets::{self, Secret, SecretStored, SecretValue, keys};
use crate::store::Change;

/// Which secret is stored, and what is expected of it.
#[derive(Clone, Debug)]
pub struct PutSecret {
    /// Its name.
    pub name: SecretName,
    /// Whose it is to be; not changed when there is none.
    pub owner: Option<OwnerName>,
    /// How sensitive it is to be; not changed when there is none.
    pub sensitivity: Option<Sensitivity>,
    /// What has to be there; whatever it is when nothing is expected.
    pub expected: Option<Expected>,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// This version handed out.
    Version(u32),
    /// No such secret.
    Nothing,
}

impl Expected {
    fn holds(self, secret: Option<&Secret>) -> bool {
        let current = secret.and_then(|secret| secret.current).map(|version| version.number);
        match self {
            Self::Version(number) => current == Some(number),
            Self::Nothing => secret.is_none(),
        }
    }
}

/// A stored version.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The secret's name.
    pub name: SecretName,
    /// The version, from 1.
    pub version: u32,
    /// The entry that says so.
    pub seq: u64,
}

impl AdminDesk {
    /// Stores `value` as the next version of a secret, which is created by its first. It belongs to the
    /// owner that is named then; to the one that the operator is bound to, if it is bound to one.
    /// The request of `once` stores it once.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn put_secret(
        &self,
        by: &Authorised<StoreSecrets>,
        PutSecret { name, owner, sensitivity, expected }: PutSecret,
        value: Sensitive<Vec<u8>>,
        once: Option<&Once>,
    ) -> Result<Stored, Failure> {
        let value = SecretValue::new(value)
            .map_err(|error| Failure::new(code::SECRET_SIZE_INVALID).because(error.to_string()))?;
        let core = &*self.0;
        let scope = by.operator().scope();
        if owner.as_ref().is_some_and(|owner| !scope.covers(Some(owner))) {
            return Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT));
        }
        let owner = owner.or_else(|| scope.owner().cloned());
        deciding_again!(async {
            let (known, rotation, before, reached, as_of) = core.state.store.read(|world, as_of| {
                let rotation = world.rotations.of(&name).cloned();
                let before = done_before(world, once, core.state.clock.now());
                let known = world.secrets.named(&name).cloned();
                (known, rotation, before, Reached::by(world, &name), as_of)
            });
            if known.as_ref().is_some_and(|secret| !scope.covers(secret.owner.as_ref())) {
                return Err(Failure::new(code::SECRET_UNKNOWN).into());
            }
            if let Some(Remembered { seq, outcome: Outcome::Stored(version), .. }) = before? {
                core.values.put.check(once, &value)?;
                return Ok(Stored { name: name.clone(), version, seq });
            }
            let run = rotation.as_ref().and_then(|rotation| rotation.run.as_ref());
            if run.is_some_and(|run| !run.can_be_given_up(core.state.clock.now())) {
                return Err(Failure::new(code::ROTATION_IN_PROGRESS).into());
            }
            if expected.is_some_and(|expected| !expected.holds(known.as_ref())) {
                return Err(Failure::new(code::VERSION_MISMATCH).into());
            }
            let newest = known.as_ref().map_or(0, Secret::newest);
            let id = known.as_ref().map(|secret| secret.id);
            let id = id.unwrap_or_else(|| SecretId::mint(core.state.clock.now(), &*core.state.entropy));
            let said = Said::new(known.as_ref(), owner.as_ref(), sensitivity)?;
            let version = newest.saturating_add(1);
            let surplus = Surplus::of(known.as_ref(), rotation.as_ref(), core.settings.keep_versions);
            let event = SecretStored {
                operator: by.operator().name(),
                secret: &name,
                secret_id: id,
                version,
                owner: said.owner,
                sensitivity: said.sensitivity,
                destroyed: surplus.numbers(),
            };
            let sealed = core.values.sealer.seal(id, version, &value, &*core.state.entropy)?;
            let digest = core.values.digests.digest(value.expose());
            let effect = secrets::Effect::Store { id, name: name.clone(), version, sealed, digest };
            let mut change =
                Change::new(&event)?.effect(Effect::Secrets(effect)).rely(keys::secret(&name), as_of);
            change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Stored(version));
            if let Some(rotation) = rotation {
                change = given_up(change, &rotation, core.state.clock.now());
            }
            change = change.rely(rotation::keys::rotation(&name), as_of).rely(keys::value_key(), as_of);
            change = surplus.destroyed_by(change, known.as_ref());
            change = said.added_to(change, (&name, reached), as_of);
            let receipt = core.state.store.commit(core.while_allowed(change, by.operator())?, ()).await?;
            core.values.put.note(once, &value, (&name, version));
            core.state.store.read(|world, _| core.values.put.forget_destroyed(world));
            Ok(Stored { name: name.clone(), version, seq: receipt.seq() })
        })
    }
}

/// What is said of a secret with its value, and is not so yet.
struct Said<'a> {
    owner: Option<&'a OwnerName>,
    sensitivity: Option<Sensitivity>,
}

impl<'a> Said<'a> {
    fn new(
        known: Option<&Secret>,
        owner: Option<&'a OwnerName>,
        sensitivity: Option<Sensitivity>,
    ) -> Result<Self, Failure> {
        let before = known.map_or(Sensitivity::default(), |secret| secret.sensitivity);
        if sensitivity.is_some_and(|to| to < before) {
            return Err(Failure::new(code::SENSITIVITY_CANNOT_BE_LOWERED));
        }
        let owned = known.and_then(|secret| secret.owner.as_ref());
        let owner = owner.filter(|owner| owned != Some(*owner));
        Ok(Self { owner, sensitivity: sensitivity.filter(|to| *to > before) })
    }

    fn added_to(
        &self,
        mut change: Change<Effect>,
        (name, reached): (&SecretName, Reached),
        as_of: u64,
    ) -> Change<Effect> {
        if self.owner.is_none() && self.sensitivity.is_none() {
            return change;
        }
        if let Some(owner) = self.owner.cloned() {
            change = change.effect(Effect::Secrets(secrets::Effect::Own { name: name.clone(), owner }));
        }
        if let Some(sensitivity) = self.sensitivity {
            let effect = secrets::Effect::Classify { name: name.clone(), sensitivity };
            change = change.effect(Effect::Secrets(effect));
        }
        reached.judged_anew(change, name, as_of)
    }
}

/// What an operator puts ends the rotation that it can end, and the use of what upstream made.
fn given_up(mut change: Change<Effect>, rotation: &Rotation, now: Timestamp) -> Change<Effect> {
    let name = &rotation.declared.secret;
    for value in rotation.left_behind() {
        let effect = rotation::Effect::Orphan { secret: name.clone(), value };
        change = change.effect(Effect::Rotation(effect));
    }
    let Some(run) = &rotation.run else { return change };
    let next = next_of(&rotation.declared, now);
    let ended = rotation::Effect::Abandon { secret: name.clone(), next };
    let change = change.effect(Effect::Rotation(ended));
    match run.version {
        Some(version) => {
            let kept = secrets::Effect::Abandon { name: name.clone(), version };
            change.effect(Effect::Secrets(kept))
        }
        None => change,
    }
}
