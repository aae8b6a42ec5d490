use super::context::{OpenedValues, RotationContext, Step};
use super::step_error::StepError;
use crate::base::code;
use crate::broker::changes::Initiator;
use crate::broker::reading::Preconditions;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::rotation::{self, RotationAdvanced, RotationDrifted, RotationStage, Run};
use crate::store::Change;
use crate::upstream::{Mark, RotationCall, UpstreamFault, Verdict};

/// The number of former values that are tried if neither the new nor the current one works: an upstream that was
/// restored from a backup may accept one of them. Few, because upstreams lock accounts after wrong passwords.
const FORMER_TRIED_MAX: usize = 2;

impl Services {
    /// Sets the new value at the upstream, and checks that the upstream accepts it.
    ///
    /// If the upstream may have it already, or an attempt failed before, the broker first asks which value works.
    pub(super) async fn apply_value(&self, at: &RotationContext, run: &Run) -> Result<(), StepError> {
        let pending = run.versions.new.ok_or(StepError::Overtaken)?;
        let asks_first = run.touched || run.step.failures > 0 || run.stage == RotationStage::Applied;
        let mut opens = run.versions.replaced;
        let creates = at.driver.capabilities().creates;
        if asks_first {
            opens = self.find_working_version(at, run, pending).await?;
            if opens == Some(pending) {
                return self.reach(at, run, RotationStage::Verified).await;
            }
            if run.stage == RotationStage::Applied && (run.step.failures == 0 || creates) {
                return Err(UpstreamFault::unknown(code::UPSTREAM_NOT_CHANGED).into());
            }
        }
        if creates {
            // The upstream made it, so it has it already.
            return self.reach(at, run, RotationStage::Applied).await;
        }
        let at = &self.context(at.name())?;
        if at.rotation.run.as_ref().is_none_or(|now| !now.is_at(run)) {
            // The rotation has ended during the call: nothing more is sent.
            return Err(StepError::Overtaken);
        }
        if at.driver.capabilities().needs_current && opens.is_none() && run.versions.replaced.is_some() {
            return Err(UpstreamFault::refused(code::UPSTREAM_ACCEPTS_NO_VERSION).into());
        }
        let versions: Vec<u32> = opens.into_iter().chain([pending]).collect();
        let lent = self.open_values(at, Initiator::Schedule, Step::Apply, &versions).await?;
        let OpenedValues { admin, mut values, entry } = lent;
        let new = values.pop();
        let (admin, current) = (admin.as_ref(), values.first());
        let knows = |found| self.knows_entry(at, found, entry);
        let mark = Some(Mark::new(self.ledger_id(), entry, &knows));
        let (pending_value, rotation) = (new.as_ref(), Some(run.id));
        let call = RotationCall { admin, current, pending: pending_value, rotation, mark, ..at.call() };
        self.noted(at, at.driver.apply(call).await)?;
        if run.stage == RotationStage::Applied {
            // Sent again: it works now, or the step fails once more.
            let at = &self.context(at.name())?;
            return match self.find_working_version(at, run, pending).await? {
                Some(version) if version == pending => self.reach(at, run, RotationStage::Verified).await,
                _ => Err(UpstreamFault::unknown(code::UPSTREAM_NOT_CHANGED).into()),
            };
        }
        self.reach(at, run, RotationStage::Applied).await
    }

    /// The version that the upstream accepts: the new one, the current one, or a former one.
    async fn find_working_version(
        &self,
        at: &RotationContext,
        run: &Run,
        pending: u32,
    ) -> Result<Option<u32>, StepError> {
        let former = at.secret.iter().flat_map(|secret| secret.former().map(|version| version.number));
        let former = former.filter(|version| Some(*version) != run.versions.replaced).take(FORMER_TRIED_MAX);
        let versions: Vec<u32> = [pending].into_iter().chain(run.versions.replaced).chain(former).collect();
        let lent = self.open_values(at, Initiator::Schedule, Step::Verify, &versions).await?;
        let mut works = None;
        for (version, value) in versions.iter().zip(&lent.values) {
            if self.noted(at, at.verify(value).await)? == Verdict::Works {
                works = Some(*version);
                break;
            }
        }
        if works != Some(pending) && works != run.versions.replaced {
            self.note_drift(at, works).await?;
        }
        Ok(works)
    }

    /// Records that the upstream accepts another value than the current one.
    async fn note_drift(&self, at: &RotationContext, works: Option<u32>) -> Result<(), StepError> {
        tracing::warn!(secret = %at.name(), ?works, "the upstream accepts neither the new nor the current value");
        let event = RotationDrifted { secret: at.name(), works };
        Ok(self.record(Change::new(&event)?, Preconditions::none()).await?)
    }

    /// Records the new stage.
    async fn reach(&self, at: &RotationContext, run: &Run, stage: RotationStage) -> Result<(), StepError> {
        let (_, preconditions) = self.still(at, run)?;
        let (secret, version) = (at.name().clone(), run.versions.new.unwrap_or(0));
        let event = RotationAdvanced {
            secret: &secret,
            rotation: run.id,
            stage: stage.as_str(),
            version,
            destroyed: &[],
        };
        let effect = rotation::Effect::Reach { secret: secret.clone(), stage, grace_until: None };
        let change = Change::new(&event)?.effect(Effect::Rotation(effect));
        Ok(self.record(change, preconditions).await?)
    }
}
