use std::path::Path;

use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console};

/// `keyward config check`
///
/// # Errors
/// [`CommandFailure`] if the configuration is not valid.
pub fn check_config(config: &Path, console: &Console) -> Result<(), CommandFailure> {
    Config::load(config)?;
    console.line(&format!("`{}` is valid", config.display()));
    Ok(())
}

/// The configuration, with `key_file` instead of a systemd credential, which only the service gets.
pub(super) fn config_opened_by(path: &Path, key_file: Option<&Path>) -> Result<Config, CommandFailure> {
    let mut config = Config::load(path)?;
    if let Some(file) = key_file {
        config.root_key = RootKey::File(file.to_owned());
    }
    Ok(config)
}
