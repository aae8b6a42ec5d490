//! The broker killed, and its disk failing, at every point of a lease, and once more during the recovery:
//! no login is left that no lease knows, and what was handed out works until it ends. Here a sample;
//! `scripts/soak` has all of them.

use std::fs;
use std::io::Write;

use serde_json::Value;

use super::{BY_SUPERUSER, declared, logins};
use crate::rotation::kills::sample;
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;

/// A real broker with the fault library, and a real PostgreSQL.
struct Matrix {
    process: Process,
    postgres: Postgres,
}

/// How often something is looked at before it is taken for what it is.
const LOOKS: u32 = 600;

impl Matrix {
    fn start() -> Self {
        let postgres = Postgres::start();
        let mut process = Process::init("warn");
        process.load_faults(postgres.port);
        process.serve();
        process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
        let file = process.path("orders.toml");
        fs::write(&file, declared(&postgres, 1000, BY_SUPERUSER)).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", "orders");
        Self { process, postgres }
    }

    /// Asks for a login, and gives it up; whether the broker lives to say yes is no matter.
    fn live_through(&self) {
        let got = self.process.run_as("bot", &["lease", "get", "orders.query", "--fresh", "-o", "json"], b"");
        let Ok(login) = serde_json::from_slice::<Value>(&got.stdout) else { return };
        let field = |name: &str| login[name].as_str().unwrap().to_owned();
        assert!(self.postgres.lets_in(&field("username"), &field("password")), "it was handed out");
        self.process.run_as("bot", &["lease", "give-up", &field("lease")], b"");
    }

    fn listed(&self) -> Vec<Value> {
        self.process.json(&["lease", "list"])["items"].as_array().unwrap().clone()
    }

    /// Ends what is still there, and waits until nothing is.
    fn settle(&self, when: &str) {
        self.process.good(&["lease", "revoke", "--all", "--no-wait"], b"");
        for _ in 0..LOOKS {
            let (listed, logins) = (self.listed(), logins(&self.postgres));
            let known = |login: &str| listed.iter().any(|lease| lease["login"] == login);
            assert!(logins.split_whitespace().all(known), "an orphan: {logins}, {when}: {listed:?}");
            if listed.is_empty() {
                return;
            }
        }
        panic!("{when}: it does not end: {:?}", self.listed());
    }

    /// How many points a lease has, from its intent to its end.
    fn rehearse(&self) -> u64 {
        self.process.arm("count 0");
        self.live_through();
        self.settle("with nothing in its way");
        let points = self.process.counted();
        self.process.disarm();
        points
    }

    /// A lease with `fault` in it, a start with `again` in it, and a start with nothing in it.
    fn suffer(&mut self, fault: &str, again: &str) {
        self.process.arm(fault);
        self.live_through();
        self.process.end(fault);
        self.process.arm(again);
        self.process.spawn();
        self.process.end(again);
        self.process.disarm();
        self.process.serve();
        self.settle(&format!("{fault}, then {again}"));
    }
}

fn matrix(count: Option<u64>) {
    let mut matrix = Matrix::start();
    let points = matrix.rehearse();
    assert!(points >= 30, "six entries, three logins: {points} points");
    let chosen = count.map_or_else(|| (1..=points).collect(), |count| sample(points, count, 5));
    for (index, at) in chosen.into_iter().enumerate() {
        let again = 1 + (index as u64 * 5) % points;
        let fault = if index % 3 == 2 { "eio" } else { "kill" };
        matrix.suffer(&format!("{fault} {at}"), &format!("kill {again}"));
        if count.is_none() {
            let line = format!(
                "{fault} at {at} of {points}, then kill at {again} of the recovery: no login is left\n"
            );
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }
}

#[test]
fn killed_and_failing_at_any_point_a_lease_leaves_no_login_behind() {
    matrix(Some(9));
}

#[test]
#[ignore = "every point of a lease: scripts/soak"]
fn soak_leases_every_point() {
    matrix(None);
}
