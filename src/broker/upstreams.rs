use std::sync::{MutexGuard, PoisonError};

use super::desk::Core;
use crate::base::Timestamp;
use crate::base::code::{self, Code};
use crate::upstream::{Breakers, Fault};

impl Core {
    /// Whether the upstream at `place` may be called now, or is left alone for a while. Whoever is let
    /// calls it.
    pub(super) fn lets_call_at(&self, place: &str) -> bool {
        let now = self.waits_now();
        self.breakers().lets(place, now)
    }

    /// Whether it is left alone now.
    pub(super) fn leaves_alone(&self, place: &str) -> bool {
        let now = self.waits_now();
        self.breakers().leaves_alone(place, now)
    }

    /// Has the upstream at `place` tried at once, though it is left alone.
    pub(super) fn try_again_at(&self, place: &str) {
        self.breakers().try_again(place, self.waits_now());
    }

    /// Notes whether it answered.
    pub(super) fn note_answer_of(&self, place: &str, fault: Option<&Fault>) {
        const SILENT: [Code; 4] = [
            code::UPSTREAM_UNREACHABLE,
            code::UPSTREAM_HANDSHAKE,
            code::UPSTREAM_UNPROVEN,
            code::UPSTREAM_SLOW,
        ];
        match fault {
            Some(fault) if SILENT.contains(&fault.code) => self.breakers().failed(place, self.waits_now()),
            Some(_) | None => self.breakers().answered(place),
        }
    }

    /// How many upstreams are left alone now.
    pub(super) fn upstreams_left_alone(&self) -> usize {
        let now = self.waits_now();
        self.breakers().open(now)
    }

    /// The time of waits that no entry tells of: it goes on while the wall clock is set.
    fn waits_now(&self) -> Timestamp {
        Timestamp::from_ms(i64::try_from(self.clock.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When something that has failed so often is tried again: twice as late each time, between the two
    /// waits in seconds, each at a moment of its own.
    pub(super) fn retry_at(&self, failures: u32, (first_s, longest_s): (i64, i64)) -> Timestamp {
        let wait = wait_s(failures, (first_s, longest_s));
        let mut chance = [0_u8; 8];
        self.entropy.fill(&mut chance);
        let part = i64::from_be_bytes(chance).unsigned_abs().checked_rem(wait.unsigned_abs()).unwrap_or(0);
        // From three quarters of the wait to five quarters of it.
        let jitter = i64::try_from(part).unwrap_or(0) / 2;
        self.clock.now().plus_s(wait.saturating_sub(wait / 4).saturating_add(jitter))
    }
}

/// The wait after so many failures, in seconds.
fn wait_s(failures: u32, (first_s, longest_s): (i64, i64)) -> i64 {
    let doubled = first_s.saturating_mul(1_i64.checked_shl(failures.saturating_sub(1)).unwrap_or(i64::MAX));
    // Shifted far enough the bit falls off the end: that is the longest wait, not the first.
    if doubled <= 0 { longest_s } else { doubled.clamp(first_s, longest_s) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{
        LEASE_RETRY_FIRST_S, LEASE_RETRY_MAX_S, LEASE_RETRY_OPEN_MAX_S, ROTATION_RETRY_FIRST_S,
        ROTATION_RETRY_MAX_S,
    };

    #[test]
    fn waits_are_doubled_from_the_first_to_the_longest_and_never_longer() {
        for (first_s, longest_s, fit) in [
            (LEASE_RETRY_FIRST_S, LEASE_RETRY_MAX_S, 7),
            (LEASE_RETRY_FIRST_S, LEASE_RETRY_OPEN_MAX_S, 3),
            (ROTATION_RETRY_FIRST_S, ROTATION_RETRY_MAX_S, 7),
        ] {
            let wait = |failures| wait_s(failures, (first_s, longest_s));
            assert_eq!((wait(1), wait(2)), (first_s, first_s * 2));
            assert_eq!(wait(fit), first_s << (fit - 1), "the last that is not cut");
            assert!(wait(fit) < longest_s);
            for beyond in [fit + 1, 63, 64, 65, u32::MAX] {
                assert_eq!(wait(beyond), longest_s, "{beyond}");
            }
        }
    }
}
