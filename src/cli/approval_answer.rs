//! The wait of a command for the answer to a request for approval.

use std::path::Path;
use std::time::Duration;

use super::client::{Attempts, Received};
use super::session::agent_client;
use crate::base::limits::APPROVAL_PENDING_S;
use crate::base::{ApprovalId, Clock, SystemClock, Timestamp, code};
use crate::console::{CommandFailure, Console, visible};
use crate::rotation::spoken;
use crate::wire::{ApprovalState, OwnApprovalAnswer};

/// Longest time for which one request waits, in seconds: shorter than the time for a response.
const WAIT_ONCE_S: u64 = 20;
/// Pause after a response that came at once although the request is pending: the broker has no place for a further waiter.
const PAUSE: Duration = Duration::from_secs(2);
/// Interval of the messages about a request that stays pending.
const SAID_EVERY: Duration = Duration::from_secs(600);
/// Characters of a reason that are shown.
const REASON_CHARS: usize = 300;

/// The command that waits.
#[derive(Clone, Copy)]
pub(crate) struct AnswerWait<'a> {
    pub(crate) home: &'a Path,
    pub(crate) console: &'a Console,
    /// What its messages begin with.
    pub(crate) prefix: &'static str,
    /// How long it waits at most; without it until the request expires.
    pub(crate) longest: Option<Duration>,
}

/// The state of an approval; `None` for one of a newer broker.
pub(crate) fn state_of(approval: &OwnApprovalAnswer) -> Option<ApprovalState> {
    ApprovalState::named(&approval.state)
}

/// The failure of a command that needs the approval, if it can be used no more.
pub(crate) fn refusal_of(approval: &OwnApprovalAnswer) -> Option<CommandFailure> {
    let state = state_of(approval)?;
    let code = match state {
        ApprovalState::Approved => return None,
        ApprovalState::Pending => code::APPROVAL_PENDING,
        ApprovalState::Denied => code::APPROVAL_DENIED,
        ApprovalState::Used => code::APPROVAL_USED,
        ApprovalState::Expired => code::APPROVAL_EXPIRED,
        ApprovalState::Withdrawn => code::APPROVAL_WITHDRAWN,
    };
    let failure = CommandFailure::new(code).of_approval(approval).mended_by(fix_of(state, approval));
    let Some(reason) = &approval.denial_reason else { return Some(failure) };
    Some(failure.because(format!("an operator denied the request: \"{}\"", visible(reason, REASON_CHARS))))
}

/// What the user of the command does about the end of its wait.
fn fix_of(state: ApprovalState, approval: &OwnApprovalAnswer) -> String {
    let OwnApprovalAnswer { approval: id, denial_reason, .. } = approval;
    match state {
        ApprovalState::Pending => format!(
            "repeat the command to wait for the same request again, or withdraw it: `keyward request withdraw {id}`"
        ),
        ApprovalState::Denied if denial_reason.is_none() => format!(
            "do not repeat the request unchanged; an operator sees the reason: `keyward approval show {id}`"
        ),
        ApprovalState::Denied => "do not repeat the request unchanged".to_owned(),
        ApprovalState::Approved | ApprovalState::Used | ApprovalState::Expired | ApprovalState::Withdrawn => {
            "repeat the command to ask for a new approval".to_owned()
        }
    }
}

impl AnswerWait<'_> {
    /// The approval once it is no longer pending, or after the longest wait. A restart of the broker or a lost connection
    /// does not end the wait.
    ///
    /// # Errors
    /// [`CommandFailure`] if the broker refuses to show the request, or does not answer when it has expired.
    pub(crate) async fn answered(
        self,
        mut approval: Received<OwnApprovalAnswer>,
    ) -> Result<Received<OwnApprovalAnswer>, CommandFailure> {
        let clock = SystemClock::new();
        let begun = clock.elapsed();
        let (mut attempts, mut said) = (Attempts::default(), begun);
        let mut over_at = begun.saturating_add(rest(&approval, clock.now()));
        while state_of(&approval) == Some(ApprovalState::Pending) {
            let now = clock.elapsed();
            let left = self
                .longest
                .map_or(Duration::MAX, |longest| longest.saturating_sub(now.saturating_sub(begun)));
            if left.is_zero() {
                break;
            }
            let wait_s = left.as_secs().saturating_add(1).min(WAIT_ONCE_S);
            match self.look(&approval.approval, wait_s).await {
                Ok(answer) => {
                    let answered = clock.elapsed();
                    if let Some(time) = attempts.succeeded(answered) {
                        self.say(&format!("the broker answers again after {} s", time.as_secs()));
                    }
                    approval = answer;
                    over_at = answered.saturating_add(rest(&approval, clock.now()));
                    if answered.saturating_sub(said) >= SAID_EVERY {
                        said = answered;
                        self.say(&still_pending(&approval, answered.saturating_sub(begun)));
                    }
                    if state_of(&approval) == Some(ApprovalState::Pending)
                        && answered.saturating_sub(now) < PAUSE
                    {
                        tokio::time::sleep(PAUSE.min(left)).await;
                    }
                }
                Err(failure) if is_passing(&failure) && clock.elapsed() < over_at => {
                    let failed = clock.elapsed();
                    if let Some(time) = attempts.failed(&failure, failed) {
                        self.say(&cannot(&failure, time));
                    }
                    let pause = attempts.next(failed).saturating_sub(failed);
                    tokio::time::sleep(pause.min(left)).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(approval)
    }

    /// Each look loads the identity: another process, or the look itself, may have renewed it.
    async fn look(
        &self,
        id: &ApprovalId,
        wait_s: u64,
    ) -> Result<Received<OwnApprovalAnswer>, CommandFailure> {
        agent_client(self.home).await?.own_approval(id, wait_s).await
    }

    fn say(&self, text: &str) {
        if !self.console.is_json() {
            self.console.say(&format!("{}{text}", self.prefix));
        }
    }
}

fn is_passing(failure: &CommandFailure) -> bool {
    failure.is_outage() || failure.is_unavailable()
}

/// The rest of the life of a pending request at `now`. A clock that is wrong counts for at most the whole life.
fn rest(approval: &OwnApprovalAnswer, now: Timestamp) -> Duration {
    let end = approval.expires_at.as_deref().and_then(Timestamp::parse);
    let Some(end) = end else { return Duration::ZERO };
    let whole = Timestamp::parse(&approval.opened_at).map_or(APPROVAL_PENDING_S, |at| end.seconds_since(at));
    let rest = end.seconds_since(now);
    let rest = if (0..=whole).contains(&rest) { rest } else { whole };
    Duration::from_secs(u64::try_from(rest).unwrap_or(0))
}

fn still_pending(approval: &OwnApprovalAnswer, waited: Duration) -> String {
    let waited = spoken(u32::try_from(waited.as_secs()).unwrap_or(u32::MAX));
    let OwnApprovalAnswer { approval: id, state, user_code, expires_at, .. } = approval;
    let until = expires_at.as_ref().map(|at| format!(" until {at}")).unwrap_or_default();
    format!("{id} (code {user_code}) is {state}{until}; waited {waited} so far")
}

fn cannot(failure: &CommandFailure, time: Duration) -> String {
    let since = if time.is_zero() { String::new() } else { format!(" for {} s", time.as_secs()) };
    format!(
        "the answer cannot be read{since}: {} ({}); the request stays with the broker, and the wait goes on; fix: {}",
        failure.why(),
        failure.code(),
        failure.fix()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn approval(state: &str, denial_reason: Option<&str>) -> OwnApprovalAnswer {
        serde_json::from_value(json!({
            "approval": "appr_06h2htbrfhs6388gu9e2l31ivk", "approval_uri": "/v1/approvals/x", "state": state,
            "user_code": "WDJB-MJHT", "uses_left": 0, "expires_at": "2026-12-01T03:00:00.000Z",
            "opened_at": "2026-11-30T03:00:00.000Z", "decision_id": "dec_06h302kig9p6nesb7ssq1ja15s",
            "denial_reason": denial_reason,
        }))
        .unwrap()
    }

    #[test]
    fn each_end_of_a_request_has_its_code() {
        for state in ApprovalState::ALL {
            let refused = refusal_of(&approval(state.as_str(), None));
            let code = refused.as_ref().map(CommandFailure::code).map(str::to_owned);
            let expected = (state != ApprovalState::Approved).then(|| format!("approval_{state}"));
            assert_eq!(code, expected);
        }
        assert!(refusal_of(&approval("a_state_of_tomorrow", None)).is_none());
        let told = refusal_of(&approval("denied", Some("frozen\u{1b}[2K"))).unwrap();
        assert!(told.why().contains("frozen<U+001B>"), "{}", told.why());
        // And what the user does, with the id of the request
        let pending = refusal_of(&approval("pending", None)).unwrap();
        assert!(pending.fix().contains("keyward request withdraw appr_"), "{}", pending.fix());
        // And it names the approval and the decision for programs
        let output = told.output();
        assert_eq!(output.approval_id.as_deref(), Some("appr_06h2htbrfhs6388gu9e2l31ivk"));
        assert_eq!(output.approval_uri.as_deref(), Some("/v1/approvals/x"));
        assert_eq!(output.decision_id.as_deref(), Some("dec_06h302kig9p6nesb7ssq1ja15s"));
    }

    #[test]
    fn rest_of_a_request_is_at_most_its_whole_life() {
        let (pending, end) =
            (approval("pending", None), Timestamp::parse("2026-12-01T03:00:00.000Z").unwrap());
        let rest_s = |before_s: i64| rest(&pending, end.plus_s(-before_s)).as_secs();
        assert_eq!((rest_s(600), rest_s(0)), (600, 0));
        // A clock that is a year ahead, or behind
        assert_eq!((rest_s(-31_536_000), rest_s(31_536_000)), (86_400, 86_400));
    }
}
