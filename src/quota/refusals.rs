use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::denials::Note;
use super::sources::DenialsBySource;
use crate::base::limits::{REFUSED_CALLERS_MAX, REFUSED_SOURCES_MAX, REFUSED_SUMMARY_S};
use crate::base::{Clock, Timestamp, peer_of};

/// Counts the refusals of callers by caller and source, until a summary of them is recorded, and limits the alarms about
/// them. Its memory has a limit: what does not fit is counted without caller or source.
pub struct Refusals<K, A> {
    alarms: DenialsBySource<A>,
    clock: Arc<dyn Clock>,
    counted: Mutex<Counted<K>>,
    last: Mutex<HashMap<A, LastRefusal>>,
    asked: Notify,
}

struct Counted<K> {
    /// When the next summary may be recorded.
    due: Duration,
    summary: RefusalSummary<K>,
}

/// The refusals about one subject since the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LastRefusal {
    /// The number of refusals.
    pub count: u64,
    /// When the last one was.
    pub at: Timestamp,
    /// Where it came from.
    pub source: IpAddr,
}

/// The point at which a caller was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusedAt {
    /// At the TLS handshake: the certificate was presented, and the possession of its key was not proved.
    Handshake,
    /// At a request.
    Request,
}

/// The number of refusals.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefusalCount {
    /// At handshakes.
    pub handshakes: u64,
    /// At requests.
    pub requests: u64,
}

/// The refusals of one caller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RefusedSources {
    /// By source: an IPv4 address, or the first address of a /64. The first sources, then those that were seen last.
    pub by_source: Vec<(IpAddr, RefusalCount)>,
    /// How often a source was left out, because there were newer ones.
    pub left_out: u64,
    /// From the sources that were left out.
    pub others: RefusalCount,
    /// The last one.
    pub last: Option<(Timestamp, IpAddr)>,
}

/// Sources that stay, so that newer ones do not push them out.
const FIRST_SOURCES: usize = REFUSED_SOURCES_MAX / 2;

impl RefusedSources {
    /// The number of refusals.
    fn total(&self) -> u64 {
        let counts = self.by_source.iter().map(|(_, count)| *count).chain([self.others]);
        counts.fold(0, |sum, count| sum.saturating_add(count.handshakes).saturating_add(count.requests))
    }

    fn add(&mut self, source: IpAddr, count: RefusalCount) {
        let known = self.by_source.iter().position(|(one, _)| *one == source);
        if let Some((_, first)) =
            known.filter(|at| *at < FIRST_SOURCES).and_then(|at| self.by_source.get_mut(at))
        {
            return first.add(count);
        }
        let mut newest = known.map_or_else(RefusalCount::default, |at| self.by_source.remove(at).1);
        newest.add(count);
        if self.by_source.len() >= REFUSED_SOURCES_MAX {
            let (_, left_out) = self.by_source.remove(FIRST_SOURCES);
            self.others.add(left_out);
            self.left_out = self.left_out.saturating_add(1);
        }
        self.by_source.push((source, newest));
    }
}

/// The refusals since the summary before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusalSummary<K> {
    /// When the first of them was counted.
    pub since: Option<Timestamp>,
    /// By caller.
    pub callers: BTreeMap<K, RefusedSources>,
    /// Of further callers.
    pub others: RefusalCount,
}

impl RefusalCount {
    const fn add(&mut self, other: Self) {
        self.handshakes = self.handshakes.saturating_add(other.handshakes);
        self.requests = self.requests.saturating_add(other.requests);
    }

    const fn one(at: RefusedAt) -> Self {
        match at {
            RefusedAt::Handshake => Self { handshakes: 1, requests: 0 },
            RefusedAt::Request => Self { handshakes: 0, requests: 1 },
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.handshakes == 0 && self.requests == 0
    }
}

impl<K> Default for RefusalSummary<K> {
    fn default() -> Self {
        Self { since: None, callers: BTreeMap::new(), others: RefusalCount::default() }
    }
}

impl<K: Ord + Clone> RefusalSummary<K> {
    /// The sources of `caller`; `None` if there are too many callers.
    fn sources(&mut self, caller: &K) -> Option<&mut RefusedSources> {
        let has_room = self.callers.len() < REFUSED_CALLERS_MAX || self.callers.contains_key(caller);
        has_room.then(|| self.callers.entry(caller.clone()).or_default())
    }

    /// Adds refusals of `caller` at `source`.
    fn add(&mut self, caller: &K, source: IpAddr, count: RefusalCount) {
        match self.sources(caller) {
            Some(sources) => sources.add(source, count),
            None => self.others.add(count),
        }
    }
}

impl<K: Ord + Clone, A: Hash + Eq + Clone> Refusals<K, A> {
    /// No refusals so far.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let counted = Counted { due: Duration::ZERO, summary: RefusalSummary::default() };
        let alarms = DenialsBySource::new(Arc::clone(&clock));
        Self { alarms, clock, counted: Mutex::new(counted), last: Mutex::default(), asked: Notify::new() }
    }

    /// Counts a refusal of `caller` at `source`.
    pub fn count(&self, caller: K, source: IpAddr, at: RefusedAt) {
        let now = self.clock.now();
        let mut counted = self.lock();
        counted.summary.since.get_or_insert(now);
        counted.summary.add(&caller, peer_of(source), RefusalCount::one(at));
        if let Some(sources) = counted.summary.sources(&caller) {
            sources.last = Some((now, source));
        }
    }

    /// The record of an alarm about `subject` at `source`: at most one a minute for each.
    pub fn note_alarm(&self, subject: &A, source: IpAddr) -> Note {
        self.alarms.note(subject, Some(source))
    }

    /// Counts a refusal about `subject` at `source`. Of too many subjects, the one that was refused longest ago is forgotten.
    pub fn note_last(&self, subject: &A, source: IpAddr) {
        let at = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= REFUSED_CALLERS_MAX && !last.contains_key(subject) {
            let oldest = last.iter().min_by_key(|(_, one)| one.at).map(|(subject, _)| subject.clone());
            if let Some(oldest) = oldest {
                last.remove(&oldest);
            }
        }
        let known = last.entry(subject.clone()).or_insert(LastRefusal { count: 0, at, source });
        *known = LastRefusal { count: known.count.saturating_add(1), at, source };
    }

    /// The refusals about `subject` since the start.
    pub fn last(&self, subject: &A) -> Option<LastRefusal> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(subject).copied()
    }

    /// The refusals of the callers that `is_it` that no summary has yet.
    pub fn pending(&self, is_it: impl Fn(&K) -> bool) -> Option<LastRefusal> {
        let counted = self.lock();
        let callers = counted.summary.callers.iter().filter(|(caller, _)| is_it(caller));
        let mut pending: Option<LastRefusal> = None;
        for (_, sources) in callers {
            let Some((at, source)) = sources.last else { continue };
            let known = pending.get_or_insert(LastRefusal { count: 0, at, source });
            let latest = if at >= known.at { (at, source) } else { (known.at, known.source) };
            let count = known.count.saturating_add(sources.total());
            *known = LastRefusal { count, at: latest.0, source: latest.1 };
        }
        pending
    }

    /// Asks for a summary, if one may be recorded now.
    pub fn ask_for_summary(&self) {
        if self.clock.elapsed() >= self.lock().due {
            self.asked.notify_one();
        }
    }

    /// Waits until [`Self::ask_for_summary`] asks for a summary.
    pub async fn summary_asked_for(&self) {
        self.asked.notified().await;
    }

    /// Takes the refusals since the summary before, if there are any and that summary is old enough.
    pub fn take_due(&self) -> Option<RefusalSummary<K>> {
        let now = self.clock.elapsed();
        let mut counted = self.lock();
        if counted.summary.since.is_none() || now < counted.due {
            return None;
        }
        counted.due = now.saturating_add(Duration::from_secs(REFUSED_SUMMARY_S));
        Some(std::mem::take(&mut counted.summary))
    }

    /// Takes `summary` back, which could not be recorded.
    pub fn restore(&self, summary: RefusalSummary<K>) {
        let mut counted = self.lock();
        let later = std::mem::replace(&mut counted.summary, summary);
        for (caller, sources) in &later.callers {
            for (source, count) in &sources.by_source {
                counted.summary.add(caller, *source, *count);
            }
            match counted.summary.sources(caller) {
                Some(known) => {
                    known.others.add(sources.others);
                    known.last = sources.last.or(known.last);
                    known.left_out = known.left_out.saturating_add(sources.left_out);
                }
                None => counted.summary.others.add(sources.others),
            }
        }
        counted.summary.others.add(later.others);
    }

    fn lock(&self) -> MutexGuard<'_, Counted<K>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, A> fmt::Debug for Refusals<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refusals")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ManualClock;

    fn begun() -> (Arc<ManualClock>, Refusals<usize, ()>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_000)));
        (Arc::clone(&clock), Refusals::new(clock as Arc<dyn Clock>))
    }

    fn source(last: usize) -> IpAddr {
        IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()])
    }

    const ONE: RefusalCount = RefusalCount { handshakes: 1, requests: 0 };

    #[test]
    fn refusals_are_told_apart_by_caller_source_and_point() {
        let (_, refusals) = begun();
        for (caller, from, at) in [
            (1, 1, RefusedAt::Handshake),
            (1, 1, RefusedAt::Request),
            (1, 2, RefusedAt::Handshake),
            (2, 1, RefusedAt::Handshake),
        ] {
            refusals.count(caller, source(from), at);
        }
        let summary = refusals.take_due().unwrap();
        assert_eq!(summary.since, Some(Timestamp::from_s(1_000)));
        let both = RefusalCount { handshakes: 1, requests: 1 };
        assert_eq!(summary.callers[&1].by_source, [(source(1), both), (source(2), ONE)]);
        assert_eq!(summary.callers[&2].by_source.len(), 1);
    }

    #[test]
    fn there_is_at_most_one_summary_a_minute() {
        let (clock, refusals) = begun();
        assert!(refusals.take_due().is_none(), "nothing to tell");
        refusals.count(1, source(1), RefusedAt::Handshake);
        assert!(refusals.take_due().is_some());
        refusals.count(1, source(1), RefusedAt::Handshake);
        clock.advance_s(u32::try_from(REFUSED_SUMMARY_S).unwrap() - 1);
        assert!(refusals.take_due().is_none());
        clock.advance_s(1);
        assert!(refusals.take_due().is_some());
    }

    #[test]
    fn last_refusals_of_so_many_subjects_are_remembered() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_s(1_000)));
        let refusals: Refusals<usize, usize> = Refusals::new(Arc::clone(&clock) as Arc<dyn Clock>);
        for subject in 0..=REFUSED_CALLERS_MAX {
            refusals.note_last(&subject, source(1));
            refusals.note_last(&subject, source(2));
            clock.advance_s(1);
        }
        assert_eq!(refusals.last(&0), None, "the one that was refused longest ago");
        let last = refusals.last(&1).unwrap();
        assert_eq!((last.count, last.at, last.source), (2, Timestamp::from_s(1_001), source(2)));
    }

    #[test]
    fn callers_and_sources_beyond_the_limits_are_only_counted() {
        let (_, refusals) = begun();
        for from in (0..=REFUSED_SOURCES_MAX).chain([0]) {
            refusals.count(0, source(from), RefusedAt::Handshake);
        }
        for caller in 0..=REFUSED_CALLERS_MAX {
            refusals.count(caller, source(0), RefusedAt::Request);
        }
        let summary = refusals.take_due().unwrap();
        assert_eq!(summary.callers.len(), REFUSED_CALLERS_MAX);
        // The first sources stay, and the newest ones.
        let sources = &summary.callers[&0];
        let kept: Vec<IpAddr> = sources.by_source.iter().map(|(source, _)| *source).collect();
        let all = (0..=REFUSED_SOURCES_MAX).filter(|one| *one != FIRST_SOURCES).map(source);
        assert_eq!(kept, all.collect::<Vec<_>>());
        assert_eq!(sources.by_source[0].1, RefusalCount { handshakes: 2, requests: 1 });
        assert_eq!((sources.left_out, sources.others), (1, ONE));
        assert_eq!(summary.others, RefusalCount { handshakes: 0, requests: 1 });
    }

    #[test]
    fn a_summary_that_was_not_recorded_is_in_the_next_one() {
        let (clock, refusals) = begun();
        refusals.count(1, source(1), RefusedAt::Handshake);
        let lost = refusals.take_due().unwrap();
        refusals.count(1, source(1), RefusedAt::Request);
        refusals.restore(lost);
        clock.advance_s(u32::try_from(REFUSED_SUMMARY_S).unwrap());
        let summary = refusals.take_due().unwrap();
        let both = RefusalCount { handshakes: 1, requests: 1 };
        assert_eq!(summary.callers[&1].by_source, [(source(1), both)]);
    }
}
