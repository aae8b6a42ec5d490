use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::keyring::{Generations, KeyStage};
use crate::ledger::{Key, Kind};
use crate::store::{At, Event};

/// A generation of the token key came to another stage: prepared, active, old, tainted or revoked.
#[derive(Debug, Serialize)]
pub struct TokenKeyStaged<'a> {
    /// The actor: an operator's name, or `the schedule` (no name contains a space).
    pub by: &'a str,
    /// The generation.
    pub generation: u32,
    /// The name that tokens know it by.
    pub kid: &'a str,
    /// The new stage.
    pub stage: &'static str,
}

impl Event for TokenKeyStaged<'_> {
    const KIND: Kind = Kind(0x0404);
    const NAME: &'static str = "token-key.staged";
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// A generation of the token key is at another stage.
    Stage {
        /// The generation.
        generation: u32,
        /// The stage.
        stage: KeyStage,
    },
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Stage { .. } => keys.push(keys::token_keys()),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Stage { stage: KeyStage::Old | KeyStage::Tainted | KeyStage::Revoked, .. } => true,
            Self::Stage { stage: KeyStage::Prepared | KeyStage::Active, .. } => false,
        }
    }
}

/// The token keys, in memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TokenKeys {
    generations: Generations,
}

impl TokenKeys {
    /// The generations and where each is.
    #[must_use]
    pub const fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Entry times go on from `now`: no key has signed since later than that.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.generations.time_went_back(now);
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        let Effect::Stage { generation, stage } = effect;
        self.generations.apply(*generation, *stage, at.time);
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use crate::ledger::Key;

    /// The token keys and their stages.
    #[must_use]
    pub fn token_keys() -> Key {
        Key::of("token-keys", b"")
    }
}
