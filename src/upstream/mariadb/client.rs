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
    }
}
