use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::client::Client;
use super::console::Console;
use super::failure::Failure;
use super::identity::{Identity, Kind, private_dir, unusable, write_private};
use super::input;
use crate::base::Sensitive;
use crate::base::encoding::base64url;
use crate::pki::{new_key_and_request, request_for_key};
use crate::registry::EnrolmentCode;

/// Longer than any enrolment code.
const CODE_BYTES_MAX: usize = 2048;

/// Enrols this machine: makes a key, redeems the code, keeps key and certificate.
///
/// The key is kept from before the first attempt until the certificate is stored: when the answer
/// is lost, joining again with the same code sends the same key and gets the same certificate.
pub(super) async fn join(home: &Path, code_file: Option<&Path>, console: &Console) -> Result<(), Failure> {
    let text = input::secret(code_file, "Enrolment code", CODE_BYTES_MAX, console)?;
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    let code = EnrolmentCode::parse(text).map_err(|error| {
        Failure::usage(&error.to_string(), "copy the whole line that `keyward agent invite` printed")
    })?;
    let pending = home.join(format!("joining-{}.pem", code.id));
    let (key_pem, request) = key_for(home, &pending)?;
    let secret = zeroize::Zeroizing::new(base64url(code.secret.expose()));
    let body = json!({ "code_id": code.id.to_string(), "secret": *secret, "csr": base64url(&request) });
    let answer = Client::pinned(&code.address, code.pin)?.post_json("/v1/enrol", &body).await?.json()?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let identity = Identity {
        address: code.address,
        key_pem,
        certificate_pem: field("certificate"),
        authority_pem: field("authority"),
    };
    identity.save(home, Kind::Agent)?;
    fs::remove_file(&pending).map_err(|error| unusable(&pending, &error))?;
    if console.is_json() {
        console.json(&json!({
            "agent": field("agent"), "instance": field("instance"),
            "spiffe_id": field("spiffe_id"), "not_after": field("not_after"),
        }));
    } else {
        console.line(&format!("enrolled as {} until {}", field("spiffe_id"), field("not_after")));
    }
    Ok(())
}

/// The key that this code was tried with before, or a new one.
fn key_for(home: &Path, pending: &Path) -> Result<(Sensitive<String>, Vec<u8>), Failure> {
    let broken = |_| Failure::internal("a key could not be made");
    if pending.exists() {
        let pem = fs::read_to_string(pending).map_err(|error| unusable(pending, &error))?;
        let key = Sensitive::new(pem);
        let request = request_for_key(&key).map_err(broken)?;
        return Ok((key, request));
    }
    private_dir(home).map_err(|error| unusable(home, &error))?;
    let (key, request) = new_key_and_request().map_err(broken)?;
    keep(pending, &key).map_err(|error| unusable(pending, &error))?;
    Ok((key, request))
}

/// Whole or not at all: a key cut short by a kill would stand in the way of every further attempt.
fn keep(pending: &Path, key: &Sensitive<String>) -> std::io::Result<()> {
    let fresh = pending.with_extension("new");
    if fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    write_private(&fresh, key.expose().as_bytes())?;
    fs::rename(&fresh, pending)
}
