use serde::Deserialize;

use crate::base::code::{self, Code};
use crate::config::Fault;
use crate::console::{CommandFailure, NextSteps, Refused};
use crate::wire::{OAuthBody, ProblemBody};

/// The body of a refusal.
#[derive(Deserialize)]
#[serde(untagged)]
enum RefusalBody {
    OAuth(OAuthBody),
    Problem(ProblemBody),
}

/// The broker's refusal with its own texts, and with the time in seconds after which it asks to repeat the request. A newer
/// broker may leave out fields: the code explains itself, if this version knows it.
pub(super) fn refusal(status: u16, body: &[u8], retry_after_s: Option<u64>) -> CommandFailure {
    let unreadable = Refused::unreadable(status);
    let refused = match serde_json::from_slice(body) {
        Ok(RefusalBody::Problem(problem)) => Refused {
            code: problem.code.into_owned(),
            why: problem.detail.into_owned(),
            fix: problem.fix.into_owned(),
            decision: problem.decision_id,
            request: problem.request_id,
            places: problem.errors.into_iter().map(place).collect(),
            next: NextSteps { retryable: problem.retryable, retry_after_s, body: problem.next },
        },
        Ok(RefusalBody::OAuth(body)) => Refused {
            fix: approval_fix(&body).unwrap_or_else(|| body.fix.into_owned()),
            code: body.code.into_owned(),
            why: body.error_description.into_owned(),
            decision: body.decision_id,
            request: body.request_id,
            places: Vec::new(),
            next: NextSteps { retryable: body.retryable, retry_after_s, body: body.next },
        },
        Err(_) => return CommandFailure::of_broker(status, unreadable),
    };
    let known: Option<Code> = refused.code.parse().ok();
    let given = |text: String, known: Option<&str>, unknown: String| match known {
        _ if !text.is_empty() => text,
        Some(known) => known.to_owned(),
        None => unknown,
    };
    let why = given(refused.why, known.map(Code::meaning), unreadable.why);
    let fix = given(refused.fix, known.map(Code::fix), unreadable.fix);
    CommandFailure::of_broker(status, Refused { why, fix, ..refused })
}

/// The fix for a person at a shell if the request needs an approval: the broker names the parameters of the request.
fn approval_fix(body: &OAuthBody) -> Option<String> {
    let awaits = [code::APPROVAL_REQUIRED, code::APPROVAL_PENDING];
    let id = body
        .next
        .approval_id
        .as_deref()
        .filter(|_| awaits.iter().any(|code| code.as_str() == &*body.code))?;
    Some(format!(
        "an operator approves it: `keyward approval approve {id}`; then use the approval: `keyward token CAPABILITY --approval {id}`"
    ))
}

fn place(fault: Fault) -> String {
    let Fault { file, line, column, message, .. } = fault;
    format!("{file}:{line}:{column}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_approval_is_explained_with_commands() {
        let body = br#"{"error":"approval_required","code":"approval_required","fix":"repeat it with `approval=ID`","approval_id":"appr_1"}"#;
        assert!(refusal(400, body, None).fix().ends_with("`keyward token CAPABILITY --approval appr_1`"));
        let body =
            br#"{"error":"approval_required","code":"approval_used","fix":"f","approval_id":"appr_1"}"#;
        assert_eq!(refusal(400, body, None).fix(), "f");
    }

    #[test]
    fn next_steps_of_a_refusal_are_kept_for_programs() {
        let instead = r#"{"scope":"a.read","form":"scope=a.read"}"#;
        let body = format!(
            r#"{{"error":"x","code":"policy_denied","retryable":true,"approval_id":"appr_1","approval_uri":"/v1/approvals/appr_1","instead":{instead}}}"#
        );
        let output = refusal(400, body.as_bytes(), Some(7)).output();
        assert_eq!((output.retryable, output.retry_after_s), (true, Some(7)));
        assert_eq!(output.approval_id.as_deref(), Some("appr_1"));
        assert_eq!(output.approval_uri.as_deref(), Some("/v1/approvals/appr_1"));
        assert_eq!(output.instead.unwrap().form, "scope=a.read");
        // The same in the format of RFC 9457
        let body = format!(r#"{{"code":"policy_denied","approval_id":"appr_2","instead":{instead}}}"#);
        let output = refusal(403, body.as_bytes(), None).output();
        assert_eq!((output.retryable, output.retry_after_s), (false, None));
        assert_eq!((output.approval_id.as_deref(), output.instead.is_some()), (Some("appr_2"), true));
    }

    #[test]
    fn refusal_without_some_of_its_fields_is_read() {
        for (body, why, fix) in [
            (
                r#"{"code":"agent_unknown","detail":"d","fix":"f","type":"t","title":"T","status":404}"#,
                "d",
                "f",
            ),
            (r#"{"code":"agent_unknown","detail":"d"}"#, "d", code::AGENT_UNKNOWN.fix()),
            (r#"{"code":"agent_unknown","fix":"f"}"#, code::AGENT_UNKNOWN.meaning(), "f"),
            (
                r#"{"error":"invalid_request","code":"agent_unknown","error_description":"d"}"#,
                "d",
                code::AGENT_UNKNOWN.fix(),
            ),
        ] {
            let read = refusal(404, body.as_bytes(), None);
            assert_eq!((read.code(), read.why(), read.fix()), ("agent_unknown", why, fix), "{body}");
        }
        let body =
            br#"{"code":"declarations_invalid","errors":[{"file":"a.toml","message":"m"}],"request_id":"r"}"#;
        assert!(format!("{:?}", refusal(422, body, None)).contains("a.toml:0:0: m"));
        let unknown = refusal(409, br#"{"code":"a_code_of_tomorrow"}"#, None);
        assert_eq!((unknown.code(), unknown.exit()), ("a_code_of_tomorrow", 8));
        assert_eq!(refusal(502, b"{}", None).code(), "response_invalid");
    }
}
