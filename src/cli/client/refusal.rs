use serde::Deserialize;

use crate::base::code::{self, Code};
use crate::config::Fault;
use crate::console::{CommandFailure, Refused};
use crate::wire::{OAuthBody, ProblemBody};

/// The body of a refusal.
#[derive(Deserialize)]
#[serde(untagged)]
enum RefusalBody {
    OAuth(OAuthBody),
    Problem(ProblemBody),
}

/// The broker's refusal with its own texts. A newer broker may leave out fields: the code explains itself, if this
/// version knows it.
pub(super) fn refusal(status: u16, body: &[u8]) -> CommandFailure {
    let unreadable = Refused::unreadable(status);
    let refused = match serde_json::from_slice(body) {
        Ok(RefusalBody::Problem(problem)) => Refused {
            code: problem.code.into_owned(),
            why: problem.detail.into_owned(),
            fix: problem.fix.into_owned(),
            decision: problem.decision_id,
            request: problem.request_id,
            places: problem.errors.into_iter().map(place).collect(),
        },
        Ok(RefusalBody::OAuth(body)) => Refused {
            fix: approval_fix(&body).unwrap_or_else(|| body.fix.into_owned()),
            code: body.code.into_owned(),
            why: body.error_description.into_owned(),
            decision: body.decision_id,
            request: body.request_id,
            places: Vec::new(),
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
    let id =
        body.approval_id.as_deref().filter(|_| awaits.iter().any(|code| code.as_str() == &*body.code))?;
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
        assert!(refusal(400, body).fix().ends_with("`keyward token CAPABILITY --approval appr_1`"));
        let body =
            br#"{"error":"approval_required","code":"approval_used","fix":"f","approval_id":"appr_1"}"#;
        assert_eq!(refusal(400, body).fix(), "f");
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
            let read = refusal(404, body.as_bytes());
            assert_eq!((read.code(), read.why(), read.fix()), ("agent_unknown", why, fix), "{body}");
        }
        let body =
            br#"{"code":"declarations_invalid","errors":[{"file":"a.toml","message":"m"}],"request_id":"r"}"#;
        assert!(format!("{:?}", refusal(422, body)).contains("a.toml:0:0: m"));
        let unknown = refusal(409, br#"{"code":"a_code_of_tomorrow"}"#);
        assert_eq!((unknown.code(), unknown.exit()), ("a_code_of_tomorrow", 8));
        assert_eq!(refusal(502, b"{}").code(), "response_invalid");
    }
}
