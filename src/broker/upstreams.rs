use std::sync::{MutexGuard, PoisonError};

use super::desk::Core;
use crate::base::Timestamp;
use crate::base::code::{self, Code};
use crate::upstream::{Breakers, Fault};

impl Core {
    /// Whether the upstream at `place` may be called now, or is left alone for a while. Whoever is let
    /// calls it.
    pub(super) fn lets_call_at(&self, place: &str) -> bool {
        let now = self.clock.now();
        self.breakers().lets(place, now)
    }

    /// Whether it is left alone now.
    pub(super) fn leaves_alone(&self, place: &str) -> bool {
        let now = self.clock.now();
        self.breakers().leaves_alone(place, now)
    }

    /// Notes whether it answered.
    pub(super) fn note_answer_of(&self, place: &str, fault: Option<&Fault>) {
        const SILENT: [Code; 3] = [code::UPSTREAM_UNREACHABLE, code::UPSTREAM_HANDSHAKE, code::UPSTREAM_SLOW];
        match fault {
            Some(fault) if SILENT.contains(&fault.code) => self.breakers().failed(place, self.clock.now()),
            Some(_) | None => self.breakers().answered(place),
        }
    }

    /// How many upstreams are left alone now.
    pub(super) fn upstreams_left_alone(&self) -> usize {
        let now = self.clock.now();
        self.breakers().open(now)
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When something that has failed so often is tried again: twice as late each time, between the two
    /// waits in seconds, each at a moment of its own.
    pub(super) fn retry_at(&self, failures: u32, (first_s, longest_s): (i64, i64)) -> Timestamp {
        let doubled =
            first_s.saturating_mul(1_i64.checked_shl(failures.saturating_sub(1)).unwrap_or(i64::MAX));
        // Shifted far enough the bit falls off the end: that is the longest wait, not the first.
        let wait = if doubled <= 0 { longest_s } else { doubled.clamp(first_s, longest_s) };
        let mut chance = [0_u8; 8];
        self.entropy.fill(&mut chance);
        let part = i64::from_be_bytes(chance).unsigned_abs().checked_rem(wait.unsigned_abs()).unwrap_or(0);
        // From three quarters of the wait to five quarters of it.
        let jitter = i64::try_from(part).unwrap_or(0) / 2;
        self.clock.now().plus_s(wait.saturating_sub(wait / 4).saturating_add(jitter))
    }
}
