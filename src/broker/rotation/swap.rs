use std::time::Duration;

use crate::base::limits::SWAP_WAIT_S;
use crate::base::{SecretName, code};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::rotation::Rotation;

impl Services {
    /// Waits while upstream may have ended the value of `secret` that would be handed out: between its
    /// being told of the new one and that being the current one. Only where upstream has one slot.
    ///
    /// # Errors
    /// [`Failure`] when that takes too long: no value is known to work then.
    pub(in crate::broker) async fn await_swap(&self, secret: &SecretName) -> Result<(), Failure> {
        let mut changes = self.notifications.rotations.subscribe();
        let is_swapping = || {
            self.state.store.read(|world, _| world.rotations.of(secret).is_some_and(Rotation::is_swapping))
        };
        let settled = changes.wait_for(|_| !is_swapping());
        match tokio::time::timeout(Duration::from_secs(SWAP_WAIT_S), settled).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let failure = Failure::new(code::SECRET_VALUE_UNCERTAIN);
                Err(Failure { retry_after_s: Some(SWAP_WAIT_S), ..failure })
            }
        }
    }
}
