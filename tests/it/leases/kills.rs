//! The broker killed, and its disk failing, at every point of a lease, and once more during the recovery:
//! no login is left that no lease knows, and what was handed out works until it ends. Here a sample;
//! `scripts/soak` has all of them.

use super::{BY_ADMIN, declared, logins};
use crate::support::leasing::{Leasing, LoginServer};
use crate::support::ordeal::{Extent, go_through};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};

impl LoginServer for Postgres {
    fn port(&self) -> u16 {
        self.port
    }

    fn admin_password(&self) -> &'static str {
        ADMIN_PASSWORD
    }

    fn declared(&self) -> String {
        declared(self, 90, &format!("{BY_ADMIN}\nconnections = 1"))
    }

    fn logins(&self) -> String {
        logins(self)
    }

    fn lets_in(&self, user: &str, password: &str) -> bool {
        Self::lets_in(self, user, password)
    }
}

#[test]
fn killed_and_failing_at_any_point_a_lease_leaves_no_login_behind() {
    go_through(Leasing::start(Postgres::start()), "a lease", Extent::Sample { seed: 5 });
}

#[test]
#[ignore = "every point of a lease: scripts/soak"]
fn soak_leases_every_point() {
    go_through(Leasing::start(Postgres::start()), "a lease", Extent::Whole);
}
