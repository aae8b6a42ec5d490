//! Where the passwords of lent logins may not be.

use std::fs;

use serde_json::Value;

use super::{BY_ADMIN, declared};
use crate::leaks::{holds, sightings};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;

/// Every password is looked for everywhere: on the broker's disk, in its log at TRACE with those of its
/// libraries, in what operators are told, and in the server's own log, which has every statement.
/// Hazard SEC-02.
#[test]
fn no_password_of_a_lease_is_anywhere_but_with_its_agent() {
    let mut postgres = Postgres::start();
    let mut process = Process::init("trace");
    process.serve();
    process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
    let file = process.path("orders.toml");
    fs::write(&file, declared(&postgres, 10, BY_ADMIN)).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("bot", "orders");
    let (mut passwords, mut said) = (vec![ADMIN_PASSWORD.to_owned()], Vec::new());
    let mut lease = String::new();
    for args in [vec![], vec!["--fresh"], vec![]] {
        let args = [vec!["lease", "get", "orders.query", "-o", "json"], args].concat();
        let login: Value = serde_json::from_slice(&process.good_as("bot", &args, b"")).unwrap();
        passwords.push(login["password"].as_str().unwrap().to_owned());
        assert!(postgres.lets_in(login["username"].as_str().unwrap(), &passwords[passwords.len() - 1]));
        lease = login["lease"].as_str().unwrap().to_owned();
    }
    let url =
        String::from_utf8(process.good_as("bot", &["lease", "get", "orders.query", "--format", "url"], b""));
    assert!(passwords.iter().any(|password| url.as_ref().unwrap().contains(password)));
    said.extend(process.good_as("bot", &["lease", "renew", &lease, "--life", "7200s"], b""));
    said.extend(process.good_as("bot", &["lease", "list", "--own"], b""));
    said.extend(process.good_as("bot", &["lease", "give-up", &lease], b""));
    said.extend(process.good(&["lease", "revoke", "--all"], b""));
    let last = process.good_as("bot", &["lease", "get", "orders.query", "-o", "json"], b"");
    let last: Value = serde_json::from_slice(&last).unwrap();
    passwords.push(last["password"].as_str().unwrap().to_owned());
    // A server that refuses, and one that is away: what went wrong repeats nothing.
    postgres.sql("ALTER ROLE keyward_admin PASSWORD 'changed-by-hand'");
    let refused = process.run_as("bot", &["lease", "get", "orders.query", "--fresh"], b"");
    assert_eq!(refused.status.code(), Some(10), "{}", String::from_utf8_lossy(&refused.stderr));
    postgres.stop();
    said.extend(process.good(&["lease", "revoke", "--all", "--no-wait"], b""));
    said.extend([refused.stdout, refused.stderr].concat());
    for args in [
        vec!["audit", "list", "--limit", "500", "-o", "json"],
        vec!["lease", "list"],
        vec!["lease", "list", "-o", "json"],
    ] {
        said.extend(process.good(&args, b""));
    }
    process.stop();
    let log = postgres.log();
    assert!(log.contains("CREATE ROLE") && log.contains("DROP ROLE"), "the server logs what it is told");
    for password in &passwords {
        assert_eq!(sightings(process.dir.path(), password.as_bytes()), Vec::<String>::new());
        assert!(!holds(&said, password.as_bytes()), "an operator was told");
        assert!(!holds(log.as_bytes(), password.as_bytes()), "the server's log has it");
    }
}
