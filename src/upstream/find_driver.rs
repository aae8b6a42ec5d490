use serde_json::{Map, Value};

use super::certificates::only_certificates;
use super::client::ClientLogin;
use super::declaration::{Fields, TargetError, refuse};
use super::driver::Driver;
use super::driver_kind::{DriverKind, LeaseKind};
use super::lease_driver::LeaseDriver;
use super::{generate, http, mariadb, postgresql};

/// All kinds of upstreams: one folder and one line per kind.
pub(super) const KINDS: [&DriverKind; 4] = [&generate::KIND, &http::KIND, &mariadb::KIND, &postgresql::KIND];

/// The driver of a stored upstream of a rotation.
///
/// # Errors
/// [`TargetError`], also if fields contradict each other.
pub fn stored_driver(stored: &str) -> Result<Box<dyn Driver>, TargetError> {
    read_driver(fields_of(stored)?)
}

/// The driver of a declared upstream of a rotation.
///
/// # Errors
/// [`TargetError`], also if fields contradict each other, or a field holds a private key.
pub fn declared_driver(upstream: &Map<String, Value>) -> Result<Box<dyn Driver>, TargetError> {
    only_certificates(upstream)?;
    read_driver(upstream.clone())
}

/// The driver of a stored upstream of leases.
///
/// # Errors
/// [`TargetError`], also if fields contradict each other.
pub fn stored_lease_driver(stored: &str) -> Result<Box<dyn LeaseDriver>, TargetError> {
    read_lease_driver(fields_of(stored)?)
}

/// The driver of a declared upstream of leases.
///
/// # Errors
/// [`TargetError`], also if fields contradict each other, or a field holds a private key.
pub fn declared_lease_driver(upstream: &Map<String, Value>) -> Result<Box<dyn LeaseDriver>, TargetError> {
    only_certificates(upstream)?;
    read_lease_driver(upstream.clone())
}

/// Libraries whose log lines below warnings may contain a secret, and are never written.
#[must_use]
pub fn outspoken_libraries() -> Vec<&'static str> {
    KINDS.iter().flat_map(|kind| kind.outspoken).copied().collect()
}

/// The stored form of a declared upstream. The order of the fields in the file does not change it.
#[must_use]
pub fn stored_upstream(upstream: &Map<String, Value>) -> String {
    let mut fields = Value::Object(upstream.clone());
    fields.sort_all_objects();
    fields.to_string()
}

fn fields_of(stored: &str) -> Result<Map<String, Value>, TargetError> {
    serde_json::from_str(stored).or_else(|_| refuse("it is not a table"))
}

fn read_driver(upstream: Map<String, Value>) -> Result<Box<dyn Driver>, TargetError> {
    let (driver, fields) = Fields::of(upstream)?;
    let known = || KINDS.iter().filter_map(|kind| kind.rotation.as_ref());
    match known().find(|kind| kind.driver == driver) {
        Some(kind) => (kind.read)(fields),
        None => unknown(known().map(|kind| kind.driver)),
    }
}

fn read_lease_driver(upstream: Map<String, Value>) -> Result<Box<dyn LeaseDriver>, TargetError> {
    let (driver, fields) = Fields::of(upstream)?;
    match lease_kinds().find(|kind| kind.driver == driver) {
        Some(kind) => (kind.read)(fields),
        None => unknown(lease_kinds().map(|kind| kind.driver)),
    }
}

/// The environment variables for client programs of the upstream; `None` for an unknown driver.
#[must_use]
pub fn client_variables(login: &ClientLogin<'_>) -> Option<Vec<(&'static str, String)>> {
    kind_of(login).map(|kind| (kind.variables)(login))
}

/// The URL for client programs of the upstream; `None` for an unknown driver.
#[must_use]
pub fn client_url(login: &ClientLogin<'_>) -> Option<String> {
    kind_of(login).map(|kind| (kind.url)(login))
}

/// The configuration file of the upstream's own client program; `None` for an unknown driver.
#[must_use]
pub fn client_file(login: &ClientLogin<'_>) -> Option<String> {
    kind_of(login).map(|kind| (kind.client_file)(login))
}

fn kind_of(login: &ClientLogin<'_>) -> Option<&'static LeaseKind> {
    let driver = login.field("driver");
    lease_kinds().find(|kind| kind.driver == driver)
}

pub(super) fn lease_kinds() -> impl Iterator<Item = &'static LeaseKind> {
    KINDS.iter().filter_map(|kind| kind.leases.as_ref())
}

fn unknown<T>(known: impl Iterator<Item = &'static str>) -> Result<T, TargetError> {
    let known: Vec<String> = known.map(|driver| format!("`{driver}`")).collect();
    Err(TargetError::at("driver", format!("`driver` is one of {}", known.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_of_an_upstream_does_not_depend_on_the_order_of_fields() {
        let text = |json: &str| stored_upstream(&serde_json::from_str(json).unwrap());
        let sorted = r#"{"a":{"c":1,"d":2},"b":3}"#;
        assert_eq!((text(sorted).as_str(), text(r#"{"b":3,"a":{"d":2,"c":1}}"#).as_str()), (sorted, sorted));
    }

    #[test]
    fn an_unknown_driver_is_refused_without_its_name() {
        let refused = |json: &str| stored_driver(json).err().unwrap();
        assert!(refused(r#"{"driver":"CNRY"}"#).to_string().starts_with("`driver` is one of `generate`, "));
        assert_eq!(refused(r#"{"driver":7}"#).field(), "driver");
        assert_eq!(refused(r#"{"length":12}"#).to_string(), "missing field `driver`");
        assert!(
            stored_lease_driver(r#"{"driver":"generate"}"#).is_err_and(|error| error.field() == "driver")
        );
    }
}
