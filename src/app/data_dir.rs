use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::duty::ServeMode;
use super::environment::Environment;
use super::ledger_place::ledger_place;
use crate::base::{code, io_reason};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::files;
use crate::ledger::{Build, SEGMENT_BYTES, lock_file};
use crate::store::{OnLostEntries, StoreOptions};

pub(crate) fn keyring_path(config: &Config) -> PathBuf {
    config.keyring()
}

pub(crate) fn store_options(
    config: &Config,
    environment: &Environment,
    on_lost_entries: OnLostEntries,
    duty: ServeMode,
) -> Result<StoreOptions, CommandFailure> {
    Ok(StoreOptions {
        data_dir: config.data_dir.clone(),
        clock: Arc::clone(&environment.clock),
        entropy: Arc::clone(&environment.entropy),
        segment_bytes: SEGMENT_BYTES,
        build: Build::Executable,
        place: ledger_place(config, &environment.clock, duty)?,
        on_lost_entries,
    })
}

/// Creates a directory that only its owner can access, or restricts an existing one.
pub(crate) fn private_dir(dir: &Path) -> Result<(), CommandFailure> {
    let made =
        files::private_dir(dir).and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)));
    made.map_err(|error| {
        let why = format!("`{}` cannot be created: {}", dir.display(), io_reason(&error));
        CommandFailure::new(code::DATA_DIR_UNUSABLE).because(why)
    })
}

/// Gives the files of root below the data directory to its owner, after a command has changed the data of a stopped
/// broker: a broker of another user could not open them. `done` is the result of the command.
pub(crate) fn give_to_broker<T>(
    config: &Config,
    done: Result<T, CommandFailure>,
) -> Result<T, CommandFailure> {
    let dir = &config.data_dir;
    let given = match files::give_to_owner_of(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let why = format!(
                "new files below `{}` cannot be given to its owner: {}",
                dir.display(),
                io_reason(&error)
            );
            let fix = format!("give them to the broker's user, as root: `chown -R USER {}`", dir.display());
            Err(CommandFailure::new(code::DATA_DIR_UNUSABLE).because(why).mended_by(fix))
        }
        Ok(()) | Err(_) => Ok(()),
    };
    done.and_then(|done| given.map(|()| done))
}

/// Whether a broker holds the lock of this data directory.
pub(crate) fn is_running(data_dir: &Path) -> bool {
    let lock = data_dir.join("lock");
    lock.exists() && !matches!(lock_file(&lock), Ok(Some(_)))
}
