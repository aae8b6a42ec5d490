//! Where the ledger is, as the configuration says.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::secret_file::read_secret_file;
use crate::base::{Clock, Sensitive, code};
use crate::config::{Config, DatabaseSettings, LedgerEngine};
use crate::console::CommandFailure;
use crate::database::DatabaseTarget;
use crate::pki::certificates_from_pem;
use crate::store::LedgerPlace;

/// The most bytes that are read of a password file.
const PASSWORD_FILE_BYTES_MAX: usize = 1024;

/// The place of the ledger.
///
/// # Errors
/// [`CommandFailure`] if a file of the database's settings cannot be used.
pub(crate) fn ledger_place(config: &Config, clock: &Arc<dyn Clock>) -> Result<LedgerPlace, CommandFailure> {
    match &config.ledger.engine {
        LedgerEngine::Files => Ok(LedgerPlace::Files),
        LedgerEngine::Postgresql(settings) => {
            Ok(LedgerPlace::Elsewhere(Arc::new(database_target(settings, clock)?)))
        }
    }
}

/// The settings of the database.
///
/// # Errors
/// [`CommandFailure`] if the ledger is in files.
pub(crate) fn configured_database(config: &Config) -> Result<&DatabaseSettings, CommandFailure> {
    match &config.ledger.engine {
        LedgerEngine::Postgresql(settings) => Ok(settings),
        LedgerEngine::Files => Err(CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE)
            .because("the configuration names no database: `engine` in `[ledger]` is `files`")
            .mended_by("set `engine = \"postgresql\"` and the settings of the database in `[ledger]`")),
    }
}

/// The database of the ledger, with the broker's role.
///
/// # Errors
/// [`CommandFailure`] if a file cannot be used.
pub(crate) fn database_target(
    settings: &DatabaseSettings,
    clock: &Arc<dyn Clock>,
) -> Result<DatabaseTarget, CommandFailure> {
    role_at(settings, &settings.role, &settings.password_file, clock)
}

/// The database of the ledger, with another role.
///
/// # Errors
/// [`CommandFailure`] if a file cannot be used.
pub(crate) fn role_at(
    settings: &DatabaseSettings,
    role: &str,
    password_file: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<DatabaseTarget, CommandFailure> {
    let DatabaseSettings { hosts, database, ca_file, replication, .. } = settings;
    let pem = fs::read_to_string(ca_file).map_err(|error| CommandFailure::of_file(ca_file, &error))?;
    let authorities = certificates_from_pem(&pem).map_err(|_| {
        let why = format!("`{}` holds no certificate in PEM", ca_file.display());
        CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE)
            .because(why)
            .mended_by("store the CA certificates that verify the database's servers in the file that `ca_file` in `[ledger]` names")
    })?;
    let text = read_secret_file(password_file, PASSWORD_FILE_BYTES_MAX)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        let why = format!("`{}` holds no password in its first line", password_file.display());
        return Err(CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE)
            .because(why)
            .mended_by("write the password of the role into the first line of the file"));
    }
    Ok(DatabaseTarget {
        hosts: hosts.clone(),
        database: database.clone(),
        role: role.to_owned(),
        password: Arc::new(Sensitive::new(password.as_bytes().to_vec())),
        authorities,
        replication: *replication,
        clock: Arc::clone(clock),
    })
}
