use std::time::Duration;

use crate::base::{Entropy, SystemEntropy};
use crate::console::CommandFailure;

/// Attempts after which the verb fails because the broker is busy.
const ATTEMPTS: u32 = 8;
/// Longest first wait, in milliseconds; it doubles with each attempt.
const WAIT_MS: u64 = 100;

/// Repeats a request while the broker is busy: many machines of a fleet enrol at once. The request must have no
/// further effect when it is repeated.
pub(crate) async fn retry_while_busy<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, CommandFailure>,
) -> Result<T, CommandFailure> {
    let mut tried = 0;
    loop {
        match attempt().await {
            Err(failure) if failure.is_busy() && tried < ATTEMPTS => {
                tokio::time::sleep(wait(tried, &SystemEntropy)).await;
                tried = tried.saturating_add(1);
            }
            answered => return answered,
        }
    }
}

/// A random wait (full jitter), so that clients that began together do not repeat together.
fn wait(tried: u32, entropy: &dyn Entropy) -> Duration {
    let longest = WAIT_MS.saturating_mul(1_u64 << tried.min(16));
    let random = u64::from_le_bytes(entropy.bytes::<8>());
    Duration::from_millis(random.checked_rem(longest).unwrap_or(longest))
}
