use std::path::{Path, PathBuf};

use crate::cli::identity::IdentityKind;

/// The source of a broker's address, so that a message about a wrong address names the place to correct.
#[derive(Clone)]
pub(crate) enum AddressOrigin {
    /// The file `address` of an identity.
    File(PathBuf),
    /// An enrolment code.
    EnrolmentCode,
    /// The issuer of a token.
    Token,
}

impl AddressOrigin {
    /// The source of the address of the identity of `kind` below `home`.
    pub(crate) fn of(home: &Path, kind: IdentityKind) -> Self {
        Self::File(home.join(kind.directory()).join("address"))
    }

    /// The place, after "the address is".
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(path) => format!("in `{}`", path.display()),
            Self::EnrolmentCode => "in the enrolment code".to_owned(),
            Self::Token => "the issuer of the token".to_owned(),
        }
    }

    /// The step that corrects a wrong address.
    pub(super) fn correction(&self) -> String {
        match self {
            Self::File(path) => format!("correct the address in `{}`", path.display()),
            Self::EnrolmentCode => {
                "ask the operator who sent the code to correct `[server] address` or `admin_address`"
                    .to_owned()
            }
            Self::Token => "run the command on an agent's machine".to_owned(),
        }
    }
}
