//! The broker killed, and its disk failing, at every point of a rotation and of a lease at a `MariaDB`, and once
//! more during the recovery. Here a sample; `scripts/soak` has all of them.

use std::fs;

use serde_json::{Value, json};

use super::{FIRST, leases, rotation};
use crate::support::mariadb::{ADMIN_PASSWORD, MariaDb};
use crate::support::ordeal::{Extent, Ordeal, go_through};
use crate::support::process::Process;

/// A rotation by a real broker.
struct Rotating {
    process: Process,
    server: MariaDb,
}

fn serving(server: &MariaDb, declared: &str, role: &str) -> Process {
    let mut process = Process::init("warn");
    process.load_faults(server.port);
    process.serve();
    process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
    let file = process.path("orders.toml");
    fs::write(&file, declared).unwrap();
    if role == "orders-reader" {
        let first = json!({ "username": "app", "password": FIRST }).to_string();
        process.good(&["secret", "put", "orders-db/app"], first.as_bytes());
    }
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("bot", "orders");
    process
}

impl Rotating {
    fn start() -> Self {
        let server = MariaDb::start(FIRST);
        let declared = rotation::declared(&server, rotation::IN_TURN).replace("\"2h\"", "\"0s\"");
        Self { process: serving(&server, &declared, "orders-reader"), server }
    }

    fn shown(&self) -> Option<Value> {
        let shown = self.process.said_by("operator", &["rotation", "show", "orders-db/app", "-o", "json"]);
        Some(serde_json::from_slice(&shown.ok()?).unwrap())
    }
}

impl Ordeal for Rotating {
    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn begin(&mut self) -> Result<(), String> {
        self.process.said_by("operator", &["secret", "rotate", "orders-db/app", "--no-wait"]).map(drop)
    }

    fn is_over(&mut self) -> Option<bool> {
        let shown = self.shown()?;
        if !shown["run"].is_null() && !shown["run"]["trouble"].is_null() {
            // A wait of half a minute is for upstreams; here it is clear that this one is well.
            self.process.run_as("operator", &["rotation", "retry", "orders-db/app"], b"");
        }
        Some(shown["run"].is_null())
    }

    fn prove(&mut self, when: &str) {
        let value = self.process.good_as("bot", &["get", "orders-db/app"], b"");
        let value: Value = serde_json::from_slice(&value).unwrap();
        let field = |name: &str| value[name].as_str().unwrap();
        assert!(self.server.lets_in(field("username"), field("password")), "lost: {when}");
    }
}

/// A login, created and given up by way of a real broker.
struct Leasing {
    process: Process,
    server: MariaDb,
    /// What was handed out last, and not yet given up.
    held: Option<Value>,
}

impl Leasing {
    fn start() -> Self {
        let server = MariaDb::start(FIRST);
        let upstream = format!("{}\nconnections = 1", leases::BY_ADMIN);
        let declared = leases::declared(&server, &upstream).replace("per_agent = 20", "per_agent = 90");
        Self { process: serving(&server, &declared, "orders"), server, held: None }
    }

    fn lets_in(&self, login: &Value) -> bool {
        let field = |name: &str| login[name].as_str().unwrap();
        self.server.lets_in(field("username"), field("password"))
    }

    fn listed(&self) -> Option<Vec<Value>> {
        let page = self.process.said_by("operator", &["lease", "list", "-o", "json"]).ok()?;
        Some(serde_json::from_slice::<Value>(&page).unwrap()["items"].as_array().unwrap().clone())
    }
}

impl Ordeal for Leasing {
    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn begin(&mut self) -> Result<(), String> {
        let got = self.process.said_by("bot", &["lease", "get", "orders.query", "--fresh", "-o", "json"])?;
        let login: Value = serde_json::from_slice(&got).unwrap();
        assert!(self.lets_in(&login), "it was handed out");
        let lease = login["lease"].as_str().unwrap().to_owned();
        self.held = Some(login);
        self.process.said_by("bot", &["lease", "give-up", &lease])?;
        Ok(())
    }

    fn is_over(&mut self) -> Option<bool> {
        let (listed, logins) = (self.listed()?, self.server.logins());
        let known = |login: &str| listed.iter().any(|lease| lease["login"] == login);
        assert!(logins.split_whitespace().all(known), "an orphan: {logins}, of {listed:?}");
        if listed.iter().any(|lease| lease["stage"] == "live") {
            self.process.said_by("operator", &["lease", "revoke", "--all", "--no-wait"]).ok()?;
        }
        Some(listed.is_empty())
    }

    fn prove(&mut self, when: &str) {
        assert_eq!(self.server.logins(), "", "{when}");
        if let Some(held) = self.held.take() {
            assert!(!self.lets_in(&held), "{when}");
        }
    }
}

#[test]
fn a_mariadb_rotation_killed_at_any_point_loses_no_password() {
    go_through(Rotating::start(), "a rotation at MariaDB", Extent::Sample { seed: 7 });
}

#[test]
fn a_mariadb_lease_killed_at_any_point_leaves_no_login_behind() {
    go_through(Leasing::start(), "a lease at MariaDB", Extent::Sample { seed: 8 });
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_mariadb_rotation_every_point() {
    go_through(Rotating::start(), "a rotation at MariaDB", Extent::Whole);
}

#[test]
#[ignore = "every point of a lease: scripts/soak"]
fn soak_mariadb_leases_every_point() {
    go_through(Leasing::start(), "a lease at MariaDB", Extent::Whole);
}
