use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::{OUTCOME_LIFE_S, READINGS_LOOKED_AT_MAX};
use crate::base::{AgentName, Cancellation, OwnerName, Scope, SecretId, SecretName, Sensitivity, Timestamp};
use crate::broker::denial::Denial;
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::identity::revoke::{Applied, Ended, Word};
use crate::broker::once::{done_before, remembering};
use crate::broker::retry::deciding_again;
use crate::broker::rotation::{Consumer, consumers};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::custody::{Order, TakeAway};
use crate::idempotency::{Once, Outcome};
use crate::ledger::Kind;
use crate::policy::{Authorised, ReadSecretNames, StoreSecrets};
use crate::rotation::Rotation;
use crate::secrets::{self, Catalogue, Secret, SecretRevealed, Version, VersionChanged, VersionStage, keys};
use crate::store::{Change, CommitError, OnConflict};
use crate::upstream::{Driver, Shape, driver};

/// A secret as operators see it; never its values.
#[derive(Clone, Debug)]
pub struct SecretDetail {
    /// Its name.
    pub name: SecretName,
    /// Whose it is, if anybody's.
    pub owner: Option<OwnerName>,
    /// What is asked of whoever wants to read it.
    pub sensitivity: Sensitivity,
    /// The version that is handed out.
    pub current: Option<u32>,
    /// All versions, the newest first.
    pub versions: Vec<Version>,
    /// The upstream that it opens, when a rotation is declared.
    pub upstream: Option<String>,
    /// Who can read it.
    pub consumers: Vec<Consumer>,
}

/// Somebody who has read a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reader {
    /// Who.
    pub agent: AgentName,
    /// Which version, the last time.
    pub version: u32,
    /// When that was.
    pub at: Timestamp,
}

/// What an operator does with a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VersionAct {
    /// Hands it out again.
    RollBack,
    /// Ends it for good.
    Destroy,
}

impl AdminDesk {
    /// The secret called `name`, without its values.
    ///
    /// # Errors
    /// [`Failure`] when there is none within reach.
    pub fn secret(
        &self,
        by: &Authorised<ReadSecretNames>,
        name: &SecretName,
    ) -> Result<SecretDetail, Failure> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let secret = within(world, by.operator().scope(), name)?;
            let rotation = world.rotations.of(name);
            Ok(SecretDetail {
                name: name.clone(),
                owner: secret.owner.clone(),
                sensitivity: secret.sensitivity,
                current: secret.current.map(|version| version.number),
                versions: secret.versions().collect(),
                upstream: rotation.and_then(upstream).map(|driver| driver.describe()),
                consumers: consumers(world, name, now),
            })
        })
    }

    /// Who read the secret called `name` last, as the newest `READINGS_LOOKED_AT_MAX` entries of the
    /// ledger say, and the first of these entries.
    ///
    /// # Errors
    /// [`Failure`] when there is no such secret within reach, or the ledger is damaged there.
    pub fn readers(
        &self,
        by: &Authorised<ReadSecretNames>,
        name: &SecretName,
        work: &Cancellation,
    ) -> Result<(Vec<Reader>, u64), Failure> {
        #[derive(serde::Deserialize)]
        struct Event {
            agent: AgentName,
            secret: SecretName,
            version: u32,
        }
        const REVEALED: Kind = <SecretRevealed<'_> as crate::store::Event>::KIND;
        self.0.state.store.read(|world, _| within(world, by.operator().scope(), name).map(|_| ()))?;
        let head = self.0.state.store.head().seq;
        let first = first_looked_at(head);
        let (mut readers, mut from): (Vec<Reader>, u64) = (Vec::new(), first);
        while from <= head {
            work.step()?;
            let entries = self.0.state.store.entries(from, crate::base::limits::PAGE_ENTRIES_MAX)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.saturating_add(1);
            for entry in entries.iter().filter(|entry| entry.kind == REVEALED) {
                let Ok(event) = serde_json::from_slice::<Event>(&entry.event) else { continue };
                if event.secret == *name {
                    readers.retain(|reader| reader.agent != event.agent);
                    readers.push(Reader { agent: event.agent, version: event.version, at: entry.time });
                }
            }
        }
        readers.reverse();
        Ok((readers, first))
    }

    /// Hands a former version out again, or ends it for good.
    ///
    /// # Errors
    /// [`Failure`], also for a version that is in use, and for a secret that upstream knows: it would
    /// not know the former value.
    pub async fn change_version(
        &self,
        by: &Authorised<StoreSecrets>,
        (name, number): (&SecretName, u32),
        act: VersionAct,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let core = &*self.0;
        match act {
            VersionAct::RollBack => core.roll_back(by.operator(), (name, number), once).await,
            VersionAct::Destroy => {
                let word = Word::Operator(by.operator());
                let applied = core.destroy_version(word, (name, number), once).await?;
                core.state.store.read(|world, _| core.values.put.forget_destroyed(world));
                Ok(core.conclude(applied).await)
            }
        }
    }
}

impl Core {
    async fn roll_back(
        &self,
        operator: &OperatorPrincipal,
        (name, number): (&SecretName, u32),
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        deciding_again!(async {
            let (before, checked, as_of) = self.state.store.read(|world, as_of| {
                let before = done_before(world, once, self.state.clock.now());
                (before, check_roll_back(world, operator.scope(), (name, number)), as_of)
            });
            if let Some(before) = before? {
                return Ok(Ended::Recorded(before.seq));
            }
            checked?;
            let promote = secrets::Effect::Promote { name: name.clone(), version: number };
            let change = version_changed(operator.name().as_str(), (name, number), "rolled-back", as_of)?;
            let change = change.effect(Effect::Secrets(promote));
            let change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
            let receipt = self.state.store.commit(self.while_allowed(change, operator)?, ()).await?;
            Ok(Ended::Recorded(receipt.seq()))
        })
    }

    /// Destroys a former version.
    pub(in crate::broker) async fn destroy_version(
        &self,
        word: Word<'_>,
        (name, number): (&SecretName, u32),
        once: Option<&Once>,
    ) -> Result<Applied, Failure> {
        let check = |world: &World| former(world, &world.secrets, word.scope(), (name, number));
        deciding_again!(async {
            let now = self.state.clock.now();
            let (before, found, as_of) =
                self.state.store.read(|world, as_of| (done_before(world, once, now), check(world), as_of));
            if let Some(before) = before? {
                return Ok(Applied::recorded(before.seq));
            }
            let id = found?;
            let (by, name) = (word.by().to_owned(), name.clone());
            let order = TakeAway::DestroyVersion { secret: name.clone(), version: number };
            let order = Order { at: now, by: by.clone(), what: order };
            let denial = Denial::version(now, id, name.clone(), number);
            let destruction = Destruction { by, id, name, number, once: once.cloned() };
            let change = word.given_for(self, destruction.change(as_of)?)?;
            // A version that an entry before it hands out again is not destroyed.
            let on_conflict =
                OnConflict::Decide(Box::new(move |world, as_of| destruction.again(world, as_of)));
            let decide = |world: &World| check(world).is_ok();
            let taken = self.state.store.take_away(change.taking_away(denial), on_conflict, decide).await?;
            Ok(Applied { taken, order: Some(order) })
        })
    }
}

/// A version of a secret that is to be destroyed.
struct Destruction {
    by: String,
    id: SecretId,
    name: SecretName,
    number: u32,
    once: Option<Once>,
}

impl Destruction {
    fn change(&self, as_of: u64) -> Result<Change<Effect>, CommitError> {
        let Self { by, id, name, number, once } = self;
        let destroy = secrets::Effect::Destroy { id: *id, name: name.clone(), version: *number };
        let change = version_changed(by, (name, *number), "destroyed", as_of)?;
        let change = change.effect(Effect::Secrets(destroy)).urgent();
        Ok(remembering(change, (once.as_ref(), as_of), OUTCOME_LIFE_S, || Outcome::Recorded))
    }

    /// The same once more, provided that the version is a former one still, as entries say.
    fn again(&self, world: &World, as_of: u64) -> Option<Change<Effect>> {
        let catalogue = world.recorded_secrets();
        former(world, catalogue, &Scope::Everything, (&self.name, self.number)).ok()?;
        self.change(as_of).ok()
    }
}

fn version_changed(
    by: &str,
    (name, number): (&SecretName, u32),
    what: &'static str,
    as_of: u64,
) -> Result<Change<Effect>, CommitError> {
    let event = VersionChanged { operator: by, secret: name, version: number, what };
    let change = Change::new(&event)?.rely(keys::secret(name), as_of);
    Ok(change.rely(crate::rotation::keys::rotation(name), as_of))
}

/// The first of the entries up to `head` that are looked at.
const fn first_looked_at(head: u64) -> u64 {
    head.saturating_sub(READINGS_LOOKED_AT_MAX).saturating_add(1)
}

/// The secret, when this version of it is a former one that nobody is about to need.
fn former(
    world: &World,
    catalogue: &Catalogue,
    scope: &Scope,
    (name, number): (&SecretName, u32),
) -> Result<SecretId, Failure> {
    let secret = within_of(catalogue, scope, name)?;
    let version = secret.version(number).ok_or_else(|| Failure::new(code::VERSION_UNKNOWN))?;
    if version.stage != VersionStage::Former {
        return Err(Failure::new(code::VERSION_INVALID_STATE));
    }
    if world.rotations.of(name).is_some_and(|rotation| rotation.run.is_some()) {
        return Err(Failure::new(code::ROTATION_IN_PROGRESS));
    }
    Ok(secret.id)
}

fn check_roll_back(world: &World, scope: &Scope, (name, number): (&SecretName, u32)) -> Result<(), Failure> {
    former(world, &world.secrets, scope, (name, number))?;
    let driver = world.rotations.of(name).and_then(upstream);
    if driver.is_some_and(|driver| driver.capabilities().shape != Shape::Pulled) {
        return Err(Failure::new(code::SECRET_HAS_ROTATION));
    }
    Ok(())
}

/// Former versions that go when a secret's next value is handed out: more than enough are kept, and nothing
/// of ours or upstream's needs them any more.
pub(in crate::broker) struct Surplus(Vec<u32>);

impl Surplus {
    /// Of `secret`, when `keep` are kept.
    pub(in crate::broker) fn of(secret: Option<&Secret>, rotation: Option<&Rotation>, keep: u32) -> Self {
        let Some(secret) = secret else { return Self(Vec::new()) };
        let run = rotation.and_then(|rotation| rotation.run.as_ref());
        let in_hand: Vec<u32> =
            run.iter().flat_map(|run| run.replaces.into_iter().chain(run.version)).collect();
        let is_needed = |number: u32| {
            in_hand.contains(&number) || rotation.is_some_and(|rotation| rotation.is_known_upstream(number))
        };
        // The current one joins them, and what a rotation that is given up would have brought.
        let is_given_up = |run: &&crate::rotation::Run| run.trouble.is_some() || run.has_changed_nothing();
        let given_up = run.filter(is_given_up).and_then(|run| run.version);
        let joining = secret.current.iter().count().saturating_add(given_up.iter().count());
        Self(secret.surplus(keep, joining, &is_needed))
    }

    /// Which.
    pub(in crate::broker) fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// `change`, ending them for good.
    pub(in crate::broker) fn destroyed_by(
        &self,
        mut change: Change<Effect>,
        secret: Option<&Secret>,
    ) -> Change<Effect> {
        let Some(secret) = secret else { return change };
        for version in self.0.iter().copied() {
            let effect = secrets::Effect::Destroy { id: secret.id, name: secret.name.clone(), version };
            change = change.effect(Effect::Secrets(effect));
        }
        change
    }
}

fn upstream(rotation: &Rotation) -> Option<Box<dyn Driver>> {
    driver(&rotation.declared.upstream).ok()
}

/// The secret of this name, when it is within reach.
pub(in crate::broker) fn within<'a>(
    world: &'a World,
    scope: &Scope,
    name: &SecretName,
) -> Result<&'a Secret, Failure> {
    within_of(&world.secrets, scope, name)
}

fn within_of<'a>(catalogue: &'a Catalogue, scope: &Scope, name: &SecretName) -> Result<&'a Secret, Failure> {
    let found = catalogue.named(name).filter(|secret| scope.covers(secret.owner.as_ref()));
    found.ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_entries_are_looked_at_for_readings() {
        assert_eq!(first_looked_at(READINGS_LOOKED_AT_MAX), 1);
        assert_eq!(first_looked_at(READINGS_LOOKED_AT_MAX + 1), 2);
    }
}
