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
    /// [`Failure`] after too long a wait, or when the broker stops: no value is known to work then.
    pub(in crate::broker) async fn await_swap(&self, secret: &SecretName) -> Result<(), Failure> {
        let mut changes = self.notifications.rotations.subscribe();
        let is_swapping = || {
            self.state.store.read(|world, _| world.rotations.of(secret).is_some_and(Rotation::is_swapping))
        };
        let settled = changes.wait_for(|_| !is_swapping());
        let is_settled = tokio::select! {
            biased;
            _ = settled => true,
            () = self.notifications.waits_ended() => false,
            () = tokio::time::sleep(Duration::from_secs(SWAP_WAIT_S)) => false,
        };
        if is_settled {
            return Ok(());
        }
        let mut failure = Failure::new(code::SECRET_VALUE_UNCERTAIN);
        failure.retry_after_s = Some(SWAP_WAIT_S);
        Err(failure)
    }
}
