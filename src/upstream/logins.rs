use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Error, SimpleQueryRow};

use super::driver::{Fault, Outcome, Surroundings};
use super::generate::random_password;
use super::login::{ANY_PURPOSE, Login, Stopped, logged_in};
use super::logins_sql as sql;
use super::logins_target::{LOGIN_FIELD, LoginsTarget};
use super::server::Server;
use super::session::{PATH, Session, Transaction, is_true, number};
use crate::base::code::Code;
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
    /// How many logins its agent may have at a time.
    pub per_agent: u32,
}

/// A login as a server lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundLogin {
    /// Its name.
    pub name: String,
    /// Whether its time is over.
    pub is_over: bool,
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

    /// Makes a login: all that was declared for it, or nothing. Nothing too when it could not be revoked.
    ///
    /// # Errors
    /// [`Fault`]; its outcome says whether the login may be there all the same.
    pub async fn create(&self, login: NewLogin<'_>) -> Result<(), Fault> {
        // The session is found by the login's name: whoever ends the login ends this first.
        let created = self.session(login.name, self.target.server(), async |session| {
            if (1..RELEASE_MIN).contains(&session.version()) {
                return Ok(Created::Not(code::UPSTREAM_VERSION_UNSUPPORTED, session.version().to_string()));
            }
            let (transaction, standing) =
                session.begin(&sql::standing(self.heir(), &login.until.to_string())).await?;
            let reserved = number(&standing, 3)?.saturating_add(number(&standing, 4)?);
            let free = number(&standing, 2)?.saturating_sub(reserved);
            if login.per_agent.saturating_mul(self.target.connections) >= free {
                return Ok(Created::Not(code::UPSTREAM_CONNECTION_LIMIT, free.to_string()));
            }
            if !is_true(&standing, 5)? {
                return Ok(Created::Not(code::UPSTREAM_CLOCK_AHEAD, ENDED.to_owned()));
            }
            if is_true(&standing, 1)? {
                return Ok(Created::Not(code::UPSTREAM_REFUSED, HEIR_HAS_ATTRIBUTES.to_owned()));
            }
            transaction.execute(&self.creation(login)).await?;
            let is_superuser = is_true(&standing, 0)?;
            let version = session.version();
            if let Some(why) = self.irrevocable(&transaction, login.name, (is_superuser, version)).await? {
                return Ok(Created::Not(code::UPSTREAM_LOGIN_IRREVOCABLE, why));
            }
            transaction.commit().await?;
            Ok(Created::Yes)
        });
        match created.await? {
            Created::Yes => Ok(()),
            Created::Not(code, why) => Err(Fault { outcome: Outcome::Refused, code, detail: Some(why) }),
        }
    }

    /// Why the login could not be revoked, if so: its revocation is carried out, and rolled back.
    async fn irrevocable(
        &self,
        transaction: &Transaction<'_>,
        login: &str,
        (is_superuser, version): (bool, u32),
    ) -> Result<Option<String>, Error> {
        let take_over = (!is_superuser).then(|| sql::take_over(login, version));
        // Whose objects a role may drop, its sessions the role may end.
        let steps = [sql::shut_out(login), sql::disown(login, self.heir()), sql::drop_role(login)];
        let steps: Vec<String> = take_over.into_iter().chain(steps).collect();
        let rehearsal =
            format!("SAVEPOINT revocation;\n{};\nROLLBACK TO SAVEPOINT revocation", steps.join(";\n"));
        match transaction.execute(&rehearsal).await {
            Ok(_) => Ok(None),
            Err(error) => match error.code().map(|state| state.code()).filter(|state| is_lasting(state)) {
                Some(state) => Ok(Some(state.to_owned())),
                None => Err(error),
            },
        }
    }

    pub(super) const fn target(&self) -> &LoginsTarget {
        self.target
    }

    pub(super) fn heir(&self) -> Option<&str> {
        self.target.heir.as_deref()
    }

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
        // A declared statement that sets another search path sets it for no other statement.
        let more = self.target.statements.iter();
        let more = more.map(|statement| format!("\n;\n{PATH};\n{}", statement.replace(LOGIN_FIELD, &name)));
        format!("{create}{}", more.collect::<String>())
    }

    /// Has a login let in until later.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn extend(&self, login: &str, until: Timestamp) -> Result<(), Fault> {
        let (name, until) = (escape_identifier(login), until.to_string());
        let extended = format!("ALTER ROLE {name} VALID UNTIL {}", escape_literal(&until));
        let session = self.session(ANY_PURPOSE, self.target.server(), async |session| {
            let is_to_come = is_true(&session.execute(&sql::is_to_come(&until)).await?, 0)?;
            if is_to_come {
                session.execute(&extended).await?;
            }
            Ok(is_to_come)
        });
        if session.await? { Ok(()) } else { Err(Fault::new(Outcome::Refused, code::UPSTREAM_CLOCK_AHEAD)) }
    }

    /// All logins whose names start with `prefix`, as they stood at `now`.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn named(&self, prefix: &str, now: Timestamp) -> Result<Vec<FoundLogin>, Fault> {
        let named = sql::named(prefix, &now.to_string());
        let found = self.session(ANY_PURPOSE, self.target.server(), async |session| {
            let rows = session.execute(&named).await?;
            let found = |row: &SimpleQueryRow| {
                let name = row.try_get(0)?.unwrap_or_default().to_owned();
                Ok(FoundLogin { name, is_over: row.try_get(1)? == Some("t") })
            };
            rows.iter().map(found).collect()
        });
        Ok(found.await?)
    }

    /// Whether the login is there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn has(&self, login: &str) -> Result<bool, Fault> {
        let found = self.named(login, Timestamp::from_s(0)).await?;
        Ok(found.iter().any(|one| one.name == login))
    }

    pub(super) async fn session<T>(
        &self,
        purpose: &str,
        server: Server<'_>,
        work: impl AsyncFnOnce(&Session<'_>) -> Result<T, Error>,
    ) -> Result<T, Stopped> {
        let login = Login { role: &self.target.admin_role, password: self.admin.expose(), purpose };
        logged_in(server, self.surroundings, login, work).await
    }
}

/// What came of making a login.
enum Created {
    Yes,
    /// Nothing: a code, and an SQLSTATE or a number.
    Not(Code, String),
}

/// The oldest major version of PostgreSQL at which logins are created: earlier ones let a login grant itself.
const RELEASE_MIN: u32 = 15;

/// The end of the login is over at the server already.
const ENDED: &str = "ended";

/// SQLSTATE of an heir with whose rights nothing that an agent made may be done.
const HEIR_HAS_ATTRIBUTES: &str = "KW001";

/// What SQLSTATEs start with that say nothing of the next time: a lost connection, a transaction that is
/// over, one that lost to another, a lack of resources, a lock, an end from outside, a changed row.
const PASSING: [&str; 8] = ["08", "25", "40", "53", "55P", "57", "58", "XX"];

/// Whether what failed with `state` fails the next time too.
fn is_lasting(state: &str) -> bool {
    !PASSING.iter().any(|start| state.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::driver::Called;
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
            called: Called::default(),
        };
        let admin = SecretValue::new(Sensitive::new(b"CNRY-admin".to_vec())).unwrap();
        let password = Logins::password(&surroundings).unwrap();
        let login = NewLogin { name: "kw_1", password: &password, until: Timestamp::from_s(0), per_agent: 1 };
        let said = Logins::new(&target, &surroundings, &admin).creation(login);
        for part in [
            "CREATE ROLE \"kw_1\" LOGIN NOSUPERUSER",
            "PASSWORD 'SCRAM-SHA-256$4096:",
            "VALID UNTIL '1970-01-01T00:00:00",
            " IN ROLE \"readers\", \"Writers\"",
            ";\nSET LOCAL search_path = pg_catalog, pg_temp;\nGRANT SELECT ON t TO \"kw_1\"",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("CNRY"), "{said}");
        assert!(!said.contains(std::str::from_utf8(password.expose()).unwrap()), "{said}");
    }
}
