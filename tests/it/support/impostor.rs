//! A server that holds an authority's key and answers as the test says: a broker that was taken over, or
//! one that never was.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use keyward::base::{Clock, Entropy, Sensitive, SystemClock, SystemEntropy};
use keyward::crypto::{EcdsaKey, SignatureForm};
use keyward::pki::{
    Authority, CertificatePlan, PublicKey, certificate_pem, new_key_and_request, read_request,
};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An authority for `trust_domain`, made now.
pub(crate) fn authority(trust_domain: &str) -> Authority {
    let pkcs8 = EcdsaKey::generate().unwrap();
    let key = || EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1).unwrap();
    let entropy: &dyn Entropy = &SystemEntropy;
    let der = Authority::found(&trust_domain.parse().unwrap(), &key(), SystemClock::new().now(), entropy);
    Authority::new(der.unwrap(), key()).unwrap()
}

/// A certificate of `life_s` from `by` for `key`, PEM.
pub(crate) fn certificate(by: &Authority, spiffe: &str, key: &PublicKey, life_s: i64) -> String {
    let now = SystemClock::new().now();
    let ends = by.public().not_after();
    let plan = CertificatePlan::draw(spiffe.parse().unwrap(), key, now, life_s, ends, &SystemEntropy);
    certificate_pem(&by.sign(&plan, key).unwrap())
}

/// A key that is nobody's.
pub(crate) fn other_key() -> PublicKey {
    read_request(&new_key_and_request().unwrap().1).unwrap()
}

pub(crate) fn pem(authorities: &[&Authority]) -> String {
    authorities.iter().map(|one| certificate_pem(one.public().der())).collect()
}

/// The public key in the request for a certificate that `body` holds.
pub(crate) fn requested_key(body: &Value) -> PublicKey {
    let csr = keyward::base::encoding::from_base64url(body["csr"].as_str().unwrap()).unwrap();
    read_request(&csr).unwrap()
}

pub(crate) struct Impostor {
    pub(crate) address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Impostor {
    /// Shows a certificate that `by` signed and the authorities `shown`, and answers each request with what
    /// `answer` makes of its path and its body. For null, the connection ends without a response.
    pub(crate) fn start(
        by: &Authority,
        shown: &[&Authority],
        answer: impl Fn(&str, &Value) -> Value + Send + 'static,
    ) -> Self {
        Self::answering("201 Created", by, shown, answer)
    }

    /// The same for a server that refuses each request.
    pub(crate) fn refusing(
        by: &Authority,
        shown: &[&Authority],
        answer: impl Fn(&str, &Value) -> Value + Send + 'static,
    ) -> Self {
        Self::answering("409 Conflict", by, shown, answer)
    }

    fn answering(
        status: &'static str,
        by: &Authority,
        shown: &[&Authority],
        answer: impl Fn(&str, &Value) -> Value + Send + 'static,
    ) -> Self {
        let (key, request) = new_key_and_request().unwrap();
        let public = read_request(&request).unwrap();
        let (now, names) = (SystemClock::new().now(), ["127.0.0.1".to_owned()]);
        let leaf = by.sign_server(&names, &public, now, 3600, &SystemEntropy).unwrap();
        let chain: Vec<CertificateDer<'static>> = std::iter::once(leaf)
            .chain(shown.iter().map(|one| one.public().der().to_vec()))
            .map(CertificateDer::from)
            .collect();
        let config = Arc::new(server_config(chain, &key));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&heard);
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let Some((path, body)) = request_of(&mut stream) else { continue };
                noting.lock().unwrap().push(path.clone());
                let body = answer(&path, &body);
                if body.is_null() {
                    continue;
                }
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close");
                drop(write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        Self { address, heard }
    }

    /// The paths that were asked for so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// An operator's answer to `whoami`, with `text` wherever text may stand.
pub(crate) fn operator_whoami(text: &str) -> Value {
    json!({
        "kind": "operator", "name": "ada", "role": text, "owner": null, "spiffe_id": text,
        "certificate": { "serial": text, "not_after": text }, "renew_now": false,
    })
}

/// The answer that an enrolment or a renewal takes for good: a certificate from `by` and these authorities.
pub(crate) fn issued(certificate: &str, authorities: &[&Authority]) -> Value {
    json!({ "spiffe_id": "x", "certificate": certificate, "authority": pem(authorities), "not_after": "x" })
}

fn server_config(chain: Vec<CertificateDer<'static>>, key: &Sensitive<String>) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

/// The path and the body of a request; none when the other side went away before it sent one.
fn request_of(stream: &mut impl Read) -> Option<(String, Value)> {
    let (mut text, mut part) = (Vec::new(), [0_u8; 4096]);
    loop {
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&part[..read]);
        let said = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            return Some((path, serde_json::from_str(body).unwrap_or_default()));
        }
    }
}
