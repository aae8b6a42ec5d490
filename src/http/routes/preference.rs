use axum::http::HeaderMap;

use crate::broker::ApprovalWait;

/// What a client prefers while a request is pending: the header `Prefer` (RFC 7240). A preference that the broker does not know,
/// or that is malformed, has no effect (RFC 7240 §2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Preference {
    /// `respond-async`: the response does not wait for the result (RFC 7240 §4.1).
    responds_async: bool,
    /// `wait`: the longest wait, in seconds (RFC 7240 §4.3).
    wait_s: Option<u64>,
}

impl Preference {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut preference = Self::default();
        let lines = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for one in lines.flat_map(|line| line.split(',')) {
            // Parameters of a preference follow a semicolon.
            let one = one.split(';').next().unwrap_or_default().trim();
            let (name, value) = one.split_once('=').unwrap_or((one, ""));
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("respond-async") {
                preference.responds_async = true;
            } else if name.trim().eq_ignore_ascii_case("wait") && preference.wait_s.is_none() {
                preference.wait_s = value.parse().ok();
            }
        }
        preference
    }

    /// Whether the client accepts 202 for a request that is pending.
    pub(crate) const fn accepts_pending(self) -> bool {
        self.responds_async || self.wait_s.is_some()
    }

    /// How long the request waits.
    pub(crate) fn wait(self) -> ApprovalWait {
        ApprovalWait::of_s(self.wait_s.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::APPROVAL_WAIT_S_MAX;

    fn of(lines: &[&str]) -> (bool, Option<u64>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", line.parse().unwrap());
        }
        let preference = Preference::of(&headers);
        (preference.accepts_pending(), preference.wait_s)
    }

    #[test]
    fn a_preference_is_read_in_each_spelling() {
        assert_eq!(of(&[]), (false, None));
        assert_eq!(of(&["respond-async"]), (true, None));
        assert_eq!(of(&["respond-async, wait=10"]), (true, Some(10)));
        assert_eq!(of(&["Wait=\"5\"; foo=bar", "respond-async"]), (true, Some(5)));
        assert_eq!(of(&["wait=10, wait=20"]), (true, Some(10)), "the first one counts");
        assert_eq!(of(&["wait=soon, return=minimal"]), (false, None));
    }

    #[test]
    fn a_request_waits_at_most_so_long() {
        let longest = ApprovalWait::of_s(APPROVAL_WAIT_S_MAX);
        assert_eq!(ApprovalWait::of_s(APPROVAL_WAIT_S_MAX + 1), longest);
        assert_ne!(ApprovalWait::of_s(APPROVAL_WAIT_S_MAX - 1), longest);
    }
}
