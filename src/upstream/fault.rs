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
    /// The upstream's own code, a status, or the name of a [`HandshakeFault`] or `ConnectFault`, nothing longer.
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
        if code == code::UPSTREAM_REFUSED && detail == Some(UNDEFINED_OBJECT) {
            return Self { why: UNDEFINED.into(), fix: UNDEFINED_FIX.into() };
        }
        match (handshake, detail) {
            (Some(fault), _) => Self { why: fault.meaning().into(), fix: fault.fix().into() },
            (None, Some(detail)) => {
                Self { why: format!("{} ({detail})", code.meaning()).into(), fix: code.fix().into() }
            }
            (None, None) => Self { why: code.meaning().into(), fix: code.fix().into() },
        }
    }

    /// The fix of a failure that nothing repeats, e.g. of a check: without the end that names the repetition; `None` if it
    /// names none.
    #[must_use]
    pub fn before_retry(fix: &str) -> Option<&str> {
        RETRIES.iter().find_map(|end| fix.strip_suffix(*end))
    }
}

/// The ends of fixes that name how steps of applied rotations and of leases are repeated.
const RETRIES: [&str; 4] = [
    ", then `keyward rotation retry NAME`; the broker repeats steps of leases by itself",
    ", then `keyward rotation retry NAME`",
    ", then `keyward lease retry ID`; the broker also tries again by itself",
    "; the broker tries again by itself",
];

/// The SQLSTATE `undefined_object` of PostgreSQL.
const UNDEFINED_OBJECT: &str = "42704";
const UNDEFINED: &str = "the upstream refused the change, and is unchanged: a role or object that the change names does not exist there (42704)";
const UNDEFINED_FIX: &str = "create the role or object at the upstream, or correct its name in the declaration, e.g. in `member_of` or `statements`, \
     then `keyward rotation retry NAME`; the broker repeats steps of leases by itself";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fix_of_a_check_names_no_retry() {
        let faults = [
            UpstreamFault::unreachable(Some(ConnectFault::Refused)),
            UpstreamFault::refused(code::UPSTREAM_REFUSED).with("42704".to_owned()),
            UpstreamFault::refused(code::UPSTREAM_LOGIN_REFUSED),
            UpstreamFault::refused(code::UPSTREAM_CHANGED_BY_COPY),
            UpstreamFault::refused(code::UPSTREAM_LOGIN_NOT_DROPPED),
        ];
        for fault in faults {
            let fix = fault.explained().fix;
            let before = Explanation::before_retry(&fix).unwrap();
            assert!(!before.contains(" retry ") && !before.contains("by itself"), "{before}");
        }
        let fault = UpstreamFault::refused(code::UPSTREAM_REFUSED).with("42704".to_owned());
        assert!(fault.explained().why.contains("does not exist there (42704)"));
        assert_eq!(Explanation::before_retry(code::UPSTREAM_CLOCK_AHEAD.fix()), None);
    }
}
