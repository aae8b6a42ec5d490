use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::OperatorId;
use crate::base::limits::LEDGER_READING_IDLE_S;

/// Most readings that are remembered at once.
const LEDGER_READERS_MAX: usize = 1024;

/// The readings in progress: pages with the same filter by one operator, with short pauses.
#[derive(Debug, Default)]
pub struct LedgerReadings(Mutex<HashMap<Reading, Duration>>);

/// A reader and its filter.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Reading {
    pub(super) operator: OperatorId,
    pub(super) filter: String,
}

impl LedgerReadings {
    /// Notes a page at `now`. Returns whether it begins a reading.
    pub(super) fn begins(&self, reading: Reading, now: Duration) -> bool {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = Duration::from_secs(LEDGER_READING_IDLE_S);
        let is_over = |last: &Duration| now.saturating_sub(*last) > idle;
        let begins = readings.insert(reading, now).is_none_or(|last| is_over(&last));
        if readings.len() > LEDGER_READERS_MAX {
            readings.retain(|_, last| !is_over(last));
            let oldest = readings.iter().min_by_key(|(_, last)| **last).map(|(reading, _)| reading.clone());
            if let Some(oldest) = oldest.filter(|_| readings.len() > LEDGER_READERS_MAX) {
                readings.remove(&oldest);
            }
        }
        begins
    }

    /// Forgets a reading whose entry was not written: the next page begins it again.
    pub(super) fn forget(&self, reading: &Reading) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn pages_of_one_filter_are_one_reading_until_a_pause() {
        let readings = LedgerReadings::default();
        let operator = OperatorId::mint(Timestamp::from_s(1), &SystemEntropy);
        let reading = |filter: &str| Reading { operator, filter: filter.to_owned() };
        let at = Duration::from_secs;
        assert!(readings.begins(reading("agent=a"), at(0)));
        assert!(!readings.begins(reading("agent=a"), at(LEDGER_READING_IDLE_S)));
        assert!(readings.begins(reading("agent=b"), at(LEDGER_READING_IDLE_S)), "another filter");
        assert!(!readings.begins(reading("agent=a"), at(2 * LEDGER_READING_IDLE_S)), "it goes on");
        assert!(readings.begins(reading("agent=a"), at(3 * LEDGER_READING_IDLE_S + 1)), "after a pause");
        readings.forget(&reading("agent=a"));
        assert!(
            readings.begins(reading("agent=a"), at(3 * LEDGER_READING_IDLE_S + 1)),
            "it was not recorded"
        );
    }

    #[test]
    fn so_many_readings_are_remembered() {
        let readings = LedgerReadings::default();
        let operator = OperatorId::mint(Timestamp::from_s(1), &SystemEntropy);
        for number in 0..=LEDGER_READERS_MAX as u64 {
            let filter = number.to_string();
            assert!(readings.begins(Reading { operator, filter }, Duration::from_millis(number)));
        }
        assert_eq!(readings.0.lock().unwrap().len(), LEDGER_READERS_MAX);
        let begins = |filter: &str| {
            readings.begins(Reading { operator, filter: filter.to_owned() }, Duration::from_secs(10))
        };
        assert!(begins("0"), "the oldest was forgotten");
        assert!(!begins("500"));
    }
}
