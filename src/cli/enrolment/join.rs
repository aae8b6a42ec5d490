use std::path::Path;

use serde_json::{Value, json};

use crate::base::encoding::base64url;
use crate::base::{Clock, Sensitive, SystemClock, code};
use crate::cli::client::{Client, patiently};
use crate::cli::identity::{Identity, Kind, PendingKey, identity_lock};
use crate::console::{Console, Failure, input};
use crate::files::private_dir;
use crate::pki::EnrolmentCode;
use crate::pki::{Requested, SpiffeId, certificate_from_pem, certificates_from_pem};

/// Longer than any enrolment code.
const CODE_BYTES_MAX: usize = 2048;

/// Enrols this machine with the identity that the code names: makes a key, redeems the code, stores key
/// and certificate. Joining again with the same code sends the same key and gets the same certificate.
pub(in crate::cli) async fn join(
    home: &Path,
    code_file: Option<&Path>,
    replace: bool,
    console: &Console,
) -> Result<(), Failure> {
    let text = input::secret(code_file, "Enrolment code", CODE_BYTES_MAX, console)?;
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    let code = EnrolmentCode::parse(text).map_err(|error| {
        Failure::usage(
            &error.to_string(),
            "copy the whole line that `keyward agent invite` or `keyward operator invite` printed",
        )
    })?;
    let kind = Kind::of(&code.spiffe);
    announce(&code, console);
    private_dir(home).map_err(|error| Failure::of_file(home, &error))?;
    let lock = identity_lock(home)?;
    lock.lock().map_err(|error| Failure::of_file(home, &error))?;
    let name = format!("joining-{}.pem", code.id);
    check_existing(home, kind, &code, (replace, &name))?;
    let pending = PendingKey::open(home, &name)?;
    let secret = zeroize::Zeroizing::new(base64url(code.secret.expose()));
    let body =
        json!({ "code_id": code.id.to_string(), "secret": *secret, "csr": base64url(&pending.request) });
    let client = Client::pinned(&code)?;
    let answer = patiently(async || client.post_json("/v1/enrol", &body).await).await?.json()?;
    let requested = Requested { key: pending.public()?.digest(), spiffe: &code.spiffe, trusted: &[code.pin] };
    let identity = issued(&answer, &requested, &code.address, &pending)?;
    identity.save(home, kind)?;
    pending.settle()?;
    if console.is_json() {
        console.json(&without_certificates(answer));
    } else {
        let until = identity.certificate()?.not_after();
        console.line(&format!("enrolled as {} until {until}", code.spiffe));
    }
    Ok(())
}

/// Tells what a code is for, before anything is sent.
fn announce(code: &EnrolmentCode, console: &Console) {
    let (kind, name) = match &code.spiffe {
        SpiffeId::Agent { name, .. } => ("agent", name.as_str()),
        SpiffeId::ResourceServer { name, .. } => ("resource server", name.as_str()),
        SpiffeId::Operator { name, .. } => ("operator", name.as_str()),
    };
    let (address, trust_domain) = (&code.address, code.spiffe.trust_domain());
    if console.is_json() {
        let told = json!({ "address": address, "trust_domain": trust_domain, "kind": kind, "name": name });
        console.say(&json!({ "joining": told }).to_string());
    } else {
        console.say(&format!("joining {address} as {kind} `{name}` of trust domain {trust_domain}"));
    }
}

/// Refuses to replace an identity unless that was asked for, and unless the identity itself trusts the
/// authority that the code names: a code from elsewhere never moves a machine to another broker.
fn check_existing(
    home: &Path,
    kind: Kind,
    code: &EnrolmentCode,
    (replace, pending): (bool, &str),
) -> Result<(), Failure> {
    let Some(dir) = Identity::existing(home, kind)? else { return Ok(()) };
    let found = Identity::load(home, kind);
    let held = found.as_ref().map_err(Clone::clone).and_then(Identity::certificate);
    let trusted = found.as_ref().ok().and_then(|found| found.authority_pins().ok()).unwrap_or_default();
    // An earlier join with this code was cut short after the identity was stored: it is the same one.
    if trusted.contains(&code.pin)
        && held.as_ref().is_ok_and(|held| *held.spiffe() == code.spiffe)
        && found.as_ref().is_ok_and(|found| PendingKey::is_key(home, pending, &found.key_pem))
    {
        return Ok(());
    }
    let who =
        held.map_or_else(|_| "an identity that cannot be read".to_owned(), |held| held.spiffe().to_string());
    if !replace {
        let why = format!("`{}` holds {who} already; nothing was sent", dir.display());
        return Err(Failure::new(code::IDENTITY_EXISTS).because(why));
    }
    if trusted.contains(&code.pin) {
        return Ok(());
    }
    let why = format!(
        "`{}` holds {who}, which does not trust the authority that the enrolment code names; nothing was sent",
        dir.display()
    );
    let fix = "if the broker is another one, keep its identity elsewhere: `--home DIR`; if the code should be of the same broker, ask who sent it";
    Err(Failure::new(code::IDENTITY_EXISTS).because(why).mended_by(fix))
}

/// The identity in the broker's answer, once everything in it is what was asked for.
pub(in crate::cli) fn issued(
    answer: &Value,
    requested: &Requested<'_>,
    address: &str,
    pending: &PendingKey,
) -> Result<Identity, Failure> {
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let identity = Identity {
        address: address.to_owned(),
        key_pem: Sensitive::new(pending.key_pem.expose().clone()),
        certificate_pem: field("certificate"),
        authority_pem: field("authority"),
    };
    let certificate = certificate_from_pem(&identity.certificate_pem).unwrap_or_default();
    let authorities = certificates_from_pem(&identity.authority_pem).unwrap_or_default();
    let checked = requested.check(&certificate, &authorities, SystemClock::new().now());
    checked.map_err(|error| {
        let why = format!("{error}; the identity on this machine was not changed");
        Failure::new(code::CERTIFICATE_MISMATCH).because(why)
    })?;
    // Whether TLS takes both: an identity that cannot connect is not stored.
    Client::with(&identity)?;
    Ok(identity)
}

/// What the broker says of an identity that it gave, without what was stored of it.
pub(in crate::cli) fn without_certificates(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|field, _| !matches!(field.as_str(), "certificate" | "authority"));
    }
    answer
}
