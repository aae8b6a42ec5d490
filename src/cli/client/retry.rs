use std::time::Duration;

use crate::base::{Entropy, SystemEntropy};
use crate::cli::client::Answer;
use crate::console::Failure;

/// Attempts before a busy broker is believed to be busy.
const ATTEMPTS: u32 = 8;
/// The first wait, at most; each further one is twice as long.
const WAIT_MS: u64 = 100;

/// Asks again while the broker says that it may do better in a moment: many machines of a fleet
/// come at once, and what they ask for can be asked for again without harm.
pub(in crate::cli) async fn patiently(
    mut attempt: impl AsyncFnMut() -> Result<Answer, Failure>,
) -> Result<Answer, Failure> {
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

/// Any wait up to one that doubles with each attempt, so that those who came together come apart.
fn wait(tried: u32, entropy: &dyn Entropy) -> Duration {
    let longest = WAIT_MS.saturating_mul(1_u64 << tried.min(16));
    let chance = u64::from_le_bytes(entropy.bytes::<8>());
    Duration::from_millis(chance.checked_rem(longest).unwrap_or(longest))
}
