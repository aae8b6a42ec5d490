use std::path::Path;

use super::host_checks::{host_checks, private_files};
use crate::cli::{DoctorFinding, report};
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console};

/// `keyward config check`
///
/// # Errors
/// [`CommandFailure`] if the configuration is not valid, or does not fit this host.
pub fn check_config(config: &Path, console: &Console) -> Result<(), CommandFailure> {
    let loaded = Config::load(config)?;
    let mut findings = vec![DoctorFinding::ok("configuration", format!("`{}` is valid", config.display()))];
    let existing = private_files(&loaded).into_iter().filter(|(_, path)| path.exists());
    findings.extend(existing.map(|(what, path)| DoctorFinding::private(what, path)));
    findings.extend(host_checks(config, &loaded));
    report(&findings, console)
}

/// The configuration, with `key_file` instead of a systemd credential, which only the service gets.
pub(super) fn config_opened_by(path: &Path, key_file: Option<&Path>) -> Result<Config, CommandFailure> {
    let mut config = Config::load(path)?;
    if let Some(file) = key_file {
        config.root_key = RootKey::File(file.to_owned());
    }
    Ok(config)
}
