use std::sync::Mutex;

use crate::broker::world::World;
use crate::keyring::Generations;

/// The stages of the signing keys that this process signs and verifies by.
///
/// Tasks that change stages finish in any order, and the state changes in the order of the ledger. So the keys in use
/// are always made from the state, by one task at a time. The state contains revocations in memory too.
#[derive(Debug)]
pub struct Followed {
    pub(crate) tokens: Mutex<Generations>,
    pub(crate) authorities: Mutex<Generations>,
}

impl Followed {
    /// The stages in `world`, from which the first keys in use were made.
    #[must_use]
    pub fn of(world: &World) -> Self {
        Self {
            tokens: Mutex::new(world.keys.token_keys.generations().clone()),
            authorities: Mutex::new(world.keys.authority.generations().clone()),
        }
    }
}
