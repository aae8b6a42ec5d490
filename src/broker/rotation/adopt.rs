use super::advance::next_of;
use super::context::{RotationContext, Step};
use super::update::within_reach;
use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::{OUTCOME_LIFE_S, VERSIONS_TRIED_MAX};
use crate::base::{RotationId, SecretName};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::replay::{done_before, remembering};
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::idempotency::{IdempotencyKey, Outcome, Remembered};
use crate::policy::{Authorised, RotateSecrets};
use crate::rotation::{self, RotationAdopted};
use crate::secrets::{self, Secret, VersionStage};
use crate::store::Change;
use crate::upstream::Verdict;

/// Which version an operator adopts, and how.
#[derive(Clone, Copy, Debug)]
pub struct Adopting {
    /// This one; the first that upstream lets in when there is none.
    pub version: Option<u32>,
    /// Whether upstream is asked first.
    pub proof: Proof,
}

/// Whether upstream has to let in what is adopted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// It does.
    Asked,
    /// It is not asked: the operator knows, or the upstream is gone for good.
    Unasked,
}

/// A version that was adopted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Adopted {
    /// The version.
    pub version: u32,
    /// The entry that says so.
    pub seq: u64,
}

/// What is to be adopted, as it was found.
struct Found {
    version: u32,
    works: bool,
    /// The rotation that was under way then.
    run: Option<RotationId>,
}

impl AdminServices {
    /// Hands out a version that works upstream, and ends the rotation under way. Every version stays: the
    /// way out of each stage at which nothing is under way upstream.
    ///
    /// # Errors
    /// [`Failure`], also when upstream lets none of the versions in, or cannot be asked.
    pub async fn adopt(
        &self,
        by: &Authorised<RotateSecrets>,
        name: &SecretName,
        adopting: Adopting,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Adopted, Failure> {
        let services = &*self.0;
        let scope = by.operator().scope();
        let before = services.state.store.read(|world, _| {
            within_reach(world, scope, name)?;
            done_before(world, idempotency, services.state.clock.now())
        })?;
        if let Some(Remembered { seq, outcome: Outcome::Stored(version), .. }) = before {
            return Ok(Adopted { version, seq });
        }
        let found = services.find_adoptable(name, adopting, by.operator()).await?;
        retry_on_conflict!(services.adopt(by.operator(), name, &found, idempotency))
    }
}

impl Services {
    /// The version that is to be adopted, once upstream was asked about it.
    async fn find_adoptable(
        &self,
        name: &SecretName,
        adopting: Adopting,
        operator: &OperatorPrincipal,
    ) -> Result<Found, Failure> {
        let at = self.idle_rotation(name)?;
        let run = at.rotation.run.as_ref().map(|run| run.id);
        let versions = candidates(&at, adopting.version)?;
        if adopting.proof == Proof::Unasked {
            let current = at.secret.as_ref().and_then(|secret| secret.current).map(|version| version.number);
            let version = adopting.version.or(current).ok_or_else(|| Failure::new(code::VERSION_UNKNOWN))?;
            return Ok(Found { version, works: false, run });
        }
        let lent = self.open_values_for(&at, Step::Check, &versions, Some(operator)).await?;
        for (version, value) in versions.iter().zip(&lent.values) {
            let verdict = self.noted(&at, at.verify(value).await);
            if verdict.map_err(|fault| Failure::upstream(&fault))? == Verdict::Works {
                return Ok(Found { version: *version, works: true, run });
            }
        }
        let asked: Vec<_> = versions.iter().map(ToString::to_string).collect();
        let why = format!("the upstream of `{name}` lets none of these versions in: {}", asked.join(", "));
        Err(Failure::new(code::ROTATION_NO_VERSION_ACCEPTED).because(why))
    }

    async fn adopt(
        &self,
        operator: &OperatorPrincipal,
        name: &SecretName,
        found: &Found,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Adopted, AttemptError> {
        let at = self.idle_rotation(name)?;
        let run = at.rotation.run.as_ref();
        let secret = at.secret.as_ref().ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
        candidates(&at, Some(found.version))?;
        if run.map(|run| run.id) != found.run {
            return Err(Failure::new(code::MODIFIED_CONCURRENTLY).into());
        }
        let before = secret.current.map(|version| version.number);
        let version = found.version;
        let event = RotationAdopted {
            secret: name,
            operator: operator.name(),
            version,
            before: before.filter(|before| *before != version),
            works: found.works,
            rotation: found.run,
            stage: run.map(|run| run.stage.as_str()),
        };
        let key = secrets::keys::secret(name);
        let mut change = at.relying(Change::new(&event)?).rely(key, at.as_of);
        if before != Some(version) {
            let promoted = secrets::Effect::Promote { name: name.clone(), version };
            change = change.effect(Effect::Secrets(promoted));
        }
        let pending = secret.versions().filter(|other| other.stage == VersionStage::Pending);
        for other in pending.filter(|other| other.number != version) {
            let kept = secrets::Effect::Abandon { name: name.clone(), version: other.number };
            change = change.effect(Effect::Secrets(kept));
        }
        let next = if run.is_some() { next_of(&at.rotation.declared, self.state.clock.now()) } else { None };
        let adopted = rotation::Effect::Adopt { secret: name.clone(), version, works: found.works, next };
        change = change.effect(Effect::Rotation(adopted));
        change = remembering(change, idempotency, at.as_of, OUTCOME_LIFE_S, || Outcome::Stored(version));
        let seq = self.record(self.while_allowed(change, operator)?).await?;
        Ok(Adopted { version, seq })
    }

    /// The rotation of `name`, when nothing is under way upstream.
    fn idle_rotation(&self, name: &SecretName) -> Result<RotationContext, Failure> {
        let at = self.context(name)?;
        let now = self.state.clock.now();
        match &at.rotation.run {
            Some(run) if !run.rests(now) => Err(Failure::new(code::ROTATION_IN_PROGRESS)
                .because(format!(
                    "a step of the rotation of `{name}` is under way, at `{}`",
                    run.stage.as_str()
                ))
                .mended_by(
                    "adopt a version once the step has succeeded or failed: `keyward rotation show NAME`",
                )),
            _ => Ok(at),
        }
    }
}

/// The versions that may be adopted: `only`, or those that may work, the likeliest first.
fn candidates(at: &RotationContext, only: Option<u32>) -> Result<Vec<u32>, Failure> {
    let secret: &Secret = at.secret.as_ref().ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
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
    let pending = at.rotation.run.as_ref().and_then(|run| run.version);
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
