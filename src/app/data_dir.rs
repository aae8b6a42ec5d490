use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use crate::base::{code, io_reason};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::files;
use crate::ledger::{Build, SEGMENT_BYTES};
use crate::store::{OnLostEntries, StoreOptions};

pub(crate) fn keyring_path(config: &Config) -> PathBuf {
    config.keyring()
}

pub(crate) fn store_options(
    config: &Config,
    environment: &Environment,
    on_lost_entries: OnLostEntries,
) -> StoreOptions {
    StoreOptions {
        data_dir: config.data_dir.clone(),
        clock: Arc::clone(&environment.clock),
        entropy: Arc::clone(&environment.entropy),
        segment_bytes: SEGMENT_BYTES,
        build: Build::Executable,
        on_lost_entries,
    }
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
