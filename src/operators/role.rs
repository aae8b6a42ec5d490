use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// Reads metrics.
    Metrics,
    /// Plans and applies declarations of one owner.
    Deployer,
}

/// The text names no role. Never carries the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an operator's role: the roles are admin, security, approver, auditor, metrics and deployer")]
pub struct UnknownRole;

impl OperatorRole {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Security, Self::Approver, Self::Auditor, Self::Metrics, Self::Deployer];
    pub(super) const OF_HUMANS: [Self; 4] = [Self::Admin, Self::Security, Self::Approver, Self::Auditor];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Security => "security",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Metrics => "metrics",
            Self::Deployer => "deployer",
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
