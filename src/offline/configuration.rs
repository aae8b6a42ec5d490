use std::path::Path;

use crate::config::{Config, RootKey};
use crate::console::{Console, Failure};

/// `keyward config check`
///
/// # Errors
/// [`Failure`] when the configuration is wrong.
pub fn check_config(config: &Path, console: &Console) -> Result<(), Failure> {
    Config::load(config)?;
    console.line(&format!("`{}` is good", config.display()));
    Ok(())
}

/// The configuration, with the root key's key in `key_file`, if that is said: a credential is given to the
/// service alone.
pub(super) fn config_opened_by(path: &Path, key_file: Option<&Path>) -> Result<Config, Failure> {
    let mut config = Config::load(path)?;
    if let Some(file) = key_file {
        config.root_key = RootKey::File(file.to_owned());
    }
    Ok(config)
}
