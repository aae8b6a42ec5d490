use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// The times of an incident, in the order in which they follow each other.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct IncidentTimes {
    /// The first sign, e.g. in a log that was read later.
    pub first_sign: Option<Timestamp>,
    /// The detection.
    pub detected: Option<Timestamp>,
    /// The containment.
    pub contained: Option<Timestamp>,
    /// The recovery: the affected systems work again.
    pub recovered: Option<Timestamp>,
}

/// The times cannot be those of an incident.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IncidentTimesError {
    /// One of them is before a time that it follows.
    #[error("the time of the {later} ({later_at}) is before the time of the {earlier} ({earlier_at})")]
    Order {
        /// The earlier step.
        earlier: &'static str,
        /// Its time.
        earlier_at: Timestamp,
        /// The later step.
        later: &'static str,
        /// Its time.
        later_at: Timestamp,
    },
    /// One of them is in the future.
    #[error("the time of the {step} ({at}) is in the future: the broker's clock says {now}")]
    Future {
        /// The step.
        step: &'static str,
        /// Its time.
        at: Timestamp,
        /// The broker's time.
        now: Timestamp,
    },
}

impl IncidentTimes {
    /// These times, and those of `other` where there are none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            first_sign: self.first_sign.or(other.first_sign),
            detected: self.detected.or(other.detected),
            contained: self.contained.or(other.contained),
            recovered: self.recovered.or(other.recovered),
        }
    }

    /// Checks that no time is before one that it follows, and that none is after `now`.
    ///
    /// # Errors
    /// [`IncidentTimesError`].
    pub fn check(&self, now: Timestamp) -> Result<(), IncidentTimesError> {
        let mut before: Option<(&'static str, Timestamp)> = None;
        for (step, at) in self.steps() {
            let Some(at) = at else { continue };
            if at > now {
                return Err(IncidentTimesError::Future { step, at, now });
            }
            match before {
                Some((earlier, earlier_at)) if earlier_at > at => {
                    return Err(IncidentTimesError::Order { earlier, earlier_at, later: step, later_at: at });
                }
                Some(_) | None => before = Some((step, at)),
            }
        }
        Ok(())
    }

    /// Seconds from the first sign to the detection.
    #[must_use]
    pub fn to_detect_s(&self) -> Option<u64> {
        between(self.first_sign, self.detected)
    }

    /// Seconds from the detection to the containment.
    #[must_use]
    pub fn to_contain_s(&self) -> Option<u64> {
        between(self.detected, self.contained)
    }

    /// Seconds from the detection to the recovery.
    #[must_use]
    pub fn to_recover_s(&self) -> Option<u64> {
        between(self.detected, self.recovered)
    }

    /// Times in the future move back to `now`.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        let Self { first_sign, detected, contained, recovered } = self;
        for at in [first_sign, detected, contained, recovered].into_iter().flatten() {
            *at = (*at).min(now);
        }
    }

    const fn steps(&self) -> [(&'static str, Option<Timestamp>); 4] {
        [
            ("first sign", self.first_sign),
            ("detection", self.detected),
            ("containment", self.contained),
            ("recovery", self.recovered),
        ]
    }
}

/// `None` if one of the times is not known, or if a clock that was set makes the later one the earlier.
fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    u64::try_from(to?.seconds_since(from?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

    fn ago(seconds: i64) -> Option<Timestamp> {
        Some(NOW.plus_s(seconds.saturating_neg()))
    }

    #[test]
    fn times_follow_each_other_and_none_is_in_the_future() {
        let times = IncidentTimes {
            first_sign: ago(900),
            detected: ago(300),
            contained: ago(240),
            recovered: Some(NOW),
        };
        assert_eq!(times.check(NOW), Ok(()));
        assert_eq!(
            (times.to_detect_s(), times.to_contain_s(), times.to_recover_s()),
            (Some(600), Some(60), Some(300))
        );
        for (wrong, why) in [
            (IncidentTimes { detected: ago(901), ..times }, "the time of the detection"),
            (IncidentTimes { detected: None, contained: ago(901), ..times }, "the time of the containment"),
            (
                IncidentTimes { contained: None, recovered: ago(301), ..times },
                "before the time of the detection",
            ),
            (IncidentTimes { recovered: ago(-1), ..times }, "in the future"),
        ] {
            let error = wrong.check(NOW).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_unknown_time_has_no_duration() {
        let times = IncidentTimes { detected: ago(10), ..IncidentTimes::default() };
        assert_eq!((times.to_detect_s(), times.to_contain_s(), times.to_recover_s()), (None, None, None));
        assert_eq!(times.check(NOW), Ok(()));
    }
}
