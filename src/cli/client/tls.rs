use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::base::code;
use crate::base::{
    Clock, OwnerName, SecretName, Sensitive, Sensitivity, SystemClock, TrustDomain, io_reason,
};
use crate::cli::enrolment::renew::{is_valid_for, renew_if_due, warn_once};
use crate::cli::identity::{Identity, Kind};
use crate::console::Failure;
use crate::pki::AuthorityCertificate;
use crate::pki::EnrolmentCode;
use crate::pki::tls::{TlsError, client_config, pinned_client_config};

/// One connection's worth of a broker: made for a verb, gone with it.
pub(in crate::cli) struct Client {
    address: String,
    config: Arc<ClientConfig>,
    /// The certificate that it shows, PEM; empty when it shows none.
    certificate: String,
    /// The authorities that it knows the broker by, DER; none when it knows it by a pin.
    authorities: Vec<Vec<u8>>,
    /// Where that came from.
    source: Option<(PathBuf, Kind)>,
    /// The trust domain that the pinned authority has to name, before anything is sent.
    trust_domain: Option<TrustDomain>,
}

/// What the broker answered with a success.
pub(in crate::cli) struct Answer {
    pub(in crate::cli) body: Sensitive<Vec<u8>>,
    /// The version, of a secret; 0 of anything else.
    pub(in crate::cli) version: u64,
}

/// Whose a secret is to be.
const OWNER: HeaderName = HeaderName::from_static("keyward-owner");

/// How sensitive a secret is to be.
const SENSITIVITY: HeaderName = HeaderName::from_static("keyward-sensitivity");

/// Which version of a secret is answered.
const VERSION: HeaderName = HeaderName::from_static("keyward-secret-version");

/// How long a certificate has to be valid for a verb that takes away to use it without a look at its renewal.
const UNRENEWED_S: i64 = 60;

const CONNECT_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is said of a secret that is stored, beside its value.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Storing<'a> {
    /// Whose it is to be.
    pub(in crate::cli) owner: Option<&'a OwnerName>,
    /// How sensitive it is to be.
    pub(in crate::cli) sensitivity: Option<Sensitivity>,
    /// Only if this version is the current one.
    pub(in crate::cli) if_match: Option<u32>,
    /// Only if there is no such secret yet.
    pub(in crate::cli) if_new: bool,
}

impl Client {
    /// A client that shows the identity of `kind` below `home`, which is renewed first when it is due.
    pub(in crate::cli) async fn of(home: &Path, kind: Kind) -> Result<Self, Failure> {
        renew_if_due(home, kind).await?;
        Self::with_source(home, kind)
    }

    /// The same for a verb that takes away. A certificate that is valid for a while is used as it is: a renewal
    /// that waits for a hanging disk would delay the revocation. The next verb renews it.
    pub(in crate::cli) async fn of_taking_away(home: &Path, kind: Kind) -> Result<Self, Failure> {
        if is_valid_for(home, kind, UNRENEWED_S)? {
            return Self::with_source(home, kind);
        }
        Self::of(home, kind).await
    }

    fn with_source(home: &Path, kind: Kind) -> Result<Self, Failure> {
        let mut client = Self::with(&Identity::load(home, kind)?)?;
        client.source = Some((home.to_owned(), kind));
        Ok(client)
    }

    /// A client that shows `identity` as it is.
    pub(in crate::cli) fn with(identity: &Identity) -> Result<Self, Failure> {
        let authorities = identity.authorities()?;
        let config = client_config(&authorities, Some(&identity.tls()?), clock()).map_err(unusable)?;
        let certificate = identity.certificate_pem.clone();
        Ok(Self {
            address: identity.address.clone(),
            config,
            certificate,
            authorities,
            source: None,
            trust_domain: None,
        })
    }

    /// A client that knows its broker by what an enrolment code says, and shows nobody.
    pub(in crate::cli) fn pinned(code: &EnrolmentCode) -> Result<Self, Failure> {
        Ok(Self {
            address: code.address.clone(),
            config: pinned_client_config(code.pin, clock()).map_err(unusable)?,
            certificate: String::new(),
            authorities: Vec::new(),
            source: None,
            trust_domain: Some(code.spiffe.trust_domain().clone()),
        })
    }

    pub(in crate::cli) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, &[], None, Bytes::new()).await
    }

    /// The whole of the list at `path`, page by page.
    pub(in crate::cli) async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let (mut items, mut page) = (Vec::new(), path.to_owned());
        loop {
            let answer = self.get(&page).await?.json()?;
            items.extend(answer.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            let Some(after) = answer.get("next_after").and_then(Value::as_str) else { return Ok(items) };
            // Names have no character that would mean something in a query.
            page = format!("{path}?after={after}");
        }
    }

    pub(in crate::cli) async fn get_bearing(
        &self,
        path: &str,
        token: &Sensitive<String>,
    ) -> Result<Answer, Failure> {
        self.send(Method::GET, path, &[], Some(token), Bytes::new()).await
    }

    pub(in crate::cli) async fn post_json(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.send(Method::POST, path, &[of_type("application/json")], None, body.into()).await
    }

    pub(in crate::cli) async fn put_json(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.send(Method::PUT, path, &[of_type("application/json")], None, body.into()).await
    }

    pub(in crate::cli) async fn post_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [of_type("application/x-www-form-urlencoded")];
        self.send(Method::POST, path, &headers, None, body.into()).await
    }

    pub(in crate::cli) async fn put_secret(
        &self,
        name: &SecretName,
        storing: &Storing<'_>,
        value: &Sensitive<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let mut headers = vec![of_type("application/octet-stream")];
        if let Some(owner) = storing.owner.and_then(|owner| HeaderValue::from_str(owner.as_str()).ok()) {
            headers.push((OWNER, owner));
        }
        if let Some(sensitivity) = storing.sensitivity {
            headers.push((SENSITIVITY, HeaderValue::from_static(sensitivity.as_str())));
        }
        if let Some(tag) =
            storing.if_match.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok())
        {
            headers.push((header::IF_MATCH, tag));
        }
        if storing.if_new {
            headers.push((header::IF_NONE_MATCH, HeaderValue::from_static("*")));
        }
        let body = Bytes::copy_from_slice(value.expose());
        self.send(Method::PUT, &format!("/v1/secrets/{name}"), &headers, None, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        token: Option<&Sensitive<String>>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let sent = self.send_once(method.clone(), path, headers, token, body.clone()).await;
        match (sent, &self.source) {
            // Another process may have renewed since this one read its identity: nothing was done.
            (Err(failure), Some((home, kind))) if failure.is_unauthenticated() => {
                let newer = Self::with(&Identity::load(home, *kind)?)?;
                if newer.certificate == self.certificate {
                    return Err(failure);
                }
                newer.send_once(method, path, headers, token, body).await
            }
            (sent, _) => sent,
        }
    }

    async fn send_once(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        token: Option<&Sensitive<String>>,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address)
            .body(Full::new(body))
            .map_err(|_| Failure::usage("a name holds characters that no name has", "use canonical names"))?;
        request.headers_mut().extend(headers.iter().cloned());
        if let Some(token) = token {
            let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
            let mut value =
                HeaderValue::from_str(&bearer).map_err(|_| Failure::internal("the token is no header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answered = tokio::time::timeout(ANSWER_WAIT, self.exchange(request)).await;
        let (status, version, body) =
            answered.map_err(|_| self.unreachable("it did not answer in time"))??;
        if status.is_success() {
            Ok(Answer { body: Sensitive::new(body), version })
        } else {
            Err(Failure::from_answer(status.as_u16(), &body))
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, u64, Vec<u8>), Failure> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| Failure::new(code::ADDRESS_INVALID))?;
        let connected = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(&self.address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&io_reason(&error))),
            Err(_) => return Err(self.unreachable("it did not accept the connection in time")),
        };
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
            .map_err(|error| self.untrusted(&error))?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.check_trust_domain(shown)?;
        self.learn(shown);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error.to_string()))?;
        let driver = tokio::spawn(connection);
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                drop(sender);
                // Whichever of the two halves met the alert: the other only knows that it is over.
                let ended = driver.await.ok().and_then(Result::err);
                return Err(self.cut(&[Some(error), ended]));
            }
        };
        let status = response.status();
        let version = response.headers().get(VERSION).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        drop(sender);
        driver.abort();
        let body = body.map_err(|_| self.unreachable("its answer did not arrive whole"))?;
        Ok((status, version.unwrap_or(0), body.to_bytes().to_vec()))
    }

    /// The broker shows all authorities that count behind its own certificate, which one that is known
    /// already has signed: this is how a client learns of the next one before it signs. What cannot be
    /// stored now is no reason for a verb to fail: the authorities at hand are good until the next time.
    fn learn(&self, shown: &[CertificateDer<'_>]) {
        let (Some((home, kind)), Some((_, authorities))) = (&self.source, shown.split_first()) else {
            return;
        };
        let authorities: Vec<Vec<u8>> = authorities.iter().map(|der| der.to_vec()).collect();
        let same = authorities.len() == self.authorities.len()
            && authorities.iter().all(|one| self.authorities.contains(one));
        if !same && !authorities.is_empty() {
            Identity::learn(home, *kind, &authorities).unwrap_or_else(|failure| warn_once(&failure));
        }
    }

    /// Whether every authority that the broker shows is of the trust domain that the enrolment code names.
    fn check_trust_domain(&self, shown: &[CertificateDer<'_>]) -> Result<(), Failure> {
        let Some(expected) = &self.trust_domain else { return Ok(()) };
        let other = shown.iter().skip(1).find_map(|der| {
            let read = AuthorityCertificate::parse(der.to_vec());
            let found =
                read.map_or_else(|_| "no trust domain".to_owned(), |one| one.trust_domain().to_string());
            (found != expected.to_string()).then_some(found)
        });
        let Some(other) = other else { return Ok(()) };
        let why = format!(
            "the broker at {} names trust domain {other}, the enrolment code {expected}; nothing was sent",
            self.address
        );
        Err(Failure::new(code::CERTIFICATE_MISMATCH).because(why))
    }

    fn unreachable(&self, why: &str) -> Failure {
        let why = format!("the broker at {} cannot be reached: {why}", self.address);
        Failure::new(code::BROKER_UNREACHABLE).because(why)
    }

    fn untrusted(&self, error: &std::io::Error) -> Failure {
        // What the library says of the other side's bytes is of this kind; anything else is the connection's own.
        if error.kind() != std::io::ErrorKind::InvalidData {
            return self.unreachable("it closed the connection, as one does that has as many as it takes");
        }
        let why = format!("no TLS connection with the broker at {}: {error}", self.address);
        Failure::new(code::TLS_FAILED).because(why)
    }

    /// In TLS 1.3 the client only learns on first use that its certificate was refused.
    fn cut(&self, errors: &[Option<hyper::Error>]) -> Failure {
        let mut causes = errors.iter().flatten().flat_map(|error| {
            std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        });
        if causes.any(|cause| cause.to_string().contains("alert")) {
            let why = format!("the broker at {} refused this machine's certificate", self.address);
            return Failure::new(code::CERTIFICATE_REFUSED).because(why);
        }
        self.unreachable("the connection was cut")
    }
}

impl Answer {
    pub(in crate::cli) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(self.body.expose())
            .map_err(|_| Failure::new(code::RESPONSE_INVALID).because("the broker's answer is not JSON"))
    }
}

fn of_type(kind: &'static str) -> (HeaderName, HeaderValue) {
    (header::CONTENT_TYPE, HeaderValue::from_static(kind))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn unusable(error: TlsError) -> Failure {
    Failure::new(code::IDENTITY_DAMAGED).because(error.to_string())
}
