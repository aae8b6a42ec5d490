use std::sync::Mutex;

use crate::broker::world::World;
use crate::keyring::Generations;

/// The stages of the signing keys that this process signs and verifies by.
///
/// Tasks that stage keys wake up in any order; the state changes in the ledger's. So no task hands over what it
/// has staged: the keys in use are made from the state, by one task at a time. What was revoked in memory before
/// its entry is revoked in the state too.
#[derive(Debug)]
pub struct Followed {
    pub(crate) tokens: Mutex<Generations>,
    pub(crate) authorities: Mutex<Generations>,
}

impl Followed {
    /// Those of `world`, by which the first keys in use were made.
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self {
            tokens: Mutex::new(world.keys.token_keys.generations().clone()),
            authorities: Mutex::new(world.keys.authority.generations().clone()),
        }
    }
}
