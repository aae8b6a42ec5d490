//! Where the ledger is, as the configuration says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::adoption::adoption;
use super::duty::ServeMode;
use super::secret_file::read_secret_file;
use crate::base::{Clock, Sensitive, code};
use crate::config::{Config, DatabaseSettings, LedgerEngine};
use crate::console::CommandFailure;
use crate::database::{BrokerDatabase, DatabaseTarget, check_new_database};
use crate::pki::certificates_from_pem;
use crate::store::{LedgerPlace, StoreError};

/// The most bytes that are read of a password file.
const PASSWORD_FILE_BYTES_MAX: usize = 1024;

/// The place of the ledger, for a broker that wants `duty`. From a copy of its data directory, a ledger elsewhere is only
/// read.
///
/// # Errors
/// [`CommandFailure`] if a file of the database's settings cannot be used.
pub(crate) fn ledger_place(
    config: &Config,
    clock: &Arc<dyn Clock>,
    duty: ServeMode,
) -> Result<LedgerPlace, CommandFailure> {
    let (is_moving, has_segments) = (moving_to_files(config).exists(), has_segments(&config.data_dir));
    match &config.ledger.engine {
        LedgerEngine::Files if is_moving => Err(CommandFailure::new(code::LEDGER_NOT_MOVED)
            .because("a move of the ledger from the database to files was interrupted")
            .mended_by("set `engine = \"postgresql\"` and the settings of the database, and repeat `keyward ledger move --to files`")),
        LedgerEngine::Files => Ok(LedgerPlace::Files),
        LedgerEngine::Postgresql(_) if has_segments && !is_moving => {
            let why = format!("`{}` has a ledger in files", config.data_dir.join("ledger").display());
            Err(CommandFailure::new(code::LEDGER_NOT_MOVED).because(why).mended_by(
                "move it to the database: `keyward ledger move --to postgresql`; or set `engine = \"files\"` in `[ledger]`",
            ))
        }
        LedgerEngine::Postgresql(settings) => {
            Ok(LedgerPlace::Elsewhere(Arc::new(BrokerDatabase {
                target: database_target(settings, clock)?,
                adopted: adoption(&config.data_dir).map(|order| order.lock),
                is_read_only: duty == ServeMode::ReadOnly,
            })))
        }
    }
}

/// Checks the place of a new ledger, before anything is made for it.
///
/// # Errors
/// [`CommandFailure`] if the database cannot be used, or has entries.
pub(crate) fn check_new_place(config: &Config, clock: &Arc<dyn Clock>) -> Result<(), CommandFailure> {
    let LedgerEngine::Postgresql(settings) = &config.ledger.engine else { return Ok(()) };
    check_new_database(database_target(settings, clock)?)
        .map_err(|fault| CommandFailure::new(code::LEDGER_DATABASE_UNUSABLE).because(fault.to_string()))
}

/// The failure of a store that does not open, with the way out for the place of the ledger.
pub(crate) fn not_opened(config: &Config, error: StoreError) -> CommandFailure {
    let is_lost = matches!(error, StoreError::EntriesLost { .. } | StoreError::EntriesReplaced { .. });
    let is_empty = matches!(error, StoreError::EntriesLost { ledger: 0, .. });
    let failure = CommandFailure::from(error);
    match &config.ledger.engine {
        LedgerEngine::Postgresql(_) if is_lost => failure.mended_by(
            "promote the server that has the newest entries, or restore the database from its backup; if there is none, read \
             docs/how-to/recover.md, then `keyward serve --accept-lost-entries`",
        ),
        LedgerEngine::Files if is_empty => failure.mended_by(
            "if the ledger is in a database, set `engine = \"postgresql\"` in `[ledger]`, or move it back: `keyward ledger \
             move --to files`; otherwise restore the newest `ledger/`, or read docs/how-to/recover.md, then `keyward serve \
             --accept-lost-entries`",
        ),
        LedgerEngine::Files | LedgerEngine::Postgresql(_) => failure,
    }
}

/// The file that is there while a move to files is under way.
pub(crate) fn moving_to_files(config: &Config) -> PathBuf {
    config.data_dir.join("ledger-move-to-files")
}

/// Whether the data directory has entries in files.
pub(crate) fn has_segments(data_dir: &Path) -> bool {
    let is_segment = |path: PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    fs::read_dir(data_dir.join("ledger"))
        .is_ok_and(|files| files.flatten().any(|file| is_segment(file.path())))
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
        last_good: Arc::default(),
    })
}
