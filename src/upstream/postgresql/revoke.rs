use postgres_protocol::escape::escape_identifier;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::account_driver::LoginError;
use super::super::fault::UpstreamFault;
use super::administrator::Administrator;
use super::login::ANY_PURPOSE;
use super::session::{Session, first_column, is_true, rows_of_three};
use super::sql::{self, Wait};
use crate::base::code;

/// How often a revocation tries to shut a login out whose role another transaction has locked. Each try
/// waits for a fraction of a second, and ends sessions and prepared transactions of the login.
const HELD_TRIES: u32 = 10;

/// Revokes a login. First the login is shut out: its memberships are revoked, it cannot log in, its sessions end. Then it
/// is cleaned up: its objects go to its heir, and the role is dropped. Can be repeated after any failure; a login that
/// does not exist counts as revoked.
pub(super) async fn revoke(by: Administrator<'_>, login: &str) -> Result<(), UpstreamFault> {
    let shut = by.session(async |session| shut_out(by, session, login).await);
    let Some(Shut { id, is_open }) = shut.await? else {
        return Ok(());
    };
    if is_open {
        // What the login was granted directly, and what it owns, at least.
        let disowned =
            by.session(async |session| session.execute_unless_held(&sql::disown(login, by.heir())).await);
        drop(disowned.await);
        let held = SqlState::LOCK_NOT_AVAILABLE.code().to_owned();
        return Err(UpstreamFault::unknown(code::UPSTREAM_LOGIN_STILL_VALID).with(held));
    }
    match clean_up(by, login, &id).await {
        Ok(Sessions::None) => Ok(()),
        // One that did not end in time is a reason to come again.
        Ok(Sessions::Some) => Err(UpstreamFault::unknown(code::UPSTREAM_NOT_REVOKED)),
        Err(stopped) => Err(remains(stopped)),
    }
}

/// Shuts a login out. Each step is a transaction of its own, and none waits long for a lock: a session of
/// the login may have its role locked, and not end when it is told to.
async fn shut_out(by: Administrator<'_>, session: &Session<'_>, login: &str) -> Result<Option<Shut>, Error> {
    session.execute(&sql::end_creating(login)).await?;
    let found = session.execute(&sql::found(login)).await?;
    let Some(id) = first_column(&found)?.pop() else {
        return Ok(None);
    };
    // Without `pg_signal_backend` that takes the rights of the login, which come next.
    drop(session.execute(&sql::end_sessions(&id, Wait::None)).await);
    if !is_true(&found, 1)? {
        // Without it the login is shut out all the same; the clean-up says what is missing.
        drop(session.execute_unless_held(&sql::take_over(login, session.version())).await);
    }
    let mut left = HELD_TRIES;
    let is_open = loop {
        roll_back_prepared(by, session, login).await?;
        let is_bare = revoke_memberships(session, login, &id).await?;
        let is_shut = session.execute_unless_held(&sql::shut_out(login)).await?;
        drop(session.execute(&sql::end_sessions(&id, Wait::None)).await);
        left = left.saturating_sub(1);
        if (is_bare && is_shut) || left == 0 {
            break !is_shut;
        }
    };
    if !is_open {
        await_end_of_sessions(session, &id).await?;
    }
    Ok(Some(Shut { id, is_open }))
}

/// Rolls back the prepared transactions of a login, and those that it prepared as a role that it was a
/// member of and that have roles locked: they outlive its sessions.
async fn roll_back_prepared(by: Administrator<'_>, session: &Session<'_>, login: &str) -> Result<(), Error> {
    for [gid, owner, database] in rows_of_three(&session.execute(&sql::prepared(login)).await?)? {
        let server = by.declared.server.with_database(&database);
        // One that is not rolled back is still there at the next try.
        let rolled_back = by.session_for(ANY_PURPOSE, &server, async |session| {
            session.roll_back_prepared(&owner, &gid).await
        });
        drop(rolled_back.await);
    }
    Ok(())
}

/// Takes what it has away from a login that is shut out, in every database, and drops its role.
async fn clean_up(by: Administrator<'_>, login: &str, id: &str) -> Result<Sessions, LoginError> {
    let cleaned = by.session(async |session| {
        session.execute(&sql::disown(login, by.heir())).await?;
        let elsewhere = first_column(&session.execute(&sql::other_databases(id)).await?)?;
        // Nothing elsewhere: it goes over the connection that there is.
        let sessions = if elsewhere.is_empty() { Some(drop_role(session, login, id).await?) } else { None };
        Ok((sessions, elsewhere))
    });
    let (sessions, elsewhere) = cleaned.await?;
    if let Some(sessions) = sessions {
        return Ok(sessions);
    }
    for database in &elsewhere {
        let server = by.declared.server.with_database(database);
        let disowned = by.session_for(ANY_PURPOSE, &server, async |session| {
            session.execute(&sql::disown(login, by.heir())).await
        });
        disowned.await?;
    }
    by.session(async |session| drop_role(session, login, id).await).await
}

/// How far the end of a login came.
struct Shut {
    /// What the server knows the login by.
    id: String,
    /// Whether it can log in all the same.
    is_open: bool,
}

/// Whether there are sessions of a login.
enum Sessions {
    None,
    Some,
}

/// The clean-up of a login that is shut out came to nothing.
fn remains(error: LoginError) -> UpstreamFault {
    let fault = UpstreamFault::from(error);
    let detail = fault.detail.or_else(|| Some(fault.code.as_str().to_owned()));
    UpstreamFault::unknown(code::UPSTREAM_LOGIN_NOT_DROPPED).with(detail)
}

/// Revokes the roles that a login is a member of; whether none of them is locked.
async fn revoke_memberships(session: &Session<'_>, login: &str, id: &str) -> Result<bool, Error> {
    let groups = first_column(&session.execute(&sql::memberships(id)).await?)?;
    if groups.is_empty() {
        return Ok(true);
    }
    let quoted: Vec<String> = groups.iter().map(|group| escape_identifier(group)).collect();
    match session.execute_unless_held(&sql::revoke(login, &quoted.join(", "))).await {
        Ok(is_done) => return Ok(is_done),
        Err(error) if error.code().is_none() => return Err(error),
        // One of them was granted by another role: the others at least.
        Err(_) => {}
    }
    let mut is_bare = true;
    for group in &quoted {
        match session.execute_unless_held(&sql::revoke(login, group)).await {
            Ok(is_done) => is_bare &= is_done,
            Err(error) if error.code().is_none() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(is_bare)
}

/// Drops the role unless sessions of it are left; whether some are.
async fn drop_role(session: &Session<'_>, login: &str, id: &str) -> Result<Sessions, Error> {
    // A session may have begun just before the login was shut out.
    if let Sessions::Some = await_end_of_sessions(session, id).await? {
        return Ok(Sessions::Some);
    }
    session.execute(&sql::drop_role(login)).await?;
    await_end_of_sessions(session, id).await
}

/// Ends the sessions of a login and waits for that; whether some are left. All are told first: they end at the
/// same time.
async fn await_end_of_sessions(session: &Session<'_>, id: &str) -> Result<Sessions, Error> {
    session.execute(&sql::end_sessions(id, Wait::None)).await?;
    match session.execute(&sql::end_sessions(id, Wait::Each)).await {
        Err(error) if error.code() != Some(&SqlState::QUERY_CANCELED) => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let left = session.execute(&sql::sessions(id)).await?;
    Ok(if left.is_empty() { Sessions::None } else { Sessions::Some })
}
