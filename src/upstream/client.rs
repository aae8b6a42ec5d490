use std::path::Path;

use serde_json::{Map, Value};

/// The login of a lease for a client program.
#[derive(Debug)]
pub struct ClientLogin<'a> {
    /// The connection parameters from the driver.
    pub connection: &'a Map<String, Value>,
    /// The login's name.
    pub username: &'a str,
    /// The login's credential.
    pub password: &'a str,
    /// The file with the CA certificates for the server.
    pub ca_file: Option<&'a Path>,
}

impl ClientLogin<'_> {
    /// A field of the connection as text; empty if it is missing.
    pub(super) fn field(&self, name: &str) -> String {
        match self.connection.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) | None => String::new(),
        }
    }

    /// The path of `ca_file`, if the server's certificate is verified.
    pub(super) fn ca_path(&self) -> Option<String> {
        let path = self.ca_file.filter(|_| authorities(self.connection).is_some());
        path.map(|path| path.display().to_string())
    }

    /// The host in the form of a URL.
    pub(super) fn url_host(&self) -> String {
        let host = self.field("host");
        if host.contains(':') { format!("[{host}]") } else { host }
    }
}

/// The CA certificates for the server in PEM; `None` without TLS.
#[must_use]
pub fn authorities(connection: &Map<String, Value>) -> Option<&str> {
    connection.get("ca").and_then(Value::as_str)
}

/// `text`, percent-encoded for a URL. Forms spell a space as `+`, which programs do not decode in a URL; a plus sign
/// itself is encoded.
pub(super) fn url_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_in_a_url_is_percent_encoded() {
        assert_eq!(url_encoded("/home/a b/c+d.pem"), "%2Fhome%2Fa%20b%2Fc%2Bd.pem");
    }
}
