//! Containment and freeze under load, on a full disk and on one that hangs: decided by the order of events, without a
//! clock.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{agent, contained};
use crate::panel::set_up;
use crate::support::broker::{Agent, Caller, TestBroker};
use crate::support::connection::Connection;
use crate::support::process::Process;
use crate::support::waiting::{until, wait_until};
use crate::worst_day::{
    answer_again, hang, kept_by, on_a_failing_disk, wait_for_the_hang, with_a_runtime_directory,
};
use crate::worst_hour::SmallDisk;

const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];
const MINT: &[u8] = b"grant_type=client_credentials&scope=reports.read";

/// The size of a run.
struct Size {
    agents: usize,
    /// Tokens that each agent has before the load begins.
    tokens: usize,
    /// Connections that mint.
    connections: usize,
    /// Subjects that are contained one after the other.
    contained: usize,
}

/// Small numbers that look like chance, the same ones for the same seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// An agent under load, with what its requests may rely on.
struct Loaded {
    caller: Caller,
    name: String,
    tokens: Vec<String>,
    /// Set after the answer to the containment: no request that begins later is accepted.
    is_contained: AtomicBool,
}

/// Mints on one connection until the stop. A request that began after the answer to the containment and is accepted is a
/// violation.
async fn mint_on(agent: Arc<Loaded>, stop: Arc<AtomicBool>, minted: Arc<AtomicUsize>) {
    let mut open: Option<Connection> = None;
    while !stop.load(Ordering::SeqCst) {
        let must_be_refused = agent.is_contained.load(Ordering::SeqCst);
        if open.is_none() {
            open = agent.caller.connect().await.ok();
        }
        let reply = match &mut open {
            Some(connection) => connection.send("POST", "/oauth/token", &FORM, MINT).await.ok(),
            None => None,
        };
        match reply {
            Some(reply) if reply.status == 200 => {
                assert!(!must_be_refused, "{} got a token after it was contained", agent.name);
                minted.fetch_add(1, Ordering::SeqCst);
            }
            Some(reply) => assert!([401, 403, 429, 503].contains(&reply.status), "{}", reply.text()),
            None => open = None,
        }
        if must_be_refused {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Mints over one connection.
async fn mint_many(caller: &Caller, number: usize) -> Vec<String> {
    let (mut connection, mut tokens) = (caller.connect().await.unwrap(), Vec::new());
    while tokens.len() < number {
        let reply = connection.send("POST", "/oauth/token", &FORM, MINT).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        tokens.push(reply.json()["access_token"].as_str().unwrap().to_owned());
    }
    tokens
}

/// The agents with their tokens, in the order of their numbers; up to 32 of them mint at the same time.
async fn load_agents(broker: &TestBroker, size: &Size) -> Vec<Arc<Loaded>> {
    let (mut minting, mut agents) = (JoinSet::new(), Vec::new());
    let number_of_tokens = size.tokens;
    for number in 0..size.agents {
        let name = format!("bot-{number}");
        let caller = broker.agent(&name, &["publisher"]).await.caller;
        if minting.len() == 32 {
            agents.push(minting.join_next().await.unwrap().unwrap());
        }
        minting.spawn(async move {
            let tokens = mint_many(&caller, number_of_tokens).await;
            (number, Arc::new(Loaded { caller, name, tokens, is_contained: AtomicBool::new(false) }))
        });
    }
    agents.extend(minting.join_all().await);
    agents.sort_by_key(|(number, _)| *number);
    agents.into_iter().map(|(_, agent)| agent).collect()
}

async fn is_active(reports: &Agent, token: &str) -> bool {
    let form = format!("token={token}");
    let reply = reports.caller.post("/oauth/introspect", FORM[0].1, form.as_bytes()).await;
    reply.json()["active"] == true
}

/// Contains agents while all of them mint. After each answer, no request of the subject that begins later is accepted, and
/// none of its tokens is active.
async fn contain_under_load(seed: u64, size: Size) {
    let quota: String = ["mints", "introspections", "enrolments", "operations"]
        .map(|one| format!("{one}_per_s = 100000\n{one}_burst = 100000\n"))
        .concat();
    let settings = &format!("[quota]\n{quota}[connections]\nmax = 1000\nmax_per_peer = 1000\n");
    let broker = TestBroker::start_with(settings).await;
    broker.declare().await;
    let server = "[[resource_server]]\nname = \"reports\"\naudience = \"https://reports.example.com\"\n";
    assert_eq!(broker.apply(server).await.status, 200);
    let reports = broker.agent("reports", &[]).await;
    let agents = load_agents(&broker, &size).await;
    let (stop, minted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let minters: Vec<_> = (0..size.connections)
        .map(|number| {
            let one = Arc::clone(&agents[number % agents.len()]);
            tokio::spawn(mint_on(one, Arc::clone(&stop), Arc::clone(&minted)))
        })
        .collect();
    until(async || minted.load(Ordering::SeqCst) > size.connections).await;
    let (admin, mut chance) = (broker.operator(), Seeded(seed));
    for _ in 0..size.contained {
        let one = &agents[chance.below(agents.len())];
        contained(&admin, agent(&one.name)).await;
        one.is_contained.store(true, Ordering::SeqCst);
        for token in one.tokens.iter().take(10) {
            assert!(!is_active(&reports, token).await, "{}: a token is active", one.name);
        }
    }
    // The others go on
    let before = minted.load(Ordering::SeqCst);
    until(async || minted.load(Ordering::SeqCst) > before + size.agents).await;
    stop.store(true, Ordering::SeqCst);
    for minter in minters {
        minter.await.unwrap();
    }
    // And the ledger has no token of a contained agent after its containment
    let told = broker.entries("incident.contained").await;
    for one in agents.iter().filter(|one| one.is_contained.load(Ordering::SeqCst)) {
        let since = told.iter().find(|entry| entry["event"]["subject"]["name"] == one.name.as_str()).unwrap();
        let path = format!("/v1/ledger/entries?agent={}&kind=token.minted&order=newest&limit=1", one.name);
        let newest = admin.get(&path).await.json()["items"][0]["seq"].as_u64().unwrap();
        assert!(newest < since["seq"].as_u64().unwrap(), "{}: token {newest} after {since}", one.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_accepted_that_began_after_the_containment() {
    for seed in [1, 7] {
        contain_under_load(seed, Size { agents: 6, tokens: 3, connections: 16, contained: 3 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 32)]
#[ignore = "1,000 agents with 100,000 tokens: scripts/soak"]
async fn soak_containment_of_a_thousand_agents_under_load() {
    contain_under_load(42, Size { agents: 1000, tokens: 100, connections: 200, contained: 50 }).await;
}

/// Requests that wait for the disk: twice as many as the broker has places for an agent.
fn waiting_requests(process: &Process) -> Vec<Child> {
    let spawn = |_| {
        let mut command = process.command("q", &["token", "reports.read"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    (0..24).map(spawn).collect()
}

/// Exit code and answer of an operator's command that may end in memory.
fn ordered(process: &Process, args: &[&str]) -> (Option<i32>, Value) {
    let done = process.run_as("operator", &[args, &["--reason", "incident 4", "-o", "json"]].concat(), b"");
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap_or_default())
}

fn is_refused(process: &Process) -> bool {
    process.run_as("p", &["whoami"], b"").status.code() == Some(4)
}

fn is_frozen(process: &Process) -> bool {
    let refused = process.run_as("q", &["token", "reports.read"], b"");
    String::from_utf8_lossy(&refused.stderr).contains("broker_frozen")
}

#[test]
fn on_a_full_disk_containment_and_freeze_are_durable_and_survive_a_kill() {
    // Given a full disk, on which nothing is issued
    let mut process = set_up();
    process.good(&["agent", "invite", "q"], b"");
    process.stop();
    let disk = SmallDisk::under(&mut process);
    process.serve();
    crate::readiness::fill(&disk.path(&process, "rest"));
    wait_until(|| process.run_as("q", &["token", "reports.read"], b"").status.code() == Some(10));
    // When a subject is contained and the broker frozen, then both are in the reserve
    let code = process.json(&["agent", "show", "q"])["open_codes"][0]["id"].as_str().map(str::to_owned);
    let orders: [&[&str]; 2] = [&["contain", "agent/p"], &["freeze"]];
    let first = orders.map(|args| {
        let (exit, answer) = ordered(&process, args);
        assert_eq!((exit, &answer["durable"]), (Some(0), &json!(true)), "{answer}");
        answer["seq"].clone()
    });
    // And a repetition takes no room from it: the answer names the entry that is durable already
    for _ in 0..2 {
        let again = orders.map(|args| {
            let (exit, answer) = ordered(&process, args);
            assert_eq!((exit, &answer["durable"]), (Some(0), &json!(true)), "{answer}");
            answer["seq"].clone()
        });
        assert_eq!(again, first);
    }
    // A code that was revoked is not revoked into the reserve again
    let code = code.unwrap();
    assert_eq!(ordered(&process, &["code", "revoke", &code]).0, Some(0));
    let again = process.run_as("operator", &["code", "revoke", &code], b"");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(10) && said.contains("had ended before this request"), "{said}");
    assert_eq!(process.json(&["incident", "list"])["items"][0]["state"], "contained");
    // And the first request after a kill is refused
    process.kill();
    process.serve();
    assert!(is_refused(&process) && is_frozen(&process));
    process.stop();
}

#[test]
fn a_full_disk_that_hangs_under_load_delays_no_containment() {
    // Given a full disk that hangs, with more requests than the broker has places for
    let (elsewhere, mut process) = with_a_runtime_directory(set_up());
    process.stop();
    let disk = SmallDisk::under(&mut process);
    process.serve();
    let mut process = on_a_failing_disk(process);
    hang(&process);
    let waiting = waiting_requests(&process);
    wait_for_the_hang(&process);
    crate::readiness::fill(&disk.path(&process, "rest"));
    // When a subject is contained and the broker frozen, then both are in force in memory, and stored
    for args in [&["contain", "agent/p"][..], &["freeze"]] {
        let (exit, answer) = ordered(&process, args);
        assert_eq!(
            (exit, &answer["durable"], &answer["kept"]),
            (Some(12), &json!(false), &json!(true)),
            "{answer}"
        );
    }
    assert!(is_refused(&process));
    // And the first requests after a kill are refused
    process.kill();
    for mut one in waiting {
        one.wait().unwrap();
    }
    answer_again(&process);
    process.serve();
    assert!(is_refused(&process) && is_frozen(&process));
    for filled in ["fill", "rest"] {
        std::fs::remove_file(disk.path(&process, filled)).unwrap();
    }
    wait_until(|| !kept_by(&elsewhere, "orders").exists());
    process.stop();
}
