use std::fmt;

use super::principal::AuthnError;

/// A user of the broker's host: root, or the user that the broker runs as. Made only by [`host`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostPrincipal {
    uid: u32,
}

/// The user of the peer process at the host socket: `peer` is the uid from the kernel (`SO_PEERCRED`), `own` the broker's.
///
/// # Errors
/// [`AuthnError::NotFromHost`] for other users.
pub const fn host(peer: u32, own: u32) -> Result<HostPrincipal, AuthnError> {
    if peer == ROOT || peer == own { Ok(HostPrincipal { uid: peer }) } else { Err(AuthnError::NotFromHost) }
}

const ROOT: u32 = 0;

/// The name in the ledger; no operator's name contains a space.
impl fmt::Display for HostPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host uid {}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_broker_s_own_user_are_the_host_and_nobody_else_is() {
        assert_eq!(host(0, 990).unwrap().to_string(), "host uid 0");
        assert_eq!(host(990, 990).unwrap().to_string(), "host uid 990");
        for (peer, own) in [(991, 990), (1, 0), (65_534, 0), (65_534, 990), (u32::MAX, 0)] {
            assert_eq!(host(peer, own), Err(AuthnError::NotFromHost), "{peer} is not {own}");
        }
    }
}
