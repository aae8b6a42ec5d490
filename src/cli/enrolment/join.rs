use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::issued::{issued, printed};
use super::replaced::{ReplacedOperator, tell_other_certificates};
use crate::base::code::{self, Code};
use crate::base::encoding::base64url;
use crate::base::{Clock, Sensitive, SystemClock};
use crate::cli::client::{Client, Received, retry_while_busy};
use crate::cli::identity::{
    Identity, IdentityKind, NEW_KEY_IN_CLEAR, PendingKey, identity_lock, joining_file, remove_other_joining,
};
use crate::cli::sealed_key::KeyOpener;
use crate::console::{
    CommandFailure, Console, input, known_key_passphrase, new_key_passphrase, not_an_argument,
};
use crate::files::private_dir;
use crate::pki::{EnrolmentCode, PeerCertificate, Requested, SpiffeId};
use crate::wire::{ENROL, EnrolBody, IdentityAnswer, Nothing};

/// `keyward join`
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// Read the enrolment code from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// Replace the present identity. The new identity must come from a broker that the present one trusts, or
    /// have the same name and address. The replaced certificate of an operator is revoked
    #[arg(long)]
    replace: bool,
    /// Seal an operator's private key with a passphrase, which is asked at the terminal
    #[arg(long)]
    seal: bool,
    /// Read the passphrase from this file
    #[arg(long, value_name = "FILE", requires = "seal")]
    passphrase_file: Option<PathBuf>,
    /// Refused: every user of the machine can read arguments
    #[arg(hide = true)]
    argument: Vec<OsString>,
}

/// More than an enrolment code has.
const CODE_BYTES_MAX: usize = 2048;

/// The refusals of a code that no certificate can follow.
const REFUSED_FOR_GOOD: [Code; 3] =
    [code::ENROLMENT_CODE_INVALID, code::ENROLMENT_CODE_REVOKED, code::ENROLMENT_CODE_USED];

/// The treatment of an existing identity.
#[derive(Clone, Copy, Eq, PartialEq)]
enum OnExisting {
    Keep,
    Replace,
}

/// Enrols this machine with the identity that the code names: makes a key, redeems the code, stores key and
/// certificate. A repetition with the same code sends the same key and gets the same certificate.
pub(crate) async fn join(home: &Path, args: &JoinArgs, console: &Console) -> Result<(), CommandFailure> {
    not_an_argument(&args.argument, "--code-file")?;
    let text = input::secret(args.code_file.as_deref(), "Enrolment code", CODE_BYTES_MAX, console)?;
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    if text.trim().is_empty() {
        let from = args.code_file.as_ref().map_or_else(
            || "standard input, or what was typed at the prompt,".to_owned(),
            |file| format!("`{}`", file.display()),
        );
        return Err(CommandFailure::usage(
            &format!("there is no enrolment code: {from} is empty"),
            "type the code at the prompt, send it to standard input, or name its file: `--code-file FILE`",
        ));
    }
    let code = EnrolmentCode::parse(text).map_err(|error| {
        CommandFailure::usage(
            &error.to_string(),
            "copy the whole line that `keyward agent invite` or `keyward operator invite` printed",
        )
    })?;
    if args.seal && IdentityKind::of(&code.spiffe) != IdentityKind::Operator {
        return Err(CommandFailure::usage(
            "the enrolment code is for an agent, and only an operator's key can be sealed",
            "leave out `--seal`",
        ));
    }
    announce(&code, console);
    private_dir(home).map_err(|error| CommandFailure::of_file(home, &error))?;
    let lock = identity_lock(home)?;
    lock.lock().map_err(|error| CommandFailure::of_file(home, &error))?;
    let name = joining_file(home, &code.spiffe, code.id);
    let existing = if args.replace { OnExisting::Replace } else { OnExisting::Keep };
    let mut replaced_operator = None;
    if let Some(replaced) = check_existing(home, &code, &name, existing)? {
        let is_operator = IdentityKind::of(&code.spiffe) == IdentityKind::Operator;
        replaced_operator = is_operator.then(|| ReplacedOperator::find(home)).flatten();
        announce_replacement(&replaced, replaced_operator.is_some(), console);
    }
    let was_sealed = Identity::has_sealed_key(home, IdentityKind::of(&code.spiffe));
    let pending = match sealing(home, args, &name, console)? {
        None => PendingKey::open(home, &name)?,
        Some(by) => PendingKey::open_sealed(home, &name, &by)?,
    };
    let answer = redeem(&code, &pending).await?;
    let requested = Requested { key: pending.public()?.digest(), spiffe: &code.spiffe, trusted: &[code.pin] };
    let identity = issued(&answer, &requested, &code.address, &pending)?;
    identity.save(home, IdentityKind::of(&code.spiffe))?;
    pending.settle()?;
    remove_other_joining(home, &code.spiffe)?;
    // A renewal that the replaced identity began would give the new one a key from before.
    Identity::forget_renewal(home, IdentityKind::of(&code.spiffe))?;
    if console.is_json() {
        console.json(&printed(&answer));
    } else {
        let until = identity.certificate()?.not_after();
        console.line(&format!("enrolled as {}; certificate valid until {until}", code.spiffe));
        if was_sealed && identity.sealed_key()?.is_none() {
            console.say(NEW_KEY_IN_CLEAR);
        }
    }
    let serial = replaced_operator.as_ref().map(ReplacedOperator::serial);
    if let Some(replaced) = replaced_operator {
        replaced.revoke(home, console).await;
    }
    tell_other_certificates(&answer, serial, console);
    Ok(())
}

/// Sends the code with the pending key. A refusal that no certificate can follow removes the key.
async fn redeem(
    code: &EnrolmentCode,
    pending: &PendingKey,
) -> Result<Received<IdentityAnswer>, CommandFailure> {
    let secret = Sensitive::new(base64url(code.secret.expose())).into();
    let body = EnrolBody { code_id: code.id.to_string(), secret, csr: base64url(&pending.request) };
    let client = Client::pinned(code)?;
    let answer = retry_while_busy(async || client.call(ENROL, &Nothing, &body).await).await;
    let is_final =
        |refusal: &CommandFailure| REFUSED_FOR_GOOD.iter().any(|code| code.as_str() == refusal.code());
    if answer.as_ref().is_err_and(is_final) {
        pending.remove()?;
    }
    answer
}

/// The opener of the new key, if it is to be sealed: with the passphrase of an earlier attempt, or with a new one.
fn sealing(
    home: &Path,
    args: &JoinArgs,
    name: &str,
    console: &Console,
) -> Result<Option<KeyOpener>, CommandFailure> {
    if !args.seal {
        return Ok(None);
    }
    let file = args.passphrase_file.as_deref();
    let opener = match PendingKey::sealed(home, name)? {
        Some(key) => KeyOpener::enter(&key, &known_key_passphrase(file, console)?),
        None => KeyOpener::choose(&new_key_passphrase(file, console)?),
    };
    opener.map(Some)
}

/// Prints the subject of the code before a request is sent.
fn announce(code: &EnrolmentCode, console: &Console) {
    let (kind, name) = match &code.spiffe {
        SpiffeId::Agent { name, .. } => ("agent", name.as_str()),
        SpiffeId::ResourceServer { name, .. } => ("resource server", name.as_str()),
        SpiffeId::Operator { name, .. } => ("operator", name.as_str()),
    };
    let (address, trust_domain, pin) = (&code.address, code.spiffe.trust_domain(), code.pin.hex());
    if console.is_json() {
        let joining = json!({
            "address": address, "trust_domain": trust_domain, "kind": kind, "name": name, "authority_pin": pin
        });
        console.say(&json!({ "joining": joining }).to_string());
    } else {
        console.say(&format!(
            "joining {address} as {kind} `{name}` of trust domain {trust_domain}; the SHA-256 digest of the authority's key is \
             {pin} (an operator sees it with `keyward authority list`, as `pin`)"
        ));
    }
}

fn announce_replacement(replaced: &str, is_revoked: bool, console: &Console) {
    if console.is_json() {
        console.say(&json!({ "replacing": replaced }).to_string());
    } else {
        let revoked = if is_revoked { "; its certificate is revoked when the new one is stored" } else { "" };
        console.say(&format!("replacing {replaced}{revoked}"));
    }
}

/// Refuses to replace an identity without `--replace`, and if it does not trust the authority that the code names, so that
/// a code of another broker replaces no identity. An identity that was idle while its broker rotated the authority does
/// not trust it either: a code with its own name and the address of its broker replaces it. The answer describes the
/// identity that will be replaced.
fn check_existing(
    home: &Path,
    code: &EnrolmentCode,
    pending: &str,
    existing: OnExisting,
) -> Result<Option<String>, CommandFailure> {
    let kind = IdentityKind::of(&code.spiffe);
    let Some(dir) = Identity::existing(home, kind)? else { return Ok(None) };
    let found = Identity::load(home, kind);
    let held = found.as_ref().map_err(Clone::clone).and_then(Identity::certificate);
    let trusted = found.as_ref().ok().and_then(|found| found.authority_pins().ok()).unwrap_or_default();
    // An earlier join with this code was interrupted after it had stored this identity.
    if trusted.contains(&code.pin)
        && held.as_ref().is_ok_and(|held| *held.spiffe() == code.spiffe)
        && found.as_ref().is_ok_and(|found| PendingKey::is_key(home, pending, &found.key_pem))
    {
        return Ok(None);
    }
    let known = found.as_ref().ok().zip(held.as_ref().ok());
    let present =
        known.map_or_else(|| "a damaged identity".to_owned(), |(found, held)| described(found, held));
    let dir = dir.display();
    if existing == OnExisting::Keep {
        let why = format!("`{dir}` already holds {present}; nothing was sent");
        return Err(CommandFailure::new(code::IDENTITY_EXISTS).because(why));
    }
    if trusted.contains(&code.pin) {
        return Ok(Some(present));
    }
    let is_of_code = |(found, held): (&Identity, &PeerCertificate)| {
        *held.spiffe() == code.spiffe && found.address == code.address
    };
    if known.is_some_and(is_of_code) {
        return Ok(Some(format!(
            "{present}, which does not trust the authority that the enrolment code names: the broker may have a new one"
        )));
    }
    let why = format!(
        "`{dir}` holds {present}, which does not trust the authority that the enrolment code names; nothing was sent"
    );
    let fix = "if the code is for another broker or another name, use another directory: `--home DIR`; otherwise ask the operator who sent the code";
    Err(CommandFailure::new(code::IDENTITY_EXISTS).because(why).mended_by(fix))
}

/// An identity for messages: its name, its broker, and the end of its certificate.
fn described(identity: &Identity, certificate: &PeerCertificate) -> String {
    let ends = certificate.not_after();
    let validity = if SystemClock::new().now() < ends { "valid until" } else { "expired at" };
    format!("{} of the broker at {}, {validity} {ends}", certificate.spiffe(), identity.address)
}
