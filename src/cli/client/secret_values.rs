use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};

use super::broker_client::{Client, read};
use super::received::Received;
use super::request::{ClientRequest, header_value};
use crate::base::{OwnerName, SecretName, Sensitive, Sensitivity};
use crate::console::CommandFailure;
use crate::wire::{
    EXPORT_EVIDENCE, EvidenceBody, NEXT_ROTATION_HEADER, Nothing, OWNER_HEADER, PUT_SECRET, REVEAL_SECRET,
    SECRET_VERSION_HEADER, SENSITIVITY_HEADER, StoredAnswer, WIDEN_HEADER,
};

/// A secret from the broker.
pub(crate) struct RevealedSecret {
    pub(crate) version: u64,
    /// The time of the next rotation, if one is planned.
    pub(crate) next_rotation: Option<String>,
    pub(crate) value: Sensitive<Vec<u8>>,
}

/// Properties and conditions of a secret that is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PutConditions<'a> {
    pub(crate) owner: Option<&'a OwnerName>,
    pub(crate) sensitivity: Option<Sensitivity>,
    /// Store only if this version is the current one.
    pub(crate) if_match: Option<u32>,
    /// Store only if the secret does not exist.
    pub(crate) if_new: bool,
    /// Confirm that capabilities of the new owner deliver a secret of high sensitivity.
    pub(crate) widen: bool,
}

const OWNER: HeaderName = HeaderName::from_static(OWNER_HEADER);
const SENSITIVITY: HeaderName = HeaderName::from_static(SENSITIVITY_HEADER);
const WIDEN: HeaderName = HeaderName::from_static(WIDEN_HEADER);
const VERSION: HeaderName = HeaderName::from_static(SECRET_VERSION_HEADER);
const NEXT_ROTATION: HeaderName = HeaderName::from_static(NEXT_ROTATION_HEADER);

impl Client {
    /// Reads a secret with a token for it.
    pub(crate) async fn reveal(
        &self,
        name: &SecretName,
        token: &Sensitive<String>,
    ) -> Result<RevealedSecret, CommandFailure> {
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut value =
            HeaderValue::from_str(&bearer).map_err(|_| CommandFailure::internal("the token is no header"))?;
        value.set_sensitive(true);
        let request = ClientRequest::to(REVEAL_SECRET, name).with_header(header::AUTHORIZATION, Some(value));
        let response = self.send(request).await?;
        let text = |name| response.headers.get(name).and_then(|value| value.to_str().ok());
        let version = text(VERSION).and_then(|version| version.parse().ok()).unwrap_or(0);
        let next_rotation = text(NEXT_ROTATION).map(str::to_owned);
        Ok(RevealedSecret { version, next_rotation, value: response.body })
    }

    /// Makes an evidence bundle.
    pub(crate) async fn evidence(&self, body: &EvidenceBody) -> Result<Vec<u8>, CommandFailure> {
        let response = self.send(ClientRequest::of(EXPORT_EVIDENCE, &Nothing, body)?).await?;
        Ok(response.body.expose().clone())
    }

    /// Stores a secret's next version.
    pub(crate) async fn put_secret(
        &self,
        name: &SecretName,
        conditions: &PutConditions<'_>,
        value: &Sensitive<Vec<u8>>,
    ) -> Result<Received<StoredAnswer>, CommandFailure> {
        let quoted = conditions.if_match.map(|version| format!("\"{version}\""));
        let sensitivity =
            conditions.sensitivity.map(|sensitivity| HeaderValue::from_static(sensitivity.as_str()));
        let request = ClientRequest::to(PUT_SECRET, name)
            .with_body("application/octet-stream", Bytes::copy_from_slice(value.expose()))
            .with_header(OWNER, conditions.owner.map(header_value).transpose()?)
            .with_header(SENSITIVITY, sensitivity)
            .with_header(WIDEN, conditions.widen.then(|| HeaderValue::from_static("true")))
            .with_header(header::IF_MATCH, quoted.as_ref().map(header_value).transpose()?)
            .with_header(header::IF_NONE_MATCH, conditions.if_new.then(|| HeaderValue::from_static("*")));
        read(&self.send(request).await?)
    }
}
