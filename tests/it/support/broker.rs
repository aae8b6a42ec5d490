//! A real broker in this process: real store, real router, real TLS on loopback, a clock that the
//! test owns.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use keyward::app::{Environment, RunningBroker, start};
use keyward::base::encoding::base64url;
use keyward::base::limits::PAGE_ENTRIES_MAX;
use keyward::base::{Clock, Entropy, ManualClock, Sensitive, SystemClock, Timestamp};
use keyward::broker::Revocation;
use keyward::cli::{Identity, IdentityKind};
use keyward::config::Config;
use keyward::console::CommandFailure;
use keyward::offline::{InitOptions, initialise};
use keyward::pki::EnrolmentCode;
use keyward::pki::tls::{self, client_config};
use keyward::pki::{certificate_from_pem, certificates_from_pem, new_key_and_request};
use keyward::revocation::Effect;
use keyward::store::OnLostEntries;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

pub(crate) use super::connection::Connection;
use super::pausing::Pausing;

/// What most tests declare.
pub(crate) const DECLARATIONS: &str = r#"
[[capability]]
name = "github.repo.read"
access = "read"
delivery = "reveal"
secret = "github/app"
max_life_s = 300

[[capability]]
name = "reports.publish"
access = "write"
delivery = "mint"
audience = "https://reports.example.com"
max_life_s = 120

[[capability]]
name = "reports.read"
access = "read"
delivery = "mint"
audience = "https://reports.example.com"
max_life_s = 600

[[role]]
name = "repo-reader"
capabilities = ["github.repo.read"]

[[role]]
name = "publisher"
capabilities = ["reports.publish", "reports.read"]
"#;

pub(crate) struct TestBroker {
    dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) entropy: Arc<Pausing>,
    pub(crate) running: Option<RunningBroker>,
}

impl TestBroker {
    /// A broker that has been initialised and serves.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(settings: &str) -> Self {
        Self::start_at(SystemClock::new().now(), settings).await
    }

    /// The same at another time than this machine's.
    pub(crate) async fn start_at(now: Timestamp, settings: &str) -> Self {
        let mut broker = Self::laid_out(now, settings);
        let home = &broker.home();
        let order = InitOptions { operator: "admin", reissue: false, home, root_key: None, passphrase: None };
        initialise(&broker.config, order, &broker.environment()).await.unwrap();
        broker.serve().await;
        broker
    }

    /// A broker with a directory and a configuration, and nothing in them yet.
    pub(crate) fn laid_out(now: Timestamp, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let text = format!(
            "trust_domain = \"keyward.test\"\ndata_dir = \"{root}/data\"\n[root_key]\nfile = \"{root}/root.key\"\n\
             [listen]\nagents = \"127.0.0.1:0\"\nadmins = \"127.0.0.1:0\"\n\
             [server]\nnames = [\"127.0.0.1\"]\naddress = \"127.0.0.1:8443\"\n{settings}"
        );
        let config = Config::parse(&text, Path::new("test.toml")).unwrap();
        let clock = Arc::new(ManualClock::new(now));
        Self { dir, config, clock, entropy: Arc::default(), running: None }
    }

    /// The same with a secret and [`DECLARATIONS`].
    pub(crate) async fn declared() -> Self {
        let broker = Self::start().await;
        broker.declare().await;
        broker
    }

    pub(crate) async fn declare(&self) {
        let operator = self.operator();
        let stored = operator.put("/v1/secrets/github/app", "application/octet-stream", b"hunter2").await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        assert_eq!(self.apply(DECLARATIONS).await.status, 200);
    }

    pub(crate) async fn apply(&self, text: &str) -> Reply {
        let body = json!({ "files": [{ "name": "a.toml", "text": text }] });
        self.operator().post_json("/v1/apply", &body).await
    }

    pub(crate) fn environment(&self) -> Environment {
        let machine_id = self.dir.path().join("machine-id");
        Environment {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::clone(&self.entropy) as Arc<dyn Entropy>,
            machine_id,
        }
    }

    pub(crate) async fn serve(&mut self) {
        self.try_serve().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    }

    pub(crate) async fn try_serve(&mut self) -> Result<(), CommandFailure> {
        self.running = Some(start(&self.config, &self.environment(), OnLostEntries::Refuse).await?);
        Ok(())
    }

    /// What the broker does every minute by itself.
    pub(crate) async fn look_after(&self) {
        self.running.as_ref().unwrap().look_after().await;
    }

    /// Compares the clocks, as the broker does every second by itself.
    pub(crate) async fn look_at_clock(&self) {
        self.running.as_ref().unwrap().look_at_clock().await;
    }

    /// The socket on the broker's host.
    pub(crate) fn socket(&self) -> PathBuf {
        self.config.listen.host.clone()
    }

    /// Carries on all rotations that are due now, as far as they go now.
    pub(crate) async fn rotate_due(&self) {
        self.running.as_ref().unwrap().rotate_due().await;
    }

    /// Ends all leases whose end is due now, as far as it goes now.
    pub(crate) async fn end_due_leases(&self) {
        self.running.as_ref().unwrap().end_due_leases().await;
    }

    /// The runtimes of the agents' listener, the operators' listener and the jobs.
    pub(crate) fn runtimes(&self) -> [tokio::runtime::Handle; 3] {
        self.running.as_ref().unwrap().runtimes()
    }

    /// Puts a mark on a subject of any kind.
    pub(crate) async fn mark(&self, effect: Effect) {
        let (what, subject) = match effect.clone() {
            Effect::Kill(subject) => (Revocation::Revoke, subject),
            Effect::Block(subject) => (Revocation::Suspend, subject),
            Effect::Unblock(subject) => (Revocation::Resume, subject),
            Effect::Explain { .. } | Effect::Contain(_) | Effect::Lift { .. } => {
                panic!("no mark: {effect:?}")
            }
        };
        self.running.as_ref().unwrap().mark(what, subject).await.unwrap();
    }

    pub(crate) async fn take_snapshot(&self) {
        self.running.as_ref().unwrap().take_snapshot().await;
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// The stop, under way.
    pub(crate) fn begin_to_stop(&mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.running.take().unwrap().stop())
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.serve().await;
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.config.data_dir.clone()
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn agents(&self) -> SocketAddr {
        self.running.as_ref().unwrap().agents()
    }

    pub(crate) fn admins(&self) -> SocketAddr {
        self.running.as_ref().unwrap().admins()
    }

    pub(crate) fn authority_pem(&self) -> String {
        Identity::load(&self.home(), IdentityKind::Operator).unwrap().authority_pem
    }

    /// The first operator, at the admin listener.
    pub(crate) fn operator(&self) -> Caller {
        self.operator_knowing(&self.authority_pem())
    }

    /// The same, knowing the broker by these authorities.
    pub(crate) fn operator_knowing(&self, authorities: &str) -> Caller {
        let identity = Identity::load(&self.home(), IdentityKind::Operator).unwrap();
        let held = (identity.certificate_pem.as_str(), identity.key_pem.expose().as_str());
        self.caller_knowing(authorities, self.admins(), Some(held))
    }

    /// A caller without a certificate, at `address`.
    pub(crate) fn nobody(&self, address: SocketAddr) -> Caller {
        self.caller(address, None, None)
    }

    /// A caller with this certificate and key, at `address`.
    pub(crate) fn caller(&self, address: SocketAddr, certificate: Option<&str>, key: Option<&str>) -> Caller {
        self.caller_knowing(&self.authority_pem(), address, certificate.zip(key))
    }

    /// The same, knowing the broker by these authorities.
    pub(crate) fn caller_knowing(
        &self,
        authorities: &str,
        address: SocketAddr,
        held: Option<(&str, &str)>,
    ) -> Caller {
        let authorities = certificates_from_pem(authorities).unwrap();
        let identity = held.map(|(certificate, key)| tls::TlsIdentity {
            chain: vec![certificate_from_pem(certificate).unwrap()],
            key_pem: Sensitive::new(key.to_owned()),
        });
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let config = client_config(&authorities, identity.as_ref(), clock).unwrap();
        Caller { address, config }
    }

    /// Invites `name`; with roles, creates it.
    pub(crate) async fn invite(&self, name: &str, roles: &[&str]) -> EnrolmentCode {
        let path = format!("/v1/agents/{name}/invitations");
        let reply = self.operator().post_json(&path, &json!({ "roles": roles })).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
    }

    /// Redeems `code` with a request for a certificate.
    pub(crate) async fn redeem(&self, code: &EnrolmentCode, request: &[u8]) -> Reply {
        let body = json!({
            "code_id": code.id.to_string(), "secret": base64url(code.secret.expose()), "csr": base64url(request),
        });
        self.nobody(self.agents()).post_json("/v1/enrol", &body).await
    }

    /// An enrolled agent.
    pub(crate) async fn agent(&self, name: &str, roles: &[&str]) -> Agent {
        let code = self.invite(name, roles).await;
        let (key, request) = new_key_and_request().unwrap();
        let reply = self.redeem(&code, &request).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        let certificate = reply.json()["certificate"].as_str().unwrap().to_owned();
        let key = key.expose().clone();
        let caller = self.caller(self.agents(), Some(&certificate), Some(&key));
        Agent { caller, certificate, key }
    }

    /// All ledger entries of this kind.
    pub(crate) async fn entries(&self, kind: &str) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), Some(0));
        while let Some(seq) = after {
            let page = format!("/v1/ledger/entries?limit={PAGE_ENTRIES_MAX}&after={seq}");
            let page = self.operator().get(&page).await.json();
            items.extend(page["items"].as_array().unwrap().clone());
            after = page["next_after"].as_u64();
        }
        items.into_iter().filter(|item| item["kind"] == kind).collect()
    }
}

/// An agent and what it holds.
pub(crate) struct Agent {
    pub(crate) caller: Caller,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Agent {
    pub(crate) async fn ask(&self, form: &str) -> Reply {
        self.caller.post("/oauth/token", "application/x-www-form-urlencoded", form.as_bytes()).await
    }

    pub(crate) async fn token(&self, scope: &str) -> String {
        let reply = self.ask(&format!("grant_type=client_credentials&scope={scope}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn secret(&self, name: &str, token: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        self.caller.send("GET", &format!("/v1/secrets/{name}"), &headers, b"").await
    }
}

/// A caller over a TLS connection.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) config: Arc<ClientConfig>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Caller {
    /// A TLS connection.
    pub(crate) async fn open(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.open_over(TcpStream::connect(self.address).await?).await
    }

    async fn open_over(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.address.ip().to_string()).unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// Says `bytes` and gives back all that comes until the other side closes.
    pub(crate) async fn say_and_wait(&self, bytes: &[u8]) -> String {
        let mut stream = self.open().await.unwrap();
        let mut answer = Vec::new();
        // How far the saying comes and how the connection is closed is no matter, but what is answered.
        drop(stream.write_all(bytes).await);
        drop(stream.flush().await);
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    /// A connection that stays open.
    pub(crate) async fn connect(&self) -> std::io::Result<Connection> {
        Self::speak_over(self.open().await?).await
    }

    /// The same from another address of this machine.
    pub(crate) async fn connect_from(&self, source: [u8; 4]) -> std::io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        Self::speak_over(self.open_over(socket.connect(self.address).await?).await?).await
    }

    async fn speak_over(stream: TlsStream<TcpStream>) -> std::io::Result<Connection> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection::over(sender))
    }

    /// One request on a connection of its own; an error when TLS or the broker refused it.
    pub(crate) async fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        self.connect().await?.send(method, path, headers, body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        self.attempt(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, kind: &str, body: &[u8]) -> Reply {
        self.send("POST", path, &[("content-type", kind)], body).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.post(path, "application/json", body.to_string().as_bytes()).await
    }

    pub(crate) async fn put(&self, path: &str, kind: &str, body: &[u8]) -> Reply {
        self.send("PUT", path, &[("content-type", kind)], body).await
    }
}
