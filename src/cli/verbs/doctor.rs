use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::limits::LEEWAY_S;
use crate::base::{Clock, SystemClock, code, io_reason, length_text};
use crate::cli::client::Client;
use crate::cli::enrolment::is_renewal_wanted;
use crate::cli::identity::{Identity, IdentityKind, files_with_key};
use crate::cli::sealed_key::KeyAgent;
use crate::console::{CommandFailure, Console};
use crate::wire::{FindingOutput, Items, Nothing, READINESS};

/// The result of one check.
#[derive(Clone, Debug)]
pub struct DoctorFinding {
    what: &'static str,
    state: FindingState,
    why: String,
    fix: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FindingState {
    Ok,
    Warn,
    Fail,
}

impl FindingState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl DoctorFinding {
    /// The check passed.
    #[must_use]
    pub fn ok(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, state: FindingState::Ok, why: why.into(), fix: String::new() }
    }

    /// The check passed, with a warning.
    #[must_use]
    pub fn warn(what: &'static str, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, state: FindingState::Warn, why: why.into(), fix: fix.into() }
    }

    /// The check failed.
    #[must_use]
    pub fn fail(what: &'static str, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, state: FindingState::Fail, why: why.into(), fix: fix.into() }
    }

    /// The result of `tried`, with the failure's own fix.
    #[must_use]
    pub fn of<T>(what: &'static str, tried: &Result<T, CommandFailure>, well: impl Into<String>) -> Self {
        match tried {
            Ok(_) => Self::ok(what, well),
            Err(failure) => {
                let fix = format!("{} (`keyward help error {}`)", failure.fix(), failure.code());
                Self::fail(what, failure.why(), fix)
            }
        }
    }

    /// Whether only the owner can use `path`.
    #[must_use]
    pub fn private(what: &'static str, path: &Path) -> Self {
        match fs::metadata(path) {
            Err(error) => Self::fail(
                what,
                format!("`{}`: {}", path.display(), io_reason(&error)),
                "check that it exists, and run this command as its owner or root",
            ),
            Ok(found) if found.mode() & 0o077 != 0 => {
                let why = format!("`{}` has mode {:o}", path.display(), found.mode() & 0o7777);
                Self::fail(what, why, format!("`chmod go= {}`", path.display()))
            }
            Ok(_) => Self::ok(what, format!("only its owner can use `{}`", path.display())),
        }
    }
}

/// `keyward doctor` for this machine's identity.
///
/// # Errors
/// [`CommandFailure`] if a check failed.
pub async fn doctor(operator: bool, home: &Path, console: &Console) -> Result<(), CommandFailure> {
    report(&client(home, IdentityKind::named(operator)).await, console)
}

/// Checks this machine's identity of `kind`, and the broker with it. Changes nothing.
async fn client(home: &Path, kind: IdentityKind) -> Vec<DoctorFinding> {
    let dir = home.join(kind.directory());
    let identity = Identity::load(home, kind).map_err(|failure| kind.or_as_operator(home, failure));
    let Ok(identity) = identity else {
        return vec![DoctorFinding::of("identity", &identity, "")];
    };
    let mut findings = vec![DoctorFinding::ok("identity", format!("in `{}`", dir.display()))];
    findings.push(DoctorFinding::private("identity's directory", &dir));
    findings.push(DoctorFinding::private("private key", &dir.join("key.pem")));
    findings.extend(sealed_key(home, &identity));
    findings.extend(key_in_clear(home, &identity));
    findings.push(certificate(&identity, kind));
    let client = Client::with(&identity, home, kind);
    let me = match &client {
        Ok(client) => is_renewal_wanted(client, kind).await,
        Err(failure) => Err(failure.clone()),
    };
    let well = format!("{} accepts this identity", identity.address);
    findings.push(DoctorFinding::of("broker", &me, well));
    if let (Ok(client), Ok(_)) = (&client, &me) {
        findings.extend(client.broker_clock().ahead_s().map(clock));
        let ready = client.call(READINESS, &Nothing, &Nothing).await;
        findings.push(match &ready {
            Ok(ready) if !ready.warnings.is_empty() => DoctorFinding::warn(
                "readiness",
                format!("ready, with warnings: {}", ready.warnings.join(", ")),
                "on the broker's host, `keyward doctor --config FILE` says more; `keyward status` has the details",
            ),
            ready => DoctorFinding::of("readiness", ready, "ready: the ledger is writable"),
        });
    }
    if me.is_ok_and(|wanted| wanted) {
        let why = "the authority that signed the certificate is tainted";
        findings.push(DoctorFinding::warn("authority", why, format!("`{}`", renewal(kind))));
    }
    findings
}

/// Whether the clocks of this machine and of the broker agree. The date of a response has whole seconds.
fn clock(ahead_s: i64) -> DoctorFinding {
    const WHAT: &str = "clock";
    if ahead_s.abs() <= LEEWAY_S {
        return DoctorFinding::ok(WHAT, "this machine's clock agrees with the broker's");
    }
    let (seconds, side) = (ahead_s.unsigned_abs(), if ahead_s > 0 { "ahead of" } else { "behind" });
    let length = u32::try_from(seconds).map_or_else(|_| format!("{seconds} s"), length_text);
    DoctorFinding::warn(
        WHAT,
        format!("this machine's clock is {length} {side} the broker's"),
        "correct the wrong one of the two clocks (`timedatectl`): this machine renews its certificate too early or too late, \
         and refuses certificates and tokens that are valid",
    )
}

/// A file that has the sealed private key in clear too: a process was killed before it removed the file.
fn key_in_clear(home: &Path, identity: &Identity) -> Option<DoctorFinding> {
    let key = identity.sealed_key().ok()??;
    let is_clear = |path: &PathBuf| {
        fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY") && !text.contains("SEALED"))
    };
    let path = files_with_key(home, key.public()).into_iter().find(is_clear)?;
    let why = format!("the private key is in clear in `{}`", path.display());
    let fix = format!("remove the file (`rm {}`), then `keyward renew --operator`", path.display());
    Some(DoctorFinding::warn("sealed key", why, fix))
}

/// How a sealed private key can be used now; nothing about a key in clear.
fn sealed_key(home: &Path, identity: &Identity) -> Option<DoctorFinding> {
    const WHAT: &str = "sealed key";
    let key = match identity.sealed_key() {
        Ok(key) => key?,
        Err(failure) => return Some(DoctorFinding::of(WHAT, &Err::<(), _>(failure), "")),
    };
    Some(match KeyAgent::of(home).state(Some(&key)) {
        Ok(Some(state)) if state.opens => DoctorFinding::ok(
            WHAT,
            format!("sealed with a passphrase; the key agent uses the key until {}", state.until),
        ),
        Ok(Some(_)) => DoctorFinding::warn(
            WHAT,
            "sealed with a passphrase; the key agent was started with another passphrase",
            "start one with the present passphrase, which replaces it: `keyward operator key-agent`",
        ),
        Ok(None) => DoctorFinding::ok(
            WHAT,
            "sealed with a passphrase; no key agent runs, so each command asks for it",
        ),
        Err(failure) => DoctorFinding::of(WHAT, &Err::<(), _>(failure), ""),
    })
}

/// The command that renews the certificate.
const fn renewal(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::Agent => "keyward renew",
        IdentityKind::Operator => "keyward renew --operator",
    }
}

fn certificate(identity: &Identity, kind: IdentityKind) -> DoctorFinding {
    const WHAT: &str = "certificate";
    let certificate = match identity.certificate() {
        Ok(certificate) => certificate,
        Err(failure) => {
            return DoctorFinding::fail(
                WHAT,
                failure.why(),
                "ask an operator for an enrolment code, then `keyward join --replace`",
            );
        }
    };
    let (now, until) = (SystemClock::new().now(), certificate.not_after());
    let (left, life) = (until.seconds_since(now), until.seconds_since(certificate.not_before()));
    if now < certificate.not_before() {
        return DoctorFinding::fail(
            WHAT,
            "the certificate is not valid yet: this machine's clock is behind",
            "correct this machine's clock",
        );
    }
    if left <= 0 {
        return DoctorFinding::fail(
            WHAT,
            format!("the certificate expired at {until}"),
            format!(
                "`{}`; if its grace period has ended too, ask an operator for an enrolment code, then `keyward join --replace`",
                renewal(kind)
            ),
        );
    }
    if left.saturating_mul(4) < life {
        let why = format!("the certificate has less than a quarter of its life left, until {until}");
        let renew = renewal(kind);
        return DoctorFinding::warn(WHAT, why, format!("`{renew}`, or keep `{renew} --watch` running"));
    }
    DoctorFinding::ok(WHAT, format!("{}, until {until}", certificate.spiffe()))
}

/// Prints the results.
///
/// # Errors
/// [`CommandFailure`] if a check failed.
pub fn report(findings: &[DoctorFinding], console: &Console) -> Result<(), CommandFailure> {
    if console.is_json() {
        let item = |finding: &DoctorFinding| {
            let DoctorFinding { what, state, why, fix } = finding.clone();
            FindingOutput { what: what.into(), state: state.as_str().into(), why, fix }
        };
        console.json(&Items { items: findings.iter().map(item).collect() });
    } else {
        let row = |finding: &DoctorFinding| {
            [finding.state.as_str(), finding.what, &finding.why, &finding.fix].map(str::to_owned).to_vec()
        };
        console.table(
            "checks",
            &["STATE", "WHAT", "WHY", "FIX"],
            &findings.iter().map(row).collect::<Vec<_>>(),
        );
    }
    let failing = findings.iter().filter(|finding| finding.state == FindingState::Fail).count();
    if failing == 0 {
        return Ok(());
    }
    Err(CommandFailure::new(code::CHECKS_FAILED)
        .because(format!("{failing} of {} checks failed", findings.len())))
}
