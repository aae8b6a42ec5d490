use std::borrow::Cow;

use super::requested_object::RequestedObject;
use crate::authn::{AuthnError, PresentError};
use crate::base::code::{self, Code, CodeClass};
use crate::base::{ApprovalId, CapabilityName, DecisionId, OwnerName, fix_within, refusal_within};
use crate::config::{Fault, FaultList};
use crate::issuance::IssueError;
use crate::keyring::KeyringError;
use crate::ledger::{AppendError, ReadError};
use crate::policy::{ApprovalRefusal, Denial, PolicyRefusal, SmallerRequest};
use crate::quota::Limited;
use crate::registry::ParameterFault;
use crate::secrets::VaultError;
use crate::store::{CommitError, RecordError};

/// Why a use case did not do what was asked: a stable code, a reason, and what would fix it.
///
/// Holds no secret and no value of the input.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// Why, in a sentence.
    pub why: Cow<'static, str>,
    /// What would fix it.
    pub fix: Cow<'static, str>,
    /// Seconds after which asking again makes sense, when that is known.
    pub retry_after_s: Option<u64>,
    /// The decision, when there was one.
    pub decision: Option<DecisionId>,
    /// What is wrong with declarations, place by place.
    pub faults: Vec<Fault>,
    /// The object that the body of the request names, if it was refused because of this object.
    pub(crate) object: Option<Box<RequestedObject>>,
    /// The approval that the request needs or names.
    pub(crate) approval: Option<ApprovalId>,
    /// A smaller request that would be allowed now.
    instead: Option<Box<SmallerRequest>>,
}

impl Failure {
    /// The failure as its code tells it.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            why: Cow::Borrowed(code.meaning()),
            fix: Cow::Borrowed(code.fix()),
            retry_after_s: None,
            decision: None,
            faults: Vec::new(),
            object: None,
            approval: None,
            instead: None,
        }
    }

    /// A smaller request that would be allowed now.
    pub(crate) fn smaller_request(&self) -> Option<&SmallerRequest> {
        self.instead.as_deref()
    }

    /// The same, about an object that the body of the request names.
    #[must_use]
    pub(crate) fn about(mut self, object: RequestedObject) -> Self {
        self.object = Some(Box::new(object));
        self
    }

    /// The same, about an approval that the request needs or names.
    #[must_use]
    pub(crate) const fn of_approval(mut self, approval: ApprovalId) -> Self {
        self.approval = Some(approval);
        self
    }

    /// The same, after a decision, or after none.
    #[must_use]
    pub(crate) const fn of_decision(mut self, decision: Option<DecisionId>) -> Self {
        self.decision = decision;
        self
    }

    /// The same, with a smaller request that would be allowed, and the command that sends it.
    fn with_remedy(mut self, instead: Box<SmallerRequest>, denied: DecisionId) -> Self {
        let names: Vec<&str> = instead.scope.iter().map(CapabilityName::as_str).collect();
        // The values are the caller's own, and can have any character: the form of the answer has them.
        let parameters = if instead.parameters.is_empty() { "" } else { " with the same parameters" };
        let life = instead.life_s.map(|life_s| format!(" --expires-in {life_s}s")).unwrap_or_default();
        self.fix = format!(
            "this smaller request is allowed now: `keyward token {}{life} --remediates {denied}`{parameters}; otherwise: {}",
            names.join(" "),
            self.fix
        )
        .into();
        self.instead = Some(instead);
        self
    }

    /// The approval that the refused request waits for.
    #[must_use]
    pub fn awaits_approval(&self) -> Option<ApprovalId> {
        let awaits = self.code == code::APPROVAL_REQUIRED || self.code == code::APPROVAL_PENDING;
        self.approval.filter(|_| awaits)
    }

    /// The same, with a reason that says more than the code does.
    #[must_use]
    pub fn because(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.why = why.into();
        self
    }

    /// The same, with a fix that says more than the code does.
    #[must_use]
    pub fn mended_by(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The failure as an operator with this owner is told it: it is the same whether the object does not exist or belongs to
    /// another owner, and names the scope as a possible cause.
    #[must_use]
    pub(crate) fn within(self, owner: &OwnerName) -> Self {
        if !is_about_owned(self.code) {
            return self;
        }
        let (why, fix) = (refusal_within(owner.as_str(), &self.why), fix_within(&self.fix));
        self.because(why).mended_by(fix)
    }

    /// What an upstream did not do, with its reason.
    pub(crate) fn upstream(fault: &crate::upstream::UpstreamFault) -> Self {
        let explained = fault.explained();
        Self::new(fault.code).because(explained.why).mended_by(explained.fix)
    }

    /// The same for a login that an agent asked for: no rotation is retried for it.
    pub(crate) fn of_login(fault: &crate::upstream::UpstreamFault) -> Self {
        let failure = Self::upstream(fault);
        if fault.code == code::UPSTREAM_LOGIN_REFUSED {
            failure.mended_by(
                "an operator corrects the declared administering login or its secret; then request the lease again",
            )
        } else if fault.code == code::UPSTREAM_REFUSED {
            failure.mended_by(
                "an operator looks up the server's error code in the ledger entry and corrects the cause; then request the lease again",
            )
        } else if let Some(cause) = crate::upstream::Explanation::before_retry(&failure.fix) {
            let fix = format!("an operator corrects the cause ({cause}); then request the lease again");
            failure.mended_by(fix)
        } else {
            failure
        }
    }

    /// A fault of the broker's own: the log has the reason, the caller the request's id.
    pub(crate) fn internal(code: Code, error: &dyn std::error::Error) -> Self {
        tracing::error!(%code, error = %error, "a use case failed");
        Self::new(code).because(code::INTERNAL.meaning()).mended_by(code::INTERNAL.fix())
    }
}

/// Whether the code says that an object with an owner does not exist.
pub(crate) fn is_about_owned(code: Code) -> bool {
    code.sort() == CodeClass::NotFound && !OF_NO_OWNER.contains(&code)
}

/// Codes about objects that have no owner, or that are parts of an object that the operator sees.
const OF_NO_OWNER: [Code; 4] =
    [code::GENERATION_UNKNOWN, code::OPERATOR_UNKNOWN, code::ROUTE_UNKNOWN, code::VERSION_UNKNOWN];

impl From<AuthnError> for Failure {
    fn from(error: AuthnError) -> Self {
        let code = match error {
            AuthnError::OutOfTime => code::CERTIFICATE_EXPIRED,
            AuthnError::WrongKind | AuthnError::ResourceServer => code::CERTIFICATE_WRONG_KIND,
            AuthnError::Revoked => code::CERTIFICATE_REVOKED,
            AuthnError::Suspended => code::CERTIFICATE_SUSPENDED,
            AuthnError::AuthorityRevoked => code::AUTHORITY_REVOKED,
            AuthnError::Unknown => code::CERTIFICATE_UNKNOWN,
            AuthnError::Elsewhere => code::OPERATOR_OUTSIDE_NETWORK,
            AuthnError::NotFromHost => code::HOST_USER_NOT_ALLOWED,
        };
        let failure = Self::new(code).because(error.to_string());
        if error == AuthnError::ResourceServer {
            return failure.mended_by(
                "use the identity of an agent: ask an operator for an enrolment code (`keyward agent invite NAME --role ROLE`), then `keyward join` in another directory (`--home DIR`)",
            );
        }
        failure
    }
}

impl From<PresentError> for Failure {
    fn from(error: PresentError) -> Self {
        let code = match error {
            PresentError::Token(crate::token::TokenError::Expired) => code::TOKEN_EXPIRED,
            PresentError::Token(_) => code::TOKEN_INVALID,
            PresentError::NotIssued(_) => code::TOKEN_NOT_ISSUED,
            PresentError::Revoked(_) => code::TOKEN_REVOKED,
            PresentError::OtherHolder(_) => code::TOKEN_BINDING_MISMATCH,
            PresentError::Unrecorded { .. } => code::TOKEN_UNRECORDED,
        };
        Self::new(code).because(error.to_string())
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        let decision = Some(denial.basis.decision);
        let problem = denial.problem().unwrap_or_else(|| denial.code.meaning()).to_owned();
        let failure = Self { decision, ..Self::new(denial.code) };
        let failure = match denial.instead {
            Some(instead) => failure.with_remedy(instead, denial.basis.decision),
            None => failure,
        };
        if let Some(ParameterFault { why, fix, .. }) = denial.parameter {
            return failure.because(why).mended_by(fix);
        }
        if let Some(PolicyRefusal { why, .. }) = denial.policy {
            let why = if denial.requested.is_empty() {
                why
            } else {
                format!("{}: {why}", named(&denial.requested))
            };
            return failure.because(why);
        }
        if let Some(ApprovalRefusal::Named(id, why)) = denial.approval {
            let failure = failure.of_approval(id);
            return match why {
                Some(why) => failure.because(why),
                None => failure,
            };
        }
        if denial.requested.is_empty() {
            return failure;
        }
        failure.because(format!("{}: {problem}", named(&denial.requested)))
    }
}

/// The most names of capabilities in one message.
const NAMED_MAX: usize = 5;

/// The capabilities, for a message to the caller that named them.
fn named(capabilities: &[CapabilityName]) -> String {
    let noun = if capabilities.len() == 1 { "capability" } else { "capabilities" };
    let shown: Vec<String> = capabilities.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    let more = capabilities.len().saturating_sub(NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{noun} {}{more}", shown.join(", "))
}

impl From<FaultList> for Failure {
    fn from(FaultList { faults, more, cancelled }: FaultList) -> Self {
        if cancelled {
            return Self::new(code::HEAVY_TIMEOUT);
        }
        let failure = Self { faults, ..Self::new(code::DECLARATIONS_INVALID) };
        if more == 0 {
            return failure;
        }
        let (listed, found) = (failure.faults.len(), failure.faults.len().saturating_add(more));
        failure.because(format!("the declarations have at least {found} errors; the first {listed} are listed; nothing was changed"))
    }
}

impl From<Limited> for Failure {
    fn from(limited: Limited) -> Self {
        let retry_after_s = Some(limited.retry_after_s);
        Self { retry_after_s, ..Self::new(code::RATE_LIMITED).because(limited.to_string()) }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        let code = match &error {
            CommitError::Append(AppendError::NoSpace) => code::LEDGER_NO_SPACE,
            CommitError::Append(AppendError::Busy) => code::LEDGER_BUSY,
            CommitError::Append(AppendError::Conflict(_)) => code::MODIFIED_CONCURRENTLY,
            CommitError::Append(AppendError::Failed) => code::LEDGER_FAILED,
            CommitError::Append(AppendError::Unwritten) => code::LEDGER_UNWRITTEN,
            CommitError::Append(AppendError::TooLarge) => code::ENTRY_TOO_LARGE,
            CommitError::Unanswered => code::LEDGER_STALLED,
            CommitError::ReadOnly => return Self::new(code::READ_ONLY),
            CommitError::Unwritable => return Self::internal(code::INTERNAL, &error),
        };
        Self::new(code).because(error.to_string())
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::internal(code::RECORD_UNREADABLE, &error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { .. } => Self::internal(code::LEDGER_DAMAGED, &error),
            ReadError::Io(_) => {
                tracing::error!(%error, "a request could not read the ledger");
                Self::new(code::LEDGER_STALLED).because("the ledger cannot be read at present")
            }
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Vault(error) => error.into(),
            error @ (IssueError::Sign(_) | IssueError::Certificate(_) | IssueError::OtherLease) => {
                Self::internal(code::ISSUANCE_FAILED, &error)
            }
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Exhausted(_) => Self::new(code::KEY_EXHAUSTED).because(error.to_string()).mended_by(
                "wait a minute: the broker rotates the value key; if the rotation fails, an operator runs `keyward value-key rotate`",
            ),
            error @ (VaultError::Size | VaultError::Form | VaultError::Open(_)) => {
                Self::internal(code::ISSUANCE_FAILED, &error)
            }
        }
    }
}

pub(crate) fn broken(error: &(dyn std::error::Error + 'static)) -> Failure {
    match error.downcast_ref() {
        Some(exhausted @ KeyringError::Exhausted) => Failure::new(code::KEY_EXHAUSTED)
            .because(exhausted.to_string())
            .mended_by("set up a new broker: this keyring cannot be changed any more"),
        Some(_) | None => Failure::internal(code::AUTHORITY_FAILED, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_names_the_first_capabilities_that_were_requested() {
        let names = |count: usize| -> Vec<CapabilityName> {
            (1..=count).map(|number| format!("c.n{number}").parse().unwrap()).collect()
        };
        assert_eq!(named(&names(1)), "capability `c.n1`");
        assert_eq!(named(&names(2)), "capabilities `c.n1`, `c.n2`");
        assert!(named(&names(NAMED_MAX + 2)).ends_with("`c.n5` and 2 more"));
    }

    #[test]
    fn refusal_on_a_full_disk_names_the_size_of_a_segment() {
        let needed = format!("{} MiB", crate::ledger::SEGMENT_BYTES / (1024 * 1024));
        let code = code::LEDGER_NO_SPACE;
        assert!(code.meaning().contains(&needed) && code.fix().contains(&needed), "{code}");
    }

    #[test]
    fn a_write_that_wrote_nothing_has_another_code_than_one_in_doubt() {
        let code_of = |error: AppendError| Failure::from(CommitError::Append(error)).code;
        assert_eq!(code_of(AppendError::Unwritten), code::LEDGER_UNWRITTEN);
        assert_eq!(code_of(AppendError::Failed), code::LEDGER_FAILED);
    }
}
