use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::base::limits::{LEEWAY_S, TOKEN_BYTES_MAX};
use crate::base::{Clock, Sensitive, SystemClock, Timestamp, TokenId, code};
use crate::cli::client::{AddressOrigin, Client};
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, Console, input, not_an_argument};
use crate::token::{Claims, KEY_SET, TokenError, Verifier, unverified_claims};
use crate::wire::{AUTHORIZATION_SERVER, Nothing, ProblemOutput, TokenOutput};

/// `keyward token show`
#[derive(Args, Debug)]
pub struct TokenShowArgs {
    /// Read the token from standard input; never give the token itself
    #[arg(value_name = "-")]
    argument: Vec<OsString>,
    /// Read the token from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Room for white space around a token.
const INPUT_BYTES_MAX: usize = 2 * TOKEN_BYTES_MAX;

impl TokenShowArgs {
    pub(super) fn read(&self, console: &Console) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
        let is_token = |one: &&OsString| one.as_os_str() != OsStr::new("-");
        let tokens: Vec<OsString> = self.argument.iter().filter(is_token).cloned().collect();
        let is_id = |one: &OsString| one.to_str().is_some_and(|text| text.parse::<TokenId>().is_ok());
        if tokens.iter().any(is_id) {
            let why = "the argument is the id of a token, and this command reads the token itself";
            let fix = "give the token on standard input or with `--file`; `keyward audit list` shows the entry of an id";
            return Err(CommandFailure::usage(why, fix));
        }
        not_an_argument(&tokens, "--file")?;
        input::secret(self.file.as_deref(), "Token", INPUT_BYTES_MAX, console)
    }
}

/// The id of a token. A token in its place is refused as every secret is that is an argument.
pub(super) fn token_id(text: &str) -> Result<TokenId, CommandFailure> {
    // A token has a header in base64 of JSON, and three parts.
    if text.starts_with("eyJ") || text.contains('.') {
        let why = "a token was given as an argument, and every user of the machine can read arguments";
        let fix = "revoke the token by its id: `keyward token show -` reads the token from standard input and shows the id";
        return Err(CommandFailure::usage(why, fix));
    }
    Ok(text.parse()?)
}

/// Prints the claims of `token`, and fails if it is not verified.
pub(super) async fn show(session: VerbSession<'_>, token: &str) -> Result<(), CommandFailure> {
    let VerbSession { home, console } = session;
    let claims = unverified_claims(token).map_err(|_| {
        unverified("the input is not an access token of a Keyward broker")
            .mended_by("give the whole token, as `keyward token CAPABILITY` prints it")
    })?;
    let now = SystemClock::new().now();
    let verified = verify(home, token, &claims).await;
    let output = TokenOutput {
        in_leeway: verified.is_ok() && is_outside(&claims, now),
        ..output(&claims, bound_to(home, &claims), verified.as_ref().err())
    };
    if console.is_json() {
        console.json(&output);
    } else {
        tell(&output, console);
    }
    verified
}

/// Whether the time of the token has not begun at `now`, or is over. Until the leeway has passed, it is accepted.
fn is_outside(claims: &Claims, now: Timestamp) -> bool {
    now < Timestamp::from_s(claims.nbf) || now >= Timestamp::from_s(claims.exp)
}

fn unverified(why: &str) -> CommandFailure {
    CommandFailure::new(code::TOKEN_UNVERIFIED).because(why)
}

/// Verifies `token` with the present keys of this machine's broker.
async fn verify(home: &Path, token: &str, claims: &Claims) -> Result<(), CommandFailure> {
    let (issuer, verifier) = verifier(home, claims).await.map_err(|failure| {
        unverified(&format!("the signature was not checked: {}", failure.why())).mended_by(failure.fix())
    })?;
    let checked = verifier.verify_for_anybody(token, SystemClock::new().reading());
    let why = match checked {
        Ok(_) => return Ok(()),
        Err(TokenError::Form) => "the token does not have the form of this broker's tokens".to_owned(),
        Err(TokenError::UnknownKey) => {
            format!("{issuer} has no key of this id: another broker signed the token, or the key is retired")
        }
        Err(TokenError::Signature) => "the signature does not match: the token was changed".to_owned(),
        Err(TokenError::Audience) => format!("another broker issued the token, not {issuer}"),
        Err(TokenError::Expired) => format!("the token expired at {}", Timestamp::from_s(claims.exp)),
        Err(TokenError::NotYet) => {
            format!("the token is not valid before {}", Timestamp::from_s(claims.nbf))
        }
    };
    Err(unverified(&why))
}

/// The issuer and its keys, from the broker that this machine trusts.
async fn verifier(home: &Path, claims: &Claims) -> Result<(String, Verifier), CommandFailure> {
    let (broker, origin) = broker_with_keys(home, claims)?;
    let client = Client::without_certificate(&broker, origin)?;
    let issuer = client.call(AUTHORIZATION_SERVER, &Nothing, &Nothing).await?.answer.issuer;
    let keys = client.call(KEY_SET, &Nothing, &Nothing).await?.answer;
    let verifier = Verifier::new(&issuer, &keys).map_err(|error| unverified(&error.to_string()))?;
    Ok((issuer, verifier))
}

/// The identity whose broker has the keys: the agents' listener has them. An operator's machine knows its address only
/// from the token, and asks there only if the host is that of its own broker: a token must not choose the host.
fn broker_with_keys(home: &Path, claims: &Claims) -> Result<(Identity, AddressOrigin), CommandFailure> {
    const AGENT: IdentityKind = IdentityKind::Agent;
    if Identity::existing(home, AGENT)?.is_some() {
        return Ok((Identity::load(home, AGENT)?, AddressOrigin::of(home, AGENT)));
    }
    let operator = Identity::load(home, IdentityKind::Operator).map_err(|_| {
        let why = format!("there is no identity in `{}`, so no broker is known", home.display());
        CommandFailure::new(code::NO_IDENTITY).because(why)
    })?;
    match listener_of(&claims.iss, &operator.address) {
        Some(address) => Ok((Identity { address, ..operator }, AddressOrigin::Token)),
        None => Err(unverified(&format!(
            "the issuer {} is not on the host of this operator's broker, {}",
            claims.iss, operator.address
        ))
        .mended_by("run the command on an agent's machine")),
    }
}

/// `host:port` of the origin `issuer`, if it has the host of `known`.
fn listener_of(issuer: &str, known: &str) -> Option<String> {
    let place = issuer.strip_prefix("https://")?;
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { place.to_owned() } else { format!("{place}:443") };
    (host(&address) == host(known)).then_some(address)
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Whether the certificate of this machine's agent is the one that the token is bound to.
fn bound_to(home: &Path, claims: &Claims) -> Option<bool> {
    let certificate = Identity::load(home, IdentityKind::Agent).ok()?.certificate().ok()?;
    Some(certificate.thumbprint().base64url() == claims.cnf.x5t_s256)
}

fn output(claims: &Claims, bound: Option<bool>, failure: Option<&CommandFailure>) -> TokenOutput {
    let at = |seconds: i64| Timestamp::from_s(seconds).to_string();
    TokenOutput {
        verified: failure.is_none(),
        in_leeway: false,
        problem: failure.map(|failure| ProblemOutput {
            code: failure.code().to_owned(),
            detail: failure.why().to_owned(),
            fix: failure.fix().to_owned(),
        }),
        token_id: claims.jti,
        issuer: claims.iss.to_string(),
        agent: claims.sub.to_string(),
        instance: claims.instance,
        audience: claims.aud.to_string(),
        capabilities: claims.authorization_details.clone(),
        issued_at: at(claims.iat),
        not_before: at(claims.nbf),
        expires_at: at(claims.exp),
        x5t_s256: claims.cnf.x5t_s256.clone(),
        bound_to_this_machine: bound,
        decision_id: claims.decision,
        seq: claims.seq,
    }
}

fn tell(token: &TokenOutput, console: &Console) {
    let capabilities = token.capabilities.iter().map(|one| {
        // A JSON object of names and values.
        let parameters = serde_json::to_string(&one.parameters).unwrap_or_default();
        let parameters = if one.parameters.is_empty() { String::new() } else { format!(" {parameters}") };
        format!("{} ({}){parameters}", one.capability, one.access)
    });
    let bound = match token.bound_to_this_machine {
        Some(true) => "this machine's certificate".to_owned(),
        Some(false) => format!("another certificate than this machine's ({})", token.x5t_s256),
        None => format!("the certificate {}", token.x5t_s256),
    };
    let verified = match (token.verified, token.in_leeway) {
        (false, _) => "no".to_owned(),
        (true, false) => "yes; revocation is not checked".to_owned(),
        (true, true) => format!(
            "yes, within the leeway: this machine's clock is outside the token's time, and the token is accepted up to \
             {LEEWAY_S} seconds before and after it; revocation is not checked"
        ),
    };
    for (name, text) in [
        ("token", token.token_id.to_string()),
        ("for", capabilities.collect::<Vec<_>>().join(", ")),
        ("audience", token.audience.clone()),
        ("agent", token.agent.clone()),
        ("instance", token.instance.to_string()),
        ("bound to", bound),
        ("valid from", token.not_before.clone()),
        ("valid until", token.expires_at.clone()),
        ("issuer", token.issuer.clone()),
        ("issued in", format!("ledger entry {}, decision {}", token.seq, token.decision_id)),
        ("verified", verified),
    ] {
        console.line(&format!("{name:<12} {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_outside_its_time_from_its_end_on() {
        let claims = |nbf: i64, exp: i64| -> Claims {
            serde_json::from_value(serde_json::json!({
                "iss": "https://b", "sub": "spiffe://t/agent/a", "aud": "https://x", "client_id": "a", "iat": nbf, "nbf": nbf,
                "exp": exp, "jti": TokenId::from_bytes([0; 16]), "scope": "a.b", "authorization_details": [],
                "cnf": { "x5t#S256": "x" }, "instance": crate::base::InstanceId::from_bytes([0; 16]),
                "decision": crate::base::DecisionId::from_bytes([0; 16]), "seq": 1,
            }))
            .unwrap()
        };
        let of = |now| is_outside(&claims(100, 200), Timestamp::from_s(now));
        assert_eq!([99, 100, 199, 200, 201].map(of), [true, false, false, true, true]);
    }

    #[test]
    fn listener_is_that_of_the_issuer_on_the_known_host_only() {
        let listener = |issuer: &str| listener_of(issuer, "broker.test:8444");
        assert_eq!(listener("https://broker.test:8443").as_deref(), Some("broker.test:8443"));
        assert_eq!(listener("https://broker.test").as_deref(), Some("broker.test:443"));
        for other in ["https://other.test:8443", "http://broker.test:8443", "broker.test:8443", "https://"] {
            assert_eq!(listener(other), None, "{other}");
        }
        assert_eq!(listener_of("https://[::1]:8443", "[::1]:8444").as_deref(), Some("[::1]:8443"));
    }
}
