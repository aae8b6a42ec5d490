use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::limits::READINGS_LOOKED_AT_MAX;
use crate::base::{AgentName, Cancellation, SecretId, SecretName, Timestamp, code};
use crate::broker::administration::entry_reads::TermSearch;
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, OperatorRequest};
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::incidents::containing::ContainingIncidents;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::rotation::{consumers, in_progress};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::custody::RevocationOrder;
use crate::policy::{Authorised, ReadSecretNames, StoreSecrets};
use crate::postings::TimeSpan;
use crate::revocation::Subject;
use crate::rotation::Rotation;
use crate::secrets::{self, Secret, SecretRevealed, Version, VersionChanged, VersionStage};
use crate::store::{Change, CommitError, Event as _};
use crate::upstream::{Driver, SlotCount, stored_driver};
use crate::wire::{EntryField, ReaderAnswer, ReadersAnswer, SecretDetailAnswer, VersionAnswer};

fn version_of(version: Version) -> VersionAnswer {
    VersionAnswer {
        number: version.number,
        stage: version.stage.as_str().into(),
        stored_at: version.stored_at.to_string(),
        seq: version.seq,
    }
}

/// An action of an operator on a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VersionAct {
    /// Makes it the current version again.
    RollBack,
    /// Destroys it.
    Destroy,
}

/// The first and the last reading of a version by an agent: the entry and its time.
#[derive(Default)]
struct Readings {
    first: (u64, String),
    last: (u64, String),
}

impl Readings {
    /// Entries come in any order.
    fn note(&mut self, seq: u64, at: &str) {
        if self.first.0 == 0 || seq < self.first.0 {
            self.first = (seq, at.to_owned());
        }
        if seq > self.last.0 {
            self.last = (seq, at.to_owned());
        }
    }
}

impl AdminServices {
    /// The secret `name`, without its values.
    ///
    /// # Errors
    /// [`Failure`] if there is none within the scope.
    pub fn secret(
        &self,
        by: &Authorised<ReadSecretNames>,
        name: &SecretName,
    ) -> Result<SecretDetailAnswer, Failure> {
        let view = |reading: &Reading<'_>| {
            let secret = reading.secret_within(by.operator().scope(), name)?;
            let rotation = reading.rotation(name);
            Ok(SecretDetailAnswer {
                name: name.clone(),
                owner: secret.owner.clone(),
                sensitivity: secret.sensitivity.as_str().into(),
                classified_seq: secret.classified_seq,
                incident: ContainingIncidents::shown_to(by.operator(), reading.unconditional())
                    .of_subject(&Subject::Secret(name.clone())),
                current: secret.current.map(|version| version.number),
                versions: secret.versions().map(version_of).collect(),
                upstream: rotation.and_then(upstream).map(|driver| driver.describe()),
                consumers: consumers(reading.unconditional(), name, reading.now()),
            })
        };
        self.0.state.read(view).0
    }

    /// The readers of the secret `name`, with each version that they read, the last reading first, and the entry from which on
    /// they were searched. The search reads at most `READINGS_LOOKED_AT_MAX` entries, the newest ones.
    ///
    /// # Errors
    /// [`Failure`] if there is no such secret within the scope, or the ledger is damaged.
    pub fn readers(
        &self,
        by: &Authorised<ReadSecretNames>,
        name: &SecretName,
        work: &Cancellation,
    ) -> Result<ReadersAnswer, Failure> {
        #[derive(serde::Deserialize)]
        struct Event {
            agent: AgentName,
            secret: SecretName,
            version: u32,
        }
        self.0.state.read(|reading| reading.secret_within(by.operator().scope(), name).map(drop)).0?;
        let kind = (EntryField::Kind, SecretRevealed::NAME.to_owned());
        let search = TermSearch {
            store: &self.0.state.store,
            any: vec![vec![vec![kind], vec![(EntryField::SecretName, name.to_string())]]],
            from: 1,
            through: self.0.state.store.head().seq,
            times: TimeSpan::default(),
            most: READINGS_LOOKED_AT_MAX,
        };
        let mut readings: BTreeMap<(AgentName, u32), Readings> = BTreeMap::new();
        let since_seq = search.run(work, |entries| {
            for entry in entries.iter().filter(|entry| entry.kind == SecretRevealed::KIND) {
                let Ok(event) = serde_json::from_slice::<Event>(&entry.event) else { continue };
                if event.secret == *name {
                    let of_reader = readings.entry((event.agent, event.version)).or_default();
                    of_reader.note(entry.seq, &entry.time.to_string());
                }
            }
            Ok(())
        })?;
        let mut readers: Vec<_> = readings.into_iter().collect();
        readers.sort_by_key(|(_, readings)| Reverse(readings.last.0));
        let reader = |((agent, version), Readings { first, last }): ((AgentName, u32), Readings)| {
            let (first_at, at) = (first.1, last.1);
            ReaderAnswer { agent, version, first_at, at }
        };
        let items = readers.into_iter().map(reader).collect();
        Ok(ReadersAnswer { items, since_seq })
    }

    /// Makes a former version the current one again, or destroys it.
    ///
    /// # Errors
    /// [`Failure`], also for a version in use, and for a secret whose upstream would not accept the former value.
    pub async fn change_version(
        &self,
        by: &Authorised<StoreSecrets>,
        name: &SecretName,
        number: u32,
        act: VersionAct,
        request: OperatorRequest<'_>,
    ) -> Result<Ended, Failure> {
        let services = &*self.0;
        let (request, name) = (ChangeRequest::of(by.operator(), request), name.clone());
        match act {
            VersionAct::RollBack => services.roll_back(request, NamedVersion { name, number }).await,
            VersionAct::Destroy => {
                let applied = services.destroy_version(request, NamedVersion { name, number }).await?;
                services.forget_destroyed();
                Ok(services.conclude(applied).await)
            }
        }
    }
}

/// A version of the secret `name`.
#[derive(Clone)]
pub(crate) struct NamedVersion {
    pub(crate) name: SecretName,
    pub(crate) number: u32,
}

impl Services {
    /// Forgets the digests of the values of destroyed versions.
    pub(crate) fn forget_destroyed(&self) {
        let ((), _) = self.state.read(|reading| self.values.put.forget_destroyed(reading.unconditional()));
    }

    async fn roll_back(&self, request: ChangeRequest<'_>, version: NamedVersion) -> Result<Ended, Failure> {
        let changed = self.state.change(request, |reading| {
            let secret = reading.secret_within(request.by.scope(), &version.name)?;
            let rotation = reading.rotation(&version.name);
            former(secret, rotation, version.number, reading.now())?;
            let driver = rotation.and_then(upstream);
            if driver.is_some_and(|driver| driver.capabilities().shape != SlotCount::Pulled) {
                return Err(Failure::new(code::SECRET_HAS_ROTATION));
            }
            let promote = secrets::Effect::Promote { name: version.name.clone(), version: version.number };
            let event = version.changed(request.by.name(), "rolled-back");
            Ok(ChangeDraft::new(&event, ())?.effect(Effect::Secrets(promote)))
        });
        Ok(Ended::Recorded(changed.await?.seq()))
    }

    /// Destroys a former version.
    pub(crate) async fn destroy_version(
        &self,
        request: ChangeRequest<'_>,
        version: NamedVersion,
    ) -> Result<Removed, Failure> {
        let removed = self.state.change_revoking(request, |reading| {
            let NamedVersion { name, number } = &version;
            let secret = reading.secret_within(request.by.scope(), name)?;
            former(secret, reading.rotation(name), *number, reading.now())?;
            let by = request.by.name().to_owned();
            let (at, id) = (reading.now(), secret.id);
            let destruction = Destruction { by, id, version: version.clone() };
            let change = destruction.change()?;
            let what = RevocationOrder::DestroyVersion { secret: name.clone(), version: *number };
            // A version that an earlier entry made current again is not destroyed.
            let again = Box::new(move |reading: &Reading<'_>| destruction.again(reading));
            Ok(Removal {
                change,
                denial: Some(MemoryRevocation::version(at, id, name.clone(), *number)),
                order: RemovalOrder::Conditional(what, again),
                count: None,
            })
        });
        removed.await
    }
}

/// A version to destroy.
struct Destruction {
    by: String,
    id: SecretId,
    version: NamedVersion,
}

impl Destruction {
    fn change(&self) -> Result<Change<Effect>, CommitError> {
        let NamedVersion { name, number } = &self.version;
        let destroy = secrets::Effect::Destroy { id: self.id, name: name.clone(), version: *number };
        let change = Change::new(&self.version.changed(&self.by, "destroyed"))?;
        Ok(change.effect(Effect::Secrets(destroy)).urgent())
    }

    /// The same change, if the version is still a former one by the entries; `None` if it is destroyed already.
    fn again(&self, reading: &Reading<'_>) -> Result<Option<Change<Effect>>, Failure> {
        let NamedVersion { name, number } = &self.version;
        reading.secret(name);
        if is_destroyed(reading, name, *number) {
            return Ok(None);
        }
        let secret = reading.unconditional().recorded_secrets().named(name);
        let secret = secret.ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
        former(secret, reading.rotation(name), *number, reading.now())?;
        Ok(Some(self.change()?))
    }
}

impl NamedVersion {
    const fn changed<'a>(&'a self, by: &'a str, what: &'static str) -> VersionChanged<'a> {
        VersionChanged { operator: by, secret: &self.name, version: self.number, what }
    }
}

/// Whether the entries say that the version is destroyed.
pub(crate) fn is_destroyed(reading: &Reading<'_>, name: &SecretName, number: u32) -> bool {
    reading.recorded_version(name, number).is_some_and(|version| version.stage == VersionStage::Destroyed)
}

/// Checks that the version is a former one, and that no rotation is in progress.
fn former(secret: &Secret, rotation: Option<&Rotation>, number: u32, now: Timestamp) -> Result<(), Failure> {
    let version = secret.version(number).ok_or_else(|| Failure::new(code::VERSION_UNKNOWN))?;
    if version.stage != VersionStage::Former {
        return Err(Failure::new(code::VERSION_INVALID_STATE));
    }
    match rotation.and_then(|rotation| Some((rotation, rotation.run.as_ref()?))) {
        Some((rotation, run)) => Err(in_progress(rotation, run, now)),
        None => Ok(()),
    }
}

fn upstream(rotation: &Rotation) -> Option<Box<dyn Driver>> {
    stored_driver(&rotation.declared.upstream).ok()
}
