use std::path::Path;

use super::{Identity, IdentityKind};
use crate::base::code;
use crate::console::CommandFailure;
use crate::pki::SpiffeId;

/// There is no identity of `kind` in `home`. `other` is the identity of the other kind in the same directory.
pub(super) fn failure(home: &Path, kind: IdentityKind, other: Option<&SpiffeId>) -> CommandFailure {
    let home = home.display();
    let (who, noun) = match kind {
        IdentityKind::Agent => ("an agent", "agent"),
        IdentityKind::Operator => ("an operator", "operator"),
    };
    let held = other.map(|other| match other {
        SpiffeId::Operator { name, .. } => format!("the operator `{name}`"),
        SpiffeId::Agent { name, .. } => format!("the agent `{name}`"),
        SpiffeId::ResourceServer { name, .. } => format!("the resource server `{name}`"),
    });
    let why = match &held {
        None => format!("there is no {noun} identity in `{home}`"),
        Some(held) => format!("this command needs {who}'s identity; `{home}` holds {held}"),
    };
    let join = format!("`keyward join`, with a code from `keyward {noun} invite NAME`");
    let fix = match (kind, held) {
        (_, Some(_)) => format!("name the directory of {who} with `--home DIR`, or {join}"),
        (IdentityKind::Operator, None) => {
            format!("enrol first: {join}; or, on the broker's host, `keyward init --reissue-operator`")
        }
        (IdentityKind::Agent, None) => format!("enrol first: {join}"),
    };
    CommandFailure::new(code::NO_IDENTITY).because(why).mended_by(fix)
}

impl IdentityKind {
    /// The failure of a verb that can also use an identity of the other kind: if `home` holds one, with the `option` for it.
    pub(crate) fn or_other(self, home: &Path, option: &str, failure: CommandFailure) -> CommandFailure {
        let has_other = Identity::existing(home, self.other()).is_ok_and(|dir| dir.is_some());
        if failure.code() != code::NO_IDENTITY.as_str() || !has_other {
            return failure;
        }
        let fix = format!("for the present identity: {option}; otherwise: {}", failure.fix());
        failure.mended_by(fix)
    }

    /// The same for a verb with the option `--operator`.
    pub(crate) fn or_as_operator(self, home: &Path, failure: CommandFailure) -> CommandFailure {
        let option = match self {
            Self::Agent => "add `--operator`",
            Self::Operator => "leave out `--operator`",
        };
        self.or_other(home, option, failure)
    }
}
