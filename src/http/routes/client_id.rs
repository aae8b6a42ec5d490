use axum::http::{HeaderMap, header};

use super::form::FormFields;
use crate::base::code;
use crate::base::encoding::from_base64;
use crate::http::documents::problem::Problem;
use crate::pki::PeerCertificate;

/// The client id of a request in HTTP Basic (RFC 6749 §2.3.1). Only the certificate authenticates a client; a client id
/// beside it must match.
pub(crate) struct BasicClient(Option<String>);

impl BasicClient {
    /// The client id in `headers`.
    ///
    /// # Errors
    /// [`Problem`] if HTTP Basic is malformed, or contains a secret.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, credentials)) = given.and_then(|given| given.split_once(' ')) else {
            return Ok(Self(None));
        };
        if !scheme.eq_ignore_ascii_case("basic") {
            return Ok(Self(None));
        }
        let mismatch = || Problem::new(code::CLIENT_ID_MISMATCH);
        let decoded = from_base64(credentials.trim()).ok_or_else(mismatch)?;
        let decoded = String::from_utf8(decoded).map_err(|_| mismatch())?;
        // An unencoded SPIFFE ID contains colons: the last one is the separator.
        let (id, secret) = decoded.rsplit_once(':').ok_or_else(mismatch)?;
        if !secret.is_empty() {
            return Err(Problem::new(code::CLIENT_SECRET_NOT_SUPPORTED));
        }
        Ok(Self(Some(form_decoded(id))))
    }

    /// Checks that this client id and the one in the form are those of the holder of `certificate`.
    ///
    /// # Errors
    /// [`Problem`] if one of them is another client's.
    pub(crate) fn is_holder_of(
        &self,
        certificate: &PeerCertificate,
        fields: &FormFields<'_>,
    ) -> Result<(), Problem> {
        let in_form = fields.get("client_id").map(AsRef::as_ref);
        if fields.contains_key("client_secret") {
            return Err(Problem::new(code::CLIENT_SECRET_NOT_SUPPORTED));
        }
        let named = [self.0.as_deref(), in_form];
        if named.iter().flatten().any(|id| *id != certificate.spiffe().to_string()) {
            return Err(Problem::new(code::CLIENT_ID_MISMATCH));
        }
        Ok(())
    }
}

/// Decodes a client id in HTTP Basic (RFC 6749 §2.3.1).
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
        BasicClient::of(&headers).map(|client| client.0).map_err(|problem| problem.code().as_str())
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
