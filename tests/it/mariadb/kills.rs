//! The broker killed, and its disk failing, at every point of a rotation and of a lease at a `MariaDB`, and once
//! more during the recovery. Here a sample; `scripts/soak` has all of them.

use serde_json::{Value, json};

use super::{FIRST, leases, rotation};
use crate::support::leasing::{Leasing, LoginServer};
use crate::support::mariadb::{ADMIN_PASSWORD, MariaDb};
use crate::support::ordeal::{Extent, go_through};
use crate::support::rotating::{Rotating, Upstream};

impl Upstream for MariaDb {
    fn port(&self) -> u16 {
        self.port
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        let first = json!({ "username": "app", "password": FIRST }).to_string();
        vec![("orders-db/app", first), ("orders-db/admin", ADMIN_PASSWORD.to_owned())]
    }

    fn declared(&self) -> String {
        rotation::declared(self, rotation::IN_TURN).replace("\"2h\"", "\"0s\"")
    }

    fn role(&self) -> &'static str {
        "orders"
    }

    fn takes(&self, value: &str) -> bool {
        let value: Value = serde_json::from_str(value).unwrap();
        let field = |name: &str| value[name].as_str().unwrap();
        self.lets_in(field("username"), field("password"))
    }
}

impl LoginServer for MariaDb {
    fn port(&self) -> u16 {
        self.port
    }

    fn admin_password(&self) -> &'static str {
        ADMIN_PASSWORD
    }

    fn declared(&self) -> String {
        leases::declared(self, 90, &format!("{}\nconnections = 1", leases::BY_ADMIN))
    }

    fn logins(&self) -> String {
        Self::logins(self)
    }

    fn lets_in(&self, user: &str, password: &str) -> bool {
        Self::lets_in(self, user, password)
    }
}

#[test]
fn a_mariadb_rotation_killed_at_any_point_loses_no_password() {
    go_through(
        Rotating::start(Box::new(MariaDb::start(FIRST))),
        "a rotation at MariaDB",
        Extent::Sample { seed: 7 },
    );
}

#[test]
fn a_mariadb_lease_killed_at_any_point_leaves_no_login_behind() {
    go_through(Leasing::start(MariaDb::start(FIRST)), "a lease at MariaDB", Extent::Sample { seed: 8 });
}

#[test]
#[ignore = "every point of a rotation: scripts/soak"]
fn soak_mariadb_rotation_every_point() {
    go_through(Rotating::start(Box::new(MariaDb::start(FIRST))), "a rotation at MariaDB", Extent::Whole);
}

#[test]
#[ignore = "every point of a lease: scripts/soak"]
fn soak_mariadb_leases_every_point() {
    go_through(Leasing::start(MariaDb::start(FIRST)), "a lease at MariaDB", Extent::Whole);
}
