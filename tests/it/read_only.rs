//! Read-only mode: a copy of a broker's data that is started while the original may still run.

use std::fs;

use serde_json::Value;

use crate::leases::{BY_ADMIN, declared, logins};
use crate::sealing::{WORDS, caller, refused, verb};
use crate::support::host::until;
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::{Process, files};

/// How often something is looked at before it is taken for what it is.
const LOOKS: u32 = 600;

/// A broker that has lent a login, and was told to end it while the server was away; then it was killed.
fn killed_with_a_login_to_end(postgres: &mut Postgres) -> (Process, Value) {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
    let (one, other) = (process.path("a.toml"), process.path("orders.toml"));
    fs::write(&other, declared(postgres, 10, BY_ADMIN)).unwrap();
    process.good(&["apply", "-f", &one.display().to_string(), "-f", &other.display().to_string()], b"");
    process.enrol("bot", "orders");
    let got = process.good_as("bot", &["lease", "get", "orders.query", "-o", "json"], b"");
    let login: Value = serde_json::from_slice(&got).unwrap();
    postgres.stop();
    process.good(&["lease", "revoke", "--all", "--no-wait"], b"");
    process.kill();
    postgres.run();
    (process, login)
}

fn lets_in(postgres: &Postgres, login: &Value) -> bool {
    postgres.lets_in(login["username"].as_str().unwrap(), login["password"].as_str().unwrap())
}

fn entries(process: &Process) -> usize {
    process.json(&["audit", "list", "--oldest-first", "--limit", "500"])["items"].as_array().unwrap().len()
}

/// Hazard OPS-02.
#[tokio::test]
async fn a_read_only_copy_shows_everything_and_does_nothing() {
    let mut postgres = Postgres::start();
    let (mut process, login) = killed_with_a_login_to_end(&mut postgres);
    process.serve_args = vec!["--read-only"];
    process.serve();
    let before = entries(&process);
    assert_eq!(process.json(&["lease", "list"])["items"][0]["stage"], "ending");
    for (who, args) in [
        ("a", &["get", "github/app"][..]),
        ("a", &["token", "github.repo.read"]),
        ("bot", &["lease", "get", "orders.query"]),
        ("operator", &["secret", "put", "github/app"]),
        ("operator", &["lease", "revoke", "--all"]),
        ("operator", &["agent", "invite", "a"]),
    ] {
        let output = process.run_as(who, &[args, &["-o", "json"]].concat(), b"other");
        let said = serde_json::from_slice(&output.stderr).unwrap_or(Value::Null);
        refused(&(output.status.code(), said), 10, "read_only");
    }
    for (who, kind) in [("operator", "operator"), ("a", "agent")] {
        let ready = caller(&process, who, kind).get("/readyz").await;
        assert_eq!((ready.status, ready.code().as_str()), (503, "read_only"));
        let path = if kind == "agent" { "/v1/whoami" } else { "/v1/agents" };
        let listed = caller(&process, who, kind).get(path).await;
        assert_eq!((listed.status, listed.header("keyward-read-only")), (200, "true"), "{path}");
    }
    let listed = process.run_as("operator", &["agent", "list"], b"");
    assert!(
        String::from_utf8_lossy(&listed.stderr).contains("note: the broker is in read-only mode"),
        "{listed:?}"
    );
    let found = process.run_as("operator", &["doctor", "--operator"], b"");
    assert!(String::from_utf8_lossy(&found.stdout).contains("--read-only"), "{found:?}");
    assert_eq!(entries(&process), before, "nothing was recorded, so nothing was done");
    assert!(lets_in(&postgres, &login), "the login is the other broker's to end");

    process.stop();
    process.serve_args.clear();
    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value");
    let ended = (0..LOOKS).any(|_| logins(&postgres).is_empty());
    assert!(ended && !lets_in(&postgres, &login), "without it, what was begun goes on");
}

/// Every segment of the ledger, as it lies on the disk.
fn ledger(process: &Process) -> Vec<Vec<u8>> {
    let all = files(&process.path("data/ledger"));
    let segments = all.iter().filter(|path| path.extension().is_some_and(|is| is == "seg"));
    segments.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn read_only_mode_writes_no_entry_from_its_start_to_its_end() {
    let mut process = Process::init_attended("info", WORDS);
    process.spawn();
    until(&process.socket(), "sealed");
    assert_eq!(verb(&process, &["unseal"], WORDS.as_bytes()).0, Some(0));
    process.set_up(b"value");
    process.stop();
    let before = verb(&process, &["verify"], b"").1;
    let on_disk = ledger(&process);

    // A full start would record who unsealed it, and sign a server certificate for the new name.
    let text = fs::read_to_string(process.config()).unwrap();
    fs::write(process.config(), text.replace("\"localhost\"", "\"localhost\", \"copy.keyward.test\""))
        .unwrap();
    process.serve_args = vec!["--read-only"];
    process.spawn();
    until(&process.socket(), "sealed");
    let (exit, said) = verb(&process, &["unseal"], WORDS.as_bytes());
    assert_eq!((exit, &said["state"]), (Some(0), &"open".into()), "{said}");
    assert_eq!(process.json(&["whoami", "--operator"])["role"], "admin");
    refused(&verb(&process, &["break-glass", "revoke", "agent", "a"], b""), 10, "read_only");
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0), "{}", process.log());
    until(&process.socket(), "sealed");
    process.stop();
    assert_eq!(verb(&process, &["verify"], b"").1["entries"], before["entries"], "{}", process.log());
    assert_eq!(ledger(&process), on_disk);
}

#[test]
fn read_only_mode_serves_nobody_while_a_revocation_is_pending() {
    let mut process = Process::init_attended("info", WORDS);
    process.spawn();
    until(&process.socket(), "sealed");
    assert_eq!(verb(&process, &["unseal"], WORDS.as_bytes()).0, Some(0));
    process.set_up(b"value");
    process.stop();
    process.spawn();
    until(&process.socket(), "sealed");
    assert_eq!(verb(&process, &["break-glass", "revoke", "operator", "admin"], b"").0, Some(0));
    process.stop();
    process.serve_args = vec!["--read-only"];
    process.spawn();
    until(&process.socket(), "sealed");
    let failed = verb(&process, &["unseal"], WORDS.as_bytes());
    refused(&failed, 10, "unseal_failed");
    assert!(failed.1["detail"].as_str().unwrap().contains("pending"), "{failed:?}");
}

#[test]
fn read_only_mode_accepts_no_lost_entries() {
    let process = Process::init("warn");
    let serve = ["serve", "--read-only", "--accept-lost-entries", "--config", &process.config()];
    let refused = process.run_as("operator", &serve, b"");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("--accept-lost-entries"), "{said}");
}
