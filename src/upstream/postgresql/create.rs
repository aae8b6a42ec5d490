use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Error;

use super::super::fault::UpstreamFault;
use super::super::lease_driver::NewLogin;
use super::super::leased_logins::LOGIN_FIELD;
use super::super::random::random_password;
use super::administrator::Administrator;
use super::lease_declaration::DeclaredLogins;
use super::session::{PATH, Transaction, is_true, number};
use super::sql;
use crate::base::code;
use crate::secrets::SecretValue;

/// Creates a login completely or not at all, and only if it can be revoked.
pub(super) async fn create(by: Administrator<'_>, login: NewLogin<'_>) -> Result<SecretValue, UpstreamFault> {
    create_or_try(by, login, Purpose::Create).await
}

/// Checks whether a login could be created: creates it in a transaction that is rolled back.
pub(super) async fn try_creation(by: Administrator<'_>, login: NewLogin<'_>) -> Result<(), UpstreamFault> {
    create_or_try(by, login, Purpose::Try).await.map(drop)
}

/// What a creation is for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Purpose {
    Create,
    Try,
}

async fn create_or_try(
    by: Administrator<'_>,
    login: NewLogin<'_>,
    purpose: Purpose,
) -> Result<SecretValue, UpstreamFault> {
    let password = random_password(&*by.call.with.entropy)?;
    let declared = &by.declared.logins;
    // The session is found by the login's name: a revocation of the login ends this first.
    let created = by.session_for(login.name, &by.declared.server, async |session| {
        if (1..RELEASE_MIN).contains(&session.version()) {
            let fault = UpstreamFault::refused(code::UPSTREAM_VERSION_UNSUPPORTED);
            return Ok(Err(fault.with(session.version().to_string())));
        }
        let (transaction, server_state) =
            session.begin(&sql::server_state(by.heir(), &login.until.to_string())).await?;
        let reserved = number(&server_state, 3)?.saturating_add(number(&server_state, 4)?);
        let free = number(&server_state, 2)?.saturating_sub(reserved);
        if login.per_agent.saturating_mul(declared.connections) >= free {
            return Ok(Err(UpstreamFault::refused(code::UPSTREAM_CONNECTION_LIMIT).with(free.to_string())));
        }
        if !is_true(&server_state, 5)? {
            return Ok(Err(UpstreamFault::refused(code::UPSTREAM_CLOCK_AHEAD).with(ENDED.to_owned())));
        }
        if is_true(&server_state, 1)? {
            let fault = UpstreamFault::refused(code::UPSTREAM_REFUSED);
            return Ok(Err(fault.with(HEIR_HAS_ATTRIBUTES.to_owned())));
        }
        transaction.execute(&creation(declared, login, &password)).await?;
        let take_over = (!is_true(&server_state, 0)?).then(|| sql::take_over(login.name, session.version()));
        if let Some(why) = irrevocable(&transaction, login.name, by.heir(), take_over).await? {
            return Ok(Err(UpstreamFault::refused(code::UPSTREAM_LOGIN_IRREVOCABLE).with(why)));
        }
        match purpose {
            Purpose::Create => transaction.commit().await?,
            Purpose::Try => transaction.roll_back().await?,
        }
        Ok(Ok(()))
    });
    created.await?.map(|()| password)
}

/// The reason why the login could not be revoked: a trial revocation, which is rolled back.
async fn irrevocable(
    transaction: &Transaction<'_>,
    login: &str,
    heir: Option<&str>,
    take_over: Option<String>,
) -> Result<Option<String>, Error> {
    // A role that may drop another role's objects may also end its sessions.
    let steps = [sql::shut_out(login), sql::disown(login, heir), sql::drop_role(login)];
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

fn creation(declared: &DeclaredLogins, login: NewLogin<'_>, password: &SecretValue) -> String {
    let name = escape_identifier(login.name);
    let verifier = escape_literal(&scram_sha_256(password.expose()));
    let until = escape_literal(&login.until.to_string());
    let connections = declared.connections;
    let groups: Vec<String> = declared.member_of.iter().map(|group| escape_identifier(group)).collect();
    let groups = if groups.is_empty() { String::new() } else { format!(" IN ROLE {}", groups.join(", ")) };
    let create = format!(
        "CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
         CONNECTION LIMIT {connections} PASSWORD {verifier} VALID UNTIL {until}{groups}"
    );
    // A declared statement cannot change the search path of the following ones.
    let more = declared.statements.iter();
    let more = more.map(|statement| format!("\n;\n{PATH};\n{}", statement.replace(LOGIN_FIELD, &name)));
    format!("{create}{}", more.collect::<String>())
}

/// Sets the expiry of a login.
pub(super) fn extension(login: &str, until: &str) -> String {
    format!("ALTER ROLE {} VALID UNTIL {}", escape_identifier(login), escape_literal(until))
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

/// Whether a failure with `state` is permanent.
fn is_lasting(state: &str) -> bool {
    !PASSING.iter().any(|start| state.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::super::declaration::fields;
    use super::super::lease_declaration::DeclaredLeases;
    use super::super::lease_declaration::tests::declared;
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn a_login_is_created_with_a_verifier_and_a_quoted_name() {
        let more = r#","member_of":["readers","Writers"],"statements":["GRANT SELECT ON t TO {login}"]"#;
        let declared = DeclaredLeases::read(fields(&declared(more))).unwrap().logins;
        let password = random_password(&SystemEntropy).unwrap();
        let login = NewLogin { name: "kw_1", until: Timestamp::from_s(0), per_agent: 1 };
        let said = creation(&declared, login, &password);
        for part in [
            "CREATE ROLE \"kw_1\" LOGIN NOSUPERUSER",
            "PASSWORD 'SCRAM-SHA-256$4096:",
            "VALID UNTIL '1970-01-01T00:00:00",
            " IN ROLE \"readers\", \"Writers\"",
            ";\nSET LOCAL search_path = pg_catalog, pg_temp;\nGRANT SELECT ON t TO \"kw_1\"",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains(std::str::from_utf8(password.expose()).unwrap()), "{said}");
    }
}
