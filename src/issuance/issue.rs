use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::keys::{InUse, Keys};
use crate::base::{CapabilityName, ClockTrust, DecisionId, Entropy, SecretId, Timestamp, TokenId};
use crate::crypto::AeadKey;
use crate::ledger::Receipt;
use crate::pki::{Authority, AuthorityCertificate, CertificatePlan, PkiError, PublicKey};
use crate::policy::{AgentAct, Certifying, Grant, LeftOut, Mint, Reveal};
use crate::registry::Access;
use crate::secrets::{Opener, Sealer, SecretValue, StoredVersion, VaultError};
use crate::token::{
    AccessToken, AuthorizationDetail, Claims, Confirmation, DetailType, KeySet, SignError, Signer,
};

/// Something that may leave the house. Made only by [`Issuer`].
#[must_use]
#[derive(Debug)]
pub struct Issued<T>(T);

impl<T> Issued<T> {
    pub(super) const fn assertion(value: T) -> Self {
        Self(value)
    }

    /// Hands it over: to the response, and nowhere else.
    pub fn deliver(self) -> T {
        self.0
    }
}

/// The versions whose values a call upstream is about to need: what the entry of its intent is
/// committed with.
#[derive(Debug)]
pub struct NeededVersions(pub Vec<(SecretId, u32)>);

/// Why nothing was issued, although it was allowed and recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The token was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The certificate was not signed.
    #[error(transparent)]
    Certificate(#[from] PkiError),
    /// The value did not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What is recorded is the login of another lease.
    #[error("the receipt is for another lease")]
    OtherLease,
}

/// A token with what the answer says about it.
#[derive(Debug)]
pub struct Token {
    /// The token.
    pub token: AccessToken,
    /// Its id.
    pub id: TokenId,
    /// The life, in seconds.
    pub life_s: u32,
    /// The OAuth scope.
    pub scope: Arc<str>,
    /// The capabilities, if the request has `authorization_details`.
    pub details: Vec<AuthorizationDetail>,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The parts of the request that were not granted, in words.
    pub constrained: Vec<String>,
    /// The requested capabilities that it does not have.
    pub left_out: Vec<LeftOut>,
}

/// A token that is to be signed once more, and whose leave there is.
#[derive(Debug)]
pub struct MintReplay {
    /// The leave.
    pub grant: Grant<Mint>,
    /// The token.
    pub token: TokenId,
    /// The entry that minted it, and its time.
    pub minted: (u64, Timestamp),
}

/// A signed certificate.
#[derive(Clone, Debug)]
pub struct SignedCertificate {
    /// DER.
    pub der: Vec<u8>,
    /// What it was signed from.
    pub plan: CertificatePlan,
}

/// What a certificate is to be signed from, and whose leave there is.
#[derive(Debug)]
pub struct Certify<A> {
    /// The leave.
    pub grant: Grant<A>,
    /// The content.
    pub plan: CertificatePlan,
    /// The public key that it is for.
    pub key: PublicKey,
}

/// What the broker's own certificate is to be signed from.
#[derive(Debug)]
pub struct ServerPlan {
    /// The names it answers to.
    pub names: Vec<String>,
    /// The public key that it is for.
    pub key: PublicKey,
    /// The life, in seconds.
    pub life_s: i64,
}

/// When a token begins and ends, in seconds since 1970.
#[derive(Clone, Copy)]
struct TokenTimes {
    begins_at: i64,
    expires_at: i64,
}

/// Signs and opens.
pub struct Issuer {
    tokens: InUse<Signer>,
    authorities: InUse<Authority>,
    pub(super) opener: Opener,
    name: Arc<str>,
}

impl Issuer {
    /// Takes the keys, which leave it no more. `name` is the `iss` of tokens.
    #[must_use]
    pub fn new(tokens: Keys<Signer>, authorities: Keys<Authority>, opener: Opener, name: String) -> Self {
        Self { tokens: InUse::new(tokens), authorities: InUse::new(authorities), opener, name: name.into() }
    }

    /// Wipes every signing and opening key in place: nothing is signed or opened any more.
    pub fn forget_keys(&self) {
        self.tokens.each(Signer::forget);
        self.authorities.each(Authority::forget);
        self.opener.forget();
    }

    /// The public keys that tokens are verified with.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        KeySet { keys: self.tokens.all().iter().map(|signer| signer.jwk().clone()).collect() }
    }

    /// The public half of the certificate authority that signs.
    #[must_use]
    pub fn authority(&self) -> AuthorityCertificate {
        self.authorities.active().public().clone()
    }

    /// The public halves of all authorities whose certificates count, the one that signs first.
    #[must_use]
    pub fn authorities(&self) -> Vec<AuthorityCertificate> {
        self.authorities.all().iter().map(|authority| authority.public().clone()).collect()
    }

    /// Signs tokens with these keys from here on: those that the state knows, which follows the ledger.
    pub fn use_token_keys(&self, keys: Keys<Signer>) {
        self.tokens.replace(keys);
    }

    /// Signs certificates with these authorities from here on, likewise.
    pub fn use_authorities(&self, keys: Keys<Authority>) {
        self.authorities.replace(keys);
    }

    /// The key id of this generation of the token key, as long as it counts.
    #[must_use]
    pub fn token_key_id(&self, generation: u32) -> Option<String> {
        self.tokens.of(generation).map(|signer| signer.jwk().kid.clone())
    }

    /// What this generation of the token key signed counts no more. It takes away, so that nothing has to
    /// prove that it is recorded.
    pub fn withdraw_token_key(&self, generation: u32) {
        self.tokens.withdraw(generation);
    }

    /// What this generation of the authority signed counts no more, likewise.
    pub fn withdraw_authority(&self, generation: u32) {
        self.authorities.withdraw(generation);
    }

    /// Mints the token `id` that `receipt` proves to be recorded.
    ///
    /// # Errors
    /// [`IssueError::Sign`]: the ledger then has a token that does not exist, which is harmless.
    pub fn mint(&self, receipt: Receipt<(TokenId, Grant<Mint>)>) -> Result<Issued<Token>, IssueError> {
        let (seq, time) = (receipt.seq(), receipt.time());
        let (id, grant) = receipt.redeem();
        self.sign(id, grant, seq, time, time)
    }

    /// Signs a token that was minted before once more: all of it is as it was, but the signature.
    ///
    /// # Errors
    /// [`IssueError::Sign`].
    pub fn mint_again(&self, receipt: Receipt<MintReplay>) -> Result<Issued<Token>, IssueError> {
        let now = receipt.time();
        let MintReplay { grant, token, minted: (seq, issued_at) } = receipt.redeem();
        self.sign(token, grant, seq, issued_at, now)
    }

    /// The length of the token that would be signed for `grant`, in bytes; of a token with the longest numbers.
    #[must_use]
    pub fn token_bytes(&self, id: TokenId, grant: &Grant<Mint>) -> usize {
        let times = TokenTimes { begins_at: i64::MAX, expires_at: i64::MAX };
        let claims = self.claims(id, grant.basis().decision, grant.act(), u64::MAX, times);
        self.tokens.active().token_bytes(&claims)
    }

    /// The claims of the token `id` with the entry `seq`.
    fn claims(
        &self,
        id: TokenId,
        decision: DecisionId,
        mint: &Mint,
        seq: u64,
        TokenTimes { begins_at, expires_at }: TokenTimes,
    ) -> Claims {
        let principal = mint.principal();
        let names: Vec<&str> = mint.capabilities().iter().map(|(name, _)| name.as_str()).collect();
        let detail = |(name, access): &(CapabilityName, Access)| AuthorizationDetail {
            kind: DetailType::Capability,
            capability: name.clone(),
            access: Cow::Borrowed(access.as_str()),
            parameters: mint.parameters(name).cloned().unwrap_or_default(),
        };
        let spiffe: Arc<str> = principal.spiffe().text().as_str().into();
        Claims {
            iss: Arc::clone(&self.name),
            sub: Arc::clone(&spiffe),
            client_id: spiffe,
            aud: mint.audience().clone(),
            scope: names.join(" ").into(),
            authorization_details: mint.capabilities().iter().map(detail).collect(),
            jti: id,
            iat: begins_at,
            nbf: begins_at,
            exp: expires_at,
            cnf: Confirmation { x5t_s256: principal.thumbprint().base64url() },
            seq,
            instance: principal.instance(),
            decision,
        }
    }

    /// Signs what entry `minted` recorded; `now` says how much of its life is left.
    fn sign(
        &self,
        id: TokenId,
        grant: Grant<Mint>,
        seq: u64,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<Issued<Token>, IssueError> {
        let constrained = grant.constrained().to_vec();
        let (basis, mint) = grant.redeem();
        // While the clocks disagree it holds from the earliest time that it can be on, so that it can be used at once.
        let begins_at = match mint.reading().trust() {
            ClockTrust::Agreed => issued_at,
            ClockTrust::Disputed | ClockTrust::Held => issued_at.min(mint.reading().earliest()),
        };
        // Never beyond the certificate, however long the record took.
        let expires_at =
            issued_at.s().saturating_add(i64::from(mint.life_s())).min(mint.principal().not_after().s());
        let times = TokenTimes { begins_at: begins_at.s(), expires_at };
        let claims = self.claims(id, basis.decision, &mint, seq, times);
        let token = self.tokens.active().sign(&claims)?;
        let scope = Arc::clone(&claims.scope);
        let details = if mint.is_detailed() { claims.authorization_details } else { Vec::new() };
        let life_s = u32::try_from(expires_at.saturating_sub(now.s())).unwrap_or(0);
        let (decision, left_out) = (basis.decision, mint.left_out().to_vec());
        Ok(Issued::assertion(Token { token, id, life_s, scope, details, decision, constrained, left_out }))
    }

    /// Opens the value that `receipt` proves to be recorded as leaving: `stored` opens as the version
    /// that was granted, and as nothing else.
    ///
    /// # Errors
    /// [`IssueError::Vault`] when the record does not open.
    pub fn reveal(
        &self,
        receipt: Receipt<Grant<Reveal>>,
        stored: &StoredVersion,
    ) -> Result<Issued<SecretValue>, IssueError> {
        let (_, reveal) = receipt.redeem().redeem();
        let (id, version) = reveal.current();
        Ok(Issued::assertion(self.opener.open(id, version, stored)?))
    }

    /// Opens the values that `receipt` proves to be recorded as needed upstream, in their order:
    /// each of `stored` opens as the version that was named, and as nothing else.
    ///
    /// # Errors
    /// [`IssueError::Vault`] when a record does not open.
    pub fn lend(
        &self,
        receipt: Receipt<NeededVersions>,
        stored: &[StoredVersion],
    ) -> Result<Issued<Vec<SecretValue>>, IssueError> {
        self.open_all(receipt.redeem(), stored)
    }

    pub(super) fn open_all(
        &self,
        NeededVersions(versions): NeededVersions,
        stored: &[StoredVersion],
    ) -> Result<Issued<Vec<SecretValue>>, IssueError> {
        let open = |((id, version), stored): ((SecretId, u32), &StoredVersion)| {
            self.opener.open(id, version, stored)
        };
        let values = versions.into_iter().zip(stored).map(open).collect::<Result<_, _>>()?;
        Ok(Issued::assertion(values))
    }

    /// Whether one of `candidates` is the value of `version` of the secret `id`, of which `stored` is kept. The value is not
    /// opened.
    ///
    /// # Errors
    /// [`IssueError::Vault`] when the record does not open.
    pub fn recognises(
        &self,
        id: SecretId,
        version: u32,
        stored: &StoredVersion,
        candidates: &[&[u8]],
    ) -> Result<bool, IssueError> {
        Ok(self.opener.recognises(id, version, stored, candidates)?)
    }

    /// Opens what another value key wraps, too.
    pub fn learn_value_key(&self, key: AeadKey) {
        self.opener.learn(key);
    }

    /// Opens nothing any more but what the newest value key wraps.
    pub fn shed_value_keys(&self) {
        self.opener.shed();
    }

    /// The data key of a version wrapped by the value key that `sealer` has, when another one wraps it
    /// now. Nothing leaves the house.
    ///
    /// # Errors
    /// [`IssueError::Vault`] when the record does not open.
    pub fn rewrap(
        &self,
        id: SecretId,
        version: u32,
        stored: &StoredVersion,
        sealer: &Sealer,
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, IssueError> {
        Ok(self.opener.rewrap(id, version, stored, sealer, entropy)?)
    }

    /// Signs the certificate that `receipt` proves to be recorded.
    ///
    /// # Errors
    /// [`IssueError::Certificate`]; redeeming the code again with the same key tries again.
    pub fn certify<A: Certifying>(
        &self,
        receipt: Receipt<Certify<A>>,
    ) -> Result<Issued<SignedCertificate>, IssueError> {
        let Certify { grant, plan, key } = receipt.redeem();
        let _spent = grant.redeem();
        let der = self.authorities.active().sign(&plan, &key)?;
        Ok(Issued::assertion(SignedCertificate { der, plan }))
    }

    /// Signs the broker's own certificate, as `receipt` proves to be recorded.
    ///
    /// # Errors
    /// [`IssueError::Certificate`].
    pub fn certify_server(
        &self,
        receipt: Receipt<ServerPlan>,
        entropy: &dyn Entropy,
    ) -> Result<Issued<Vec<u8>>, IssueError> {
        let now = receipt.time();
        let ServerPlan { names, key, life_s } = receipt.redeem();
        let authority = self.authorities.active();
        Ok(Issued::assertion(authority.sign_server(&names, &key, now, life_s, entropy)?))
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).finish_non_exhaustive()
    }
}
