use std::collections::BTreeMap;

use super::fault::UpstreamFault;
use crate::base::Timestamp;
use crate::base::limits::{BREAKER_FAILURES_MAX, BREAKER_OPEN_S};

/// The circuit breakers of upstreams. A circuit opens after consecutive failures.
///
/// Each place ([`Driver::place`](super::Driver::place)) has its own circuit, so that a failing upstream does not delay
/// others.
#[derive(Debug, Default)]
pub struct Breakers(BTreeMap<String, Breaker>);

#[derive(Debug)]
struct Breaker {
    failures: u32,
    /// The last failure.
    cause: UpstreamFault,
    open_until: Timestamp,
    /// Whether a probe is in progress.
    is_tried: bool,
}

/// An open circuit, or a half-open one that another caller probes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenCircuit {
    /// The end of the open time; `None` while another caller probes the upstream.
    pub until: Option<Timestamp>,
    /// The last failure of a call.
    pub cause: UpstreamFault,
}

/// The permission to call an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallAdmission {
    /// The circuit is closed.
    Usual,
    /// The circuit is half-open: only this caller probes the upstream.
    Trial,
}

impl Breakers {
    /// Whether `place` may be called at `now`. When the open time is over, one caller probes the upstream, and the others
    /// wait for the result.
    ///
    /// # Errors
    /// [`OpenCircuit`] while the upstream may not be called.
    pub fn lets(&mut self, place: &str, now: Timestamp) -> Result<CallAdmission, OpenCircuit> {
        match self.0.get_mut(place) {
            Some(breaker) if breaker.failures >= BREAKER_FAILURES_MAX => {
                if now < breaker.open_until {
                    return Err(breaker.circuit());
                }
                breaker.open_until = now.plus_s(BREAKER_OPEN_S);
                breaker.is_tried = true;
                Ok(CallAdmission::Trial)
            }
            Some(_) | None => Ok(CallAdmission::Usual),
        }
    }

    /// The probe of `place` made no call: another caller may probe at once.
    pub fn not_tried(&mut self, place: &str, now: Timestamp) {
        if let Some(breaker) = self.0.get_mut(place).filter(|breaker| breaker.is_tried) {
            (breaker.open_until, breaker.is_tried) = (now, false);
        }
    }

    /// Whether the circuit of `place` is open at `now`.
    #[must_use]
    pub fn leaves_alone(&self, place: &str, now: Timestamp) -> bool {
        let breaker = self.0.get(place);
        breaker.is_some_and(|breaker| breaker.failures >= BREAKER_FAILURES_MAX && now < breaker.open_until)
    }

    /// The circuit of `place` if it is open at `now`; `None` while it is closed or probed.
    #[must_use]
    pub fn circuit(&self, place: &str, now: Timestamp) -> Option<OpenCircuit> {
        let breaker = self.0.get(place)?;
        let is_open = breaker.failures >= BREAKER_FAILURES_MAX && now < breaker.open_until;
        (is_open && !breaker.is_tried).then(|| breaker.circuit())
    }

    /// Counts the failure `cause` of `place`.
    pub fn failed(&mut self, place: &str, now: Timestamp, cause: &UpstreamFault) {
        let breaker = self.0.entry(place.to_owned()).or_insert_with(|| Breaker {
            failures: 0,
            cause: cause.clone(),
            open_until: now,
            is_tried: false,
        });
        breaker.failures = breaker.failures.saturating_add(1);
        breaker.cause.clone_from(cause);
        (breaker.open_until, breaker.is_tried) = (now.plus_s(BREAKER_OPEN_S), false);
    }

    /// Allows a probe of `place` at once, because an operator requested a retry.
    pub fn try_again(&mut self, place: &str, now: Timestamp) {
        if let Some(breaker) = self.0.get_mut(place) {
            breaker.open_until = now;
        }
    }

    /// Closes the circuit of `place`: the upstream answered, or its declaration was corrected.
    pub fn close(&mut self, place: &str) {
        self.0.remove(place);
    }

    /// The number of open circuits at `now`.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> usize {
        let is_open =
            |breaker: &&Breaker| breaker.failures >= BREAKER_FAILURES_MAX && now < breaker.open_until;
        self.0.values().filter(is_open).count()
    }
}

impl Breaker {
    fn circuit(&self) -> OpenCircuit {
        let until = (!self.is_tried).then_some(self.open_until);
        OpenCircuit { until, cause: self.cause.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::code;

    fn cause() -> UpstreamFault {
        UpstreamFault::refused(code::UPSTREAM_TIMEOUT)
    }

    fn open_until(breakers: &Breakers, s: i64) -> Option<Timestamp> {
        breakers.circuit("a", at(s)).and_then(|circuit| circuit.until)
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_s(s)
    }

    #[test]
    fn opens_at_the_limit_and_not_one_before_and_lets_one_try_later() {
        let mut breakers = Breakers::default();
        for _ in 1..BREAKER_FAILURES_MAX {
            breakers.failed("a", at(0), &cause());
        }
        assert!(breakers.lets("a", at(0)).is_ok(), "one below the limit");
        breakers.failed("a", at(0), &cause());
        assert!(breakers.lets("a", at(BREAKER_OPEN_S - 1)).is_err());
        assert!(breakers.leaves_alone("a", at(BREAKER_OPEN_S - 1)) && !breakers.leaves_alone("b", at(0)));
        assert!(!breakers.leaves_alone("a", at(BREAKER_OPEN_S)));
        assert_eq!(open_until(&breakers, BREAKER_OPEN_S - 1), Some(at(BREAKER_OPEN_S)));
        assert_eq!(open_until(&breakers, BREAKER_OPEN_S), None, "its time is over");
        assert!(breakers.lets("b", at(0)).is_ok(), "another place");
        assert_eq!(breakers.open(at(0)), 1);
        assert!(breakers.lets("a", at(BREAKER_OPEN_S)).is_ok(), "one may try");
        assert!(breakers.lets("a", at(BREAKER_OPEN_S)).is_err(), "and no other meanwhile");
        assert_eq!(open_until(&breakers, BREAKER_OPEN_S), None, "it is probed");
        breakers.try_again("a", at(BREAKER_OPEN_S));
        assert!(breakers.lets("a", at(BREAKER_OPEN_S)).is_ok(), "an operator has it tried again");
        assert!(breakers.lets("a", at(BREAKER_OPEN_S)).is_err(), "once");
        breakers.close("a");
        assert!(breakers.lets("a", at(BREAKER_OPEN_S)).is_ok());
        assert_eq!(breakers.open(at(0)), 0);
    }

    #[test]
    fn a_trial_that_never_called_is_given_back_and_one_that_failed_is_not() {
        let mut breakers = Breakers::default();
        for _ in 0..BREAKER_FAILURES_MAX {
            breakers.failed("a", at(0), &cause());
        }
        let over = at(BREAKER_OPEN_S);
        assert_eq!(breakers.lets("a", over), Ok(CallAdmission::Trial));
        let probed = OpenCircuit { until: None, cause: cause() };
        assert_eq!(breakers.lets("a", over), Err(probed));
        breakers.not_tried("a", over);
        assert_eq!(breakers.lets("a", over), Ok(CallAdmission::Trial));
        breakers.failed("a", over, &cause());
        breakers.not_tried("a", over);
        let open = OpenCircuit { until: Some(over.plus_s(BREAKER_OPEN_S)), cause: cause() };
        assert_eq!(breakers.lets("a", over), Err(open), "it has the time and the last cause");
        breakers.close("a");
        assert_eq!(breakers.lets("a", over), Ok(CallAdmission::Usual));
    }
}
