use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::RETRY_AFTER;
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::ClientConfig;

use super::address_origin::AddressOrigin;
use super::broker_clock::BrokerClock;
use super::received::Received;
use super::refusal::refusal;
use super::refused_certificate::RefusedCertificate;
use super::request::{ClientRequest, RequestInput};
use super::transport::{ClientResponse, Transport, TransportFailure};
use crate::base::{Clock, SystemClock, TrustDomain, code};
use crate::cli::identity::{Identity, IdentityKind, warn_not_updated};
use crate::cli::sealed_key::{KeyOpener, SealedKeySigner};
use crate::console::{CommandFailure, Console, Format};
use crate::pki::tls::{HandshakeSigner, TlsError, client_config, pinned_client_config, signed_client_config};
use crate::pki::{AuthorityCertificate, EnrolmentCode, PeerCertificate};
use crate::wire::{
    Endpoint, Form, GET_STATE, Items, MINT_TOKEN, Nothing, OPERATOR_WHOAMI, PageAnswer, PageQuery,
    READ_ONLY_HEADER, StateAnswer, Target, TokenAnswer, TokenForm,
};

/// A client of one broker. Each request uses a new connection.
#[derive(Clone)]
pub(crate) struct Client {
    transport: Transport,
    /// The limit for a request as a whole: the kernel accepts connections for a stopped broker, which never answers.
    wait: Duration,
    /// The client certificate in PEM; empty without one.
    certificate: String,
    /// The content of the client certificate, if it can be read.
    presented: Option<PeerCertificate>,
    /// The trusted authorities in DER; none if a pin identifies the broker.
    authorities: Vec<Vec<u8>>,
    /// The place of the identity, if the client updates it.
    source: Option<IdentitySource>,
    /// The trust domain that the pinned authority has to name before a request is sent.
    trust_domain: Option<TrustDomain>,
    /// Signs the handshakes if the identity's key is sealed.
    signer: Option<Arc<SealedKeySigner>>,
    /// What responses say of the broker's clock.
    clock: BrokerClock,
}

/// The place of a client's identity.
#[derive(Clone)]
pub(crate) struct IdentitySource {
    pub(crate) home: PathBuf,
    pub(crate) kind: IdentityKind,
}

impl Client {
    /// A client with `identity`, the one of `kind` below `home`, which it does not update. If its key is sealed, it is
    /// opened by the key agent or with a passphrase from the terminal.
    pub(crate) fn with(identity: &Identity, home: &Path, kind: IdentityKind) -> Result<Self, CommandFailure> {
        let origin = AddressOrigin::of(home, kind);
        let (config, signer) = match identity.sealed_key()? {
            None => (Self::check(identity)?, None),
            Some(key) => {
                let opener = KeyOpener::find(home, &key)?;
                let signer = Arc::new(SealedKeySigner::new(key, opener));
                (signed(identity, Arc::clone(&signer) as Arc<dyn HandshakeSigner>)?, Some(signer))
            }
        };
        let transport = Transport::Tls { address: identity.address.clone(), origin, config };
        Ok(Self {
            wait: transport.wait(),
            transport,
            certificate: identity.certificate_pem.clone(),
            presented: identity.certificate().ok(),
            authorities: identity.authorities()?,
            source: None,
            trust_domain: None,
            signer,
            clock: BrokerClock::default(),
        })
    }

    /// The TLS configuration with `identity`; with a sealed key it can make no handshake.
    ///
    /// # Errors
    /// [`CommandFailure`] if TLS does not accept the key, the certificate or the authorities.
    pub(crate) fn check(identity: &Identity) -> Result<Arc<ClientConfig>, CommandFailure> {
        if let Some(key) = identity.sealed_key()? {
            if identity.certificate()?.key() != key.public() {
                let why = "the certificate of this identity is for another private key";
                return Err(CommandFailure::new(code::IDENTITY_DAMAGED).because(why));
            }
            return signed(identity, Arc::new(Unopened));
        }
        client_config(&identity.authorities()?, Some(&identity.tls()?), clock()).map_err(unusable)
    }

    /// A client with the identity at `source`, where it stores changes of the broker's authorities.
    pub(crate) fn at(source: IdentitySource) -> Result<Self, CommandFailure> {
        let client = Self::with(&Identity::load(&source.home, source.kind)?, &source.home, source.kind)?;
        Ok(Self { source: Some(source), ..client })
    }

    /// A client without a certificate for the broker of `identity`: public routes answer also if the certificate has
    /// expired or is revoked.
    pub(crate) fn without_certificate(
        identity: &Identity,
        origin: AddressOrigin,
    ) -> Result<Self, CommandFailure> {
        let config = client_config(&identity.authorities()?, None, clock()).map_err(unusable)?;
        Ok(Self::anonymous(Transport::Tls { address: identity.address.clone(), origin, config }))
    }

    /// A client without a certificate for the broker that an enrolment code names.
    pub(crate) fn pinned(code: &EnrolmentCode) -> Result<Self, CommandFailure> {
        let config = pinned_client_config(code.pin, clock()).map_err(unusable)?;
        let origin = AddressOrigin::EnrolmentCode;
        let transport = Transport::Tls { address: code.address.clone(), origin, config };
        let trust_domain = Some(code.spiffe.trust_domain().clone());
        Ok(Self { trust_domain, ..Self::anonymous(transport) })
    }

    /// A client of the broker at the socket on this host.
    pub(crate) fn on_host(socket: &Path) -> Self {
        Self::anonymous(Transport::Socket(socket.to_owned()))
    }

    fn anonymous(transport: Transport) -> Self {
        let (certificate, authorities) = (String::new(), Vec::new());
        let wait = transport.wait();
        Self {
            transport,
            wait,
            certificate,
            presented: None,
            authorities,
            source: None,
            trust_domain: None,
            signer: None,
            clock: BrokerClock::default(),
        }
    }

    /// What the responses so far say of the broker's clock.
    pub(crate) const fn broker_clock(&self) -> &BrokerClock {
        &self.clock
    }

    /// The same client, whose requests take no longer than `wait` each.
    const fn within(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Calls an endpoint with a JSON response.
    pub(crate) async fn call<T: Target, I: RequestInput, A: DeserializeOwned>(
        &self,
        endpoint: Endpoint<T, I, A>,
        target: &T,
        input: &I,
    ) -> Result<Received<A>, CommandFailure> {
        let sent = self.send(ClientRequest::of(endpoint, target, input)?).await;
        read(&sent.map_err(|failure| failure.naming(&target.name()))?)
    }

    /// The owner to whose objects the operator of this client is limited, if the broker tells it now.
    pub(crate) async fn scope_owner(&self) -> Option<String> {
        let is_operator = self.source.as_ref().is_some_and(|source| source.kind == IdentityKind::Operator);
        if !is_operator {
            return None;
        }
        let whoami = self.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await;
        whoami.ok().and_then(|whoami| whoami.answer.owner)
    }

    /// All items of a listing.
    pub(crate) async fn list<C, A: DeserializeOwned>(
        &self,
        endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<A>>,
    ) -> Result<Vec<Received<A>>, CommandFailure> {
        Ok(self.list_some(endpoint, usize::MAX, |_| true).await?.0)
    }

    /// The first `limit` items of a listing that `is_wanted` accepts, page by page, and whether there are more.
    pub(crate) async fn list_some<C, A: DeserializeOwned>(
        &self,
        endpoint: Endpoint<Nothing, PageQuery<C>, PageAnswer<A>>,
        limit: usize,
        is_wanted: impl Fn(&Received<A>) -> bool,
    ) -> Result<(Vec<Received<A>>, bool), CommandFailure> {
        let (mut items, mut query) = (Vec::new(), PageQuery::<String>::default());
        loop {
            let mut request = ClientRequest::to(endpoint, &Nothing);
            request.uri.push_str(&query.query());
            let page: PageAnswer<Received<A>> = read(&self.send(request).await?)?;
            items.extend(page.items.into_iter().filter(&is_wanted));
            if items.len() > limit {
                items.truncate(limit);
                return Ok((items, true));
            }
            match page.next_after {
                // Names contain no character that is special in a query.
                Some(after) => query.after = Some(after),
                None => return Ok((items, false)),
            }
        }
    }

    /// The items of a listing that has one page.
    pub(crate) async fn items<A: DeserializeOwned>(
        &self,
        endpoint: Endpoint<Nothing, Nothing, Items<A>>,
    ) -> Result<Vec<Received<A>>, CommandFailure> {
        let items: Items<Received<A>> = read(&self.send(ClientRequest::to(endpoint, &Nothing)).await?)?;
        Ok(items.items)
    }

    /// Asks for an access token.
    pub(crate) async fn mint(&self, form: &TokenForm) -> Result<Received<TokenAnswer>, CommandFailure> {
        let endpoint: Endpoint<Nothing, Form<TokenForm>, TokenAnswer> = MINT_TOKEN;
        read(&self.send(ClientRequest::to(endpoint, &Nothing).with_form(form)?).await?)
    }

    pub(super) async fn send(&self, request: ClientRequest) -> Result<ClientResponse, CommandFailure> {
        let sent = self.send_once(request.clone()).await;
        match (sent, &self.source) {
            // Another process may have renewed the identity since this one read it. The request had no effect.
            (Err(failure), Some(source)) if failure.is_unauthenticated() => {
                let newer =
                    Self::with(&Identity::load(&source.home, source.kind)?, &source.home, source.kind)?;
                if newer.certificate == self.certificate {
                    return Err(failure);
                }
                newer.send_once(request).await
            }
            (sent, _) => sent,
        }
    }

    async fn send_once(&self, request: ClientRequest) -> Result<ClientResponse, CommandFailure> {
        let (leaves_doubt, is_sent) = (request.leaves_doubt, AtomicBool::new(false));
        let sent = tokio::time::timeout(self.wait, self.connect_and_send(request, &is_sent)).await;
        let answered = sent.unwrap_or_else(|_| {
            let why = format!("no response within {} seconds", self.wait.as_secs());
            Err(self.transport.unreachable(&why))
        });
        answered.map_err(|failure| {
            let is_in_doubt = leaves_doubt && is_sent.load(Ordering::Relaxed);
            if is_in_doubt { failure.in_doubt() } else { failure }
        })
    }

    /// Sets `is_sent` before the first byte of the request is sent.
    async fn connect_and_send(
        &self,
        request: ClientRequest,
        is_sent: &AtomicBool,
    ) -> Result<ClientResponse, CommandFailure> {
        let connection = self.transport.connect().await.map_err(|failure| self.explained(failure))?;
        let shown = connection.certificates();
        self.check_trust_domain(&shown)?;
        self.learn(&shown);
        is_sent.store(true, Ordering::Relaxed);
        let exchanged = self.transport.exchange(connection, request).await;
        let response = exchanged.map_err(|failure| self.explained(failure))?;
        self.clock.note(&response.headers, SystemClock::new().now());
        // The completion of a word has no identity that is updated, and prints nothing.
        if self.source.is_some() && response.headers.contains_key(READ_ONLY_HEADER) {
            note_read_only();
        }
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        let retry_after_s =
            response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(refusal(response.status, response.body.expose(), retry_after_s))
    }

    /// The failure, with the details of the client's certificate if the broker refused it.
    fn explained(&self, failure: TransportFailure) -> CommandFailure {
        // The handshake was not signed: all else follows from that.
        if let Some(failed) = self.signer.as_ref().and_then(|signer| signer.failure()) {
            return failed.clone();
        }
        let cause = match failure {
            TransportFailure::Other(failure) => return failure,
            TransportFailure::Refused(cause) => cause,
        };
        match (&self.transport, &self.presented) {
            (Transport::Tls { address, origin, .. }, Some(certificate)) => {
                let now = SystemClock::new().now();
                RefusedCertificate { certificate, address, origin, now }.explained(cause)
            }
            (Transport::Tls { .. } | Transport::Socket(_), _) => {
                CommandFailure::new(code::CERTIFICATE_REFUSED)
            }
        }
    }

    /// Stores the broker's authorities when they change. The broker sends all of them behind its own certificate, which
    /// an authority signed that the client trusts already, so that the client knows the next authority before it signs.
    /// A verb does not fail if they cannot be stored: the stored authorities are valid until the next request.
    fn learn(&self, shown: &[Vec<u8>]) {
        let (Some(source), Some((_, authorities))) = (&self.source, shown.split_first()) else { return };
        let same = authorities.len() == self.authorities.len()
            && authorities.iter().all(|one| self.authorities.contains(one));
        if !same && !authorities.is_empty() {
            Identity::learn(&source.home, source.kind, authorities)
                .unwrap_or_else(|failure| warn_not_updated(&failure));
        }
    }

    /// Checks that all authorities of the broker are of the trust domain that the enrolment code names.
    fn check_trust_domain(&self, shown: &[Vec<u8>]) -> Result<(), CommandFailure> {
        let Some(expected) = &self.trust_domain else { return Ok(()) };
        let other = shown.iter().skip(1).find_map(|der| {
            let read = AuthorityCertificate::parse(der.clone());
            let found =
                read.map_or_else(|_| "no trust domain".to_owned(), |one| one.trust_domain().to_string());
            (found != expected.to_string()).then_some(found)
        });
        let Some(other) = other else { return Ok(()) };
        let why = format!(
            "the broker at {} names trust domain {other}, the enrolment code {expected}; nothing was sent",
            self.transport.place()
        );
        Err(CommandFailure::new(code::CERTIFICATE_MISMATCH).because(why))
    }
}

/// The state of the broker at the socket on this host.
///
/// # Errors
/// [`CommandFailure`] if it does not answer within 10 seconds.
pub async fn host_state(socket: &Path) -> Result<StateAnswer, CommandFailure> {
    const WAIT: Duration = Duration::from_secs(10);
    let client = Client::on_host(socket).within(WAIT);
    client.call(GET_STATE, &Nothing, &Nothing).await.map(|state| state.answer)
}

pub(super) fn read<A: DeserializeOwned>(response: &ClientResponse) -> Result<A, CommandFailure> {
    serde_json::from_slice(response.body.expose()).map_err(|_| {
        CommandFailure::new(code::RESPONSE_INVALID)
            .because("the response is not the JSON that this version of keyward expects")
    })
}

/// Whether nothing needs to be said any more of a broker in read-only mode.
static READ_ONLY_IS_SAID: AtomicBool = AtomicBool::new(false);

/// For a program that reads standard error as JSON: `keyward status` and every refusal name the read-only mode.
pub(crate) fn say_nothing_of_read_only() {
    READ_ONLY_IS_SAID.store(true, Ordering::Relaxed);
}

/// Says once that the answers are those of a broker in read-only mode.
fn note_read_only() {
    if !READ_ONLY_IS_SAID.swap(true, Ordering::Relaxed) {
        Console::new(Format::Table).say(
            "note: the broker is in read-only mode: its data may be an old copy, and it records, issues and changes nothing; \
             if it is to replace the original: `keyward adopt` on its host",
        );
    }
}

fn signed(
    identity: &Identity,
    signer: Arc<dyn HandshakeSigner>,
) -> Result<Arc<ClientConfig>, CommandFailure> {
    let chain = [identity.certificate_der()?];
    signed_client_config(&identity.authorities()?, &chain, signer, clock()).map_err(unusable)
}

/// Signs nothing: for a check without a handshake.
#[derive(Debug)]
struct Unopened;

impl HandshakeSigner for Unopened {
    fn sign(&self, _message: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn unusable(error: TlsError) -> CommandFailure {
    let why = match error {
        TlsError::Key => "the file `key.pem` of this identity has no private key in PEM",
        TlsError::Library(_) => {
            "the files `key.pem` and `certificate.pem` of this identity are not a private key and its certificate"
        }
        TlsError::Authority => {
            "the file `authority.pem` of this identity has a certificate that is not one of an authority"
        }
    };
    CommandFailure::new(code::IDENTITY_DAMAGED).because(why)
}

#[cfg(test)]
#[path = "broker_client_tests.rs"]
mod tests;
