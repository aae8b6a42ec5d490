use super::fault::DatabaseFault;
use super::schema::prepare;
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
