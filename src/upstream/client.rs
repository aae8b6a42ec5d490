use std::path::Path;

use serde_json::{Map, Value};

/// The login of a lease as a client program needs it.
#[derive(Debug)]
pub struct ClientLogin<'a> {
    /// What the driver said of the upstream.
    pub connection: &'a Map<String, Value>,
    /// The login's name.
    pub username: &'a str,
    /// The login's credential.
    pub password: &'a str,
    /// The file with the certificates that the server's certificate is verified against.
    pub ca_file: Option<&'a Path>,
}

impl ClientLogin<'_> {
    /// A field of the connection as text; empty when it is not there.
    pub(super) fn field(&self, name: &str) -> String {
        match self.connection.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) | None => String::new(),
        }
    }

    /// The path of `ca_file`, when the server's certificate is verified.
    pub(super) fn ca_path(&self) -> Option<String> {
        let path = self.ca_file.filter(|_| authorities(self.connection).is_some());
        path.map(|path| path.display().to_string())
    }

    /// The host as it stands in a URL.
    pub(super) fn url_host(&self) -> String {
        let host = self.field("host");
        if host.contains(':') { format!("[{host}]") } else { host }
    }
}

/// The certificates, PEM, that a client verifies the server's certificate against; none without TLS.
#[must_use]
pub fn authorities(connection: &Map<String, Value>) -> Option<&str> {
    connection.get("ca").and_then(Value::as_str)
}

/// `text` as it stands in a URL.
pub(super) fn url_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
