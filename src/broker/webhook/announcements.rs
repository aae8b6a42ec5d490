use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::ApprovalId;
use crate::base::limits::{WEBHOOK_PAUSE_MAX_S, WEBHOOK_QUEUE_MAX, WEBHOOK_TRIES_MAX};

/// The messages about pending requests for approval since the start. The requests are in the records, so that a start sends a
/// message about each pending one again; its id stays the same.
#[derive(Debug, Default)]
pub struct Announcements(Mutex<BTreeMap<ApprovalId, Delivery>>);

/// How far the message about a request is.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    /// The failed attempts.
    tries: u32,
    stage: DeliveryStage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DeliveryStage {
    /// It is sent at this time of the boot clock or later.
    Waiting(Duration),
    /// An attempt is in progress.
    Sending,
    Delivered,
    /// No further attempt is made.
    DeadLetter,
}

/// The number of messages that wait, and of those that are not sent any more.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct AnnouncementCounts {
    /// Not delivered yet.
    pub(crate) waiting: usize,
    /// No further attempt is made.
    pub(crate) dead_letters: usize,
}

impl Announcements {
    fn all(&self) -> MutexGuard<'_, BTreeMap<ApprovalId, Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages that are due at `now` of the boot clock, so that at most `most` are in progress, about the requests that are `pending`. Each is in
    /// progress until [`Announcements::delivered`] or [`Announcements::failed`]. Requests that are not pending any more are
    /// forgotten; a dead letter too.
    pub(super) fn due(&self, pending: &BTreeSet<ApprovalId>, now: Duration, most: usize) -> Vec<ApprovalId> {
        let mut all = self.all();
        all.retain(|id, delivery| delivery.stage == DeliveryStage::Sending || pending.contains(id));
        let is_queued =
            |one: &Delivery| !matches!(one.stage, DeliveryStage::Delivered | DeliveryStage::DeadLetter);
        let room = WEBHOOK_QUEUE_MAX.saturating_sub(all.values().filter(|one| is_queued(one)).count());
        let new: Vec<ApprovalId> =
            pending.iter().filter(|id| !all.contains_key(id)).take(room).copied().collect();
        let waiting = Delivery { tries: 0, stage: DeliveryStage::Waiting(now) };
        all.extend(new.into_iter().map(|id| (id, waiting)));
        let sending = all.values().filter(|one| one.stage == DeliveryStage::Sending).count();
        let is_due = |one: &&mut Delivery| matches!(one.stage, DeliveryStage::Waiting(at) if at <= now);
        let due = all.iter_mut().filter(|(_, one)| is_due(one)).take(most.saturating_sub(sending));
        due.map(|(id, one)| {
            one.stage = DeliveryStage::Sending;
            *id
        })
        .collect()
    }

    /// The service has the message.
    pub(super) fn delivered(&self, id: ApprovalId) {
        self.update(id, |one| one.stage = DeliveryStage::Delivered);
    }

    /// An attempt failed at `now` of the boot clock. Returns whether it was the last one.
    pub(super) fn failed(&self, id: ApprovalId, now: Duration) -> bool {
        let mut is_last = false;
        self.update(id, |one| {
            one.tries = one.tries.saturating_add(1);
            is_last = one.tries >= WEBHOOK_TRIES_MAX;
            one.stage = if is_last {
                DeliveryStage::DeadLetter
            } else {
                DeliveryStage::Waiting(now.saturating_add(pause(one.tries)))
            };
        });
        is_last
    }

    /// The attempt has ended. If it ended without a result, by a panic, it failed at `now` of the boot clock.
    pub(super) fn ended(&self, id: ApprovalId, now: Duration) {
        let is_sending = self.all().get(&id).is_some_and(|one| one.stage == DeliveryStage::Sending);
        if is_sending {
            self.failed(id, now);
        }
    }

    fn update(&self, id: ApprovalId, update: impl FnOnce(&mut Delivery)) {
        if let Some(delivery) = self.all().get_mut(&id) {
            update(delivery);
        }
    }

    /// The messages that are not delivered.
    pub(crate) fn counts(&self) -> AnnouncementCounts {
        let mut counts = AnnouncementCounts::default();
        for delivery in self.all().values() {
            match delivery.stage {
                DeliveryStage::Waiting(_) | DeliveryStage::Sending => {
                    counts.waiting = counts.waiting.saturating_add(1)
                }
                DeliveryStage::DeadLetter => counts.dead_letters = counts.dead_letters.saturating_add(1),
                DeliveryStage::Delivered => {}
            }
        }
        counts
    }
}

/// The pause after this number of failed attempts: 1, 4, 16, 64 seconds, and so on up to an hour.
fn pause(tries: u32) -> Duration {
    let seconds = 4_u64.saturating_pow(tries.saturating_sub(1)).min(WEBHOOK_PAUSE_MAX_S);
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    fn ids(count: usize) -> BTreeSet<ApprovalId> {
        (0..count).map(|_| ApprovalId::mint(Timestamp::from_s(1_800_000_000), &SystemEntropy)).collect()
    }

    #[test]
    fn message_is_sent_until_it_is_delivered() {
        let (announcements, pending) = (Announcements::default(), ids(1));
        let at = Duration::from_secs;
        let id = *pending.first().unwrap();
        assert_eq!(announcements.due(&pending, at(0), 9), [id]);
        assert!(announcements.due(&pending, at(0), 9).is_empty(), "it is being sent");
        assert!(!announcements.failed(id, at(0)));
        assert!(announcements.due(&pending, Duration::from_millis(999), 9).is_empty());
        assert_eq!(announcements.due(&pending, at(1), 9), [id]);
        assert!(!announcements.failed(id, at(1)));
        assert!(announcements.due(&pending, at(4), 9).is_empty(), "the pause grows");
        assert_eq!(announcements.due(&pending, at(5), 9), [id]);
        announcements.delivered(id);
        assert!(announcements.due(&pending, at(9_000), 9).is_empty());
        assert_eq!(announcements.counts(), AnnouncementCounts::default());
    }

    #[test]
    fn message_is_a_dead_letter_after_the_last_attempt_while_its_request_is_pending() {
        let (announcements, pending) = (Announcements::default(), ids(1));
        let id = *pending.first().unwrap();
        let mut now = Duration::ZERO;
        for attempt in 1..=WEBHOOK_TRIES_MAX {
            assert_eq!(announcements.due(&pending, now, 9), [id]);
            assert_eq!(announcements.failed(id, now), attempt == WEBHOOK_TRIES_MAX);
            now += Duration::from_secs(WEBHOOK_PAUSE_MAX_S);
        }
        assert_eq!(announcements.counts(), AnnouncementCounts { waiting: 0, dead_letters: 1 });
        assert!(announcements.due(&pending, now, 9).is_empty());
        // Nobody needs the message once the request was answered
        assert!(announcements.due(&BTreeSet::new(), now, 9).is_empty());
        assert_eq!(announcements.counts(), AnnouncementCounts::default());
    }

    #[test]
    fn an_attempt_without_a_result_has_failed() {
        let (announcements, pending) = (Announcements::default(), ids(1));
        let id = *pending.first().unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(announcements.due(&pending, Duration::ZERO, 9), [id]);
        announcements.ended(id, Duration::ZERO);
        assert_eq!(announcements.due(&pending, second, 9), [id], "after the first pause");
        announcements.delivered(id);
        announcements.ended(id, second);
        assert_eq!(announcements.counts(), AnnouncementCounts::default(), "a delivered message stays so");
    }

    #[test]
    fn so_many_messages_are_queued_and_the_others_follow() {
        let (announcements, pending) = (Announcements::default(), ids(WEBHOOK_QUEUE_MAX + 1));
        let first = announcements.due(&pending, Duration::ZERO, usize::MAX);
        assert_eq!(first.len(), WEBHOOK_QUEUE_MAX);
        announcements.delivered(first[0]);
        assert_eq!(announcements.due(&pending, Duration::ZERO, usize::MAX).len(), 1);
    }

    #[test]
    fn pauses_grow_up_to_an_hour() {
        assert_eq!([1, 2, 3, 4].map(pause), [1, 4, 16, 64].map(Duration::from_secs));
        assert_eq!(pause(WEBHOOK_TRIES_MAX), Duration::from_secs(WEBHOOK_PAUSE_MAX_S));
    }
}
