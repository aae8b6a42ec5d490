use serde_json::{Map, Value, json};

use super::certificates::certificates_of;
use super::declaration::{TargetError, refuse};
use super::endpoint::UpstreamEndpoint;
use crate::base::limits::{LEASE_CONNECTIONS, LEASE_CONNECTIONS_MAX};

/// The only field of a statement that is executed when a login is created: it stands for the login.
pub(super) const LOGIN_FIELD: &str = "{login}";

/// Connections of one login at a time, where a declaration does not say.
pub(super) const fn usual_connections() -> u32 {
    LEASE_CONNECTIONS
}

pub(super) fn check_connections(connections: u32) -> Result<(), TargetError> {
    if (1..=LEASE_CONNECTIONS_MAX).contains(&connections) {
        Ok(())
    } else {
        refuse("`connections` must be 1 to 1000")
    }
}

/// Whether a statement has a field besides [`LOGIN_FIELD`].
pub(super) fn has_other_field(statement: &str) -> bool {
    statement.replace(LOGIN_FIELD, "").contains(['{', '}'])
}

/// How a client reaches the server.
pub(super) fn connection(
    driver: &str,
    server: &UpstreamEndpoint<'_>,
    database: Option<&str>,
) -> Map<String, Value> {
    let fields = [
        ("driver", json!(driver)),
        ("host", json!(server.host)),
        ("port", json!(server.port)),
        ("database", json!(database)),
        ("ca", json!(server.ca.map(certificates_of))),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}
