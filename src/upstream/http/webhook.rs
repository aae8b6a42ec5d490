use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::header::{self, HeaderName};

use super::super::driver::DriverContext;
use super::super::fault::UpstreamFault;
use super::exchange::Terms;
use super::origin::{HttpOrigin, Scheme, split};
use super::unexpected;
use crate::base::encoding::{base64, from_base64};
use crate::base::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_WAIT_S};
use crate::base::{Sensitive, Timestamp, code};
use crate::crypto::MacKey;
use crate::pki::certificates_from_pem;

/// A service that gets a signed message for each request for approval (the Standard Webhooks specification, 1.0).
pub struct Webhook {
    origin: HttpOrigin,
    /// Path and query. They may contain a secret of the service.
    path: String,
    ca: String,
    key: MacKey,
}

/// A message for a webhook.
#[derive(Clone, Copy, Debug)]
pub struct WebhookMessage<'a> {
    /// The same for each attempt, so that the service recognises a repeated message.
    pub id: &'a str,
    /// The time of the attempt.
    pub at: Timestamp,
    /// JSON, without a credential.
    pub body: &'a [u8],
}

/// The key that signs messages: 32 bytes, written as `whsec_` and base64.
pub struct WebhookKey(Sensitive<[u8; 32]>);

/// The text is no key of a webhook. Never carries the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a webhook key is `whsec_` and 32 bytes in base64")]
pub struct WebhookKeyError;

const KEY_PREFIX: &str = "whsec_";

impl WebhookKey {
    /// The key of these random bytes.
    #[must_use]
    pub const fn new(bytes: Sensitive<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The key in the text of its file.
    ///
    /// # Errors
    /// [`WebhookKeyError`].
    pub fn parse(text: &str) -> Result<Self, WebhookKeyError> {
        let bytes = text.trim().strip_prefix(KEY_PREFIX).and_then(from_base64).map(zeroize::Zeroizing::new);
        let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or(WebhookKeyError)?;
        Ok(Self(Sensitive::filled(|to: &mut [u8; 32]| to.copy_from_slice(&bytes))))
    }

    /// The text for its file.
    #[must_use]
    pub fn text(&self) -> Sensitive<String> {
        let encoded = zeroize::Zeroizing::new(base64(self.0.expose()));
        Sensitive::new(format!("{KEY_PREFIX}{}\n", *encoded))
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey([redacted])")
    }
}

impl Webhook {
    /// The service at `url`, whose certificate an authority in `ca` (PEM) signed.
    ///
    /// # Errors
    /// The problem, without repeating a text.
    pub fn new(url: &str, ca: String, key: &WebhookKey) -> Result<Self, &'static str> {
        let (origin, path) = split(url)?;
        if origin.scheme != Scheme::Https {
            return Err("it must begin with https://");
        }
        if certificates_from_pem(&ca).is_err() {
            return Err("the file with the CA certificates of its server has no certificate in PEM");
        }
        Ok(Self { origin, path: path.to_owned(), ca, key: MacKey::new(&key.0) })
    }

    /// Host and port, for logs.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.origin.authority
    }

    /// Sends `message` once. Only a status 2xx counts as delivered; the body of the response is ignored, and no redirect is
    /// followed.
    ///
    /// # Errors
    /// [`UpstreamFault`].
    pub async fn deliver(
        &self,
        with: &DriverContext,
        message: WebhookMessage<'_>,
    ) -> Result<(), UpstreamFault> {
        let terms = Terms {
            with,
            ca: Some(&self.ca),
            wait: Duration::from_secs(WEBHOOK_WAIT_S),
            answer_bytes_max: WEBHOOK_ANSWER_BYTES_MAX,
        };
        let request = self.request(message).ok_or(UpstreamFault::refused(code::UPSTREAM_VALUE_INVALID))?;
        let answered = terms.exchange(&self.origin, request).await?;
        if answered.status.is_success() { Ok(()) } else { Err(unexpected(answered.status)) }
    }

    fn request(&self, message: WebhookMessage<'_>) -> Option<hyper::Request<Full<Bytes>>> {
        let timestamp = message.at.s().to_string();
        let signed = [message.id.as_bytes(), b".", timestamp.as_bytes(), b".", message.body].concat();
        let signature = format!("v1,{}", base64(self.key.tag(&signed).as_bytes()));
        let named = HeaderName::from_static;
        hyper::Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::HOST, &self.origin.authority)
            .header(header::USER_AGENT, "keyward")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(named("webhook-id"), message.id)
            .header(named("webhook-timestamp"), timestamp)
            .header(named("webhook-signature"), signature)
            .body(Full::new(Bytes::copy_from_slice(message.body)))
            .ok()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("authority", &self.origin.authority).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn ca() -> String {
        let key = KeyPair::generate().unwrap();
        CertificateParams::default().self_signed(&key).unwrap().pem()
    }

    /// A key of 32 bytes.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

    #[test]
    fn message_is_signed_as_the_specification_says() {
        let key = WebhookKey::parse(KEY).unwrap();
        let webhook = Webhook::new("https://hooks.example/x?token=CNRY", ca(), &key).unwrap();
        let message = WebhookMessage {
            id: "msg_1",
            at: Timestamp::from_s(1_614_265_330),
            body: b"{\"test\": 2432232314}",
        };
        let request = webhook.request(message).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("webhook-id"), "msg_1");
        assert_eq!(header("webhook-timestamp"), "1614265330");
        // By Python's `hmac`
        assert_eq!(header("webhook-signature"), "v1,3NYWOYzX30Or8jlqcZxdUy3niZevdGuvRN7yvgl/Shw=");
        assert_eq!(
            (request.uri().to_string().as_str(), header("host").as_str()),
            ("/x?token=CNRY", "hooks.example")
        );
        assert!(!format!("{webhook:?}{key:?}").contains("CNRY"), "{webhook:?}");
    }

    #[test]
    fn key_reads_back_from_its_text_and_nothing_else_does() {
        let key = WebhookKey::parse(KEY).unwrap();
        assert_eq!(key.text().expose().trim(), KEY);
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", "whsec_AAAA", "whsec_!"] {
            assert_eq!(WebhookKey::parse(text).unwrap_err(), WebhookKeyError, "{text}");
        }
    }

    #[test]
    fn webhook_has_tls_and_an_authority() {
        let key = WebhookKey::parse(KEY).unwrap();
        assert!(Webhook::new("http://127.0.0.1/x", ca(), &key).is_err());
        assert!(Webhook::new("https://hooks.example", ca(), &key).is_err(), "a path is missing");
        assert!(Webhook::new("https://hooks.example/x", String::new(), &key).is_err());
    }
}
