use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::code::{self, Code, Sort};
use crate::base::{IdError, NameError, SerialError, io_reason};
use crate::config::ConfigError;
use crate::keyring::{PassphraseError, ShareError};

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

/// A failure as a program reads it on standard error.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FailureOutput {
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) fix: String,
    pub(crate) exit_code: u8,
    pub(crate) decision_id: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) errors: Vec<String>,
}

/// A broker's reason not to do what was asked.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) why: String,
    pub(crate) fix: String,
    pub(crate) decision: Option<String>,
    pub(crate) request: Option<String>,
    /// What is wrong with declarations, place by place.
    pub(crate) places: Vec<String>,
}

impl Refused {
    /// An answer that no broker gives.
    pub(crate) fn unreadable(status: u16) -> Self {
        Self {
            code: code::RESPONSE_INVALID.to_string(),
            why: format!("the broker answered {status}"),
            fix: "look up the request in the broker's log".to_owned(),
            decision: None,
            request: None,
            places: Vec::new(),
        }
    }
}

impl Failure {
    /// The failure as its code tells it.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code: code.as_str().to_owned(),
            why: code.meaning().to_owned(),
            fix: code.fix().to_owned(),
            decision: None,
            request: None,
            places: Vec::new(),
            exit: exit_code(code.sort()),
        }
    }

    /// The same, with a reason that says more than the code does.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// The same, with a fix that says more than the code does.
    #[must_use]
    pub fn mended_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// A file or directory that cannot be used.
    #[must_use]
    pub fn of_file(path: &Path, error: &io::Error) -> Self {
        let why = format!("`{}` cannot be used: {}", path.display(), io_reason(error));
        Self::new(code::FILE_UNUSABLE).because(why)
    }

    /// Bad usage, found after parsing.
    #[must_use]
    pub fn usage(why: &str, fix: &str) -> Self {
        Self::new(code::USAGE).because(why).mended_by(fix)
    }

    pub(crate) fn internal(why: &str) -> Self {
        let fix = "this is a fault of keyward itself: please report it";
        Self::new(code::INTERNAL).because(why).mended_by(fix)
    }

    /// What the broker answered with a status that is no success.
    pub(crate) fn of_broker(status: u16, refused: Refused) -> Self {
        let known: Result<Code, _> = refused.code.parse();
        Self {
            exit: known.map_or_else(|_| exit_of_status(status), |code| exit_code(code.sort())),
            code: refused.code,
            why: refused.why,
            fix: refused.fix,
            decision: refused.decision,
            request: refused.request,
            places: refused.places,
        }
    }

    /// Why.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// How to mend it.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.fix
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
    pub(crate) const fn is_unauthenticated(&self) -> bool {
        self.exit == 4
    }

    /// Whether a new certificate was, or would be, left unused by this machine: its user should know.
    pub(crate) fn is_worth_warning(&self) -> bool {
        [code::FILE_UNUSABLE, code::CERTIFICATE_MISMATCH].iter().any(|known| known.as_str() == self.code)
    }

    /// Whether the broker has too much to do at this moment, and the same request may do better soon.
    pub(crate) fn is_busy(&self) -> bool {
        [code::MODIFIED_CONCURRENTLY, code::LEDGER_BUSY, code::OVERLOADED, code::RATE_LIMITED]
            .iter()
            .any(|busy| busy.as_str() == self.code)
    }

    /// As a program reads it.
    pub(super) fn output(&self) -> FailureOutput {
        let Self { code, why, fix, decision, request, places, exit } = self.clone();
        FailureOutput {
            code,
            detail: why,
            fix,
            exit_code: exit,
            decision_id: decision,
            request_id: request,
            errors: places,
        }
    }

    /// As a person reads it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", self.code), format!("  why: {}", self.why)];
        lines.extend(self.places.iter().map(|place| format!("       {place}")));
        lines.push(format!("  fix: {}", self.fix));
        let ids: Vec<&str> =
            [&self.decision, &self.request].into_iter().flatten().map(String::as_str).collect();
        if !ids.is_empty() {
            lines.push(format!("  see: {}", ids.join(" · ")));
        }
        lines
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let fix = "correct this line; `config/keyward.toml` shows every setting";
        Self::usage(&error.to_string(), fix)
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::usage(&error.to_string(), &format!("use {}", error.rule()))
    }
}

impl From<IdError> for Failure {
    fn from(error: IdError) -> Self {
        let fix = "take the id from `keyward agent show` or `keyward audit list`";
        Self::usage(&error.to_string(), fix)
    }
}

impl From<SerialError> for Failure {
    fn from(error: SerialError) -> Self {
        let fix = "take the serial from `keyward agent show` or `keyward audit list`";
        Self::usage(&error.to_string(), fix)
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        Self::new(code::PASSPHRASE_REFUSED).because(error.to_string())
    }
}

impl From<ShareError> for Failure {
    fn from(error: ShareError) -> Self {
        let code = match error {
            ShareError::Bounds => code::SHARES_OUT_OF_RANGE,
            ShareError::NoShare(_) | ShareError::Checksum(_) => code::SHARE_INVALID,
            ShareError::Twice(_) | ShareError::Mixed(..) | ShareError::TooFew { .. } => code::SHARES_MISMATCH,
            ShareError::OtherSlot(_) | ShareError::Wrong(_) => code::SHARES_WRONG,
            ShareError::Unconfirmed(_) | ShareError::Waits(_) => code::SLOT_UNCONFIRMED,
            ShareError::NothingWaits => code::SLOT_NOT_PENDING,
        };
        Self::new(code).because(error.to_string())
    }
}

/// The exit codes, and what each means.
pub(crate) const EXIT_CODES: [(u8, &str); 11] = [
    (0, "ok"),
    (1, "failed, for a reason of this machine's or of keyward's own"),
    (2, "used wrongly, or bad input"),
    (4, "not authenticated"),
    (5, "denied"),
    (7, "not found"),
    (8, "it contradicts what there is"),
    (9, "too often: later"),
    (10, "the broker cannot be reached, is sealed, or can acknowledge nothing now"),
    (11, "a verification failed"),
    (12, "done in part: what it says is missing has to be done again"),
];

/// One of [`EXIT_CODES`].
pub(crate) const fn exit_code(sort: Sort) -> u8 {
    match sort {
        Sort::Internal | Sort::Local => 1,
        Sort::Usage
        | Sort::Invalid
        | Sort::InvalidScope
        | Sort::InvalidTarget
        | Sort::InvalidDetails
        | Sort::UnsupportedGrant
        | Sort::UnsupportedResponse => 2,
        Sort::Unauthenticated => 4,
        Sort::Denied | Sort::NotGranted => 5,
        Sort::NotFound => 7,
        Sort::Conflict => 8,
        Sort::Limited => 9,
        Sort::Unavailable | Sort::NotStarted => 10,
        Sort::Unverified => 11,
        Sort::Partial => 12,
    }
}

/// The same for a code that a newer broker gives, and this version does not know.
const fn exit_of_status(status: u16) -> u8 {
    match status {
        401 => 4,
        403 => 5,
        404 => 7,
        409 | 412 | 428 => 8,
        429 => 9,
        503 => 10,
        400..500 => 2,
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
            (409, "a_code_of_tomorrow", 8),
            (418, "a_code_of_tomorrow", 2),
            (501, "a_code_of_tomorrow", 1),
        ] {
            let refused = Refused { code: code.to_owned(), ..Refused::unreadable(status) };
            let failure = Failure::of_broker(status, refused);
            assert_eq!((failure.exit(), failure.code()), (exit, code));
        }
    }

    #[test]
    fn an_unreadable_answer_is_still_a_failure() {
        let failure = Failure::of_broker(502, Refused::unreadable(502));
        assert_eq!((failure.exit(), failure.code()), (10, "response_invalid"));
    }
}
