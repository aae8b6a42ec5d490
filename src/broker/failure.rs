use crate::authn::{AuthnError, PresentError};
use crate::base::DecisionId;
use crate::ledger::{AppendError, ReadError};
use crate::policy::{Denial, DenialCode};
use crate::quota::Limited;
use crate::registry::Fault;
use crate::store::{CommitError, RecordError};

/// Why a use case did not do what was asked: a stable code, a reason, and what would fix it.
///
/// Holds no secret and no value of the input.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What sort of failure it is; the edges map it to their own terms.
    pub kind: FailureKind,
    /// The stable code.
    pub code: &'static str,
    /// Why, in a sentence.
    pub why: String,
    /// What would fix it.
    pub fix: String,
    /// The decision, when there was one.
    pub decision: Option<DecisionId>,
    /// What is wrong with declarations, place by place.
    pub faults: Vec<Fault>,
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureKind {
    /// The caller has not proved who it is, or presented a bad token.
    Unauthenticated,
    /// The caller is known and may not.
    Denied,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The input contradicts what there is.
    Conflict,
    /// The input is wrong.
    Invalid,
    /// The OAuth `scope` is wrong or gives nothing.
    InvalidScope,
    /// The OAuth `resource` does not fit.
    InvalidTarget,
    /// Too often; come back in this many seconds.
    Limited(u64),
    /// The broker cannot acknowledge anything now.
    Unavailable,
    /// A fault of the broker's own.
    Internal,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, code: &'static str, why: &str, fix: &str) -> Self {
        let (why, fix) = (why.to_owned(), fix.to_owned());
        Self { kind, code, why, fix, decision: None, faults: Vec::new() }
    }

    pub(super) fn internal(code: &'static str, error: &dyn std::error::Error) -> Self {
        tracing::error!(code, error = %error, "a use case failed");
        Self::new(
            FailureKind::Internal,
            code,
            "the broker could not finish this",
            "look up the request id in the broker's log",
        )
    }

    /// Whether the same request may do better later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, FailureKind::Limited(_) | FailureKind::Unavailable)
    }
}

impl From<AuthnError> for Failure {
    fn from(error: AuthnError) -> Self {
        let (code, fix) = match error {
            AuthnError::OutOfTime => {
                ("certificate_expired", "enrol again: `keyward agent invite NAME`, then `keyward join`")
            }
            AuthnError::WrongKind => {
                ("certificate_wrong_kind", "agents call the agent listener, operators the admin listener")
            }
            AuthnError::Revoked => (
                "certificate_revoked",
                "an operator revoked or suspended it: `keyward agent resume NAME`, or invite the agent anew",
            ),
            AuthnError::AuthorityRevoked => {
                ("authority_revoked", "enrol again: `keyward agent invite NAME`, then `keyward join`")
            }
            AuthnError::Unknown => {
                ("certificate_unknown", "enrol again: `keyward agent invite NAME`, then `keyward join`")
            }
        };
        Self::new(FailureKind::Unauthenticated, code, &error.to_string(), fix)
    }
}

impl From<PresentError> for Failure {
    fn from(error: PresentError) -> Self {
        let (code, fix) = match error {
            PresentError::Token(crate::token::VerifyError::Expired) => {
                ("token_expired", "ask for a new token at /oauth/token")
            }
            PresentError::Token(_) => ("token_invalid", "ask for a new token at /oauth/token"),
            PresentError::Revoked(_) => ("token_revoked", "ask for a new token at /oauth/token"),
            PresentError::OtherHolder(_) => (
                "token_other_holder",
                "use the token over the connection of the agent that it was issued to, or ask for a new one",
            ),
        };
        Self::new(FailureKind::Unauthenticated, code, &error.to_string(), fix)
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        let kind = match denial.code {
            DenialCode::CapabilityNotGranted => FailureKind::InvalidScope,
            DenialCode::TargetMismatch => FailureKind::InvalidTarget,
            DenialCode::CertificateEnding | DenialCode::SecretNotGranted => FailureKind::Denied,
        };
        let decision = Some(denial.basis.decision);
        let code = denial.code.as_str();
        Self { kind, code, why: denial.why, fix: denial.fix, decision, faults: Vec::new() }
    }
}

impl From<Limited> for Failure {
    fn from(limited: Limited) -> Self {
        let kind = FailureKind::Limited(limited.retry_after_s);
        Self::new(kind, "rate_limited", &limited.to_string(), "wait, and spread requests out")
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        let unavailable = |code, fix| Self::new(FailureKind::Unavailable, code, &error.to_string(), fix);
        match &error {
            CommitError::Append(AppendError::NoSpace) => {
                unavailable("ledger_no_space", "free space on the broker's data disk; it goes on by itself")
            }
            CommitError::Append(AppendError::Busy) => unavailable("ledger_busy", "come back in a moment"),
            CommitError::Append(AppendError::Conflict(_)) => {
                unavailable("busy_conflict", "what this relies on keeps changing: come back in a moment")
            }
            CommitError::Append(AppendError::Failed) => unavailable(
                "ledger_failed",
                "whether this was recorded is unknown: look at the disk, restart the broker, then ask again",
            ),
            CommitError::Append(AppendError::TooLarge) => {
                Self::new(FailureKind::Invalid, "too_large", &error.to_string(), "send less at once")
            }
            CommitError::Unwritable => Self::internal("internal", &error),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::internal("record_unreadable", &error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::internal("ledger_damaged", &error)
    }
}

impl From<crate::issuance::IssueError> for Failure {
    fn from(error: crate::issuance::IssueError) -> Self {
        Self::internal("issuance_failed", &error)
    }
}
