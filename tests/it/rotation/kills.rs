//! The broker killed, and its disk failing, at every point of a rotation, and once more during the
//! recovery: what it hands out logs in. Here a sample; `scripts/soak` has all of them.

use std::fs;

use serde_json::{Value, json};

use super::{BY_ADMIN, BY_ITSELF, FIRST, IN_TURN, LOOPBACK, http_driver};
use crate::support::ordeal::{Extent, Ordeal, go_through};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

/// A rotation by a real broker at a real upstream.
struct Rotating {
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

impl Rotating {
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

    /// How the rotation stands, if the broker is there to say.
    fn shown(&self) -> Option<Value> {
        let shown =
            self.process.said_by("operator", &["rotation", "show", self.secret, "-o", "json"]).ok()?;
        Some(serde_json::from_slice(&shown).unwrap())
    }
}

impl Ordeal for Rotating {
    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn begin(&mut self) -> Result<(), String> {
        self.process.said_by("operator", &["secret", "rotate", self.secret, "--no-wait"]).map(drop)
    }

    fn is_over(&mut self) -> Option<bool> {
        let shown = self.shown()?;
        if !shown["run"].is_null() && !shown["run"]["trouble"].is_null() {
            // A wait of half a minute is for upstreams; here it is clear that this one is well.
            self.process.run_as("operator", &["rotation", "retry", self.secret], b"");
        }
        Some(shown["run"].is_null())
    }

    /// What the agent is handed works, and nothing else is left but what is listed.
    fn prove(&mut self, when: &str) {
        let value = String::from_utf8(self.process.good_as("bot", &["get", self.secret], b"")).unwrap();
        assert!(self.upstream.takes(&value), "lost: {when}");
        let shown = self.shown().unwrap();
        self.upstream.sweep(&shown, &value);
        if shown["orphans"].as_array().is_some_and(|orphans| !orphans.is_empty()) {
            self.process.good(&["rotation", "clear-orphans", self.secret], b"");
        }
    }
}

fn go(upstream: Box<dyn Upstream>, name: &str, extent: Extent) {
    go_through(Rotating::start(upstream), name, extent);
}

fn database(by: &'static str) -> Box<dyn Upstream> {
    let postgres = Postgres::start();
    postgres.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{FIRST}'"));
    postgres.sql("CREATE ROLE app_b LOGIN");
    ["app", "app_b"].iter().for_each(|role| postgres.has_administered(role));
    Box::new(Database(postgres, by))
}

fn service(by: fn(&Webhook) -> String) -> Box<dyn Upstream> {
    Box::new(Service(Webhook::start(http_driver::FIRST), by))
}

const SAMPLE: Extent = Extent::Sample { seed: 3 };

/// Hazards ROT-01, ROT-02, ROT-03.
#[test]
fn no_password_set_by_an_administrator_is_lost_by_kills_and_faults() {
    go(database(BY_ADMIN), "by an administrator", SAMPLE);
}

/// Hazards ROT-01, ROT-02, ROT-03.
#[test]
fn no_password_set_by_the_role_itself_is_lost_by_kills_and_faults() {
    go(database(BY_ITSELF), "by the role itself", SAMPLE);
}

/// Hazards ROT-01, ROT-02, ROT-03.
#[test]
fn no_password_of_two_roles_in_turn_is_lost_by_kills_and_faults() {
    go(database(IN_TURN), "by two roles in turn", SAMPLE);
}

/// Hazards ROT-01, ROT-02, ROT-03.
#[test]
fn no_key_that_a_service_is_sent_is_lost_by_kills_and_faults() {
    go(service(Webhook::applying), "told to a service", SAMPLE);
}

/// Hazards ROT-01, ROT-02, ROT-03.
#[test]
fn no_key_that_a_service_creates_is_lost_by_kills_and_faults() {
    go(service(Webhook::creating), "made by a service", SAMPLE);
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_rotation_every_point_by_an_administrator() {
    go(database(BY_ADMIN), "by an administrator", Extent::Whole);
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_rotation_every_point_by_the_role_itself() {
    go(database(BY_ITSELF), "by the role itself", Extent::Whole);
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_rotation_every_point_by_two_roles_in_turn() {
    go(database(IN_TURN), "by two roles in turn", Extent::Whole);
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_rotation_every_point_told_to_a_service() {
    go(service(Webhook::applying), "told to a service", Extent::Whole);
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_rotation_every_point_made_by_a_service() {
    go(service(Webhook::creating), "made by a service", Extent::Whole);
}
