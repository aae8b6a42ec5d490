use std::path::Path;

use serde_json::{Value, json};

use super::client::Client;
use super::console::Console;
use super::failure::Failure;
use super::identity::{Identity, Kind};
use super::input;
use super::patience::patiently;
use super::pending::PendingKey;
use crate::base::Sensitive;
use crate::base::encoding::base64url;
use crate::registry::EnrolmentCode;

/// Longer than any enrolment code.
const CODE_BYTES_MAX: usize = 2048;

/// Enrols this machine, as the agent or the operator that the code is for: makes a key, redeems the code, keeps key and certificate. Joining again with
/// the same code sends the same key and gets the same certificate.
pub(super) async fn join(home: &Path, code_file: Option<&Path>, console: &Console) -> Result<(), Failure> {
    let text = input::secret(code_file, "Enrolment code", CODE_BYTES_MAX, console)?;
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    let code = EnrolmentCode::parse(text).map_err(|error| {
        Failure::usage(
            &error.to_string(),
            "copy the whole line that `keyward agent invite` or `keyward operator invite` printed",
        )
    })?;
    let pending = PendingKey::open(home, &format!("joining-{}.pem", code.id))?;
    let secret = zeroize::Zeroizing::new(base64url(code.secret.expose()));
    let body =
        json!({ "code_id": code.id.to_string(), "secret": *secret, "csr": base64url(&pending.request) });
    let client = Client::pinned(&code.address, code.pin)?;
    let answer = patiently(async || client.post_json("/v1/enrol", &body).await).await?.json()?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let identity = Identity {
        address: code.address,
        key_pem: Sensitive::new(pending.key_pem.expose().clone()),
        certificate_pem: field("certificate"),
        authority_pem: field("authority"),
    };
    identity.save(home, Kind::of(&identity.certificate()?))?;
    pending.settle()?;
    if console.is_json() {
        console.json(&without_certificates(answer));
    } else {
        console.line(&format!("enrolled as {} until {}", field("spiffe_id"), field("not_after")));
    }
    Ok(())
}

/// What the broker says of an identity that it gave, without what was stored of it.
pub(super) fn without_certificates(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|field, _| !matches!(field.as_str(), "certificate" | "authority"));
    }
    answer
}
