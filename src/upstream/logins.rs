use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error};

use super::driver::{Fault, Outcome, Surroundings};
use super::generate::random_password;
use super::login::{ANY_PURPOSE, Login, Stopped, logged_in};
use super::server::{IDENTIFIER_BYTES_MAX, Server, is_name, standard_port};
use super::target::{TargetError, Tls, refuse};
use crate::base::limits::{
    LEASE_CONNECTIONS, LEASE_CONNECTIONS_MAX, LEASE_STATEMENT_BYTES_MAX, LEASE_STATEMENTS_MAX,
};
use crate::base::{SecretName, Timestamp, code};
use crate::config::without_values;
use crate::secrets::SecretValue;

/// Where logins are made that end with their leases, and what they may do there, as declared.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoginsTarget {
    driver: LoginsDriver,
    host: String,
    #[serde(default = "standard_port")]
    port: u16,
    database: String,
    ca: Option<String>,
    #[serde(default)]
    tls: Tls,
    /// The role that makes logins and ends them.
    admin_role: String,
    /// The secret that is its password.
    admin_secret: SecretName,
    /// The roles that a login is a member of.
    #[serde(default)]
    member_of: Vec<String>,
    /// What else is said when a login is made; `{login}` stands for its name.
    #[serde(default)]
    statements: Vec<String>,
    /// Connections of one login at a time.
    #[serde(default = "usual_connections")]
    connections: u32,
    /// Whose what a login made becomes; the administering role's when there is none.
    heir: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum LoginsDriver {
    #[serde(rename = "postgresql-dynamic")]
    PostgresqlDynamic,
}

const fn usual_connections() -> u32 {
    LEASE_CONNECTIONS
}

/// A login that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewLogin<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its password.
    pub password: &'a SecretValue,
    /// Until when it lets in, should nobody end it before.
    pub until: Timestamp,
}

/// The only field of a statement.
const LOGIN_FIELD: &str = "{login}";

impl LoginsTarget {
    /// Reads a declared upstream from its JSON.
    ///
    /// # Errors
    /// [`TargetError`], also when fields contradict each other.
    pub fn read(json: &str) -> Result<Self, TargetError> {
        let target: Self = serde_json::from_str(json)
            .map_err(|error| TargetError::new(without_values(&error.to_string())))?;
        target.check()?;
        Ok(target)
    }

    fn check(&self) -> Result<(), TargetError> {
        self.server().check()?;
        is_name(&self.admin_role)?;
        // These are said within statements. They are quoted there; what would need it is refused all the same.
        if !self.member_of.iter().chain(&self.heir).all(|name| is_plain(name)) {
            return refuse(
                "`member_of` and `heir` name roles of letters, digits, `_`, `-` and `$`, 1 to 63 of them",
            );
        }
        if self.member_of.len() > LEASE_STATEMENTS_MAX || self.statements.len() > LEASE_STATEMENTS_MAX {
            return refuse("`member_of` and `statements` have at most 32 entries each");
        }
        if !(1..=LEASE_CONNECTIONS_MAX).contains(&self.connections) {
            return refuse("`connections` must be 1 to 1000");
        }
        self.statements.iter().try_for_each(|statement| check_statement(statement))
    }

    /// The secret that administers it.
    #[must_use]
    pub const fn administering(&self) -> &SecretName {
        &self.admin_secret
    }

    /// What is called, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        self.server().describe()
    }

    /// What fails together: the same for all that is on one machine.
    #[must_use]
    pub fn place(&self) -> String {
        self.server().place()
    }

    /// Its host, its port and its database, as clients need them.
    #[must_use]
    pub fn address(&self) -> (&str, u16, &str) {
        (&self.host, self.port, &self.database)
    }

    /// The certificates, PEM, that a client verifies the server's against; none where there is no TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    fn server(&self) -> Server<'_> {
        let (tls, ca) = (self.tls, self.ca.as_deref());
        Server { host: &self.host, port: self.port, database: &self.database, tls, ca }
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
    (1..=IDENTIFIER_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// One statement, whose only field is the login's name.
fn check_statement(statement: &str) -> Result<(), TargetError> {
    if statement.trim().is_empty() || statement.len() > LEASE_STATEMENT_BYTES_MAX {
        return refuse("a statement has 1 to 2048 bytes");
    }
    if statement.contains([';', '\0']) {
        return refuse("each of `statements` is one statement, without `;`");
    }
    if statement.replace(LOGIN_FIELD, "").contains(['{', '}']) {
        return refuse("a statement has no field but `{login}`");
    }
    Ok(())
}

/// Makes logins and ends them.
///
/// Their passwords never go to the server: a SCRAM verifier does. Names are quoted, and are ours alone.
#[derive(Debug)]
pub struct Logins<'a> {
    target: &'a LoginsTarget,
    surroundings: &'a Surroundings,
    admin: &'a SecretValue,
}

impl<'a> Logins<'a> {
    /// Those of `target`, by whoever has the password `admin`.
    #[must_use]
    pub const fn new(
        target: &'a LoginsTarget,
        surroundings: &'a Surroundings,
        admin: &'a SecretValue,
    ) -> Self {
        Self { target, surroundings, admin }
    }

    /// A password for a login.
    ///
    /// # Errors
    /// [`Fault`] when there is none to be had.
    pub fn password(surroundings: &Surroundings) -> Result<SecretValue, Fault> {
        let password = random_password(&*surroundings.entropy);
        SecretValue::new(password).map_err(|_| Fault::new(Outcome::Refused, code::INTERNAL))
    }

    /// Makes a login: all that was declared for it, or nothing.
    ///
    /// # Errors
    /// [`Fault`]; its outcome says whether the login may be there all the same.
    pub async fn create(&self, login: NewLogin<'_>) -> Result<(), Fault> {
        let made = self.creation(login);
        // The session is found by the login's name: whoever ends the login ends this first.
        Ok(self
            .session(login.name, self.target.server(), async |client| client.batch_execute(&made).await)
            .await?)
    }

    /// Several statements in one message are one transaction.
    fn creation(&self, login: NewLogin<'_>) -> String {
        let name = escape_identifier(login.name);
        let verifier = escape_literal(&scram_sha_256(login.password.expose()));
        let until = escape_literal(&login.until.to_string());
        let connections = self.target.connections;
        let groups: Vec<String> =
            self.target.member_of.iter().map(|group| escape_identifier(group)).collect();
        let groups =
            if groups.is_empty() { String::new() } else { format!(" IN ROLE {}", groups.join(", ")) };
        let create = format!(
            "CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
             CONNECTION LIMIT {connections} PASSWORD {verifier} VALID UNTIL {until}{groups}"
        );
        let more = self.target.statements.iter().map(|statement| statement.replace(LOGIN_FIELD, &name));
        let all: Vec<String> = [BOUNDED.to_owned(), create].into_iter().chain(more).collect();
        all.join(";\n")
    }

    /// Has a login let in until later.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn extend(&self, login: &str, until: Timestamp) -> Result<(), Fault> {
        let (name, until) = (escape_identifier(login), escape_literal(&until.to_string()));
        let extended = format!("{BOUNDED};\nALTER ROLE {name} VALID UNTIL {until}");
        let server = self.target.server();
        Ok(self.session(ANY_PURPOSE, server, async |client| client.batch_execute(&extended).await).await?)
    }

    /// Ends a login: it lets nobody in any more, its sessions end, what it made goes to its heir, and it
    /// goes. However often, and however far it came before; one that is not there has ended.
    ///
    /// # Errors
    /// [`Fault`]; it is to be done again then.
    pub async fn end(&self, login: &str) -> Result<(), Fault> {
        let server = self.target.server();
        let found = self.session(ANY_PURPOSE, server, async |client| self.shut(client, login).await).await?;
        let Some(Shut { id, elsewhere }) = found else { return Ok(()) };
        for database in &elsewhere {
            let server = Server { database, ..server };
            self.session(ANY_PURPOSE, server, async |client| self.disown(client, login).await).await?;
        }
        let left =
            self.session(ANY_PURPOSE, server, async |client| drop_role(client, login, id).await).await?;
        // A session that did not end in time is one more reason to come again.
        if left == 0 { Ok(()) } else { Err(Fault::new(Outcome::Unknown, code::UPSTREAM_NOT_ENDED)) }
    }

    /// Shuts a login out and takes what it has in this database away from it.
    async fn shut(&self, client: &Client, login: &str) -> Result<Option<Shut>, Error> {
        client.batch_execute(BOUNDED).await?;
        // A session that is still making it, and whose broker or whose patience is gone.
        client.execute(END_MAKING, &[&login]).await?;
        let Some(found) = client.query_opt("SELECT oid FROM pg_roles WHERE rolname = $1", &[&login]).await?
        else {
            return Ok(None);
        };
        let id: u32 = found.try_get(0)?;
        let name = escape_identifier(login);
        client.batch_execute(&format!("ALTER ROLE {name} NOLOGIN CONNECTION LIMIT 0")).await?;
        // Without it an administrator who is no superuser may neither end its sessions nor take over.
        if !client.query_one(IS_SUPERUSER, &[]).await?.try_get::<_, bool>(0)? {
            client.batch_execute(&format!("GRANT {name} TO CURRENT_USER")).await?;
        }
        end_sessions(client, id).await?;
        self.disown(client, login).await?;
        let others = client.query(OTHER_DATABASES, &[&id]).await?;
        let elsewhere = others.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        Ok(Some(Shut { id, elsewhere }))
    }

    /// What the login made in this database goes to its heir, what it was granted is taken away.
    async fn disown(&self, client: &Client, login: &str) -> Result<(), Error> {
        let name = escape_identifier(login);
        let heir = self.target.heir.as_deref().map_or_else(|| "CURRENT_USER".to_owned(), escape_identifier);
        client
            .batch_execute(&format!("{BOUNDED};\nREASSIGN OWNED BY {name} TO {heir};\nDROP OWNED BY {name}"))
            .await
    }

    /// The names of all logins that start with `prefix` and whose time was over at `now`.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn ended_by(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, Fault> {
        let now = now.to_string();
        let names = self.session(ANY_PURPOSE, self.target.server(), async |client| {
            let rows = client.query(STRAYS, &[&prefix, &now]).await?;
            rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()
        });
        Ok(names.await?)
    }

    async fn session<T>(
        &self,
        purpose: &str,
        server: Server<'_>,
        work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Stopped> {
        let login = Login { role: &self.target.admin_role, password: self.admin.expose(), purpose };
        logged_in(server, self.surroundings, login, work).await
    }
}

/// A login that lets nobody in any more.
struct Shut {
    /// What the server knows it by.
    id: u32,
    /// Other databases in which it has something.
    elsewhere: Vec<String>,
}

/// Takes the role away; how many sessions of it are left.
async fn drop_role(client: &Client, login: &str, id: u32) -> Result<i64, Error> {
    let name = escape_identifier(login);
    client.batch_execute(&format!("{BOUNDED};\nDROP ROLE IF EXISTS {name}")).await?;
    // Somebody may have been let in just before it was shut.
    end_sessions(client, id).await?;
    client.query_one("SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1", &[&id]).await?.try_get(0)
}

/// Tells all of them first, then waits for each: they end at the same time.
async fn end_sessions(client: &Client, id: u32) -> Result<(), Error> {
    for wait_ms in [0_i64, SESSION_WAIT_MS] {
        client.execute(END_SESSIONS, &[&id, &wait_ms]).await?;
    }
    Ok(())
}

/// How long the end of a session is waited for, in milliseconds.
const SESSION_WAIT_MS: i64 = 2000;

/// No statement works on after the broker has stopped to wait for it.
const BOUNDED: &str = "SET statement_timeout = '8s'";

const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity WHERE usesysid = $1 AND pid <> pg_backend_pid()";

const IS_SUPERUSER: &str = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";

const END_MAKING: &str = "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity \
     WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()";

const OTHER_DATABASES: &str = "SELECT DISTINCT datname::text FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid \
     WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1 AND datname <> current_database()";

const STRAYS: &str = "SELECT rolname::text FROM pg_roles \
     WHERE starts_with(rolname::text, $1) AND rolvaliduntil < $2::text::timestamptz ORDER BY 1";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::guard::Reach;
    use super::*;
    use crate::base::{Sensitive, SystemClock, SystemEntropy};

    fn declared(more: &str) -> String {
        format!(
            r#"{{"driver":"postgresql-dynamic","host":"127.0.0.1","database":"d","tls":"off",
                "admin_role":"it's \"me\"","admin_secret":"orders-db/admin"{more}}}"#
        )
    }

    fn refused(json: &str, says: &str) {
        let error = LoginsTarget::read(json).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("CNRY"), "{error}");
    }

    fn list(entry: &str, count: usize) -> String {
        vec![format!("\"{entry}\""); count].join(",")
    }

    #[test]
    fn what_is_no_upstream_is_refused_without_its_values() {
        assert!(LoginsTarget::read(&declared("")).is_ok());
        refused(r#"{"driver":"CNRY"}"#, "unknown word");
        refused(&declared(r#","more":1"#), "unknown field");
        refused(&declared(r#","member_of":["CNRY\"; DROP"]"#), "`member_of`");
        refused(&declared(r#","heir":"CNRY'""#), "`heir`");
        refused(&declared(r#","member_of":[""]"#), "`member_of`");
        refused(&declared(r#","statements":["GRANT x TO {CNRY}"]"#), "no field but");
        refused(&declared(r#","statements":["GRANT x TO {login}; DROP TABLE CNRY"]"#), "without `;`");
        refused(&declared(r#","statements":[" "]"#), "1 to 2048");
        refused(&declared("").replace("127.0.0.1", "db.internal"), "this machine");
    }

    #[test]
    fn limits_hold_at_the_edge() {
        let good = |more: &str| LoginsTarget::read(&declared(more)).unwrap();
        good(&format!(r#","member_of":[{}]"#, list("a", LEASE_STATEMENTS_MAX)));
        refused(
            &declared(&format!(r#","member_of":[{}]"#, list("a", LEASE_STATEMENTS_MAX + 1))),
            "at most 32",
        );
        good(&format!(r#","statements":[{}]"#, list("a", LEASE_STATEMENTS_MAX)));
        refused(
            &declared(&format!(r#","statements":[{}]"#, list("a", LEASE_STATEMENTS_MAX + 1))),
            "at most 32",
        );
        good(&format!(r#","statements":["{}"]"#, "a".repeat(LEASE_STATEMENT_BYTES_MAX)));
        refused(
            &declared(&format!(r#","statements":["{}"]"#, "a".repeat(LEASE_STATEMENT_BYTES_MAX + 1))),
            "2048",
        );
        good(&format!(r#","connections":{LEASE_CONNECTIONS_MAX}"#));
        refused(&declared(&format!(r#","connections":{}"#, LEASE_CONNECTIONS_MAX + 1)), "`connections`");
        refused(&declared(r#","connections":0"#), "`connections`");
        good(&format!(r#","member_of":["{}"]"#, "a".repeat(63)));
        refused(&declared(&format!(r#","member_of":["{}"]"#, "a".repeat(64))), "`member_of`");
    }

    #[test]
    fn a_login_is_made_with_a_verifier_a_quoted_name_and_nothing_that_was_not_declared() {
        let more = r#","member_of":["readers","Writers"],"statements":["GRANT SELECT ON t TO {login}"]"#;
        let target = LoginsTarget::read(&declared(more)).unwrap();
        let surroundings = Surroundings {
            entropy: Arc::new(SystemEntropy),
            clock: Arc::new(SystemClock::new()),
            reach: Reach::default(),
        };
        let admin = SecretValue::new(Sensitive::new(b"CNRY-admin".to_vec())).unwrap();
        let password = Logins::password(&surroundings).unwrap();
        let login = NewLogin { name: "kw_1", password: &password, until: Timestamp::from_s(0) };
        let said = Logins::new(&target, &surroundings, &admin).creation(login);
        for part in [
            "CREATE ROLE \"kw_1\" LOGIN NOSUPERUSER",
            "PASSWORD 'SCRAM-SHA-256$4096:",
            "VALID UNTIL '1970-01-01T00:00:00",
            " IN ROLE \"readers\", \"Writers\"",
            ";\nGRANT SELECT ON t TO \"kw_1\"",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("CNRY"), "{said}");
        assert!(!said.contains(std::str::from_utf8(password.expose()).unwrap()), "{said}");
    }
}
