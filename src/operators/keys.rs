//! The keys that decisions on this room's records rely on.

use crate::base::{CodeId, OperatorName};
use crate::ledger::Key;

/// Whether there is this operator, and its role and reach.
#[must_use]
pub fn operator(name: &OperatorName) -> Key {
    Key::of("operator", name.as_str().as_bytes())
}

/// The certificates of this operator.
#[must_use]
pub fn certificates(name: &OperatorName) -> Key {
    Key::of("operator-certificates", name.as_str().as_bytes())
}

/// The approval keys of this operator.
#[must_use]
pub fn approval_keys(name: &OperatorName) -> Key {
    Key::of("operator-approval-keys", name.as_str().as_bytes())
}

/// The admins with the scope `all`.
#[must_use]
pub fn admins() -> Key {
    Key::of("admins", b"")
}

/// Whether this code is still to be redeemed.
#[must_use]
pub fn code(id: CodeId) -> Key {
    Key::of("operator-code", id.as_bytes())
}

/// Whether a second use of this code has been reported.
#[must_use]
pub fn code_alarm(id: CodeId) -> Key {
    Key::of("operator-code-alarm", id.as_bytes())
}
