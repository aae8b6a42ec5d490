use super::live::{Credential, CredentialFault, live};
use super::principal::AgentPrincipal;
use super::records::Records;
use crate::base::{Audience, CapabilityName, Timestamp, TokenId};
use crate::crypto::matches;
use crate::token::{Claims, Minted, TokenError};

/// The reason to refuse a presented token, always with 401.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PresentError {
    /// The token itself is not accepted.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is valid, but bound to another certificate than the connection's: it was stolen or mixed up.
    #[error("the token is bound to another certificate")]
    OtherHolder(TokenId),
    /// The token was revoked.
    #[error("the token was revoked")]
    Revoked(TokenId),
    /// The token has a valid signature, but the ledger entry that it names did not issue it.
    #[error("the ledger entry that the token names did not issue it")]
    NotIssued(TokenId),
    /// The token is valid, but names an entry that the ledger does not have.
    #[error("the token names ledger entry {seq}, which this broker does not have")]
    Unrecorded {
        /// The token.
        token: TokenId,
        /// The entry.
        seq: u64,
    },
}

/// A token that its holder has presented in this request. Made only by [`present`].
#[must_use]
#[derive(Debug)]
pub struct BoundToken {
    holder: AgentPrincipal,
    token: TokenId,
    issued_at: Timestamp,
    capabilities: Vec<CapabilityName>,
}

/// Takes a token from `principal`: verified with these `claims` just now, it is for `audience`, bound to the
/// certificate of this very connection (RFC 8705 §3), and counts by the live `records`. `minted` is what the entry
/// says that it names.
///
/// # Errors
/// [`PresentError`].
pub fn present(
    principal: AgentPrincipal,
    claims: &Claims,
    minted: Option<&Minted>,
    audience: &Audience,
    records: Records<'_>,
) -> Result<BoundToken, PresentError> {
    if claims.aud != *audience {
        return Err(TokenError::Audience.into());
    }
    if claims.seq > principal.as_of() {
        return Err(PresentError::Unrecorded { token: claims.jti, seq: claims.seq });
    }
    let bound = matches(claims.cnf.x5t_s256.as_bytes(), principal.thumbprint().base64url().as_bytes());
    let same = *claims.sub == *principal.spiffe().text().as_str()
        && claims.client_id == claims.sub
        && claims.instance == principal.instance();
    if !bound || !same {
        return Err(PresentError::OtherHolder(claims.jti));
    }
    live(Credential::Token { claims, minted }, records).map_err(|dead| match dead {
        CredentialFault::NotIssued => PresentError::NotIssued(claims.jti),
        CredentialFault::Replaced => PresentError::OtherHolder(claims.jti),
        CredentialFault::Revoked
        | CredentialFault::Suspended
        | CredentialFault::AuthorityRevoked
        | CredentialFault::HolderGone
        | CredentialFault::MakerGone
        | CredentialFault::NotGranted
        | CredentialFault::Elsewhere => PresentError::Revoked(claims.jti),
    })?;
    let capabilities: Result<Vec<CapabilityName>, _> = claims.scope.split(' ').map(str::parse).collect();
    let capabilities = capabilities.map_err(|_| TokenError::Form)?;
    let detailed = claims.authorization_details.iter().map(|detail| detail.capability.as_str());
    if !detailed.eq(capabilities.iter().map(CapabilityName::as_str)) {
        return Err(TokenError::Form.into());
    }
    let issued_at = Timestamp::from_s(claims.iat);
    Ok(BoundToken { holder: principal, token: claims.jti, issued_at, capabilities })
}

impl BoundToken {
    /// The agent that presented it.
    #[must_use]
    pub const fn holder(&self) -> &AgentPrincipal {
        &self.holder
    }

    /// Its id.
    #[must_use]
    pub const fn token(&self) -> TokenId {
        self.token
    }

    /// The time of its issue.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The capabilities it was issued for.
    #[must_use]
    pub fn capabilities(&self) -> &[CapabilityName] {
        &self.capabilities
    }
}
