use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client, Error};

use super::driver::{Fault, Outcome, Surroundings};
use super::generate::random_password;
use super::login::{ANY_PURPOSE, Login, Stopped, logged_in, though_held};
use super::logins_target::{LOGIN_FIELD, LoginsTarget};
use super::server::Server;
use crate::base::{Timestamp, code};
use crate::secrets::SecretValue;

/// Makes logins and ends them.
///
/// Their passwords never go to the server: a SCRAM verifier does. Names are quoted, and are ours alone.
#[derive(Debug)]
pub struct Logins<'a> {
    target: &'a LoginsTarget,
    surroundings: &'a Surroundings,
    admin: &'a SecretValue,
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
        let modest = self.target.heir.as_deref().map(modest);
        let all: Vec<String> =
            [BOUNDED.to_owned()].into_iter().chain(modest).chain([create]).chain(more).collect();
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
        let shut = self.session(ANY_PURPOSE, server, async |client| {
            match self.shut(client, login).await? {
                // Nothing elsewhere: it goes over the connection that there is.
                Some(shut) if shut.elsewhere.is_empty() => {
                    Ok(Ended::With { sessions: drop_role(client, login, shut.id).await? })
                }
                Some(shut) => Ok(Ended::NotYet(shut)),
                None => Ok(Ended::With { sessions: 0 }),
            }
        });
        let sessions = match shut.await? {
            Ended::With { sessions } => sessions,
            Ended::NotYet(Shut { id, elsewhere }) => {
                for database in &elsewhere {
                    let server = Server { database, ..server };
                    self.session(ANY_PURPOSE, server, async |client| self.disown(client, login).await)
                        .await?;
                }
                self.session(ANY_PURPOSE, server, async |client| drop_role(client, login, id).await).await?
            }
        };
        // One that did not end in time is a reason to come again.
        if sessions == 0 { Ok(()) } else { Err(Fault::new(Outcome::Unknown, code::UPSTREAM_NOT_ENDED)) }
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
        // Without it an administrator who is no superuser may neither end its sessions nor take over.
        if !client.query_one(IS_SUPERUSER, &[]).await?.try_get::<_, bool>(0)? {
            client.batch_execute(&format!("GRANT {} TO CURRENT_USER", escape_identifier(login))).await?;
        }
        let shut = format!("ALTER ROLE {} NOLOGIN CONNECTION LIMIT 0", escape_identifier(login));
        though_held(client, (END_SESSIONS, &[&id, &0_i64]), &shut).await?;
        end_sessions(client, id).await?;
        self.disown(client, login).await?;
        let others = client.query(OTHER_DATABASES, &[&id]).await?;
        let elsewhere = others.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        Ok(Some(Shut { id, elsewhere }))
    }

    /// What the login made in this database goes to its heir, or with it; what it was granted is taken away.
    ///
    /// Views and functions do what they do with their owner's rights: whoever administers inherits nothing,
    /// or its rights would be the holder's of the next login.
    async fn disown(&self, client: &Client, login: &str) -> Result<(), Error> {
        let name = escape_identifier(login);
        let heir = self.target.heir.as_deref().map(escape_identifier);
        let inherited = heir.map(|heir| format!("REASSIGN OWNED BY {name} TO {heir};\n")).unwrap_or_default();
        client.batch_execute(&format!("{BOUNDED};\n{inherited}DROP OWNED BY {name}")).await
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

    /// Whether the login is there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn has(&self, login: &str) -> Result<bool, Fault> {
        // Every login of ours has an end, before the year 3000.
        let found = self.ended_by(login, Timestamp::from_s(32_503_680_000)).await?;
        Ok(found.iter().any(|name| name == login))
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

/// How far the end of a login came over one connection.
enum Ended {
    /// It is gone, with so many sessions left.
    With { sessions: i64 },
    /// It is shut.
    NotYet(Shut),
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

/// Fails, with the SQLSTATE `KW001`, for an heir with whose rights nothing that an agent made may be done.
fn modest(heir: &str) -> String {
    let checked = format!(
        "BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = {} AND (rolsuper OR rolcreaterole OR rolcreatedb \
         OR rolreplication OR rolbypassrls)) THEN RAISE EXCEPTION 'the heir has attributes' \
         USING ERRCODE = 'KW001'; END IF; END",
        escape_literal(heir)
    );
    format!("DO {}", escape_literal(&checked))
}

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
    use super::super::logins_target::tests::declared;
    use super::*;
    use crate::base::{Sensitive, SystemClock, SystemEntropy};

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
