//! The broker killed, and its disk failing, at every point of a rotation, and once more during the
//! recovery: what it hands out logs in. Here a sample; `scripts/soak` has all of them.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::{BY_ADMIN, BY_ITSELF, FIRST, IN_TURN, LOOPBACK, http_driver};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

/// A real broker with the fault library, and a real upstream.
struct Matrix {
    process: Process,
    upstream: Box<dyn Upstream>,
    /// What is rotated.
    secret: &'static str,
}

/// What the broker rotates a secret of.
trait Upstream {
    fn port(&self) -> u16;
    /// The secrets that the broker has to know, that which is rotated first.
    fn secrets(&self) -> Vec<(&'static str, String)>;
    fn declared(&self) -> String;
    /// The role of an agent that reads.
    fn role(&self) -> &'static str;
    /// Whether what the broker hands out works.
    fn takes(&self, value: &str) -> bool;
    /// Sees that nothing is left that `shown` does not list, and does away with what is.
    fn sweep(&self, _shown: &Value, _value: &str) {}
}

/// A PostgreSQL, rotated in this way.
struct Database(Postgres, &'static str);

impl Upstream for Database {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        let first = if self.1 == IN_TURN {
            json!({ "username": "app", "password": FIRST }).to_string()
        } else {
            FIRST.to_owned()
        };
        vec![("orders-db/app", first), ("orders-db/admin", ADMIN_PASSWORD.to_owned())]
    }

    fn declared(&self) -> String {
        super::declared(&self.0, "grace = \"0s\"", self.1)
    }

    fn role(&self) -> &'static str {
        "orders"
    }

    fn takes(&self, value: &str) -> bool {
        match serde_json::from_str::<Value>(value) {
            Ok(slot) if slot.is_object() => {
                let field = |name: &str| slot[name].as_str().unwrap().to_owned();
                self.0.lets_in(&field("username"), &field("password"))
            }
            _ => self.0.lets_in("app", value),
        }
    }
}

/// A service with keys, rotated in this way.
struct Service(Webhook, fn(&Webhook) -> String);

impl Upstream for Service {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        vec![("billing/key", http_driver::FIRST.to_owned()), ("billing/admin", ADMIN_TOKEN.to_owned())]
    }

    fn declared(&self) -> String {
        http_driver::declared("grace = \"0s\"", &self.1(&self.0))
    }

    fn role(&self) -> &'static str {
        "billing"
    }

    fn takes(&self, value: &str) -> bool {
        self.0.lets_in(value)
    }

    fn sweep(&self, shown: &Value, value: &str) {
        let listed = shown["orphans"].as_array().unwrap().len();
        let unused = self.0.keys().into_values().filter(|key| key != value).count();
        assert!(unused <= listed, "{unused} keys that nobody uses, {listed} of them listed");
        self.0.keeps_only(value);
    }
}

/// How often something is looked at before it is taken for what it is.
const LOOKS: u32 = 300;

impl Matrix {
    fn start(upstream: Box<dyn Upstream>) -> Self {
        let mut process = Process::init("warn");
        process.configure(LOOPBACK);
        process.load_faults(upstream.port());
        process.serve();
        let secrets = upstream.secrets();
        for (name, value) in &secrets {
            process.good(&["secret", "put", name], value.as_bytes());
        }
        let file = process.path("declared.toml");
        fs::write(&file, upstream.declared()).unwrap();
        process.good(&["apply", "-f", &file.display().to_string()], b"");
        process.enrol("bot", upstream.role());
        Self { process, upstream, secret: secrets[0].0 }
    }

    /// Asks for a rotation; whether the broker lives to say yes is no matter.
    fn ask(&self) {
        self.process.run_as("operator", &["secret", "rotate", self.secret, "--no-wait"], b"");
    }

    fn shown(&self) -> Value {
        self.process.json(&["rotation", "show", self.secret])
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
                self.process.run_as("operator", &["rotation", "retry", self.secret], b"");
            }
        }
        panic!("it does not end: {}", self.shown());
    }

    /// What the agent is handed works, and nothing else is left but what is listed.
    fn proves(&self, when: &str) {
        let value = String::from_utf8(self.process.good_as("bot", &["get", self.secret], b"")).unwrap();
        assert!(self.upstream.takes(&value), "lost: {when}");
        let shown = self.shown();
        self.upstream.sweep(&shown, &value);
        if shown["orphans"].as_array().is_some_and(|orphans| !orphans.is_empty()) {
            self.process.good(&["rotation", "clear-orphans", self.secret], b"");
        }
    }

    /// How many points a rotation has.
    fn rehearse(&self) -> u64 {
        // The first one replaces what was put by hand, which can be less to do.
        self.ask();
        self.settle();
        self.proves("the first time");
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

fn matrix(upstream: Box<dyn Upstream>, count: Option<u64>) {
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

fn database(by: &'static str) -> Box<dyn Upstream> {
    let postgres = Postgres::start();
    postgres.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{FIRST}'"));
    postgres.sql("CREATE ROLE app_b LOGIN");
    Box::new(Database(postgres, by))
}

fn service(by: fn(&Webhook) -> String) -> Box<dyn Upstream> {
    Box::new(Service(Webhook::start(http_driver::FIRST), by))
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_password_is_lost_by_an_administrator() {
    matrix(database(BY_ADMIN), Some(9));
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_password_is_lost_by_the_role_itself() {
    matrix(database(BY_ITSELF), Some(9));
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_password_is_lost_by_two_roles_in_turn() {
    matrix(database(IN_TURN), Some(9));
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_key_is_lost_that_a_service_is_told_of() {
    matrix(service(Webhook::applying), Some(9));
}

#[test]
fn rot_01_killed_and_failing_at_any_point_no_key_is_lost_or_forgotten_that_a_service_makes() {
    matrix(service(Webhook::creating), Some(9));
}

#[test]
#[ignore = "every point of every way to rotate a database's password: scripts/soak"]
fn soak_rotation_every_point() {
    for by in [BY_ADMIN, BY_ITSELF, IN_TURN] {
        matrix(database(by), None);
    }
}

#[test]
#[ignore = "every point of every way to rotate a service's key: scripts/soak"]
fn soak_rotation_every_point_of_a_service() {
    for by in [Webhook::applying, Webhook::creating] {
        matrix(service(by), None);
    }
}
