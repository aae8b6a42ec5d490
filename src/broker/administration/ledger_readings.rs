//! Reading the ledger is recorded: one entry for a listing of several pages, or for a client that follows the ledger, and
//! another one with the number of requests.

use std::time::Duration;

use super::ledger_readers::{EndedReading, ReadAt, Reading};
use crate::base::limits::REVOCATION_WAIT_MS;
use crate::base::without_secret_forms;
use crate::broker::caller_services::AdminServices;
use crate::broker::services::Services;
use crate::operators::{LedgerRead, LedgerReadingEnded};
use crate::policy::{Authorised, ReadLedger};
use crate::wire::EntriesQuery;

impl AdminServices {
    /// Records that the operator reads the ledger, once for all pages with one filter. If the entry cannot be written soon,
    /// it is counted: a disk that fails keeps nobody from reading.
    pub async fn note_ledger_reading(&self, by: &Authorised<ReadLedger>, query: &EntriesQuery) {
        let (services, operator) = (&self.0, by.operator());
        let filter: Vec<String> =
            query.filter.parameters().map(|(name, text)| format!("{name}={}", shortened(text))).collect();
        let reading = Reading { operator: operator.id(), name: operator.name().clone(), filter };
        let clock = &services.state.clock;
        let at = ReadAt { elapsed: clock.elapsed(), time: clock.now() };
        if !services.state.ledger_readings.begins(&reading, at) {
            return;
        }
        let event = LedgerRead {
            by: operator.name(),
            order: query.order.as_str(),
            filter: reading.filter.clone(),
            after: query.after,
            before: query.before,
            limit: query.limit,
        };
        let wait = Duration::from_millis(REVOCATION_WAIT_MS);
        let recorded =
            tokio::time::timeout(wait, services.state.record_request(&event, operator.connection())).await;
        if !matches!(recorded, Ok(Ok(()))) {
            services.state.ledger_readings.forget(&reading);
            services.notifications.meters.ledger_reading_unrecorded();
        }
    }
}

impl Services {
    /// Records how many requests the readings had that have ended. If an entry cannot be written soon, its reading is counted,
    /// and lost; the others are kept for the next time, because each of them would delay the caller by such a wait.
    pub async fn record_ended_readings(&self) {
        if self.state.store.is_read_only() {
            return;
        }
        let mut ended = self.state.ledger_readings.take_ended(self.state.clock.elapsed()).into_iter();
        while let Some(one) = ended.next() {
            if !self.record_ended_reading(one).await {
                self.notifications.meters.ledger_reading_unrecorded();
                self.state.ledger_readings.keep_ended(ended);
                return;
            }
        }
    }

    /// Whether the entry was written soon.
    async fn record_ended_reading(&self, ended: EndedReading) -> bool {
        let EndedReading { reading, count, first, last } = ended;
        let event = LedgerReadingEnded {
            by: &reading.name,
            filter: reading.filter,
            requests: count,
            since: first.to_string(),
            until: last.to_string(),
        };
        let wait = Duration::from_millis(REVOCATION_WAIT_MS);
        matches!(tokio::time::timeout(wait, self.state.record(&event)).await, Ok(Ok(())))
    }
}

/// The texts of a filter may be as long as a request is, and be a token that was given in the place of its id.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 255;
    without_secret_forms(text).chars().take(CHARS_MAX).collect()
}
