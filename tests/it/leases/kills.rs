//! The broker killed, and its disk failing, at every point of a lease, and once more during the recovery:
//! no login is left that no lease knows, and what was handed out works until it ends. Here a sample;
//! `scripts/soak` has all of them.

use std::fs;

use serde_json::Value;

use super::{BY_ADMIN, declared, logins};
use crate::support::ordeal::{Extent, Ordeal, go_through};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;

/// A login of a real PostgreSQL, made and given up by way of a real broker.
struct Lending {
    process: Process,
    postgres: Postgres,
    /// What was handed out last, and not yet given up.
    held: Option<Value>,
}

impl Lending {
    fn start() -> Self {
        let postgres = Postgres::start();
        let mut process = Process::init("warn");
        process.load_faults(postgres.port);
        process.serve();
        process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
        let file = process.path("orders.toml");
        fs::write(&file, declared(&postgres, 90, &format!("{BY_ADMIN}\nconnections = 1"))).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", "orders");
        Self { process, postgres, held: None }
    }

    fn lets_in(&self, login: &Value) -> bool {
        let field = |name: &str| login[name].as_str().unwrap();
        self.postgres.lets_in(field("username"), field("password"))
    }

    /// The leases that the broker knows, if it is there to say.
    fn listed(&self) -> Option<Vec<Value>> {
        let page = self.process.said_by("operator", &["lease", "list", "-o", "json"]).ok()?;
        Some(serde_json::from_slice::<Value>(&page).unwrap()["items"].as_array().unwrap().clone())
    }
}

impl Ordeal for Lending {
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
        let (listed, logins) = (self.listed()?, logins(&self.postgres));
        let known = |login: &str| listed.iter().any(|lease| lease["login"] == login);
        assert!(logins.split_whitespace().all(known), "an orphan: {logins}, of {listed:?}");
        let mut is_live = listed.iter().filter(|lease| lease["stage"] == "live").peekable();
        if is_live.peek().is_some() {
            if let Some(held) = self.held.take_if(|held| is_live.any(|lease| lease["lease"] == held["lease"]))
            {
                assert!(self.lets_in(&held), "it was handed out, and has not ended");
            }
            self.process.said_by("operator", &["lease", "revoke", "--all", "--no-wait"]).ok()?;
        }
        Some(listed.is_empty())
    }

    fn prove(&mut self, when: &str) {
        assert_eq!(logins(&self.postgres), "", "{when}");
        if let Some(held) = self.held.take() {
            assert!(!self.lets_in(&held), "{when}");
        }
    }
}

#[test]
fn killed_and_failing_at_any_point_a_lease_leaves_no_login_behind() {
    go_through(Lending::start(), "a lease", Extent::Sample { seed: 5 });
}

#[test]
#[ignore = "every point of a lease: scripts/soak"]
fn soak_leases_every_point() {
    go_through(Lending::start(), "a lease", Extent::Whole);
}
