//! The broker killed, and its disk failing, at every point of a rotation, and once more during the
//! recovery: what it hands out logs in. Here a sample; `scripts/soak` has all of them.

use serde_json::{Value, json};

use super::{BY_ADMIN, BY_ITSELF, FIRST, IN_TURN, http_driver};
use crate::support::ordeal::{Extent, go_through};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::rotating::{Rotating, Upstream};
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

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
