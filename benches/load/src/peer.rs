//! `OpenBao`, a secrets manager of another make, driven in turn with Keyward by the same agents over the same
//! connections.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use crate::bed::{Bed, Server, Side, certify, pinned};
use crate::client::{Connection, Identity, request};
use crate::drive::{Asker, Load};
use crate::fleet::Agent;
use crate::turns::{Figures, What, Workload, one_turn};
use crate::{Extent, Failed};

/// Longest wait for the server to become the leader of its cluster of one.
const READY_WAIT: Duration = Duration::from_secs(60);
/// Longest life of its tokens: that of Keyward's.
const TOKEN_LIFE: &str = "5m";

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// What the server calls its version.
    pub(crate) version: String,
    pub(crate) compared: Vec<Compared>,
}

/// One kind of request, asked of both in turn.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) title: &'static str,
    pub(crate) keyward: Vec<Figures>,
    pub(crate) openbao: Vec<Figures>,
}

/// A running `OpenBao`, and the administrator's token.
struct OpenBao {
    server: Server,
    administrator: String,
    authority: Authority,
}

/// Certifies the agents for `OpenBao`, which names them by the common name that Keyward's certificates do not have.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Result<Self, Failed> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The agent `name` with a certificate of this authority.
    fn certify(&self, name: &str) -> Result<Agent, Failed> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = vec![certificate.der().clone()];
        let identity = Identity::new(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        Ok(Agent { name: name.to_owned(), identity })
    }
}

/// What is asked of Keyward, and of `OpenBao` for the same purpose.
#[derive(Clone, Copy)]
enum Purpose {
    /// A token that is on disk: `login` with `OpenBao`'s service tokens.
    Login,
    /// A token that `OpenBao` does not store.
    BatchLogin,
    /// The value of a secret.
    Read,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Login, Self::BatchLogin, Self::Read];

    const fn workload(self, extent: Extent) -> Workload {
        let smoke = matches!(extent, Extent::Smoke);
        let (seconds, rounds) = if smoke { (0.2, 1) } else { (2.0, 5) };
        let (title, what, connections) = match self {
            Self::Login => ("login, a durable token, 64 connections", What::Mint, 64),
            Self::BatchLogin => {
                ("login, OpenBao's batch token (stored nowhere), 64 connections", What::Mint, 64)
            }
            Self::Read => ("read of a secret, 16 connections", What::Read, 16),
        };
        Workload { title, what, load: Load::Warm { connections, seconds }, rounds, target: "" }
    }
}

/// Starts the server and compares.
pub(crate) async fn compare(
    extent: Extent,
    bed: &Bed,
    program: &Path,
    cast: &crate::plan::Cast<'_>,
    peers: &mut Peers,
) -> Result<(), Failed> {
    let openbao = OpenBao::start(&bed.dir.join("openbao"), program).await?;
    peers.version = version(program)?;
    for purpose in Purpose::ALL {
        let workload = purpose.workload(extent);
        let ours = cast.askers(workload).await?;
        let theirs = openbao.askers(purpose, &ours).await?;
        let mut compared = Compared { title: workload.title, keyward: Vec::new(), openbao: Vec::new() };
        for number in 1..=workload.rounds {
            let keyward = one_turn(workload, cast.keyward, cast.operator, &ours).await?;
            // The ids of Keyward's tokens are looked up in its ledger; OpenBao's answers have none of that form.
            let workload = Workload { what: What::Read, ..workload };
            let peer = one_turn(workload, &openbao.server, cast.operator, &theirs).await?;
            println!(
                "{:<34} {number}/{}  keyward {keyward}   openbao {peer}   ratio {:.1}",
                workload.title,
                workload.rounds,
                keyward.rate / peer.rate
            );
            compared.keyward.push(keyward);
            compared.openbao.push(peer);
        }
        peers.compared.push(compared);
    }
    Ok(())
}

fn version(program: &Path) -> Result<String, Failed> {
    let said = Command::new(program).arg("version").output()?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(said.split_whitespace().find(|word| word.starts_with('v')).unwrap_or("of unknown version").to_owned())
}

impl OpenBao {
    /// As its documentation sets up one server: integrated storage, TLS, an audit device, certificate logins.
    async fn start(dir: &Path, program: &Path) -> Result<Self, Failed> {
        fs::create_dir_all(dir.join("data"))?;
        certify(dir)?;
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let (address, cluster) = (free()?, free()?);
        let root = dir.display();
        let config = format!(
            "storage \"raft\" {{ path = \"{root}/data\" node_id = \"one\" }}\n\
             listener \"tcp\" {{ address = \"{address}\" tls_cert_file = \"{root}/server.pem\" \
             tls_key_file = \"{root}/server.key\" tls_min_version = \"tls13\" }}\n\
             api_addr = \"https://{address}\"\ncluster_addr = \"https://{cluster}\"\nlog_level = \"warn\"\n\
             audit \"file\" \"records\" {{ options {{ file_path = \"{root}/audit.log\" }} }}\n"
        );
        let file: PathBuf = dir.join("openbao.hcl");
        fs::write(&file, config)?;
        let log = File::create(dir.join("openbao.log"))?;
        let mut command = pinned(program);
        command.arg("server").arg("-config").arg(&file);
        let child = command.stdout(Stdio::from(log.try_clone()?)).stderr(log).spawn()?;
        let server = Server::new(Side::OpenBao, address, child);
        let mut openbao = Self { server, administrator: String::new(), authority: Authority::new()? };
        openbao.initialise().await?;
        openbao.declare().await?;
        Ok(openbao)
    }

    async fn initialise(&mut self) -> Result<(), Failed> {
        let keys = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = self.until_answered("PUT", "/v1/sys/init", &keys).await?;
        self.administrator = made["root_token"].as_str().ok_or("`init` gave no token")?.to_owned();
        let key = json!({ "key": made["keys_base64"][0] });
        self.until_answered("PUT", "/v1/sys/unseal", &key).await?;
        // It serves when it has elected itself.
        self.until_answered("GET", "/v1/sys/mounts", &Value::Null).await?;
        Ok(())
    }

    /// Certificate logins with both kinds of token, and one secret.
    async fn declare(&self) -> Result<(), Failed> {
        let policy = json!({ "policy": "path \"secret/*\" { capabilities = [\"read\"] }" });
        let stored = |kind| json!({ "certificate": self.authority.pem, "token_policies": "reader", "token_ttl": TOKEN_LIFE, "token_type": kind });
        let steps = [
            ("PUT", "/v1/sys/policies/acl/reader", policy),
            ("POST", "/v1/sys/auth/cert", json!({ "type": "cert" })),
            ("POST", "/v1/auth/cert/certs/agents", stored("service")),
            ("POST", "/v1/auth/cert/certs/batch", stored("batch")),
            ("POST", "/v1/sys/mounts/secret", json!({ "type": "kv", "options": { "version": "2" } })),
            ("POST", "/v1/secret/data/app", json!({ "data": { "value": "bench-value-0123456789" } })),
        ];
        for (method, path, body) in steps {
            self.until_answered(method, path, &body).await?;
        }
        Ok(())
    }

    /// Asks until the answer is good: a server that is still on its way says 4xx or 5xx.
    async fn until_answered(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failed> {
        let start = Instant::now();
        let mut said = String::new();
        while start.elapsed() < READY_WAIT {
            match self.ask(method, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => said = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("openbao: {method} {path}: {said}").into())
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failed> {
        let mut connection = Connection::open(self.server.address, &Identity::none()?).await?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let token = format!("x-vault-token: {}\r\n", self.administrator);
        let answer = connection.ask(&request(method, path, &token, &body)).await?;
        if !answer.is_good() {
            return Err(format!("{}: {}", answer.status, String::from_utf8_lossy(answer.body)).into());
        }
        Ok(serde_json::from_slice(answer.body).unwrap_or(Value::Null))
    }

    /// The same agents, who ask `OpenBao` for the same purpose.
    async fn askers(&self, purpose: Purpose, ours: &[Asker]) -> Result<Vec<Asker>, Failed> {
        let mut askers = Vec::new();
        for asker in ours {
            let agent = &Arc::new(self.authority.certify(&asker.agent.name)?);
            let asked = match purpose {
                Purpose::Login => login("agents"),
                Purpose::BatchLogin => login("batch"),
                Purpose::Read => {
                    let token = self.token_of(agent).await?;
                    request("GET", "/v1/secret/data/app", &format!("x-vault-token: {token}\r\n"), "")
                }
            };
            askers.push(Asker::of(agent, asked));
        }
        Ok(askers)
    }

    async fn token_of(&self, agent: &Arc<Agent>) -> Result<String, Failed> {
        let mut connection = Connection::open(self.server.address, &agent.identity).await?;
        let answer = connection.ask(&login("agents")).await?;
        let said: Value = serde_json::from_slice(answer.body)?;
        let token = said["auth"]["client_token"].as_str();
        Ok(token.ok_or_else(|| format!("openbao: login: {said}"))?.to_owned())
    }
}

fn login(role: &str) -> Vec<u8> {
    request("POST", "/v1/auth/cert/login", "", &json!({ "name": role }).to_string())
}
