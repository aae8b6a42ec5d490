use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::missing::missing;
use crate::base::code::{self, Code};
use crate::base::{ApprovalId, CapabilityName, GivenParameters, Sensitive};
use crate::cli::identity::IdentityKind;
use crate::cli::session::agent_client;
use crate::cli::verbs::token::TokenRequest;
use crate::console::CommandFailure;
use crate::files::{remove, replace};
use crate::pki::{PeerCertificate, certificate_from_pem};
use crate::token::unverified_claims;
use crate::wire::TokenAnswer;

/// The file with a token that is renewed. Times are of a monotonic clock.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    request: RenewalRequest,
    renew_at: Duration,
    expires_at: Duration,
    content: Content,
    /// The thumbprint of the certificate that the token is bound to.
    bound_to: Option<String>,
    /// The thumbprint of the agent's certificate that was seen last.
    certificate: Option<String>,
    /// The capabilities that the present token does not have, with the reasons.
    missing: Option<String>,
}

/// The request of a renewal.
#[derive(Clone, Debug)]
pub(super) struct RenewalRequest {
    pub(super) scope: String,
    pub(super) resource: Option<String>,
    pub(super) parameters: BTreeMap<CapabilityName, GivenParameters>,
    pub(super) renewal: Renewal,
}

/// Whether a token is renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Renewal {
    /// The token needs no approval.
    Plain,
    /// Each renewal is a use of this approval.
    With(ApprovalId),
    /// The approval of the token gives no further one.
    Never,
}

/// The codes that say that an approval gives no further token.
const APPROVAL_IS_OVER: [Code; 9] = [
    code::APPROVAL_USED,
    code::APPROVAL_EXPIRED,
    code::APPROVAL_DENIED,
    code::APPROVAL_WITHDRAWN,
    code::APPROVAL_UNKNOWN,
    code::APPROVAL_REQUEST_DIFFERS,
    code::APPROVAL_RULES_CHANGED,
    code::APPROVAL_OF_ANOTHER_AGENT,
    code::APPROVER_INELIGIBLE,
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Content {
    Token,
    Removed,
}

/// Shortest and longest time between two renewals of the token, in seconds.
const RENEW_S: (u64, u64) = (5, 600);

impl TokenFile {
    /// The path of the token's file in `dir`.
    pub(super) fn path_in(dir: &Path) -> PathBuf {
        dir.join("token")
    }

    /// Writes the file.
    pub(super) fn store(path: &Path, minted: &TokenAnswer) -> Result<(), CommandFailure> {
        let written = replace(path, minted.access_token.value().expose().as_bytes());
        written.map_err(|error| CommandFailure::of_file(path, &error))
    }

    /// The file in `dir`, whose token lives for another `life_s` seconds from `now` on.
    pub(super) fn existing(dir: &Path, request: RenewalRequest, life_s: u64, now: Duration) -> Self {
        let path = Self::path_in(dir);
        let token = fs::read_to_string(&path).ok().map(Sensitive::new);
        let bound_to = token.and_then(|token| bound_to(token.expose()));
        let (renew_at, expires_at, content) = (now, now, Content::Token);
        let certificate = bound_to.clone();
        let missing = None;
        let mut file = Self { path, request, renew_at, expires_at, content, bound_to, certificate, missing };
        file.lives_for(life_s, now);
        file
    }

    fn lives_for(&mut self, life_s: u64, now: Duration) {
        self.renew_at = now.saturating_add(Duration::from_secs((life_s / 2).clamp(RENEW_S.0, RENEW_S.1)));
        self.expires_at = now.saturating_add(Duration::from_secs(life_s));
        self.content = Content::Token;
    }

    pub(super) fn renew_at(&self) -> Duration {
        if self.request.renewal == Renewal::Never { Duration::MAX } else { self.renew_at }
    }

    /// When the file has to be removed; `None` if it is.
    pub(super) fn remove_at(&self) -> Option<Duration> {
        (self.content == Content::Token).then_some(self.expires_at)
    }

    /// Whether the agent's certificate was replaced since the last look. Services refuse the token together with the new
    /// certificate, so the token is due for renewal at once.
    pub(super) fn has_new_certificate(&mut self, home: &Path, now: Duration) -> bool {
        // Absent for a moment while it is replaced, on some file systems.
        let Some(present) = present_certificate(home) else { return false };
        if self.certificate.as_ref() == Some(&present) {
            return false;
        }
        self.certificate = Some(present);
        self.renew_at = self.renew_at.min(now);
        true
    }

    /// Gets a new token, at `now`. What has changed about its capabilities.
    pub(super) async fn renew(
        &mut self,
        home: &Path,
        now: Duration,
    ) -> Result<Option<String>, CommandFailure> {
        let client = agent_client(home).await?;
        let RenewalRequest { scope, resource, parameters, renewal } = self.request.clone();
        let approval = if let Renewal::With(approval) = renewal { Some(approval) } else { None };
        let request = TokenRequest::for_scope(scope.clone(), resource).approved_by(approval);
        let request = request.with_parameters(parameters);
        let minted = request.fresh(&client).await?;
        Self::store(&self.path, &minted)?;
        self.bound_to = bound_to(minted.access_token.value().expose());
        self.certificate.clone_from(&self.bound_to);
        self.lives_for(u64::from(minted.expires_in), now);
        Ok(self.without(missing(scope.split_whitespace(), &minted.scope, &minted.left_out)))
    }

    /// The message about capabilities that the new token does not have, if they are others than before.
    fn without(&mut self, missing: Option<String>) -> Option<String> {
        if self.missing == missing {
            return None;
        }
        self.missing = missing;
        Some(match &self.missing {
            Some(missing) => format!("the new token is without {missing}; the command goes on"),
            None => "the new token has all capabilities again".to_owned(),
        })
    }

    /// Whether `failure` says that the approval of the token gives no further one: then the token is renewed no more.
    pub(super) fn ends_renewals(&mut self, failure: &CommandFailure) -> bool {
        let is_over = matches!(self.request.renewal, Renewal::With(_))
            && APPROVAL_IS_OVER.iter().any(|code| code.as_str() == failure.code());
        if is_over {
            self.request.renewal = Renewal::Never;
        }
        is_over
    }

    /// Removes the file if its token has expired at `now`: a program that reads the file would send a dead token. Whether
    /// it was removed just now.
    pub(super) fn remove_expired(&mut self, now: Duration) -> Result<bool, CommandFailure> {
        if self.remove_at().is_none_or(|at| at > now) {
            return Ok(false);
        }
        self.content = Content::Removed;
        remove(&self.path).map_err(|error| CommandFailure::of_file(&self.path, &error))?;
        Ok(true)
    }

    /// The state of the file in a message about a failed renewal at `now`.
    pub(super) fn described(&self, now: Duration) -> String {
        match self.remove_at() {
            Some(_) if self.certificate != self.bound_to => {
                "the present token is bound to the agent's former certificate, and services refuse it with the new one"
                    .to_owned()
            }
            Some(at) => {
                format!("the present token is valid for another {} s", at.saturating_sub(now).as_secs())
            }
            None => "there is no valid token, and its file is removed".to_owned(),
        }
    }
}

/// The thumbprint of the certificate that `token` is bound to.
fn bound_to(token: &str) -> Option<String> {
    unverified_claims(token).ok().map(|claims| claims.cnf.x5t_s256)
}

/// The thumbprint of the agent's certificate below `home`. The private key is not read.
fn present_certificate(home: &Path) -> Option<String> {
    let path = home.join(IdentityKind::Agent.directory()).join("certificate.pem");
    let der = certificate_from_pem(&fs::read_to_string(path).ok()?).ok()?;
    Some(PeerCertificate::parse(&der).ok()?.thumbprint().base64url())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(renewal: Renewal) -> RenewalRequest {
        RenewalRequest { scope: "a".to_owned(), resource: None, parameters: BTreeMap::new(), renewal }
    }

    #[test]
    fn token_is_renewed_while_its_approval_gives_further_ones() {
        let dir = tempfile::tempdir().unwrap();
        let now = Duration::from_secs(1000);
        let approval = ApprovalId::mint(crate::base::Timestamp::from_s(1), &crate::base::SystemEntropy);
        let mut file = TokenFile::existing(dir.path(), request(Renewal::With(approval)), 100, now);
        for passing in [code::BROKER_UNREACHABLE, code::RATE_LIMITED, code::POLICY_DENIED] {
            assert!(!file.ends_renewals(&CommandFailure::new(passing)), "{passing}");
        }
        assert_eq!(file.renew_at(), Duration::from_secs(1050));
        assert!(file.ends_renewals(&CommandFailure::new(code::APPROVAL_USED)));
        assert_eq!(file.renew_at(), Duration::MAX);
        assert_eq!(file.remove_at(), Some(Duration::from_secs(1100)), "the token is valid until its end");
        let mut plain = TokenFile::existing(dir.path(), request(Renewal::Plain), 100, now);
        assert!(!plain.ends_renewals(&CommandFailure::new(code::APPROVAL_USED)));
    }

    #[test]
    fn a_token_of_a_former_certificate_is_not_called_valid() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(TokenFile::path_in(dir.path()), "token").unwrap();
        let now = Duration::from_secs(1000);
        let mut file = TokenFile::existing(dir.path(), request(Renewal::Plain), 100, now);
        file.bound_to = Some("former".to_owned());
        file.certificate = Some("new".to_owned());
        assert!(file.described(now).contains("former certificate"), "{}", file.described(now));
        file.certificate = Some("former".to_owned());
        assert!(file.described(now).contains("is valid for another 100 s"), "{}", file.described(now));
    }

    #[test]
    fn renewed_token_with_fewer_capabilities_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TokenFile::existing(dir.path(), request(Renewal::Plain), 100, Duration::from_secs(1));
        assert_eq!(file.without(missing(["a"].into_iter(), "a", &[])), None);
        let reduced = || missing(["a", "b"].into_iter(), "a", &[]);
        let said = file.without(reduced()).unwrap();
        assert!(said.contains("without `b` (no role of this agent holds it"), "{said}");
        assert_eq!(file.without(reduced()), None);
        assert!(file.without(None).unwrap().contains("all capabilities again"));
    }

    #[test]
    fn an_expired_token_does_not_stay_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(TokenFile::path_in(dir.path()), "token").unwrap();
        let at = Duration::from_secs;
        let mut file = TokenFile::existing(dir.path(), request(Renewal::Plain), 100, at(1000));
        assert_eq!((file.renew_at(), file.remove_at()), (at(1050), Some(at(1100))));
        assert_eq!(file.described(at(1040)), "the present token is valid for another 60 s");
        assert!(!file.remove_expired(at(1099)).unwrap());
        assert!(TokenFile::path_in(dir.path()).exists(), "one second before its end");
        assert!(file.remove_expired(at(1100)).unwrap());
        assert!(!TokenFile::path_in(dir.path()).exists());
        assert!(!file.remove_expired(at(1101)).unwrap(), "once");
        assert_eq!(
            (file.remove_at(), file.described(at(1101))),
            (None, "there is no valid token, and its file is removed".to_owned())
        );
    }
}
