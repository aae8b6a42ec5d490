//! Where the values of rotated secrets may not be.

use std::fs;

use super::{BY_ADMIN, FIRST, LOOPBACK, declared, http_driver};
use crate::leaks::{holds, sightings};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Mood, Webhook};

/// Every value of a rotation is looked for everywhere: on the broker's disk, in its log at TRACE with those
/// of its libraries, in what operators are told, and in the server's own log, which has every statement.
/// Hazard SEC-02.
#[test]
fn no_value_of_a_rotation_is_in_clear_anywhere_but_with_its_reader() {
    let mut postgres = Postgres::start();
    postgres.sql("CREATE ROLE app LOGIN");
    postgres.has_administered("app");
    let mut process = Process::init("trace");
    process.serve();
    process.good(&["secret", "put", "orders-db/app"], FIRST.as_bytes());
    process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
    let file = process.path("orders.toml");
    fs::write(&file, declared(&postgres, "every = \"30d\"", BY_ADMIN)).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("bot", "orders");
    let mut values = vec![FIRST.as_bytes().to_vec(), ADMIN_PASSWORD.as_bytes().to_vec()];
    let mut said = Vec::new();
    for _ in 0..2 {
        said.extend(process.good(&["secret", "rotate", "orders-db/app"], b""));
        values.push(process.good_as("bot", &["get", "orders-db/app"], b""));
    }
    // A server that is away, and one that refuses: what went wrong repeats nothing.
    postgres.sql("ALTER ROLE keyward_admin PASSWORD 'changed-by-hand'");
    let refused = process.run_as("operator", &["secret", "rotate", "orders-db/app"], b"");
    postgres.stop();
    let away = process.run_as("operator", &["rotation", "retry", "orders-db/app"], b"");
    said.extend([refused.stdout, refused.stderr, away.stdout, away.stderr].concat());
    for args in [
        vec!["audit", "list", "--limit", "500", "-o", "json"],
        vec!["rotation", "show", "orders-db/app"],
        vec!["rotation", "list"],
        vec!["secret", "show", "orders-db/app"],
        vec!["secret", "rotate", "orders-db/app", "--plan"],
    ] {
        said.extend(process.good(&args, b""));
    }
    process.stop();
    let log = postgres.log();
    assert!(log.contains("ALTER ROLE"), "the server logs what it is told");
    assert_eq!(values.len(), 4);
    for value in &values {
        assert_eq!(sightings(process.dir.path(), value), Vec::<String>::new());
        assert!(!holds(&said, value), "an operator was told");
        assert!(!holds(log.as_bytes(), value), "the server's log has it");
    }
}

/// The same of a service that says all that it is told in its errors, whether it is told of values or
/// makes them, with an environment that would have others send it all elsewhere.
/// Hazards ROT-12, AUD-07, EGR-10.
#[test]
fn no_value_of_a_service_leaks_through_its_error_texts() {
    for upstream in [Webhook::applying, Webhook::creating] {
        let service = Webhook::start(http_driver::FIRST);
        let mut process = Process::init("trace");
        process.configure(LOOPBACK);
        let key_log = process.path("tls-keys").display().to_string();
        for (name, value) in [("HTTPS_PROXY", "http://127.0.0.1:9"), ("SSLKEYLOGFILE", key_log.as_str())] {
            process.broker_environment.push((name.to_owned(), value.to_owned()));
        }
        process.serve();
        process.good(&["secret", "put", "billing/key"], http_driver::FIRST.as_bytes());
        process.good(&["secret", "put", "billing/admin"], ADMIN_TOKEN.as_bytes());
        let file = process.path("billing.toml");
        fs::write(&file, http_driver::declared("grace = \"0s\"", &upstream(&service))).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", "billing");
        for (method, mood) in
            [("PUT", Mood::DoesAndEchoes), ("POST", Mood::DoesAndEchoes), ("GET", Mood::DoesAndEchoes)]
        {
            service.next(method, &[mood]);
        }
        let mut said = Vec::new();
        let mut values = vec![http_driver::FIRST.as_bytes().to_vec(), ADMIN_TOKEN.as_bytes().to_vec()];
        let first = process.run_as("operator", &["secret", "rotate", "billing/key"], b"");
        assert!(!first.status.success(), "it was told that it failed");
        said.extend([first.stdout, first.stderr].concat());
        let mut is_over = |_: &u32| {
            let retried = process.run_as("operator", &["rotation", "retry", "billing/key", "--no-wait"], b"");
            said.extend([retried.stdout, retried.stderr].concat());
            process.json(&["rotation", "show", "billing/key"])["run"].is_null()
        };
        assert!((0..600).find(|look| is_over(look)).is_some(), "it does not end");
        values.push(process.good_as("bot", &["get", "billing/key"], b""));
        values.extend(service.keys().into_values().map(String::into_bytes));
        for args in [
            vec!["audit", "list", "--limit", "500", "-o", "json"],
            vec!["rotation", "show", "billing/key"],
            vec!["rotation", "list"],
            vec!["secret", "show", "billing/key"],
            vec!["secret", "rotate", "billing/key", "--plan"],
        ] {
            said.extend(process.good(&args, b""));
        }
        process.stop();
        assert!(!process.path("tls-keys").exists(), "egr_10");
        for value in &values {
            assert_eq!(sightings(process.dir.path(), value), Vec::<String>::new());
            assert!(!holds(&said, value), "an operator was told");
        }
    }
}
