use serde::Deserialize;

use crate::config::Fault;
use crate::console::{Failure, Refused};
use crate::wire::{OAuthBody, ProblemBody};

/// The body of an answer that is no success.
#[derive(Deserialize)]
#[serde(untagged)]
enum RefusalBody {
    Problem(ProblemBody),
    OAuth(OAuthBody),
}

/// What the broker answered instead of a success, in its own words.
pub(super) fn refusal(status: u16, body: &[u8]) -> Failure {
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
    Failure::of_broker(status, refused)
}

fn place(fault: Fault) -> String {
    let Fault { file, line, column, message } = fault;
    format!("{file}:{line}:{column}: {message}")
}
