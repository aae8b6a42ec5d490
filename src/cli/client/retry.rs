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

/// The waits of a process without a person at it, which repeats a request until it succeeds.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// The number of failures of the present kind in a row.
    failures: u32,
    kind: Option<FailureKind>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FailureKind {
    Outage,
    Unavailable,
    Refused,
}

impl FailureKind {
    fn of(failure: &CommandFailure) -> Self {
        match failure {
            failure if failure.is_outage() => Self::Outage,
            failure if failure.is_unavailable() => Self::Unavailable,
            _ => Self::Refused,
        }
    }

    /// The first and the longest wait, in milliseconds.
    const fn waits_ms(self) -> (u64, u64) {
        match self {
            Self::Outage => OUTAGE_MS,
            Self::Unavailable => UNAVAILABLE_MS,
            Self::Refused => REFUSED_MS,
        }
    }
}

/// First and longest wait. A broker that does not answer may return at any moment, and a connection that is refused
/// costs nothing: the client is back within ten seconds, the connect timeout included.
const OUTAGE_MS: (u64, u64) = (1000, 4000);
/// After a response that says that the broker cannot carry the request out now.
const UNAVAILABLE_MS: (u64, u64) = (1000, 60_000);
/// After any other failure, which a person has to correct.
const REFUSED_MS: (u64, u64) = (15_000, 900_000);

impl Backoff {
    /// The wait before the next attempt: it doubles with each failure. A random part, so that clients of one broker do
    /// not return together.
    pub(crate) fn wait_after(&mut self, failure: &CommandFailure, entropy: &dyn Entropy) -> Duration {
        let kind = FailureKind::of(failure);
        if self.kind != Some(kind) {
            *self = Self { failures: 0, kind: Some(kind) };
        }
        let (first, longest) = kind.waits_ms();
        let doubled = first.saturating_mul(1_u64 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let random = u64::from_le_bytes(entropy.bytes::<8>());
        let half = doubled / 2;
        Duration::from_millis(half.saturating_add(random.checked_rem(half.saturating_add(1)).unwrap_or(0)))
    }

    /// An attempt succeeded.
    pub(crate) const fn reset(&mut self) {
        *self = Self { failures: 0, kind: None };
    }
}

/// A random wait (full jitter), so that clients that began together do not repeat together.
fn wait(tried: u32, entropy: &dyn Entropy) -> Duration {
    let longest = WAIT_MS.saturating_mul(1_u64 << tried.min(16));
    let random = u64::from_le_bytes(entropy.bytes::<8>());
    Duration::from_millis(random.checked_rem(longest).unwrap_or(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::code::{self, Code};

    fn waits(code: Code, count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::default();
        let failure = CommandFailure::new(code);
        (0..count).map(|_| backoff.wait_after(&failure, &SystemEntropy)).collect()
    }

    #[test]
    fn waits_stay_short_while_the_broker_does_not_answer() {
        for code in [code::BROKER_UNREACHABLE, code::SEALED, code::RESPONSE_INVALID] {
            for (at, wait) in waits(code, 200).into_iter().enumerate() {
                let longest = if at == 0 { 1000 } else { 4000 };
                assert!(
                    wait >= Duration::from_millis(500) && wait <= Duration::from_millis(longest),
                    "{wait:?}"
                );
            }
        }
    }

    #[test]
    fn waits_double_after_refusals_and_end_at_a_quarter_of_an_hour() {
        let refused = waits(code::CERTIFICATE_SUSPENDED, 40);
        for (at, wait) in refused.iter().enumerate() {
            let longest = (15_u64 << at.min(6)).min(900);
            assert!(
                wait.as_secs() >= (longest / 2).saturating_sub(1) && wait.as_secs() <= longest,
                "{at}: {wait:?}"
            );
        }
        for code in [code::OVERLOADED, code::LEDGER_NO_SPACE, code::READ_ONLY] {
            let waits = waits(code, 40);
            assert!(waits.iter().all(|wait| wait.as_secs() <= 60), "{code}");
            assert!(waits[39].as_secs() >= 30, "{code}");
        }
    }

    #[test]
    fn waits_begin_anew_with_another_kind_of_failure() {
        let mut backoff = Backoff::default();
        let mut wait = |code| backoff.wait_after(&CommandFailure::new(code), &SystemEntropy);
        for _ in 0..100 {
            wait(code::BROKER_UNREACHABLE);
        }
        assert!(wait(code::OVERLOADED) <= Duration::from_secs(1), "the broker has returned");
        for _ in 0..100 {
            wait(code::INTERNAL);
        }
        backoff.reset();
        let wait = backoff.wait_after(&CommandFailure::new(code::INTERNAL), &SystemEntropy);
        assert!(wait.as_secs() <= 15, "an attempt has succeeded");
    }
}
