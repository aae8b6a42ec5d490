use std::sync::{MutexGuard, PoisonError};

use crate::base::Timestamp;
use crate::base::code::{self, Code};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::upstream::{Breakers, CallAdmission, OpenCircuit, UpstreamFault};

/// Codes of calls whose upstream did not answer or authenticate.
const SILENT: [Code; 4] = [
    code::UPSTREAM_UNREACHABLE,
    code::UPSTREAM_HANDSHAKE_FAILED,
    code::UPSTREAM_NOT_AUTHENTICATED,
    code::UPSTREAM_TIMEOUT,
];

/// Codes of calls with an unexpected response.
const ANSWERED: [Code; 13] = [
    code::UPSTREAM_CLOCK_AHEAD,
    code::UPSTREAM_LOGIN_REFUSED,
    code::UPSTREAM_REFUSED,
    code::UPSTREAM_UNEXPECTED_STATUS,
    code::UPSTREAM_RESPONSE_TOO_LARGE,
    code::UPSTREAM_RESPONSE_INVALID,
    code::UPSTREAM_LOGIN_IRREVOCABLE,
    code::UPSTREAM_NOT_REVOKED,
    code::UPSTREAM_LOGIN_STILL_VALID,
    code::UPSTREAM_LOGIN_NOT_DROPPED,
    code::UPSTREAM_CONNECTION_LIMIT,
    code::UPSTREAM_VERSION_UNSUPPORTED,
    code::UPSTREAM_CHANGED_BY_COPY,
];

/// The permission to call an upstream. A probe that ends without a call is returned for another caller.
#[must_use]
#[derive(Debug)]
pub(crate) struct Call<'a> {
    services: &'a Services,
    /// The upstream of a probe.
    trial: Option<String>,
}

impl<'a> Call<'a> {
    /// The permission without an upstream.
    pub(crate) const fn unlimited(services: &'a Services) -> Self {
        Self { services, trial: None }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(place) = &self.trial {
            self.services.breakers().not_tried(place, self.services.waits_now());
        }
    }
}

impl Failure {
    /// The refusal of a lease whose upstream is not called. The code is the one of the last call.
    pub(crate) fn not_tried(circuit: &OpenCircuit) -> Self {
        let last = Self::of_login(&circuit.cause);
        let reason = circuit.until.map_or_else(
            || "another request checks at this moment whether the upstream responds again".to_owned(),
            |until| format!("the circuit of the upstream is open until {until}"),
        );
        let why = format!("not tried: {reason}; last cause: `{}`, {}", last.code, last.why);
        last.because(why)
    }
}

impl Services {
    /// The permission to call the upstream at `place` now. Hold it until the result is noted.
    ///
    /// # Errors
    /// [`OpenCircuit`] while its circuit is open, with the wall-clock time.
    pub(crate) fn lets_call_at(&self, place: &str) -> Result<Call<'_>, OpenCircuit> {
        let now = self.waits_now();
        let admission = self.breakers().lets(place, now).map_err(|circuit| self.on_the_wall(circuit, now))?;
        let trial = (admission == CallAdmission::Trial).then(|| place.to_owned());
        Ok(Call { services: self, trial })
    }

    /// Whether its circuit is open.
    pub(crate) fn leaves_alone(&self, place: &str) -> bool {
        let now = self.waits_now();
        self.breakers().leaves_alone(place, now)
    }

    /// The open circuit, with the wall-clock time; `None` while it is closed or probed.
    pub(crate) fn circuit(&self, place: &str) -> Option<OpenCircuit> {
        let now = self.waits_now();
        let circuit = self.breakers().circuit(place, now)?;
        Some(self.on_the_wall(circuit, now))
    }

    /// The circuit with the time of the wall clock, from one with the time of the waits, read at `now`.
    fn on_the_wall(&self, circuit: OpenCircuit, now: Timestamp) -> OpenCircuit {
        let wall_ms = self.state.clock.now().ms();
        let on_the_wall = |until: Timestamp| {
            Timestamp::from_ms(wall_ms.saturating_add(until.ms().saturating_sub(now.ms())))
        };
        OpenCircuit { until: circuit.until.map(on_the_wall), ..circuit }
    }

    /// Allows a probe of the upstream at `place` at once.
    pub(crate) fn try_again_at(&self, place: &str) {
        self.breakers().try_again(place, self.waits_now());
    }

    /// Closes the circuit of the upstream at `place`, whose declaration an operator has corrected.
    pub(crate) fn close_circuit_of(&self, place: &str) {
        self.breakers().close(place);
    }

    /// Notes the result of a call of the upstream at `place`. A fault of the broker before the call does not count.
    pub(crate) fn note_answer_of(&self, place: &str, fault: Option<&UpstreamFault>) {
        match fault {
            Some(fault) if SILENT.contains(&fault.code) => {
                self.breakers().failed(place, self.waits_now(), fault);
            }
            Some(fault) if !ANSWERED.contains(&fault.code) => {}
            Some(_) | None => self.breakers().close(place),
        }
    }

    /// The number of open circuits.
    pub(crate) fn upstream_circuits_open(&self) -> usize {
        let now = self.waits_now();
        self.breakers().open(now)
    }

    /// The clock of waits without an entry: it continues while the wall clock is set.
    fn waits_now(&self) -> Timestamp {
        Timestamp::from_ms(i64::try_from(self.state.clock.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.upstream.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of a retry: the wait doubles with each failure, with a random part.
    pub(crate) fn retry_at(&self, failures: u32, waits: RetryWaits) -> Timestamp {
        let wait = waits.wait_s(failures);
        let mut chance = [0_u8; 8];
        self.state.entropy.fill(&mut chance);
        let part = i64::from_be_bytes(chance).unsigned_abs().checked_rem(wait.unsigned_abs()).unwrap_or(0);
        // Three to five quarters of the wait.
        let jitter = i64::try_from(part).unwrap_or(0) / 2;
        self.state.clock.now().plus_s(wait.saturating_sub(wait / 4).saturating_add(jitter))
    }
}

/// The first wait before a retry and the longest, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct RetryWaits {
    pub(crate) first_s: i64,
    pub(crate) longest_s: i64,
}

impl RetryWaits {
    fn wait_s(self, failures: u32) -> i64 {
        let factor = 1_i64.checked_shl(failures.saturating_sub(1)).unwrap_or(i64::MAX);
        let doubled = self.first_s.saturating_mul(factor);
        // An overflow of the shift means the longest wait.
        if doubled <= 0 { self.longest_s } else { doubled.clamp(self.first_s, self.longest_s) }
    }
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
            let wait = |failures| RetryWaits { first_s, longest_s }.wait_s(failures);
            assert_eq!((wait(1), wait(2)), (first_s, first_s * 2));
            assert_eq!(wait(fit), first_s << (fit - 1), "the last that is not cut");
            assert!(wait(fit) < longest_s);
            for beyond in [fit + 1, 63, 64, 65, u32::MAX] {
                assert_eq!(wait(beyond), longest_s, "{beyond}");
            }
        }
    }

    /// What is known without an answer to the call that it is about.
    const OUR_OWN: [Code; 5] = [
        code::UPSTREAM_ADDRESS_BLOCKED,
        code::UPSTREAM_VALUE_INVALID,
        code::UPSTREAM_NOT_CHANGED,
        code::UPSTREAM_ACCEPTS_NO_VERSION,
        code::UPSTREAM_CHECK_FAILED,
    ];

    #[test]
    fn each_code_of_upstreams_says_one_thing_of_the_circuit() {
        for code in Code::all().filter(|code| code.as_str().starts_with("upstream_")) {
            let said = [&SILENT[..], &ANSWERED, &OUR_OWN].iter().filter(|list| list.contains(&code)).count();
            assert_eq!(said, 1, "{code}");
        }
    }
}
