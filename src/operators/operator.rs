use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::{OperatorId, OperatorName, Scope, Timestamp};
use crate::crypto::Digest;

/// The role of an operator. `policy` assigns rights to roles.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum OperatorRole {
    /// Administers.
    Admin,
    /// Revokes and investigates.
    Security,
    /// Judges what others ask for.
    Approver,
    /// Reads.
    Auditor,
}

/// The text names no role. Never carries the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an operator's role: the roles are admin, security, approver and auditor")]
pub struct UnknownRole;

/// An operator: a name, a role, its reach, and the certificates that prove it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
    /// Its role.
    pub role: OperatorRole,
    /// Its scope.
    pub scope: Scope,
    /// The certificates it was given and has not replaced, as long as they can be of use.
    pub certificates: Vec<Certificate>,
}

/// One certificate of an operator.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Certificate {
    /// Its serial.
    pub serial: [u8; 16],
    /// SHA-256 of its public key.
    pub key: Digest,
    /// When it begins to hold.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The entry by which its holder enrolled. A renewal does not change it.
    pub enrolled_seq: u64,
    /// The signed certificate, if it was signed.
    pub signed: Option<SignedOperatorCertificate>,
    /// Whether it is in use.
    pub serving: Serving,
}

/// A certificate as it was signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedOperatorCertificate {
    /// The entry that keeps it, or went before it.
    pub seq: u64,
    /// SHA-256 of it in DER; none of one that was signed on the host.
    pub thumbprint: Option<Digest>,
    /// The generation of the authority that signed it.
    pub authority: Option<u32>,
}

/// Whether a certificate is in use. Its first use puts it in the place of the one before; until then
/// that one counts too, so that a lost answer locks nobody out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Serving {
    /// It is in use.
    Current,
    /// It was issued by a renewal instead of the one with this serial, and is not used yet.
    Next {
        /// The serial of the one before.
        replaces: [u8; 16],
    },
}

impl OperatorRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Security, Self::Approver, Self::Auditor];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Security => "security",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperatorRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

impl Operator {
    /// The certificate with this serial *and* this key: a serial alone can be copied into another one.
    #[must_use]
    pub fn holding(&self, serial: &[u8; 16], key: &Digest) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.serial == *serial && one.key == *key)
    }

    /// The certificate with this serial.
    #[must_use]
    pub fn certificate(&self, serial: &[u8; 16]) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.serial == *serial)
    }

    /// The certificate that was given in place of the one with this serial and has not been used yet.
    #[must_use]
    pub fn next_of(&self, serial: &[u8; 16]) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.serving == Serving::Next { replaces: *serial })
    }

    /// Whether it administers everything.
    #[must_use]
    pub fn is_full_admin(&self) -> bool {
        self.role == OperatorRole::Admin && self.scope == Scope::Everything
    }
}

/// The name of the operator of break-glass access.
pub const BREAK_GLASS: &str = "break-glass";

/// Whether the name is the host's own: nobody is invited by it, and nobody renews.
#[must_use]
pub fn is_of_host(name: &OperatorName) -> bool {
    name.as_str() == BREAK_GLASS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_from_its_word_and_nothing_else_does() {
        for role in OperatorRole::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for text in ["", "Admin", "root", "admin "] {
            assert!(text.parse::<OperatorRole>().is_err(), "{text:?}");
        }
    }
}
