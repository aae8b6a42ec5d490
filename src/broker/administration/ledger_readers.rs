use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::limits::LEDGER_READING_IDLE_S;
use crate::base::{OperatorId, OperatorName, Timestamp};

/// Most readings that are remembered at once.
const LEDGER_READERS_MAX: usize = 1024;

/// The longest reading, in seconds: a client that follows the ledger for longer begins another one, so that its requests are
/// in the ledger before it stops.
const READING_S_MAX: u64 = 3600;

/// The readings in progress: requests with the same filter by one operator, with short pauses. One entry records the first
/// request of a reading, and another one how many requests it had.
#[derive(Debug, Default)]
pub struct LedgerReadings(Mutex<Readings>);

#[derive(Debug, Default)]
struct Readings {
    open: HashMap<Reading, Requests>,
    /// Those that ended, and whose requests no entry has yet.
    ended: Vec<EndedReading>,
}

/// A reader and its filter.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Reading {
    pub(super) operator: OperatorId,
    pub(super) name: OperatorName,
    pub(super) filter: Vec<String>,
}

/// A time of the broker's clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAt {
    /// Of the clock that never goes back.
    pub(super) elapsed: Duration,
    pub(super) time: Timestamp,
}

/// The requests of a reading.
#[derive(Clone, Copy, Debug)]
struct Requests {
    count: u64,
    first: ReadAt,
    last: ReadAt,
}

/// A reading with more than one request that has ended.
#[derive(Clone, Debug)]
pub(super) struct EndedReading {
    pub(super) reading: Reading,
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Requests {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.last.elapsed) > Duration::from_secs(LEDGER_READING_IDLE_S)
            || now.saturating_sub(self.first.elapsed) > Duration::from_secs(READING_S_MAX)
    }
}

impl Readings {
    fn end(&mut self, reading: Reading, requests: Requests) {
        // Its one request has an entry. Ledgers that cannot be written get no more than these.
        if requests.count > 1 && self.ended.len() < LEDGER_READERS_MAX {
            let Requests { count, first, last } = requests;
            self.ended.push(EndedReading { reading, count, first: first.time, last: last.time });
        }
    }
}

impl LedgerReadings {
    /// Notes a request at `at`. Returns whether it begins a reading.
    pub(super) fn begins(&self, reading: &Reading, at: ReadAt) -> bool {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = readings.open.get_mut(reading).filter(|one| !one.is_over(at.elapsed)) {
            requests.count = requests.count.saturating_add(1);
            requests.last = at;
            return false;
        }
        let begun = Requests { count: 1, first: at, last: at };
        if let Some(before) = readings.open.insert(reading.clone(), begun) {
            readings.end(reading.clone(), before);
        }
        if readings.open.len() > LEDGER_READERS_MAX {
            let oldest = readings.open.iter().min_by_key(|(_, requests)| requests.last.elapsed);
            if let Some(oldest) = oldest.map(|(reading, _)| reading.clone())
                && let Some(requests) = readings.open.remove(&oldest)
            {
                readings.end(oldest, requests);
            }
        }
        true
    }

    /// Forgets a reading whose entry was not written: the next request begins it again.
    pub(super) fn forget(&self, reading: &Reading) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(reading);
    }

    /// Takes the readings that have ended until `now`.
    pub(super) fn take_ended(&self, now: Duration) -> Vec<EndedReading> {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over: Vec<(Reading, Requests)> =
            readings.open.extract_if(|_, requests| requests.is_over(now)).collect();
        over.into_iter().for_each(|(reading, requests)| readings.end(reading, requests));
        std::mem::take(&mut readings.ended)
    }

    /// Keeps ended readings for a later [`take_ended`](Self::take_ended), as far as there is room.
    pub(super) fn keep_ended(&self, unrecorded: impl Iterator<Item = EndedReading>) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LEDGER_READERS_MAX.saturating_sub(readings.ended.len());
        readings.ended.extend(unrecorded.take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    fn at(s: u64) -> ReadAt {
        ReadAt { elapsed: Duration::from_secs(s), time: Timestamp::from_s(i64::try_from(s).unwrap()) }
    }

    fn reading(operator: OperatorId, filter: &str) -> Reading {
        Reading { operator, name: "ann".parse().unwrap(), filter: vec![filter.to_owned()] }
    }

    fn operator() -> OperatorId {
        OperatorId::mint(Timestamp::from_s(1), &SystemEntropy)
    }

    #[test]
    fn pages_of_one_filter_are_one_reading_until_a_pause() {
        let (readings, operator) = (LedgerReadings::default(), operator());
        let begins = |filter: &str, s| readings.begins(&reading(operator, filter), at(s));
        assert!(begins("agent=a", 0));
        assert!(!begins("agent=a", LEDGER_READING_IDLE_S));
        assert!(begins("agent=b", LEDGER_READING_IDLE_S), "another filter");
        assert!(!begins("agent=a", 2 * LEDGER_READING_IDLE_S), "it goes on");
        assert!(begins("agent=a", 3 * LEDGER_READING_IDLE_S + 1), "after a pause");
        readings.forget(&reading(operator, "agent=a"));
        assert!(begins("agent=a", 3 * LEDGER_READING_IDLE_S + 1), "it was not recorded");
    }

    #[test]
    fn ended_reading_has_the_number_of_its_requests_and_their_times() {
        let (readings, operator) = (LedgerReadings::default(), operator());
        for (filter, s) in [("agent=a", 0), ("agent=b", 5), ("agent=a", 10), ("agent=a", 20)] {
            readings.begins(&reading(operator, filter), at(s));
        }
        let ended = |s| readings.take_ended(Duration::from_secs(s));
        assert!(ended(20 + LEDGER_READING_IDLE_S).is_empty(), "it goes on");
        let found = ended(21 + LEDGER_READING_IDLE_S);
        assert_eq!(found.len(), 1, "a reading with one request has its entry");
        let of = (found[0].count, found[0].first, found[0].last);
        assert_eq!(of, (3, Timestamp::from_s(0), Timestamp::from_s(20)));
        assert!(ended(10_000).is_empty(), "once");
    }

    #[test]
    fn ended_readings_that_were_not_recorded_are_kept_up_to_a_number() {
        let (readings, operator) = (LedgerReadings::default(), operator());
        let of = |number: usize| EndedReading {
            reading: reading(operator, &number.to_string()),
            count: 2,
            first: Timestamp::from_s(0),
            last: Timestamp::from_s(1),
        };
        readings.keep_ended((0..2).map(of));
        readings.keep_ended((2..=LEDGER_READERS_MAX).map(of));
        let kept = readings.take_ended(Duration::ZERO);
        assert_eq!((kept.len(), kept[0].reading.filter[0].as_str()), (LEDGER_READERS_MAX, "0"));
        assert!(readings.take_ended(Duration::ZERO).is_empty());
    }

    #[test]
    fn client_that_follows_the_ledger_begins_a_reading_each_hour() {
        let (readings, operator) = (LedgerReadings::default(), operator());
        let begun: Vec<u64> = (0..2 * READING_S_MAX)
            .step_by(60)
            .filter(|s| readings.begins(&reading(operator, "agent=a"), at(*s)))
            .collect();
        assert_eq!(begun, [0, READING_S_MAX + 60]);
        assert_eq!(readings.take_ended(Duration::from_secs(READING_S_MAX + 60))[0].count, 61);
    }

    #[test]
    fn so_many_readings_are_remembered() {
        let (readings, operator) = (LedgerReadings::default(), operator());
        let millis = |number: u64| ReadAt { elapsed: Duration::from_millis(number), ..at(0) };
        for number in 0..=LEDGER_READERS_MAX as u64 {
            assert!(readings.begins(&reading(operator, &number.to_string()), millis(number)));
        }
        assert_eq!(readings.0.lock().unwrap().open.len(), LEDGER_READERS_MAX);
        let begins = |filter: &str| readings.begins(&reading(operator, filter), at(10));
        assert!(begins("0"), "the oldest was forgotten");
        assert!(!begins("500"));
    }
}
