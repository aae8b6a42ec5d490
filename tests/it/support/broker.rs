//! A real broker in this process: real store, real router, real TLS on loopback, a clock that the
//! test owns.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

pub(crate) use super::caller::{Agent, Caller, Reply};
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
        broker.certify_admin(false).await;
        broker.serve().await;
        broker
    }

    /// `keyward init`, or `keyward init --reissue-operator` if `reissue` is set, for the operator `admin`.
    async fn certify_admin(&self, reissue: bool) {
        let order = InitOptions {
            operator: "admin",
            reissue,
            home: &self.home(),
            root_key: None,
            confirm: &|_| Ok(()),
            key: None,
        };
        initialise(&self.config, order, &self.environment()).await.unwrap();
    }

    /// Starts again with another certificate for the operator `admin`, which the host has given it.
    pub(crate) async fn reissue_admin(&mut self) {
        self.stop().await;
        self.certify_admin(true).await;
        self.serve().await;
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
        let body = json!({ "files": [{ "name": "a.toml", "text": text }], "widen": true });
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
