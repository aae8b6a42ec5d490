use std::io;
use std::path::Path;

use super::exit_code::{NOT_EXECUTABLE, NOT_FOUND, exit_code, exit_of_status};
use super::refused::{NextSteps, Refused};
use crate::base::code::{self, Code, CodeClass};
use crate::base::{
    ApprovalReferenceError, IdError, NameError, SerialError, SubjectNameError, fix_within, io_reason,
    refusal_within,
};
use crate::config::{ConfigError, Fault};
use crate::files::FileUser;
use crate::keyring::{PassphraseError, ShareError};
use crate::wire::{FailureOutput, NextStepBody, OwnApprovalAnswer};

/// A failed command: error code, problem, fix and exit code.
#[derive(Clone, Debug)]
pub struct CommandFailure {
    code: String,
    why: String,
    fix: String,
    decision: Option<String>,
    request: Option<String>,
    places: Vec<String>,
    /// What a refusal of the broker names for programs.
    next: Option<Box<NextSteps>>,
    /// Whether a change was sent, and its outcome is unknown.
    is_in_doubt: bool,
    exit: u8,
}

/// Codes of refusals that do not name the object of the request.
const NAMELESS: &[Code] = &[
    code::AGENT_UNKNOWN,
    code::OPERATOR_UNKNOWN,
    code::SECRET_UNKNOWN,
    code::ROTATION_UNKNOWN,
    code::SUBJECT_UNKNOWN,
    code::LEASE_UNKNOWN,
    code::GENERATION_UNKNOWN,
    code::POLICY_UNKNOWN,
];

impl CommandFailure {
    /// The failure with the meaning and the fix of its code.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code: code.as_str().to_owned(),
            why: code.meaning().to_owned(),
            fix: code.fix().to_owned(),
            decision: None,
            request: None,
            places: Vec::new(),
            next: None,
            is_in_doubt: false,
            exit: exit_code(code.sort()),
        }
    }

    /// With a more precise problem than the code's.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// With a more precise fix than the code's.
    #[must_use]
    pub fn mended_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// With the errors in files, with their places.
    #[must_use]
    pub fn at(mut self, faults: &[Fault]) -> Self {
        let place =
            |Fault { file, line, column, message, .. }: &Fault| format!("{file}:{line}:{column}: {message}");
        self.places = faults.iter().map(place).collect();
        self
    }

    /// A file or directory that the command cannot use.
    #[must_use]
    pub fn of_file(path: &Path, error: &io::Error) -> Self {
        let why = format!("`{}` cannot be used: {}", path.display(), io_reason(error));
        Self::new(code::FILE_UNUSABLE).because(why)
    }

    /// A program that cannot be started in place of this process.
    #[must_use]
    pub(crate) fn of_program(program: &Path, error: &io::Error) -> Self {
        let (exit, fix) = if error.kind() == io::ErrorKind::NotFound {
            (NOT_FOUND, "check the name of the command, and `PATH`; of a script, also its first line")
        } else {
            (
                NOT_EXECUTABLE,
                "check that the file is a program for this machine, and that this user may execute it",
            )
        };
        let why = format!("`{}` cannot be run: {}", program.display(), io_reason(error));
        Self { exit, ..Self::new(code::COMMAND_FAILED).because(why).mended_by(fix) }
    }

    /// A usage error, found after parsing.
    #[must_use]
    pub fn usage(why: &str, fix: &str) -> Self {
        Self::new(code::USAGE).because(why).mended_by(fix)
    }

    pub(crate) fn internal(why: &str) -> Self {
        let fix = "this is a bug in keyward: please report it";
        Self::new(code::INTERNAL).because(why).mended_by(fix)
    }

    /// A refusal that the broker sent with this status.
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
            next: Some(Box::new(refused.next)),
            is_in_doubt: false,
        }
    }

    /// The problem.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The fix.
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

    /// Whether the broker did not authenticate this machine.
    pub(crate) const fn is_unauthenticated(&self) -> bool {
        self.exit == 4
    }

    /// Whether this machine cannot store a new certificate, of which its user has to know.
    pub(crate) fn is_worth_warning(&self) -> bool {
        [code::FILE_UNUSABLE, code::CERTIFICATE_MISMATCH].iter().any(|known| known.as_str() == self.code)
    }

    /// Whether the broker does not answer, or cannot serve requests yet, e.g. because it is sealed: it may return at any
    /// moment.
    pub(crate) fn is_outage(&self) -> bool {
        let outages = [
            code::BROKER_UNREACHABLE,
            code::RESPONSE_INVALID,
            code::SEALED,
            code::UNSEAL_FAILED,
            code::CLOCK_UNTRUSTED,
        ];
        outages.iter().any(|outage| outage.as_str() == self.code)
    }

    /// Whether the broker answers, and cannot carry the request out now: it is busy, its disk is full, it is read-only.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.exit == exit_code(CodeClass::Unavailable) || self.is_busy()
    }

    /// Whether the broker is overloaded, and the same request may succeed soon.
    pub(crate) fn is_busy(&self) -> bool {
        [code::MODIFIED_CONCURRENTLY, code::LEDGER_BUSY, code::OVERLOADED, code::RATE_LIMITED]
            .iter()
            .any(|busy| busy.as_str() == self.code)
    }

    /// For a change that was sent and got no response: its outcome is unknown.
    #[must_use]
    pub(crate) fn in_doubt(self) -> Self {
        if self.code != code::BROKER_UNREACHABLE.as_str() {
            return self;
        }
        let why = format!("{}; whether the broker has carried the request out is unknown", self.why);
        let fix = format!(
            "{}; before you repeat a change, see what it has done: `keyward plan -f FILES` shows what an apply has left to \
             change, and the `show` and `list` verbs and `keyward audit list --last 20` show the object",
            self.fix
        );
        Self { is_in_doubt: true, ..self.because(why).mended_by(fix) }
    }

    /// Whether a change was sent and got no response, so that its outcome is unknown.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// As an operator that is limited to this owner is told it.
    #[must_use]
    pub(crate) fn within(self, owner: &str) -> Self {
        let (why, fix) = (refusal_within(owner, &self.why), fix_within(&self.fix));
        self.because(why).mended_by(fix)
    }

    /// With the name of the object that the broker does not know.
    #[must_use]
    pub(crate) fn naming(mut self, object: &str) -> Self {
        let is_unknown = NAMELESS.iter().any(|code| code.as_str() == self.code);
        let named = format!("`{object}`");
        if is_unknown && !object.is_empty() && !self.why.contains(&named) {
            self.why = format!("{}: {named}", self.why);
        }
        self
    }

    /// With the approval that the command waited for, and the decision that opened it.
    #[must_use]
    pub(crate) fn of_approval(mut self, approval: &OwnApprovalAnswer) -> Self {
        let body = NextStepBody {
            approval_id: Some(approval.approval.to_string()),
            approval_uri: Some(approval.approval_uri.clone()),
            instead: None,
        };
        let retryable = self.code.parse::<Code>().is_ok_and(Code::is_retryable);
        self.next = Some(Box::new(NextSteps { retryable, retry_after_s: None, body }));
        self.decision = approval.decision_id.map(|id| id.to_string());
        self
    }

    /// The approval that a refused request needs, or that it names.
    pub(crate) fn approval_id(&self) -> Option<&str> {
        self.next.as_ref()?.body.approval_id.as_deref()
    }

    /// The failure for `-o json`.
    pub(crate) fn output(&self) -> FailureOutput {
        let Self { code, why, fix, decision, request, places, next, exit, .. } = self.clone();
        let of_code = || code.parse::<Code>().is_ok_and(Code::is_retryable);
        let next =
            next.map_or_else(|| NextSteps { retryable: of_code(), ..NextSteps::default() }, |next| *next);
        let NextStepBody { approval_id, approval_uri, instead } = next.body;
        FailureOutput {
            code,
            detail: why,
            fix,
            exit_code: exit,
            decision_id: decision,
            request_id: request,
            errors: places,
            retryable: next.retryable,
            retry_after_s: next.retry_after_s,
            approval_id,
            approval_uri,
            instead,
        }
    }

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

/// The configuration at `path` is closed to the user of this process.
fn config_denied(path: &Path) -> CommandFailure {
    let user = FileUser::of_process();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = path.display();
    let failure = CommandFailure::new(code::FILE_ACCESS_DENIED);
    match user.closed_file(&path) {
        Some(closed) => failure
            .because(format!("{}, and this process cannot read the configuration `{shown}`", closed.why()))
            .mended_by(closed.fix()),
        None => failure
            .because(format!("uid {} of this process may not read the configuration `{shown}`", user.uid))
            .mended_by(format!("let this user read it, e.g. as root: `chmod o+r {shown}`, or name another file: `--config FILE`")),
    }
}

impl From<ConfigError> for CommandFailure {
    fn from(error: ConfigError) -> Self {
        let fix = match &error {
            ConfigError::Unreadable { path, denied: true, .. } => return config_denied(path),
            ConfigError::Unreadable { .. } => {
                "check the path and its permissions, or name another file: `--config FILE`"
            }
            ConfigError::Invalid { .. } => "correct this line; `config/keyward.toml` shows every setting",
            ConfigError::Several { .. } => "correct these lines; `config/keyward.toml` shows every setting",
        };
        let places = match &error {
            ConfigError::Several { errors, .. } => errors.iter().map(ToString::to_string).collect(),
            ConfigError::Unreadable { .. } | ConfigError::Invalid { .. } => Vec::new(),
        };
        Self { places, ..Self::usage(&error.to_string(), fix) }
    }
}

impl From<NameError> for CommandFailure {
    fn from(error: NameError) -> Self {
        Self::usage(&error.to_string(), &format!("use {}", error.rule()))
    }
}

impl From<IdError> for CommandFailure {
    fn from(error: IdError) -> Self {
        Self::usage(&error.to_string(), error.fix())
    }
}

impl From<ApprovalReferenceError> for CommandFailure {
    fn from(error: ApprovalReferenceError) -> Self {
        let fix =
            "copy the id or the code from `keyward approval list`, or from the message about the request";
        Self::usage(&error.to_string(), fix)
    }
}

impl From<SerialError> for CommandFailure {
    fn from(error: SerialError) -> Self {
        let fix = "copy the serial number from `keyward agent show` or `keyward audit list`";
        Self::usage(&error.to_string(), fix)
    }
}

impl From<SubjectNameError> for CommandFailure {
    fn from(error: SubjectNameError) -> Self {
        match error {
            SubjectNameError::Form => {
                Self::usage(&error.to_string(), "give the subject in one of these forms")
            }
            SubjectNameError::Name(error) => error.into(),
            SubjectNameError::Id(error) => error.into(),
            SubjectNameError::Serial(error) => error.into(),
        }
    }
}

impl From<PassphraseError> for CommandFailure {
    fn from(error: PassphraseError) -> Self {
        Self::new(code::PASSPHRASE_REFUSED).because(error.to_string())
    }
}

impl From<ShareError> for CommandFailure {
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
            let failure = CommandFailure::of_broker(status, refused);
            assert_eq!((failure.exit(), failure.code()), (exit, code));
        }
    }

    #[test]
    fn an_unreadable_answer_is_still_a_failure() {
        let failure = CommandFailure::of_broker(502, Refused::unreadable(502));
        assert_eq!((failure.exit(), failure.code()), (10, "response_invalid"));
    }
}
