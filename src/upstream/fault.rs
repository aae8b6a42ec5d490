use std::borrow::Cow;

use crate::base::code::{self, Code};
use crate::pki::tls::HandshakeFault;

/// Whether upstream may have changed although a call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamOutcome {
    /// It certainly has not.
    Refused,
    /// It may have.
    Unknown,
}

/// Why a call failed. Holds nothing that upstream said but a short, standard code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamFault {
    /// Whether upstream may have changed.
    pub outcome: UpstreamOutcome,
    /// The stable code.
    pub code: Code,
    /// The upstream's own code, a status or the name of a [`HandshakeFault`], nothing longer.
    pub detail: Option<String>,
}

impl UpstreamFault {
    /// A fault that changed nothing, without an upstream's own code.
    #[must_use]
    pub const fn refused(code: Code) -> Self {
        Self { outcome: UpstreamOutcome::Refused, code, detail: None }
    }

    /// A fault after which upstream may have changed, without an upstream's own code.
    #[must_use]
    pub const fn unknown(code: Code) -> Self {
        Self { outcome: UpstreamOutcome::Unknown, code, detail: None }
    }

    /// The same fault, with the upstream's own code.
    #[must_use]
    pub fn with(self, detail: impl Into<Option<String>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// No trusted connection was made, for this reason when one is known.
    pub(super) fn of_handshake(reason: Option<HandshakeFault>) -> Self {
        Self::refused(code::UPSTREAM_HANDSHAKE_FAILED).with(reason.map(|reason| reason.as_str().to_owned()))
    }

    /// What is wrong and what corrects it, in a sentence each.
    #[must_use]
    pub fn explained(&self) -> Explanation {
        Explanation::of(self.code, self.detail.as_deref())
    }

    /// Whether a login that was to be revoked is shut out: it cannot log in, and has no role's rights.
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

/// What is wrong with an upstream and what corrects it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// What is wrong.
    pub why: Cow<'static, str>,
    /// What corrects it.
    pub fix: Cow<'static, str>,
}

/// What a failure that is recorded by its code and detail was, in a sentence.
#[must_use]
pub fn explained(code: &str, detail: Option<&str>) -> Option<String> {
    Some(Explanation::of(code.parse().ok()?, detail).why.into_owned())
}

impl Explanation {
    /// Of a fault with this code and this detail.
    #[must_use]
    pub fn of(code: Code, detail: Option<&str>) -> Self {
        let handshake =
            detail.filter(|_| code == code::UPSTREAM_HANDSHAKE_FAILED).and_then(HandshakeFault::named);
        match (handshake, detail) {
            (Some(fault), _) => Self { why: fault.meaning().into(), fix: fault.fix().into() },
            (None, Some(detail)) => {
                Self { why: format!("{} ({detail})", code.meaning()).into(), fix: code.fix().into() }
            }
            (None, None) => Self { why: code.meaning().into(), fix: code.fix().into() },
        }
    }
}
