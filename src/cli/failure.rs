use serde_json::{Value, json};

use super::console::Console;

/// Why a verb did not do what it was asked: *error / why / fix*, and the exit code.
#[derive(Clone, Debug)]
pub struct Failure {
    code: String,
    why: String,
    fix: String,
    decision: Option<String>,
    request: Option<String>,
    places: Vec<String>,
    exit: u8,
}

impl Failure {
    pub(super) fn new(code: &str, exit: u8, why: &str, fix: &str) -> Self {
        Self {
            code: code.to_owned(),
            why: why.to_owned(),
            fix: fix.to_owned(),
            decision: None,
            request: None,
            places: Vec::new(),
            exit,
        }
    }

    /// Bad usage, found after parsing.
    #[must_use]
    pub fn usage(why: &str, fix: &str) -> Self {
        Self::new("usage", 2, why, fix)
    }

    /// Something of this machine's: files, mostly.
    #[must_use]
    pub fn local(code: &str, why: &str, fix: &str) -> Self {
        Self::new(code, 1, why, fix)
    }

    /// The broker cannot be reached, or cannot serve.
    #[must_use]
    pub fn unavailable(code: &str, why: &str, fix: &str) -> Self {
        Self::new(code, 10, why, fix)
    }

    /// A verification failed.
    #[must_use]
    pub fn unverified(code: &str, why: &str, fix: &str) -> Self {
        Self::new(code, 11, why, fix)
    }

    pub(super) fn internal(why: &str) -> Self {
        Self::new("internal", 1, why, "this is a fault of keyward itself: please report it")
    }

    /// What the broker answered, in its own words.
    pub(super) fn from_answer(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |names: &[&str]| {
            names.iter().find_map(|name| body.get(*name).and_then(Value::as_str)).map(str::to_owned)
        };
        let code = text(&["code"]).unwrap_or_else(|| "answer_unreadable".to_owned());
        let places = body.get("errors").and_then(Value::as_array).into_iter().flatten().map(|place| {
            let field = |name: &str| place.get(name).map(|value| value.to_string().replace('"', ""));
            let [file, line, column, message] =
                ["file", "line", "column", "message"].map(|name| field(name).unwrap_or_default());
            format!("{file}:{line}:{column}: {message}")
        });
        Self {
            exit: exit_code(status, &code),
            code,
            why: text(&["detail", "error_description"])
                .unwrap_or_else(|| format!("the broker answered {status}")),
            fix: text(&["fix"]).unwrap_or_else(|| "look up the request in the broker's log".to_owned()),
            decision: text(&["decision_id"]),
            request: text(&["request_id"]),
            places: places.collect(),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> u8 {
        self.exit
    }

    /// Whether the broker did not take this machine for anybody.
    pub(super) const fn is_unauthenticated(&self) -> bool {
        self.exit == 4
    }

    /// Whether the broker has too much to do at this moment, and the same request may do better soon.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.code.as_str(), "busy_conflict" | "ledger_busy" | "rate_limited")
    }

    /// Prints it on standard error, for people or for programs.
    pub fn report(&self, console: &Console) {
        if console.is_json() {
            let body = json!({
                "code": self.code, "detail": self.why, "fix": self.fix, "exit_code": self.exit,
                "decision_id": self.decision, "request_id": self.request, "errors": self.places,
            });
            console.say(&serde_json::to_string(&body).unwrap_or_default());
            return;
        }
        console.say(&format!("error: {}", self.code));
        console.say(&format!("  why: {}", self.why));
        for place in &self.places {
            console.say(&format!("       {place}"));
        }
        console.say(&format!("  fix: {}", self.fix));
        let ids: Vec<&str> =
            [&self.decision, &self.request].into_iter().flatten().map(String::as_str).collect();
        if !ids.is_empty() {
            console.say(&format!("  see: {}", ids.join(" · ")));
        }
    }
}

/// The exit code for what the broker answered: 0 ok, 1 other, 2 usage, 4 not authenticated,
/// 5 denied, 6 approval pending, 7 not found, 8 conflict, 9 rate limited, 10 unavailable.
fn exit_code(status: u16, code: &str) -> u8 {
    match (status, code) {
        (_, "capability_not_granted" | "secret_not_granted" | "certificate_ending") => 5,
        (401, _) => 4,
        (403, _) => 5,
        (202, _) => 6,
        (404, _) => 7,
        (409 | 412 | 428, _) => 8,
        (429, _) => 9,
        (503, _) => 10,
        (400 | 413 | 415 | 422, _) => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_exit_code() {
        for (status, code, exit) in [
            (400, "json_invalid", 2),
            (400, "capability_not_granted", 5),
            (401, "certificate_required", 4),
            (403, "secret_not_granted", 5),
            (404, "agent_unknown", 7),
            (409, "enrolment_code_used", 8),
            (413, "body_too_large", 2),
            (422, "declarations_invalid", 2),
            (429, "rate_limited", 9),
            (500, "internal", 1),
            (503, "ledger_failed", 10),
        ] {
            let body = format!("{{\"code\":\"{code}\",\"detail\":\"d\",\"fix\":\"f\"}}");
            let failure = Failure::from_answer(status, body.as_bytes());
            assert_eq!((failure.exit(), failure.code()), (exit, code));
        }
    }

    #[test]
    fn an_unreadable_answer_is_still_a_failure() {
        let failure = Failure::from_answer(502, b"<html>");
        assert_eq!((failure.exit(), failure.code()), (1, "answer_unreadable"));
    }
}
