use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// The stage of a generation of a signing key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum KeyStage {
    /// It is published, so that verifiers know it before it signs.
    Prepared,
    /// It signs.
    Active,
    /// It no longer signs; its signatures are valid.
    Old,
    /// It no longer signs, and holders have to replace what it signed now.
    Tainted,
    /// Its signatures are invalid, for good.
    Revoked,
}

impl KeyStage {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
            Self::Tainted => "tainted",
            Self::Revoked => "revoked",
        }
    }

    /// Whether what a key of this stage signed counts.
    #[must_use]
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Revoked)
    }
}

/// The stage of a generation, and its beginning.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StageSince {
    /// Its stage.
    pub stage: KeyStage,
    /// The beginning.
    pub since: Timestamp,
}

/// Why a generation does not go to another stage.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StageError {
    /// There is no such generation.
    #[error("the key has no generation of this number")]
    Unknown,
    /// One is prepared already: it comes first.
    #[error("the key has a prepared generation already")]
    PreparedAlready,
    /// The stages do not follow one another.
    #[error("a generation in the state {0:?} cannot become {1:?}")]
    Order(KeyStage, KeyStage),
}

/// The generations of one signing key: *prepared → active → old → tainted → revoked*. At most one is
/// prepared, exactly one is active once there is any.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Generations(BTreeMap<u32, StageSince>);

impl Generations {
    /// All of them, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = (u32, StageSince)> {
        self.0.iter().map(|(generation, stage_since)| (*generation, *stage_since))
    }

    /// The generation that signs.
    #[must_use]
    pub fn active(&self) -> Option<(u32, StageSince)> {
        self.at(KeyStage::Active)
    }

    /// The generation that is prepared.
    #[must_use]
    pub fn prepared(&self) -> Option<(u32, StageSince)> {
        self.at(KeyStage::Prepared)
    }

    /// The generation that a new one would be.
    #[must_use]
    pub fn following(&self) -> u32 {
        self.0.last_key_value().map_or(1, |(newest, _)| newest.saturating_add(1))
    }

    fn at(&self, stage: KeyStage) -> Option<(u32, StageSince)> {
        self.all().find(|(_, stage_since)| stage_since.stage == stage)
    }

    /// Whether `generation` may go to `stage` now.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn check(&self, generation: u32, stage: KeyStage) -> Result<(), StageError> {
        let from = match (self.0.get(&generation), stage) {
            (Some(stage_since), _) => stage_since.stage,
            (None, KeyStage::Prepared) if generation == self.following() => {
                return self.prepared().map_or(Ok(()), |_| Err(StageError::PreparedAlready));
            }
            // The very first has nobody to prepare it for.
            (None, KeyStage::Active) if self.0.is_empty() => return Ok(()),
            (None, _) => return Err(StageError::Unknown),
        };
        match (from, stage) {
            (KeyStage::Prepared, KeyStage::Active | KeyStage::Revoked)
            | (KeyStage::Old, KeyStage::Tainted | KeyStage::Revoked)
            | (KeyStage::Tainted, KeyStage::Revoked) => Ok(()),
            _ => Err(StageError::Order(from, stage)),
        }
    }

    /// Time goes on from `now`: no generation is at its stage since later than that.
    pub fn time_went_back(&mut self, now: Timestamp) {
        for stage_since in self.0.values_mut() {
            stage_since.since = stage_since.since.min(now);
        }
    }

    /// Takes in that `generation` is at `stage` since `now`. The one that was active before another
    /// becomes so is old from then on.
    pub fn apply(&mut self, generation: u32, stage: KeyStage, now: Timestamp) {
        if stage == KeyStage::Active
            && let Some((before, _)) = self.active()
        {
            self.0.insert(before, StageSince { stage: KeyStage::Old, since: now });
        }
        self.0.insert(generation, StageSince { stage, since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn go(generations: &mut Generations, generation: u32, stage: KeyStage) {
        generations.check(generation, stage).unwrap();
        generations.apply(generation, stage, NOW);
    }

    #[test]
    fn a_key_goes_from_prepared_to_revoked_and_makes_the_one_before_it_old() {
        let mut generations = Generations::default();
        go(&mut generations, 1, KeyStage::Active);
        assert_eq!(generations.following(), 2);
        go(&mut generations, 2, KeyStage::Prepared);
        go(&mut generations, 2, KeyStage::Active);
        let stages: Vec<KeyStage> = generations.all().map(|(_, stage_since)| stage_since.stage).collect();
        assert_eq!(stages, [KeyStage::Old, KeyStage::Active]);
        go(&mut generations, 1, KeyStage::Tainted);
        go(&mut generations, 1, KeyStage::Revoked);
        assert_eq!(generations.active().map(|(generation, _)| generation), Some(2));
    }

    #[test]
    fn no_step_is_left_out_and_none_goes_back() {
        let mut generations = Generations::default();
        assert_eq!(generations.check(2, KeyStage::Prepared), Err(StageError::Unknown));
        go(&mut generations, 1, KeyStage::Active);
        for stage in
            [KeyStage::Prepared, KeyStage::Old, KeyStage::Tainted, KeyStage::Revoked, KeyStage::Active]
        {
            assert_eq!(generations.check(1, stage), Err(StageError::Order(KeyStage::Active, stage)));
        }
        assert_eq!(
            generations.check(2, KeyStage::Active),
            Err(StageError::Unknown),
            "published before it signs"
        );
        go(&mut generations, 2, KeyStage::Prepared);
        assert_eq!(generations.check(3, KeyStage::Prepared), Err(StageError::PreparedAlready));
        go(&mut generations, 2, KeyStage::Revoked);
        assert!(generations.check(2, KeyStage::Active).is_err(), "given up for good");
        go(&mut generations, 3, KeyStage::Prepared);
    }
}
