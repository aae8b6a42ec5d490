//! What was revoked, and where it must show: every kind of subject, every kind of credential, every place.

mod contained;
mod operators;
mod stolen;

use keyward::authn::Credential;
use keyward::base::encoding::{base64url, from_base64url};
use keyward::base::{AgentId, CapabilityName, InstanceId, RoleName};
use keyward::pki::{PeerCertificate, certificate_from_pem, new_key_and_request};
use keyward::revocation::{Effect, Subject};
use keyward::token::Claims;
use serde_json::json;

use crate::leases::{BY_ADMIN, Login, declared};
use crate::rotation::BYTES;
use crate::support::broker::{Agent, Connection, Reply, TestBroker};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};

const FORM: &str = "application/x-www-form-urlencoded";
const MINT: &str = "grant_type=client_credentials&scope=reports.read";
const REPORTS: &str = "https://reports.example.com";

/// The places of the table, in the order of its columns.
const PLACES: [&str; 8] = ["mint", "replay", "reveal", "introspect", "renew", "enrol", "lease", "connection"];

/// A column a place: `x` where a revocation of the subject must show, `.` where what is there must go on; then
/// the same of a suspension, where new tokens are refused too.
const TABLE: [(&str, &str, &str); 11] = [
    //             mint, replay, reveal, introspect, renew, enrol, lease, connection
    ("agent", "xxxxxxxx", "xxxxxxxx"),
    ("instance", "xxxxx.xx", "xxxxx.xx"),
    ("token", ".xxx....", ".xxx...."),
    ("role", ".xxx..x.", "xxxx..x."),
    ("capability", ".xxx..x.", "xxxx..x."),
    ("owner", ".xxx.xx.", "xxxxxxxx"),
    ("secret", "..x...x.", "..x...x."),
    ("certificate", "xxxxx.xx", "xxxxx.xx"),
    ("lineage", ".xxx..x.", "xxxx..x."),
    ("everything", ".xxx.xx.", "xxxxxxxx"),
    ("network", ".xxx.xx.", "xxxxxxxx"),
];

struct Bed {
    broker: TestBroker,
    postgres: Postgres,
    reports: Agent,
}

/// An agent with one of everything that it can have.
struct Holder {
    name: String,
    agent: Agent,
    token: String,
    reveal: String,
    login: Login,
    code: keyward::pki::EnrolmentCode,
    connection: Connection,
}

impl Bed {
    async fn new() -> Self {
        let settings = "[quota]\nmints_per_s = 10000\nmints_burst = 10000\nenrolments_per_s = 1000\nenrolments_burst = 1000\n";
        let (broker, postgres) = (TestBroker::start_with(settings).await, Postgres::start());
        broker.declare().await;
        let admin = broker.operator();
        let stored = admin.put("/v1/secrets/orders-db/admin", BYTES, ADMIN_PASSWORD.as_bytes()).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let server = format!("[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\n");
        let text = format!("{}{server}", declared(&postgres, 2, BY_ADMIN));
        let applied = broker.apply(&text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let reports = broker.agent("reports", &[]).await;
        Self { broker, postgres, reports }
    }

    async fn holder(&self, number: usize) -> Holder {
        let name = format!("agent-{number}");
        let roles = "[\"repo-reader\", \"publisher\", \"orders\"]";
        let text = format!(
            "[[agent]]\nname = \"{name}\"\nowner = \"team-{number}\"\nroles = {roles}\nmax_instances = 2\n"
        );
        let applied = self.broker.apply(&text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let agent = self.broker.agent(&name, &[]).await;
        let connection = agent.caller.connect().await.unwrap();
        let (token, reveal) = (keyed(&agent).await, agent.token("github.repo.read").await);
        let lease = agent.caller.post_json("/v1/leases", &json!({ "capability": "orders.query" })).await;
        assert_eq!(lease.status, 200, "{}", lease.text());
        let code = self.broker.invite(&name, &[]).await;
        let token = token.json()["access_token"].as_str().unwrap().to_owned();
        Holder { name, agent, token, reveal, login: Login(lease.json()), code, connection }
    }

    /// The subjects of this kind that `holder` has to do with.
    async fn subjects(&self, kind: &str, holder: &Holder) -> Vec<Subject> {
        let me = self.broker.operator().get(&format!("/v1/agents/{}", holder.name)).await.json();
        let instance: InstanceId = me["instances"][0]["id"].as_str().unwrap().parse().unwrap();
        let agent: AgentId = me["id"].as_str().unwrap().parse().unwrap();
        match kind {
            "agent" => vec![Subject::Agent(agent)],
            "instance" => vec![Subject::Instance(instance)],
            "token" => [&holder.token, &holder.reveal].map(|token| Subject::Token(claims(token).jti)).into(),
            "role" => ["repo-reader", "publisher", "orders"].map(|name| Subject::Role(role(name))).into(),
            "capability" => ["github.repo.read", "reports.read", "orders.query"]
                .map(|name| Subject::Capability(name.parse::<CapabilityName>().unwrap()))
                .into(),
            "owner" => vec![Subject::Owner(me["owner"].as_str().unwrap().parse().unwrap())],
            "secret" => {
                ["github/app", "orders-db/admin"].map(|name| Subject::Secret(name.parse().unwrap())).into()
            }
            "certificate" => {
                let certificate = certificate_from_pem(&holder.agent.certificate).unwrap();
                vec![Subject::Certificate(*PeerCertificate::parse(&certificate).unwrap().serial().as_bytes())]
            }
            "lineage" => vec![Subject::Lineage(instance)],
            "network" => vec![Subject::Network("127.0.0.0/8".parse().unwrap())],
            "everything" => vec![Subject::Everything],
            other => panic!("no row for {other}"),
        }
    }

    /// In which places it shows that something was taken away: `x`, or `.` where it does not.
    async fn shown(&self, holder: &mut Holder) -> String {
        let agent = &holder.agent;
        let refused = |reply: std::io::Result<Reply>| reply.map_or(true, |reply| reply.status >= 400);
        let headers = [("content-type", FORM)];
        let mint = refused(agent.caller.attempt("POST", "/oauth/token", &headers, MINT.as_bytes()).await);
        let keyed = [("content-type", FORM), ("idempotency-key", "once")];
        let replay = refused(agent.caller.attempt("POST", "/oauth/token", &keyed, MINT.as_bytes()).await);
        let bearer = format!("Bearer {}", holder.reveal);
        let headers = [("authorization", bearer.as_str())];
        let reveal = refused(agent.caller.attempt("GET", "/v1/secrets/github/app", &headers, b"").await);
        let introspect = self.is_inactive(&holder.token).await;
        let (_, request) = new_key_and_request().unwrap();
        let body = json!({ "csr": base64url(&request) }).to_string();
        let json = [("content-type", "application/json")];
        let renew = refused(agent.caller.attempt("POST", "/v1/renew", &json, body.as_bytes()).await);
        let (_, request) = new_key_and_request().unwrap();
        let enrol = self.broker.redeem(&holder.code, &request).await.status >= 400;
        self.broker.end_due_leases().await;
        let lease = !self.postgres.lets_in(holder.login.name(), holder.login.password());
        let connection = refused(holder.connection.send("GET", "/v1/whoami", &[], b"").await);
        [mint, replay, reveal, introspect, renew, enrol, lease, connection]
            .map(|shows| if shows { 'x' } else { '.' })
            .iter()
            .collect()
    }

    /// A resource server that was taken away learns nothing either.
    async fn is_inactive(&self, token: &str) -> bool {
        let form = format!("token={token}");
        let asked = self.reports.caller.attempt(
            "POST",
            "/oauth/introspect",
            &[("content-type", FORM)],
            form.as_bytes(),
        );
        asked.await.map_or(true, |reply| reply.json()["active"] != true)
    }
}

fn role(name: &str) -> RoleName {
    name.parse().unwrap()
}

async fn keyed(agent: &Agent) -> Reply {
    let headers = [("content-type", FORM), ("idempotency-key", "once")];
    let reply = agent.caller.send("POST", "/oauth/token", &headers, MINT.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

pub(crate) fn claims(token: &str) -> Claims {
    serde_json::from_slice(&from_base64url(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn the_table_has_a_row_for_every_kind_of_subject() {
    let mut rows: Vec<&str> = TABLE.iter().map(|(kind, ..)| *kind).collect();
    rows.extend(["operator", "operator-enrolment"]); // In the tests of operators: they hold what no agent does.
    let mut kinds = Subject::KINDS.to_vec();
    rows.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(rows, kinds);
    assert!(
        TABLE
            .iter()
            .all(|(_, revoked, suspended)| revoked.len() == PLACES.len() && suspended.len() == PLACES.len())
    );
}

#[tokio::test]
async fn what_was_revoked_shows_in_every_place() {
    let bed = Bed::new().await;
    for (number, (kind, revoked, _)) in TABLE.into_iter().enumerate() {
        let mut holder = bed.holder(number).await;
        for subject in bed.subjects(kind, &holder).await {
            bed.broker.mark(Effect::Kill(subject)).await;
        }
        assert_eq!(bed.shown(&mut holder).await, revoked, "{kind} revoked: {PLACES:?}");
    }
    let operator = bed.broker.operator().attempt("GET", "/v1/whoami", &[], b"").await;
    assert_eq!(operator.unwrap().status, 200, "a certificate of the network");
}

#[tokio::test]
async fn what_is_suspended_shows_in_every_place_until_it_is_resumed() {
    let bed = Bed::new().await;
    for (number, (kind, _, suspended)) in TABLE.into_iter().enumerate() {
        let mut holder = bed.holder(number).await;
        let subjects = bed.subjects(kind, &holder).await;
        for subject in &subjects {
            bed.broker.mark(Effect::Block(subject.clone())).await;
        }
        assert_eq!(bed.shown(&mut holder).await, suspended, "{kind} suspended: {PLACES:?}");
        let fresh = json!({ "capability": "orders.query", "fresh": true }).to_string();
        let json = [("content-type", "application/json")];
        let lent = holder.agent.caller.attempt("POST", "/v1/leases", &json, fresh.as_bytes()).await;
        let is_lent = lent.is_ok_and(|reply| reply.status == 200);
        assert_eq!(is_lent, kind == "token", "{kind} suspended: a new login");
        for subject in subjects {
            bed.broker.mark(Effect::Unblock(subject)).await;
        }
        let headers = [("content-type", FORM)];
        let again = holder.agent.caller.attempt("POST", "/oauth/token", &headers, MINT.as_bytes()).await;
        assert_eq!(again.unwrap().status, 200, "{kind} resumed");
    }
}

/// Compiles only while the kinds of credentials are those that the tables above have a column for.
const fn _every_kind_has_a_column(credential: &Credential<'_>) -> &'static str {
    match credential {
        Credential::Certificate { .. } => "connection",
        Credential::OperatorCertificate { .. } => "operator",
        Credential::Token { .. } => "introspect",
        Credential::MintedBefore { .. } => "replay",
        Credential::Code { .. } | Credential::OperatorCode { .. } => "enrol",
        Credential::Lease { .. } => "lease",
    }
}
