use super::super::client::{ClientLogin, authorities, url_encoded};

/// The environment variables of `MariaDB` programs and common libraries.
pub(super) fn variables(login: &ClientLogin<'_>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("MYSQL_HOST", login.field("host")),
        ("MYSQL_TCP_PORT", login.field("port")),
        ("MYSQL_DATABASE", login.field("database")),
        ("MYSQL_USER", login.username.to_owned()),
        ("MYSQL_PWD", login.password.to_owned()),
    ];
    variables.retain(|(_, value)| !value.is_empty());
    variables.extend(login.ca_path().map(|path| ("MYSQL_SSL_CA", path)));
    variables
}

pub(super) fn url(login: &ClientLogin<'_>) -> String {
    let ca_file = login.ca_path().map(|path| format!("&ssl-ca={}", url_encoded(&path)));
    let mode = if authorities(login.connection).is_some() { "VERIFY_IDENTITY" } else { "REQUIRED" };
    format!(
        "mysql://{}:{}@{}:{}/{}?ssl-mode={mode}{}",
        login.username,
        login.password,
        login.url_host(),
        login.field("port"),
        url_encoded(&login.field("database")),
        ca_file.unwrap_or_default()
    )
}

/// An option file (`--defaults-extra-file`). The group of the interactive client has the database, because not every
/// program that reads `[client]` takes one.
pub(super) fn file(login: &ClientLogin<'_>) -> String {
    let mut lines = vec![
        "[client]".to_owned(),
        format!("host={}", quoted(&login.field("host"))),
        format!("port={}", login.field("port")),
        format!("user={}", quoted(login.username)),
        format!("password={}", quoted(login.password)),
    ];
    lines.extend(login.ca_path().map(|path| format!("ssl-ca={}", quoted(&path))));
    // Without the file of a declared authority, the client refuses the server instead of trusting any.
    let is_verified = authorities(login.connection).is_some();
    lines.push(if is_verified { "ssl-verify-server-cert" } else { "ssl" }.to_owned());
    let database = Some(login.field("database")).filter(|database| !database.is_empty());
    lines.extend(database.map(|database| format!("[mysql]\ndatabase={}", quoted(&database))));
    lines.join("\n")
}

/// A value of an option file: without quotes, `#` would begin a comment, and a backslash an escape.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_is_spelled_for_client_programs() {
        let connection = json!({ "driver": "mariadb-dynamic", "host": "::1", "port": 3306, "ca": "pem" });
        let connection = connection.as_object().unwrap();
        let ca_file = Some(Path::new("ca.pem"));
        let login = ClientLogin { connection, username: "kw_1", password: "p", ca_file };
        assert_eq!(url(&login), "mysql://kw_1:p@[::1]:3306/?ssl-mode=VERIFY_IDENTITY&ssl-ca=ca.pem");
        let names: Vec<&str> = variables(&login).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_USER", "MYSQL_PWD", "MYSQL_SSL_CA"]);
        assert_eq!(
            file(&login),
            "[client]\nhost=\"::1\"\nport=3306\nuser=\"kw_1\"\npassword=\"p\"\nssl-ca=\"ca.pem\"\nssl-verify-server-cert"
        );
        let without_file = ClientLogin { ca_file: None, ..login };
        assert!(file(&without_file).ends_with("\nssl-verify-server-cert"), "{}", file(&without_file));
        assert_eq!(quoted("a \\#\"b"), "\"a \\\\#\\\"b\"");
    }
}
