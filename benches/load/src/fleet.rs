//! Agents: declared, invited and enrolled through the broker's own interfaces; and what the ledger says.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::Failed;
use crate::bed::Bed;
use crate::client::{Connection, Identity, request};
use crate::drive::{Asker, Requests, TokenName};

/// What every agent may ask for: a token for a service, and one that the broker takes back for a secret.
const DECLARATIONS: &str = r#"
[[capability]]
name = "bench.service.write"
access = "write"
delivery = "mint"
audience = "https://service.bench.internal"
max_life_s = 300

[[capability]]
name = "bench.secret.read"
access = "read"
delivery = "reveal"
secret = "bench/app"
max_life_s = 3600

[[resource_server]]
name = "service"
audience = "https://service.bench.internal"

[[role]]
name = "bench"
capabilities = ["bench.service.write", "bench.secret.read"]
"#;

/// How many invitations and enrolments are under way at once.
const AT_ONCE: usize = 64;
/// Most entries in one page of the ledger.
const PAGE_ENTRIES: u64 = 500;

/// What an agent asks to mint, over the wire.
pub(crate) fn mint_request() -> Vec<u8> {
    mint_request_for("bench.service.write")
}

/// The same for another capability.
pub(crate) fn mint_request_for(capability: &str) -> Vec<u8> {
    form("/oauth/token", &format!("grant_type=client_credentials&scope={capability}"))
}

/// The same with an approval.
pub(crate) fn mint_request_with(capability: &str, approval: &str) -> Vec<u8> {
    form("/oauth/token", &format!("grant_type=client_credentials&scope={capability}&approval={approval}"))
}

/// What it asks for a token that reads the secret, likewise.
fn reveal_request() -> Vec<u8> {
    form("/oauth/token", "grant_type=client_credentials&scope=bench.secret.read&expires_in=3600")
}

fn form(path: &str, body: &str) -> Vec<u8> {
    request("POST", path, "content-type: application/x-www-form-urlencoded\r\n", body)
}

/// The operator of the broker.
#[derive(Clone)]
pub(crate) struct Operator {
    identity: Identity,
    address: std::net::SocketAddr,
}

impl Operator {
    /// The one that `keyward init` made.
    pub(crate) fn of(bed: &Bed) -> Result<Self, Failed> {
        let home = bed.home().join("operator");
        let chain = CertificateDer::pem_file_iter(home.join("certificate.pem"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(home.join("key.pem"))?;
        Ok(Self { identity: Identity::new(chain, key)?, address: bed.admins })
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failed> {
        Connection::open(self.address, &self.identity).await
    }

    /// The operator as one who asks what agents ask for is asked among.
    pub(crate) fn asker(&self, requests: Vec<Vec<u8>>) -> Asker {
        let agent = Arc::new(Agent { name: "operator".to_owned(), identity: self.identity.clone() });
        Asker { agent, requests: Requests::of(requests), elsewhere: Some(self.address) }
    }

    /// The number of the ledger's last entry.
    pub(crate) async fn head(&self) -> Result<u64, Failed> {
        let page = page(&mut self.connect().await?, 0, 1).await?;
        page["head"].as_u64().ok_or_else(|| format!("no head in {page}").into())
    }

    /// The tokens that entries after `after` say were minted.
    pub(crate) async fn minted_after(&self, mut after: u64) -> Result<HashSet<TokenName>, Failed> {
        let mut connection = self.connect().await?;
        let mut minted = HashSet::new();
        loop {
            let page = page(&mut connection, after, PAGE_ENTRIES).await?;
            let items = page["items"].as_array().ok_or("a page without items")?;
            let Some(last) = items.last() else { return Ok(minted) };
            after = last["seq"].as_u64().ok_or("an entry without a number")?;
            for entry in items.iter().filter(|entry| entry["kind"] == "token.minted") {
                let token = entry["event"]["token"].as_str().ok_or("a mint without a token")?;
                if !minted.insert(TokenName::of(token.as_bytes())) {
                    return Err(format!("the ledger has {token} twice").into());
                }
            }
        }
    }
}

async fn page(connection: &mut Connection, after: u64, limit: u64) -> Result<Value, Failed> {
    let path = format!("/v1/ledger/entries?after={after}&limit={limit}");
    parsed(connection.ask(&request("GET", &path, "", "")).await?.body)
}

fn parsed(body: &[u8]) -> Result<Value, Failed> {
    Ok(serde_json::from_slice(body)?)
}

/// What is answered to `asked`.
pub(crate) async fn answered(connection: &mut Connection, asked: &[u8]) -> Result<Value, Failed> {
    let answer = connection.ask(asked).await?;
    if answer.is_good() { parsed(answer.body) } else { Err(String::from_utf8_lossy(answer.body).into()) }
}

pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str, Failed> {
    answer[field].as_str().ok_or_else(|| format!("no {field} in {answer}").into())
}

/// An agent with its certificate.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) identity: Identity,
}

/// Declares what there is to ask for.
pub(crate) fn declare(bed: &Bed) -> Result<(), Failed> {
    let file = bed.dir.join("bench.toml");
    fs::write(&file, DECLARATIONS)?;
    bed.run(&["secret", "put", "bench/app"], b"ghp_0123456789abcdefghijklmnopqrstuvwxyz")?;
    bed.run(&["apply", "-f", &file.display().to_string()], b"")?;
    Ok(())
}

/// Makes agents number `first` to `first + count - 1` and enrols them at `address`.
pub(crate) async fn enrol(
    operator: &Operator,
    address: std::net::SocketAddr,
    first: usize,
    count: usize,
) -> Result<Vec<Arc<Agent>>, Failed> {
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..AT_ONCE.min(count) {
        let operator = operator.clone();
        tasks.spawn(async move {
            let mut admin = operator.connect().await?;
            let mut nobody = Connection::open(address, &Identity::none()?).await?;
            let mut agents = Vec::new();
            for number in (first + lane..first + count).step_by(AT_ONCE) {
                agents.push(Arc::new(enrol_one(&mut admin, &mut nobody, number).await?));
            }
            Ok::<_, Failed>(agents)
        });
    }
    let mut agents = Vec::with_capacity(count);
    while let Some(lane) = tasks.join_next().await {
        agents.extend(lane??);
    }
    Ok(agents)
}

pub(crate) const JSON: &str = "content-type: application/json\r\n";

async fn enrol_one(admin: &mut Connection, nobody: &mut Connection, number: usize) -> Result<Agent, Failed> {
    enrol_as(admin, nobody, format!("agent-{number}"), &["bench"]).await
}

/// An operator's request for one more way in for the agent of this name.
pub(crate) fn invitation(name: &str, roles: &[&str]) -> Vec<u8> {
    let path = format!("/v1/agents/{name}/invitations");
    request("POST", &path, JSON, &json!({ "roles": roles }).to_string())
}

/// Enrols somebody who was declared, or who gets `roles`.
pub(crate) async fn enrol_as(
    admin: &mut Connection,
    nobody: &mut Connection,
    name: String,
    roles: &[&str],
) -> Result<Agent, Failed> {
    let invited = parsed(admin.ask(&invitation(&name, roles)).await?.body)?;
    let code = text(&invited, "code")?;
    let parts: Vec<&str> = code.split('.').collect();
    let [_, _, _, _, id, secret] = parts[..] else {
        return Err(format!("no enrolment code: {invited}").into());
    };

    let (key, csr) = new_key()?;
    let body = json!({ "code_id": id, "secret": secret, "csr": csr }).to_string();
    let enrolled = parsed(nobody.ask(&request("POST", "/v1/enrol", JSON, &body)).await?.body)?;
    let chain = vec![CertificateDer::from_pem_slice(text(&enrolled, "certificate")?.as_bytes())?];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(Agent { name, identity: Identity::new(chain, key)? })
}

/// A new key, and the request for a certificate for it.
pub(crate) fn new_key() -> Result<(KeyPair, String), Failed> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = BASE64URL_NOPAD.encode(params.serialize_request(&key)?.der());
    Ok((key, csr))
}

/// A request for the next certificate, for a key that nobody has asked for yet.
pub(crate) fn renew_request() -> Result<Vec<u8>, Failed> {
    let (_, csr) = new_key()?;
    Ok(request("POST", "/v1/renew", JSON, &json!({ "csr": csr }).to_string()))
}

/// The resource server, enrolled at `address`.
pub(crate) async fn resource_server(
    operator: &Operator,
    address: std::net::SocketAddr,
) -> Result<Arc<Agent>, Failed> {
    let mut admin = operator.connect().await?;
    let mut nobody = Connection::open(address, &Identity::none()?).await?;
    Ok(Arc::new(enrol_as(&mut admin, &mut nobody, "service".to_owned(), &[]).await?))
}

/// A resource server's question about a token that `agent` gets.
pub(crate) async fn introspect_request(
    agent: &Agent,
    address: std::net::SocketAddr,
) -> Result<Vec<u8>, Failed> {
    let mut connection = Connection::open(address, &agent.identity).await?;
    let answer = parsed(connection.ask(&mint_request()).await?.body)?;
    Ok(form("/oauth/introspect", &format!("token={}", text(&answer, "access_token")?)))
}

/// A request for the secret, with a token that `agent` gets for it.
pub(crate) async fn read_request(agent: &Agent, address: std::net::SocketAddr) -> Result<Vec<u8>, Failed> {
    let mut connection = Connection::open(address, &agent.identity).await?;
    let answer = parsed(connection.ask(&reveal_request()).await?.body)?;
    let token = text(&answer, "access_token")?;
    Ok(request("GET", "/v1/secrets/bench/app", &format!("authorization: Bearer {token}\r\n"), ""))
}
