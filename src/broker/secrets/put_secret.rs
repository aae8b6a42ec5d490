use crate::base::code;
use crate::base::{OwnerName, Scope, SecretId, SecretName, Sensitive, Sensitivity, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, ReadOutcome};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::retry::retry_on_conflict;
use crate::broker::rotation::{check_form, in_progress, next_of};
use crate::broker::secrets::classify::{check_cut_off, check_unspared, is_high_spared, judged_anew};
use crate::broker::secrets::second_operator::{unapproved, unapproved_owner};
use crate::broker::secrets::surplus::Surplus;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::policy::{Authorised, StoreSecrets};
use crate::rotation::{self, Rotation};
use crate::secrets::{self, Secret, SecretStored, SecretValue};
use crate::store::Change;
use crate::upstream::{SlotCount, stored_driver};

/// The secret to store, and the expected state.
#[derive(Clone, Debug)]
pub struct PutSecret {
    /// Its name.
    pub name: SecretName,
    /// The new owner; `None`: unchanged.
    pub owner: Option<OwnerName>,
    /// The new sensitivity; `None`: unchanged.
    pub sensitivity: Option<Sensitivity>,
    /// The expected version; any version without an expectation.
    pub expected: Option<Expected>,
    /// Whether the request confirms that capabilities of the new owner deliver a secret of high sensitivity, and that a policy
    /// restricts a higher sensitivity less.
    pub widen: bool,
}

/// The expected state of a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// This version is the current one.
    Version(u32),
    /// The secret does not exist.
    Nothing,
}

impl Expected {
    fn check(self, name: &SecretName, secret: Option<&Secret>) -> Result<(), Failure> {
        let current = secret.and_then(|secret| secret.current).map(|version| version.number);
        let refused = Failure::new(code::VERSION_MISMATCH);
        match self {
            Self::Version(number) if current == Some(number) => Ok(()),
            Self::Version(number) => {
                let present = current.map_or_else(|| "none".to_owned(), |current| format!("version {current}"));
                Err(refused.because(format!("the current version of `{name}` is {present}, not {number}")))
            }
            Self::Nothing if secret.is_none_or(Secret::is_deleted) => Ok(()),
            Self::Nothing => Err(refused
                .because(format!("the secret `{name}` exists already"))
                .mended_by("choose another name; to store a new version of this secret: `keyward secret put NAME` without `--new`")),
        }
    }
}

/// A stored version.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// The secret's name.
    pub name: SecretName,
    /// The version, from 1.
    pub version: u32,
    /// The ledger entry.
    pub seq: u64,
    /// The upstream of the secret's rotation, which has to accept the value.
    pub upstream: Option<String>,
}

impl AdminServices {
    /// Stores `value` as the next version of a secret; the first version creates the secret. Its owner is the named
    /// one, or the owner in the scope of the operator. The request of `idempotency` stores it once.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn put_secret(
        &self,
        by: &Authorised<StoreSecrets>,
        PutSecret { name, owner, sensitivity, expected, widen }: PutSecret,
        value: Sensitive<Vec<u8>>,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<StoredSecret, Failure> {
        let value = SecretValue::new(value)
            .map_err(|error| Failure::new(code::SECRET_SIZE_INVALID).because(error.to_string()))?;
        let services = &*self.0;
        let scope = by.operator().scope();
        if owner.as_ref().is_some_and(|owner| !scope.covers(Some(owner))) {
            return Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT));
        }
        let owner = owner.or_else(|| scope.owner().cloned());
        let request = ChangeRequest::by(by.operator(), idempotency);
        let new_secret = SecretId::mint(services.state.clock.now(), &*services.state.entropy);
        let decide = |reading: &Reading<'_>| {
            let (known, rotation) = (reading.secret(&name), reading.rotation(&name));
            check_state(reading, scope, &name, expected)?;
            rotation.map_or(Ok(()), |rotation| check_form(rotation, &value))?;
            let said = StatedFacts::new(known, owner.as_ref(), sensitivity)?;
            known.map_or(Ok(()), |known| said.check_access(reading, scope, known, widen))?;
            said.check_approved(reading, scope, known, services.settings.widening_second_operator)?;
            let surplus = Surplus::of(known, rotation, services.settings.keep_versions);
            let secret_id = known.map_or(new_secret, |secret| secret.id);
            let version = known.map_or(0, Secret::newest).saturating_add(1);
            let change = Change::new(&SecretStored {
                operator: by.operator().name(),
                secret: &name,
                secret_id,
                version,
                owner: said.owner,
                sensitivity: said.sensitivity,
                destroyed: surplus.numbers(),
            })?;
            reading.value_key();
            let mut effects = rotation.map_or_else(Vec::new, |rotation| given_up(rotation, reading.now()));
            effects.extend(surplus.effects(known));
            effects.extend(said.effects(&name));
            let change = if said.is_new() { judged_anew(reading, change, &name) } else { change };
            Ok(NewVersion { id: secret_id, version, change, effects })
        };
        let changed = retry_on_conflict!(async {
            match services.state.read_for(request, decide)? {
                ReadOutcome::Before(before) => Ok(Changed::Before(before)),
                ReadOutcome::Now(new, preconditions) => {
                    let draft = new.sealed(services, &name, &value)?;
                    services.state.commit_draft(request, draft, preconditions).await
                }
            }
        });
        let (version, seq) = match changed? {
            Changed::Recorded { seq, value: version } => {
                services.values.put.note(idempotency, &value, &name, version);
                services.forget_destroyed();
                (version, seq)
            }
            Changed::Before(Remembered { seq, outcome: Outcome::Stored(version), .. }) => {
                let known = services.state.read(|reading| reading.secret_within(scope, &name).map(drop));
                known.0?;
                services.values.put.check(idempotency, &value)?;
                (version, seq)
            }
            Changed::Before(_) => return Err(Failure::new(code::RECORD_UNREADABLE)),
        };
        let upstream = services.state.read(|reading| reading.rotation(&name).and_then(upstream)).0;
        Ok(StoredSecret { name, version, seq, upstream })
    }
}

/// Checks that a value can be stored as `name` now.
fn check_state(
    reading: &Reading<'_>,
    scope: &Scope,
    name: &SecretName,
    expected: Option<Expected>,
) -> Result<(), Failure> {
    let (known, rotation) = (reading.secret(name), reading.rotation(name));
    // The same refusal for a present secret, a deleted one, and a rotation that is to make the first value.
    let is_taken = known.is_some() || rotation.is_some();
    if is_taken && !scope.covers(known.and_then(|secret| secret.owner.as_ref())) {
        let why = format!("the name `{name}` belongs, or belonged, to a secret outside of your scope");
        return Err(Failure::new(code::NAME_RESERVED_BY_OWNER)
            .because(why)
            .mended_by("choose another name, or ask an operator with the scope `all` to store the value"));
    }
    let active = rotation.and_then(|rotation| Some((rotation, rotation.run.as_ref()?)));
    if let Some((rotation, run)) = active.filter(|(_, run)| !run.can_be_given_up(reading.now())) {
        return Err(in_progress(rotation, run, reading.now()));
    }
    expected.map_or(Ok(()), |expected| expected.check(name, known))
}

/// The upstream that has to accept the value of a rotated secret, for people.
fn upstream(rotation: &Rotation) -> Option<String> {
    let driver = stored_driver(&rotation.declared.upstream).ok()?;
    (driver.capabilities().shape != SlotCount::Pulled).then(|| driver.describe())
}

/// The changes of owner and sensitivity that come with a value.
struct StatedFacts<'a> {
    owner: Option<&'a OwnerName>,
    sensitivity: Option<Sensitivity>,
}

impl<'a> StatedFacts<'a> {
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

    /// Checks that the new owner and the new sensitivity of the secret `known` give no access, or that the request confirms it.
    fn check_access(
        &self,
        reading: &Reading<'_>,
        scope: &Scope,
        known: &Secret,
        widen: bool,
    ) -> Result<(), Failure> {
        if widen {
            return Ok(());
        }
        self.owner.map_or(Ok(()), |owner| check_cut_off(reading, scope, known, owner))?;
        self.sensitivity.map_or(Ok(()), |_| check_unspared(reading, scope, &known.name))
    }

    /// Checks that the new owner and the new sensitivity of the secret `known` need no approval by a second operator, which
    /// comes with a classification alone.
    fn check_approved(
        &self,
        reading: &Reading<'_>,
        scope: &Scope,
        known: Option<&Secret>,
        demands: bool,
    ) -> Result<(), Failure> {
        let moved = known.zip(self.owner).filter(|_| demands);
        if let Some((known, owner)) = moved
            && check_cut_off(reading, scope, known, owner).is_err()
        {
            return Err(unapproved_owner(&known.name, owner));
        }
        match known.zip(self.sensitivity).filter(|_| demands) {
            Some((known, to)) if is_high_spared(reading) => Err(unapproved(&known.name, to)),
            Some(_) | None => Ok(()),
        }
    }

    const fn is_new(&self) -> bool {
        self.owner.is_some() || self.sensitivity.is_some()
    }

    fn effects(&self, name: &SecretName) -> impl Iterator<Item = Effect> {
        let own = self.owner.cloned().map(|owner| secrets::Effect::Own { name: name.clone(), owner });
        let classify = |sensitivity| secrets::Effect::Classify { name: name.clone(), sensitivity };
        own.into_iter().chain(self.sensitivity.map(classify)).map(Effect::Secrets)
    }
}

/// A version before it is sealed, with the event and the further effects of its entry.
struct NewVersion {
    id: SecretId,
    version: u32,
    change: Change<Effect>,
    effects: Vec<Effect>,
}

impl NewVersion {
    fn sealed(
        self,
        services: &Services,
        name: &SecretName,
        value: &SecretValue,
    ) -> Result<ChangeDraft<u32>, Failure> {
        let Self { id, version, change, effects } = self;
        let sealed = services.values.sealer.seal(id, version, value, &*services.state.entropy)?;
        let store = secrets::Effect::Store { id, name: name.clone(), version, sealed };
        let change = effects.into_iter().fold(change.effect(Effect::Secrets(store)), Change::effect);
        Ok(ChangeDraft::of(change, version).outcome(Outcome::Stored(version)))
    }
}

/// A value that an operator stores ends the rotation in progress, if possible, and the use of values that the
/// upstream made.
fn given_up(rotation: &Rotation, now: Timestamp) -> Vec<Effect> {
    let name = &rotation.declared.secret;
    let orphan = |value| Effect::Rotation(rotation::Effect::Orphan { secret: name.clone(), value });
    let mut effects: Vec<Effect> = rotation.left_behind().into_iter().map(orphan).collect();
    if let Some(run) = &rotation.run {
        let next = next_of(&rotation.declared, now);
        effects.push(Effect::Rotation(rotation::Effect::Abandon { secret: name.clone(), next }));
        let kept = |version| Effect::Secrets(secrets::Effect::Abandon { name: name.clone(), version });
        effects.extend(run.versions.new.map(kept));
    }
    effects
}
