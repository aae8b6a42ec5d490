use super::advance::next_of;
use super::context::Step;
use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::VERSIONS_TRIED_MAX;
use crate::base::{RotationId, SecretName, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, Initiator, ReadOutcome};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::policy::{Authorised, RotateSecrets};
use crate::rotation::{self, Rotation, RotationAdopted, Run};
use crate::secrets::{self, Secret, VersionStage};
use crate::upstream::Verdict;

/// The request to adopt a version.
#[derive(Clone, Copy, Debug)]
pub struct Adopting {
    /// The version; without one, the first that the upstream accepts.
    pub version: Option<u32>,
    /// Whether the upstream is asked first.
    pub proof: AdoptionProof,
}

/// Whether the upstream has to accept the adopted version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AdoptionProof {
    /// Yes.
    Asked,
    /// No, it is not asked: the operator knows the working version, or the upstream no longer exists.
    Unasked,
}

/// An adopted version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Adopted {
    /// The version.
    pub version: u32,
    /// The ledger entry.
    pub seq: u64,
}

/// The version to adopt, with the state that was read.
struct FoundVersion {
    version: u32,
    works: bool,
    /// The rotation in progress.
    run: Option<RotationId>,
}

impl AdminServices {
    /// Makes a version that the upstream accepts the current one, and ends the rotation in progress. No version is
    /// destroyed. Possible in each stage without a call of the upstream in progress.
    ///
    /// # Errors
    /// [`Failure`], also if the upstream accepts none of the versions, or cannot be asked.
    pub async fn adopt(
        &self,
        by: &Authorised<RotateSecrets>,
        name: &SecretName,
        adopting: Adopting,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Adopted, Failure> {
        let services = &*self.0;
        let (operator, scope) = (by.operator(), by.operator().scope());
        services.state.read(|reading| reading.rotation_within(scope, name).map(drop)).0?;
        let request = ChangeRequest::by(operator, idempotency);
        if let ReadOutcome::Before(before) = services.state.read_for(request, |_| Ok(()))? {
            return adopted_before(&before);
        }
        let found = services.find_adoptable(name, adopting, operator).await?;
        let changed = services.state.change(request, |reading| {
            let rotation = reading.rotation_within(scope, name)?;
            found.adopted(operator, rotation, reading.versions_of(name), reading.now())
        });
        let changed = changed.await?;
        services.notifications.rotations_changed();
        match changed {
            Changed::Recorded { seq, value: version } => Ok(Adopted { version, seq }),
            Changed::Before(before) => adopted_before(&before),
        }
    }
}

/// The result of a repeated request.
fn adopted_before(before: &Remembered) -> Result<Adopted, Failure> {
    let Outcome::Stored(version) = before.outcome else { return Err(Failure::new(code::RECORD_UNREADABLE)) };
    Ok(Adopted { version, seq: before.seq })
}

impl Services {
    /// The version to adopt, after the upstream was asked.
    async fn find_adoptable(
        &self,
        name: &SecretName,
        adopting: Adopting,
        operator: &OperatorPrincipal,
    ) -> Result<FoundVersion, Failure> {
        let at = self.context(name)?;
        is_idle(&at.rotation, self.state.clock.now())?;
        let run = at.rotation.run.as_ref();
        let versions = candidates(at.secret.as_ref(), run, adopting.version)?;
        let run = run.map(|run| run.id);
        if adopting.proof == AdoptionProof::Unasked {
            let current = at.current().pop();
            let version = adopting.version.or(current).ok_or_else(|| Failure::new(code::VERSION_UNKNOWN))?;
            return Ok(FoundVersion { version, works: false, run });
        }
        let lent = self.open_values(&at, Initiator::Operator(operator), Step::Check, &versions).await?;
        for (version, value) in versions.iter().zip(&lent.values) {
            let verdict = self.noted(&at, at.verify(value).await);
            if verdict.map_err(|fault| Failure::upstream(&fault))? == Verdict::Works {
                return Ok(FoundVersion { version: *version, works: true, run });
            }
        }
        let asked: Vec<_> = versions.iter().map(ToString::to_string).collect();
        let why = format!("the upstream of `{name}` accepts none of these versions: {}", asked.join(", "));
        Err(Failure::new(code::ROTATION_NO_VERSION_ACCEPTED).because(why))
    }
}

impl FoundVersion {
    /// The change that adopts it, if the rotation is unchanged.
    fn adopted(
        &self,
        operator: &OperatorPrincipal,
        rotation: &Rotation,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<ChangeDraft<u32>, Failure> {
        is_idle(rotation, now)?;
        let (version, run, name) = (self.version, rotation.run.as_ref(), &rotation.declared.secret);
        candidates(secret, run, Some(version))?;
        let secret = secret.ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
        if run.map(|run| run.id) != self.run {
            return Err(Failure::new(code::MODIFIED_CONCURRENTLY));
        }
        let before = secret.current.map(|version| version.number);
        let event = RotationAdopted {
            secret: name,
            operator: operator.name(),
            version,
            before: before.filter(|before| *before != version),
            works: self.works,
            rotation: self.run,
            stage: run.map(|run| run.stage.as_str()),
        };
        let mut draft = ChangeDraft::new(&event, version)?.outcome(Outcome::Stored(version));
        if before != Some(version) {
            let promoted = secrets::Effect::Promote { name: name.clone(), version };
            draft = draft.effect(Effect::Secrets(promoted));
        }
        let pending = secret.versions().filter(|other| other.stage == VersionStage::Pending);
        for other in pending.filter(|other| other.number != version) {
            let kept = secrets::Effect::Abandon { name: name.clone(), version: other.number };
            draft = draft.effect(Effect::Secrets(kept));
        }
        let next = run.and_then(|_| next_of(&rotation.declared, now));
        let adopted = rotation::Effect::Adopt { secret: name.clone(), version, works: self.works, next };
        Ok(draft.effect(Effect::Rotation(adopted)))
    }
}

/// Checks that no call of the upstream is in progress for `rotation`.
fn is_idle(rotation: &Rotation, now: Timestamp) -> Result<(), Failure> {
    let Some(run) = rotation.run.as_ref().filter(|run| !run.rests(now)) else { return Ok(()) };
    let (name, stage) = (&rotation.declared.secret, run.stage.as_str());
    Err(Failure::new(code::ROTATION_IN_PROGRESS)
        .because(format!("a step of the rotation of `{name}` is under way, at `{stage}`"))
        .mended_by("wait until the step has succeeded or failed (`keyward rotation show NAME`), then adopt a version"))
}

/// The candidates: `only`, or the versions that may work, the most likely first.
fn candidates(secret: Option<&Secret>, run: Option<&Run>, only: Option<u32>) -> Result<Vec<u32>, Failure> {
    let secret = secret.ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
    let is_kept = |number: &u32| {
        secret.version(*number).is_some_and(|version| version.stage != VersionStage::Destroyed)
    };
    if let Some(number) = only {
        return match Some(number).filter(is_kept) {
            Some(number) => Ok(vec![number]),
            None => Err(Failure::new(code::VERSION_UNKNOWN)),
        };
    }
    let current = secret.current.map(|version| version.number);
    let pending = run.and_then(|run| run.versions.new);
    let former = secret.former().map(|version| version.number);
    let mut versions: Vec<u32> = Vec::new();
    for number in pending.into_iter().chain(current).chain(former).filter(is_kept) {
        if !versions.contains(&number) {
            versions.push(number);
        }
    }
    versions.truncate(VERSIONS_TRIED_MAX);
    Ok(versions)
}
