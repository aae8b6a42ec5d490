use super::checks::{CheckedAt, check};
use super::fault::DatabaseFault;
use super::head::HeadRow;
use super::log_use::HeadState;
use super::schema::prepare;
use super::session::Session;
use super::target::DatabaseTarget;
use super::worker::Worker;

/// Creates the schema of the ledger, as the owner that `target` names, and grants the role `broker` its rights to it.
/// Repeated, it changes nothing.
///
/// # Errors
/// [`DatabaseFault`]; it can be repeated.
pub fn prepare_database(target: DatabaseTarget, broker: &str) -> Result<(), DatabaseFault> {
    let broker = broker.to_owned();
    let worker = Worker::start("ledger-schema", target).map_err(|_| DatabaseFault::Lost)?;
    let prepared = worker.ask(move |runtime, target| runtime.block_on(prepare(target, &broker)));
    prepared.unwrap_or(Err(DatabaseFault::Lost))
}

/// Checks that a broker can begin its ledger in the database of `target`: version, rights, replication, and no entry.
///
/// # Errors
/// [`DatabaseFault`]; nothing was changed.
pub fn check_new_database(target: DatabaseTarget) -> Result<(), DatabaseFault> {
    let worker = Worker::start("ledger-schema", target).map_err(|_| DatabaseFault::Lost)?;
    let checked = worker.ask(|runtime, target| runtime.block_on(is_new(target)));
    checked.unwrap_or(Err(DatabaseFault::Lost))
}

async fn is_new(target: &DatabaseTarget) -> Result<(), DatabaseFault> {
    let mut session = Session::open(target).await?;
    check(&mut session, target.replication, CheckedAt::Start).await?.warn_after(None);
    let head = HeadRow::read(&session.send(HeadRow::SELECT).await?)?;
    if head.newest.seq == 0 && head.state == HeadState::Here {
        return Ok(());
    }
    Err(DatabaseFault::Unusable(
        "the database has a ledger already: a new broker needs an empty database".to_owned(),
    ))
}
