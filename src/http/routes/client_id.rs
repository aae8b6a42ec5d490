use axum::http::{HeaderMap, header};

use super::form::FormFields;
use crate::base::code::{self, Code};
use crate::base::encoding::from_base64;
use crate::http::documents::problem::Problem;
use crate::pki::PeerCertificate;

/// The client id of a request in HTTP Basic (RFC 6749 §2.3.1). Only the certificate authenticates a client; a client id
/// beside it must match, on the routes that take one.
pub(crate) struct BasicClient(Result<Option<String>, Code>);

impl BasicClient {
    /// The client id in `headers`, or its fault, which counts only on the routes that take a client id.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credentials = given.and_then(|given| given.split_once(' '));
        let basic = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        Self(basic.map(|(_, credentials)| client_id(credentials)).transpose())
    }

    /// Checks that this client id and the one in the form are those of the holder of `certificate`.
    ///
    /// # Errors
    /// [`Problem`] if one of them differs, is malformed, or has a secret.
    pub(crate) fn is_holder_of(
        &self,
        certificate: &PeerCertificate,
        fields: &FormFields<'_>,
    ) -> Result<(), Problem> {
        let in_form = fields.get("client_id").map(AsRef::as_ref);
        if fields.contains_key("client_secret") {
            return Err(Problem::new(code::CLIENT_SECRET_NOT_SUPPORTED));
        }
        let in_header = self.0.as_ref().map_err(|code| Problem::new(*code))?;
        let named = [in_header.as_deref(), in_form];
        if named.iter().flatten().any(|id| *id != certificate.spiffe().to_string()) {
            return Err(Problem::new(code::CLIENT_ID_MISMATCH));
        }
        Ok(())
    }
}

/// The client id in the credentials of HTTP Basic.
fn client_id(credentials: &str) -> Result<String, Code> {
    let decoded = from_base64(credentials.trim()).ok_or(code::CLIENT_ID_MISMATCH)?;
    let decoded = String::from_utf8(decoded).map_err(|_| code::CLIENT_ID_MISMATCH)?;
    // An unencoded SPIFFE ID contains colons: the last one is the separator.
    let (id, secret) = decoded.rsplit_once(':').ok_or(code::CLIENT_ID_MISMATCH)?;
    if !secret.is_empty() {
        return Err(code::CLIENT_SECRET_NOT_SUPPORTED);
    }
    Ok(form_decoded(id))
}

/// `text` without the encoding that RFC 6749 §2.3.1 asks of a client id in HTTP Basic.
fn form_decoded(text: &str) -> String {
    // A form without `=` and `&` is one name without a value.
    match form_urlencoded::parse(text.as_bytes()).next() {
        Some((name, value)) if value.is_empty() => name.into_owned(),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(credentials: &str) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", crate::base::encoding::base64(credentials.as_bytes()));
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        BasicClient::of(&headers).0.map_err(Code::as_str)
    }

    #[test]
    fn basic_client_id_is_read_encoded_and_as_it_is() {
        let id = Some("spiffe://keyward.test/agent/a".to_owned());
        assert_eq!(named("spiffe%3A%2F%2Fkeyward.test%2Fagent%2Fa:"), Ok(id.clone()));
        assert_eq!(named("spiffe://keyward.test/agent/a:"), Ok(id));
    }

    #[test]
    fn basic_client_with_a_secret_is_refused() {
        assert_eq!(named("spiffe%3A%2F%2Fkeyward.test%2Fagent%2Fa:pw"), Err("client_secret_not_supported"));
        assert_eq!(named("without-separator"), Err("client_id_mismatch"));
    }
}
