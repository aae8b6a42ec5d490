use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};

/// A session at a PostgreSQL server.
///
/// A login of the server can create objects, and the server, a database and a role have a `search_path` of
/// their own. A name or an operator could therefore stand for a function of a login, which would run with
/// the rights of the administering role. Every statement here runs in a transaction that begins with
/// [`RULE`], in the same message as that: a server that refuses the rule executes nothing after it.
pub(super) struct Session<'a> {
    client: &'a Client,
    version: u32,
}

/// The search path of every transaction, and limits that no setting of a database or a role lengthens,
/// shortens or lifts. `pg_temp` is named because an unnamed one comes first.
const RULE: &str = "SET LOCAL search_path = pg_catalog, pg_temp;\nSET LOCAL statement_timeout = '8s';\n\
     SET LOCAL lock_timeout = 0;\nSET LOCAL idle_in_transaction_session_timeout = '8s'";

/// The search path again, before a statement that follows one which may have set another.
pub(super) const PATH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// How often a change of a role that another session has locked is tried.
const HELD_TRIES: u32 = 5;

/// How long a change of a role waits for another transaction that has it locked, in milliseconds.
const HELD_WAIT_MS: u32 = 200;

impl<'a> Session<'a> {
    /// `version` is what the server says of itself, e.g. `15.14 (Debian 15.14-1)`.
    pub(super) fn new(client: &'a Client, version: &str) -> Self {
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Self { client, version: major.parse().unwrap_or_default() }
    }

    /// The major version of the server; 0 when it did not say.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// Executes `statements` as one transaction. Returns the rows of all of them.
    pub(super) async fn execute(&self, statements: &str) -> Result<Vec<SimpleQueryRow>, Error> {
        // Several statements in one message are one transaction.
        self.send(&format!("SET TRANSACTION READ WRITE;\n{RULE};\n{statements}")).await
    }

    /// Executes `statements` in a transaction that stays open; the end of the session rolls it back. Each of its
    /// statements sees what others have committed before it.
    pub(super) async fn begin(
        &self,
        statements: &str,
    ) -> Result<(Transaction<'_>, Vec<SimpleQueryRow>), Error> {
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        let rows = self.send(&format!("{begin};\n{RULE};\n{statements}")).await?;
        Ok((Transaction(self), rows))
    }

    /// The same with a `change` of a role. A session of the role that holds an uncommitted change of it has
    /// the role locked: `ending` ends that session, and the ones that follow it.
    pub(super) async fn begin_though_held(
        &self,
        change: &str,
        ending: &str,
    ) -> Result<Transaction<'_>, Error> {
        let change = format!("SET LOCAL lock_timeout = '1s';\n{change}");
        let mut left = HELD_TRIES;
        loop {
            left = left.saturating_sub(1);
            match self.begin(&change).await {
                Err(error) if left > 0 && is_held(&error) => {}
                begun => return begun.map(|(transaction, _)| transaction),
            }
            self.send("ROLLBACK").await?;
            self.execute(ending).await?;
        }
    }

    /// Executes `change` of a role, as one transaction, unless another transaction has the role locked for
    /// longer than a moment; whether it was executed.
    pub(super) async fn execute_unless_held(&self, change: &str) -> Result<bool, Error> {
        match self.execute(&format!("SET LOCAL lock_timeout = '{HELD_WAIT_MS}ms';\n{change}")).await {
            Ok(_) => Ok(true),
            Err(error) if is_held(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Rolls back the prepared transaction `gid` of this database as `owner`: nobody else but a superuser
    /// may. The session keeps that role and is of no use afterwards.
    pub(super) async fn roll_back_prepared(&self, owner: &str, gid: &str) -> Result<(), Error> {
        // The statement stands in no transaction, and looks nothing up by its name.
        self.send(&format!("SET ROLE {}", escape_identifier(owner))).await?;
        self.send(&format!("ROLLBACK PREPARED {}", escape_literal(gid))).await.map(drop)
    }

    async fn send(&self, message: &str) -> Result<Vec<SimpleQueryRow>, Error> {
        let answers = self.client.simple_query(message).await?;
        let row = |answer| if let SimpleQueryMessage::Row(row) = answer { Some(row) } else { None };
        Ok(answers.into_iter().filter_map(row).collect())
    }
}

/// A transaction under [`RULE`] that is open.
pub(super) struct Transaction<'a>(&'a Session<'a>);

impl Transaction<'_> {
    pub(super) async fn execute(&self, statements: &str) -> Result<Vec<SimpleQueryRow>, Error> {
        self.0.send(&format!("{PATH};\n{statements}")).await
    }

    pub(super) async fn commit(self) -> Result<(), Error> {
        self.0.send("COMMIT").await.map(drop)
    }

    pub(super) async fn roll_back(self) -> Result<(), Error> {
        self.0.send("ROLLBACK").await.map(drop)
    }
}

/// Whether another session has locked what was to be changed, or has changed it this moment.
fn is_held(error: &Error) -> bool {
    let held = [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::INTERNAL_ERROR];
    error.code().is_some_and(|state| held.contains(&state))
}

/// A value of PostgreSQL's type `name`.
pub(super) fn name(value: &str) -> String {
    format!("{}::pg_catalog.name", escape_literal(value))
}

/// A value of PostgreSQL's type `text`.
pub(super) fn text(value: &str) -> String {
    format!("{}::pg_catalog.text", escape_literal(value))
}

/// The first column of each row.
pub(super) fn first_column(rows: &[SimpleQueryRow]) -> Result<Vec<String>, Error> {
    rows.iter().map(|row| Ok(row.try_get(0)?.unwrap_or_default().to_owned())).collect()
}

/// Whether the boolean in `column` of the first row is true.
pub(super) fn is_true(rows: &[SimpleQueryRow], column: usize) -> Result<bool, Error> {
    rows.first().map_or(Ok(false), |row| Ok(row.try_get(column)? == Some("t")))
}

/// The number in `column` of the first row; 0 where there is none.
pub(super) fn number(rows: &[SimpleQueryRow], column: usize) -> Result<u32, Error> {
    let value = rows.first().map_or(Ok(None), |row| row.try_get(column))?;
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
}

/// The first three columns of each row.
pub(super) fn rows_of_three(rows: &[SimpleQueryRow]) -> Result<Vec<[String; 3]>, Error> {
    let text = |row: &SimpleQueryRow, column| Ok(row.try_get(column)?.unwrap_or_default().to_owned());
    rows.iter().map(|row| Ok([text(row, 0)?, text(row, 1)?, text(row, 2)?])).collect()
}
