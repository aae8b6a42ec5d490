use std::time::Duration;

use crate::base::limits::SWAP_WAIT_S;
use crate::base::{SecretName, code};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::rotation::Rotation;

impl Services {
    /// Waits while the upstream may no longer accept the current value of `secret`: after the new value was sent, and
    /// before it is the current one. Only for upstreams with one slot.
    ///
    /// # Errors
    /// [`Failure`] after too long a wait: no value is known to work then.
    pub(in crate::broker) async fn await_swap(&self, secret: &SecretName) -> Result<(), Failure> {
        let mut changes = self.notifications.rotations.subscribe();
        let is_swapping = || {
            self.state.store.read(|world, _| world.rotations.of(secret).is_some_and(Rotation::is_swapping))
        };
        let settled = changes.wait_for(|_| !is_swapping());
        match tokio::time::timeout(Duration::from_secs(SWAP_WAIT_S), settled).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let mut failure = Failure::new(code::SECRET_VALUE_UNCERTAIN);
                failure.retry_after_s = Some(SWAP_WAIT_S);
                Err(failure)
            }
        }
    }
}
