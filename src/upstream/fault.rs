use std::borrow::Cow;

use super::connect_fault::ConnectFault;
use crate::base::code::{self, Code};
use crate::pki::tls::HandshakeFault;

/// Whether the upstream may have changed although a call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamOutcome {
    /// It is unchanged.
    Refused,
    /// It may have changed.
    Unknown,
}

/// The failure of a call. Contains no text of the upstream except a short, standard code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamFault {
    /// Whether the upstream may have changed.
    pub outcome: UpstreamOutcome,
    /// The stable code.
    pub code: Code,
    /// The upstream's own code, a status, or the name of a [`HandshakeFault`] or [`ConnectFault`], nothing longer.
    pub detail: Option<String>,
}

impl UpstreamFault {
    /// A fault that changed nothing, without an upstream's own code.
    #[must_use]
    pub const fn refused(code: Code) -> Self {
        Self { outcome: UpstreamOutcome::Refused, code, detail: None }
    }

    /// A fault after which the upstream may have changed, without an upstream's own code.
    #[must_use]
    pub const fn unknown(code: Code) -> Self {
        Self { outcome: UpstreamOutcome::Unknown, code, detail: None }
    }

    /// The same fault, with the upstream's own code.
    #[must_use]
    pub fn with(self, detail: impl Into<Option<String>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// A missing trusted connection, with its reason if known.
    pub(super) fn of_handshake(reason: Option<HandshakeFault>) -> Self {
        Self::refused(code::UPSTREAM_HANDSHAKE_FAILED).with(reason.map(|reason| reason.as_str().to_owned()))
    }

    /// A server that cannot be connected to, with the cause if it is known.
    pub(super) fn unreachable(cause: Option<ConnectFault>) -> Self {
        Self::refused(code::UPSTREAM_UNREACHABLE).with(cause.map(|cause| cause.as_str().to_owned()))
    }

    /// Problem and fix, in a sentence each.
    #[must_use]
    pub fn explained(&self) -> Explanation {
        Explanation::of(self.code, self.detail.as_deref())
    }

    /// Whether a login in revocation is shut out: it cannot log in, and has no rights of roles.
    #[must_use]
    pub fn is_shut_out(&self) -> bool {
        is_shut_out(self.code.as_str())
    }
}

/// Whether a login whose revocation failed with this code is shut out.
#[must_use]
pub fn is_shut_out(code: &str) -> bool {
    [code::UPSTREAM_LOGIN_NOT_DROPPED, code::UPSTREAM_NOT_REVOKED].iter().any(|shut| shut.as_str() == code)
}

/// The problem with an upstream, and its fix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The problem.
    pub why: Cow<'static, str>,
    /// The fix.
    pub fix: Cow<'static, str>,
}

/// The text of a failure that is recorded by its code and detail.
#[must_use]
pub fn explained(code: &str, detail: Option<&str>) -> Option<String> {
    Some(Explanation::of(code.parse().ok()?, detail).why.into_owned())
}

impl Explanation {
    /// The texts for this code and this detail.
    #[must_use]
    pub fn of(code: Code, detail: Option<&str>) -> Self {
        let handshake =
            detail.filter(|_| code == code::UPSTREAM_HANDSHAKE_FAILED).and_then(HandshakeFault::named);
        let connect = detail.filter(|_| code == code::UPSTREAM_UNREACHABLE).and_then(ConnectFault::named);
        if let Some(fault) = connect {
            return Self { why: fault.meaning().into(), fix: fault.fix().into() };
        }
        match (handshake, detail) {
            (Some(fault), _) => Self { why: fault.meaning().into(), fix: fault.fix().into() },
            (None, Some(detail)) => {
                Self { why: format!("{} ({detail})", code.meaning()).into(), fix: code.fix().into() }
            }
            (None, None) => Self { why: code.meaning().into(), fix: code.fix().into() },
        }
    }
}
