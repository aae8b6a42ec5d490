use super::session::{QueryError, Session};
use super::sql::{self, Account};

/// How often the sessions of a revoked account are told to end. Between two times a fraction of a second passes.
const END_TRIES: u32 = 15;

/// Ends the sessions of a user, and those of the administering user that still create it; whether all have ended.
pub(super) async fn end_all_sessions(session: &mut Session, user: &str) -> Result<bool, QueryError> {
    for _ in 0..END_TRIES {
        let sessions = session.column(&sql::sessions(user)).await?;
        if sessions.is_empty() {
            return Ok(true);
        }
        for id in &sessions {
            // One that has ended meanwhile is no error.
            if let Err(QueryError::Lost) = session.query(&sql::end_session(id)).await {
                return Err(QueryError::Lost);
            }
        }
        session.query(sql::PAUSE).await?;
    }
    Ok(false)
}

/// How far the revocation of an account came.
pub(super) enum Revoked {
    Wholly,
    /// The account is locked, and has sessions.
    Sessions,
    /// The account is locked, and the server refused something with this number.
    Locked(u16),
}

pub(super) async fn revoke(session: &mut Session, account: Account<'_>) -> Result<Revoked, QueryError> {
    // From here on nobody logs in.
    session.query(&sql::lock(account)).await?;
    let ended = async {
        if !end_all_sessions(session, account.user).await? {
            return Ok(Revoked::Sessions);
        }
        session.query(&sql::drop_account(account)).await?;
        // A session may have begun just before the account was locked.
        Ok(if end_all_sessions(session, account.user).await? { Revoked::Wholly } else { Revoked::Sessions })
    };
    match ended.await {
        Err(QueryError::Server(number)) => Ok(Revoked::Locked(number)),
        revoked => revoked,
    }
}
