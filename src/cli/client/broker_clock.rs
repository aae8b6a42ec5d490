use std::sync::{Arc, OnceLock};

use hyper::header::{DATE, HeaderMap};

use crate::base::Timestamp;

/// The difference between the clocks of this machine and of the broker, by the first response that has a date.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokerClock(Arc<OnceLock<i64>>);

impl BrokerClock {
    /// Notes the date of a response that arrived at `now`.
    pub(super) fn note(&self, headers: &HeaderMap, now: Timestamp) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(Timestamp::parse_http);
        if let Some(date) = date {
            self.0.get_or_init(|| now.s().saturating_sub(date.s()));
        }
    }

    /// Seconds by which this machine's clock is ahead of the broker's; negative if it is behind. None without a response.
    pub(crate) fn ahead_s(&self) -> Option<i64> {
        self.0.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_first_date_of_the_broker_is_compared() {
        let (clock, mut headers) = (BrokerClock::default(), HeaderMap::new());
        clock.note(&headers, Timestamp::from_s(784_111_777));
        assert_eq!(clock.ahead_s(), None);
        headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        clock.note(&headers, Timestamp::from_s(784_111_777 + 90));
        clock.note(&headers, Timestamp::from_s(0));
        assert_eq!(clock.ahead_s(), Some(90));
    }
}
