//! The broker killed, and its disk failing, at every point of a rotation, and once more during the
//! recovery: what it hands out logs in. Here a sample; `scripts/soak` has all of them.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::{BY_ADMIN, BY_ITSELF, FIRST, IN_TURN, declared};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;

/// A real broker with the fault library, and a real PostgreSQL.
struct Matrix {
    process: Process,
    postgres: Postgres,
}

/// How often something is looked at before it is taken for what it is.
const LOOKS: u32 = 300;

impl Matrix {
    fn start(upstream: &str) -> Self {
        let postgres = Postgres::start();
        postgres.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{FIRST}'"));
        postgres.sql("CREATE ROLE app_b LOGIN");
        let mut process = Process::init("warn");
        process.load_faults(postgres.port);
        process.serve();
        let first = if upstream == IN_TURN {
            json!({ "username": "app", "password": FIRST }).to_string()
        } else {
            FIRST.to_owned()
        };
        process.good(&["secret", "put", "orders-db/app"], first.as_bytes());
        process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
        let file = process.path("orders.toml");
        fs::write(&file, declared(&postgres, "grace = \"0s\"", upstream)).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", "orders");
        Self { process, postgres }
    }

    /// Asks for a rotation; whether the broker lives to say yes is no matter.
    fn ask(&self) {
        self.process.run_as("operator", &["secret", "rotate", "orders-db/app", "--no-wait"], b"");
    }

    fn shown(&self) -> Value {
        self.process.json(&["rotation", "show", "orders-db/app"])
    }

    /// Waits until no rotation is under way.
    fn settle(&self) {
        for _ in 0..LOOKS {
            let shown = self.shown();
            if shown["run"].is_null() {
                return;
            }
            if !shown["run"]["trouble"].is_null() {
                // A wait of half a minute is for upstreams; here it is clear that this one is well.
                self.process.run_as("operator", &["rotation", "retry", "orders-db/app"], b"");
            }
        }
        panic!("it does not end: {}", self.shown());
    }

    /// What the agent is handed logs in.
    fn proves(&self, when: &str) {
        let value = String::from_utf8(self.process.good_as("bot", &["get", "orders-db/app"], b"")).unwrap();
        let (role, password) = match serde_json::from_str::<Value>(&value) {
            Ok(slot) if slot.is_object() => {
                let field = |name: &str| slot[name].as_str().unwrap().to_owned();
                (field("username"), field("password"))
            }
            _ => ("app".to_owned(), value),
        };
        assert!(self.postgres.lets_in(&role, &password), "lost: {when}");
    }

    /// How many points a rotation has.
    fn rehearse(&self) -> u64 {
        self.process.arm("count 0");
        self.ask();
        self.settle();
        let points = self.process.counted();
        self.process.disarm();
        self.proves("with nothing in its way");
        points
    }

    /// A rotation with `fault` in it, a start with `again` in it, and a start with nothing in it.
    fn suffer(&mut self, fault: &str, again: &str) {
        self.process.arm(fault);
        self.ask();
        self.process.end(fault);
        self.process.arm(again);
        self.process.spawn();
        self.process.end(again);
        self.process.disarm();
        self.process.serve();
        self.settle();
        self.proves(&format!("after {fault}, then {again}"));
    }
}

/// `count` of the numbers from 1 to `last`, spread, other ones for each seed.
pub(crate) fn sample(last: u64, count: u64, seed: u64) -> Vec<u64> {
    let count = count.min(last);
    let step = last / count;
    (0..count).map(|index| 1 + (index * step + (seed + index * 7) % step.max(1)) % last).collect()
}

fn matrix(upstream: &str, count: Option<u64>) {
    let mut matrix = Matrix::start(upstream);
    let points = matrix.rehearse();
    assert!(points >= 30, "nine entries, three calls: {points} points");
    let chosen = count.map_or_else(|| (1..=points).collect(), |count| sample(points, count, 3));
    for (index, at) in chosen.into_iter().enumerate() {
        let again = 1 + (index as u64 * 5) % points;
        let fault = if index % 3 == 2 { "eio" } else { "kill" };
        matrix.suffer(&format!("{fault} {at}"), &format!("kill {again}"));
        if count.is_none() {
            let line = format!(
                "{fault} at {at} of {points}, then kill at {again} of the recovery: the value logs in\n"
            );
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_password_is_lost_by_an_administrator() {
    matrix(BY_ADMIN, Some(9));
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_password_is_lost_by_the_role_itself() {
    matrix(BY_ITSELF, Some(9));
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_password_is_lost_by_two_roles_in_turn() {
    matrix(IN_TURN, Some(9));
}

#[test]
#[ignore = "every point of every driver: scripts/soak"]
fn soak_rotation_every_point() {
    for upstream in [BY_ADMIN, BY_ITSELF, IN_TURN] {
        matrix(upstream, None);
    }
}
