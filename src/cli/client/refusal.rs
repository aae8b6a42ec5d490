use serde::Deserialize;

use crate::config::Fault;
use crate::console::{CommandFailure, Refused};
use crate::wire::{OAuthBody, ProblemBody};

/// The body of a refusal.
#[derive(Deserialize)]
#[serde(untagged)]
enum RefusalBody {
    Problem(ProblemBody),
    OAuth(OAuthBody),
}

/// The broker's refusal with its own texts.
pub(super) fn refusal(status: u16, body: &[u8]) -> CommandFailure {
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
            code: body.code.into_owned(),
            why: body.error_description.into_owned(),
            fix: body.fix.into_owned(),
            decision: body.decision_id,
            request: body.request_id,
            places: Vec::new(),
        },
        Err(_) => Refused::unreadable(status),
    };
    CommandFailure::of_broker(status, refused)
}

fn place(fault: Fault) -> String {
    let Fault { file, line, column, message } = fault;
    format!("{file}:{line}:{column}: {message}")
}
