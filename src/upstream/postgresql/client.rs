use super::super::client::{ClientLogin, authorities, url_encoded};

/// The environment variables of libpq.
pub(super) fn variables(login: &ClientLogin<'_>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PGHOST", login.field("host")),
        ("PGPORT", login.field("port")),
        ("PGDATABASE", login.field("database")),
        ("PGUSER", login.username.to_owned()),
        ("PGPASSWORD", login.password.to_owned()),
        ("PGSSLMODE", mode(login).to_owned()),
    ];
    variables.extend(login.ca_path().map(|path| ("PGSSLROOTCERT", path)));
    variables
}

/// The URL for libpq.
pub(super) fn url(login: &ClientLogin<'_>) -> String {
    let ca_file = login.ca_path().map(|path| format!("&sslrootcert={}", url_encoded(&path)));
    format!(
        "postgresql://{}:{}@{}:{}/{}?sslmode={}{}",
        login.username,
        login.password,
        login.url_host(),
        login.field("port"),
        url_encoded(&login.field("database")),
        mode(login),
        ca_file.unwrap_or_default()
    )
}

/// A connection service file of libpq (`PGSERVICEFILE`) with the service `keyward`.
pub(super) fn file(login: &ClientLogin<'_>) -> String {
    let mut lines = vec![
        "[keyward]".to_owned(),
        format!("host={}", login.field("host")),
        format!("port={}", login.field("port")),
        format!("dbname={}", login.field("database")),
        format!("user={}", login.username),
        format!("password={}", login.password),
        format!("sslmode={}", mode(login)),
    ];
    lines.extend(login.ca_path().map(|path| format!("sslrootcert={path}")));
    lines.join("\n")
}

/// The `sslmode` of libpq.
fn mode(login: &ClientLogin<'_>) -> &'static str {
    if authorities(login.connection).is_some() { "verify-full" } else { "disable" }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Map, Value, json};

    use super::*;

    fn login(connection: &Map<String, Value>, ca_file: Option<&'static Path>) -> (String, Vec<String>) {
        let login = ClientLogin { connection, username: "kw_1", password: "p", ca_file };
        let variables = variables(&login);
        (url(&login), variables.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn a_login_is_spelled_for_libpq() {
        let file = Some(Path::new("ca.pem"));
        let connection = |fields: Value| fields.as_object().unwrap().clone();
        let verified = connection(json!({
            "driver": "postgresql-dynamic", "host": "::1", "port": 5432, "database": "a/b", "ca": "pem",
        }));
        let (url, variables) = login(&verified, file);
        assert_eq!(url, "postgresql://kw_1:p@[::1]:5432/a%2Fb?sslmode=verify-full&sslrootcert=ca.pem");
        assert!(variables.contains(&"PGSSLROOTCERT=ca.pem".to_owned()), "{variables:?}");
        let (_, variables) = login(&verified, None);
        assert!(variables.contains(&"PGPORT=5432".to_owned()), "{variables:?}");
        assert!(!variables.iter().any(|one| one.starts_with("PGSSLROOTCERT")), "{variables:?}");
        let open = connection(json!({ "driver": "postgresql-dynamic", "host": "127.0.0.1", "port": 1 }));
        assert!(login(&open, file).0.ends_with("?sslmode=disable"));
        let login = ClientLogin { connection: &verified, username: "kw_1", password: "p", ca_file: file };
        assert_eq!(
            super::file(&login),
            "[keyward]\nhost=::1\nport=5432\ndbname=a/b\nuser=kw_1\npassword=p\nsslmode=verify-full\nsslrootcert=ca.pem"
        );
    }
}
