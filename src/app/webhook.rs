//! The webhook for requests for approval, as the configuration names it.

use std::fs;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::secret_file::read_secret_file;
use crate::base::{Sensitive, code};
use crate::config::{Config, WebhookSettings};
use crate::console::CommandFailure;
use crate::files::replace;
use crate::upstream::{Webhook, WebhookKey};

/// The file of the key that the broker makes, in its data directory.
const KEY_FILE: &str = "webhook.key";
/// The most bytes that are read of a key file.
const KEY_FILE_BYTES_MAX: usize = 256;

/// The file with the key of the webhook; `None` without the setting `approvals.webhook`.
pub(crate) fn key_file(config: &Config) -> Option<PathBuf> {
    let WebhookSettings { key, .. } = config.approvals.webhook.as_ref()?;
    Some(key.clone().unwrap_or_else(|| config.data_dir.join(KEY_FILE)))
}

/// The webhook; `None` without the setting `approvals.webhook`.
///
/// # Errors
/// [`CommandFailure`] if the URL, the CA certificates or the key cannot be used.
pub(super) fn webhook(config: &Config, environment: &Environment) -> Result<Option<Webhook>, CommandFailure> {
    let Some(WebhookSettings { url, ca, key }) = &config.approvals.webhook else { return Ok(None) };
    let key = match key {
        Some(file) if matches!(file.try_exists(), Ok(false)) => return Err(missing_key(file)),
        Some(file) => read_key(file)?,
        None => own_key(&config.data_dir.join(KEY_FILE), environment)?,
    };
    usable(url, ca, &key).map(Some)
}

fn usable(url: &str, ca: &Path, key: &WebhookKey) -> Result<Webhook, CommandFailure> {
    let ca = fs::read_to_string(ca).map_err(|error| CommandFailure::of_file(ca, &error))?;
    // The URL may contain a secret: it is not repeated.
    Webhook::new(url, ca, key).map_err(|problem| {
        CommandFailure::new(code::WEBHOOK_UNUSABLE)
            .because(format!("`approvals.webhook` cannot be used: {problem}"))
    })
}

/// The file with the key of a webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WebhookKeyState {
    /// It has a key.
    Usable,
    /// The next start makes it.
    Unmade,
}

/// Checks the files of the webhook as a start does, and makes none.
///
/// # Errors
/// [`CommandFailure`] if the CA certificates or the key cannot be used, or if the file that `webhook_key` names does not exist.
pub(crate) fn check_webhook(
    config: &Config,
    settings: &WebhookSettings,
) -> Result<WebhookKeyState, CommandFailure> {
    let WebhookSettings { url, ca, key } = settings;
    let (file, is_named) = match key {
        Some(file) => (file.clone(), true),
        None => (config.data_dir.join(KEY_FILE), false),
    };
    let is_there = file.try_exists().map_err(|error| CommandFailure::of_file(&file, &error))?;
    if !is_there && is_named {
        return Err(missing_key(&file));
    }
    let (key, state) = if is_there {
        (read_key(&file)?, WebhookKeyState::Usable)
    } else {
        (WebhookKey::new(Sensitive::filled(|_| ())), WebhookKeyState::Unmade)
    };
    usable(url, ca, &key)?;
    Ok(state)
}

fn missing_key(file: &Path) -> CommandFailure {
    let path = file.display();
    CommandFailure::new(code::WEBHOOK_UNUSABLE)
        .because(format!("`webhook_key` names the file `{path}`, which does not exist"))
        .mended_by(format!(
            "make the key as the broker's user: `(umask 077; echo \"whsec_$(openssl rand -base64 32)\" > {path})`, and give it to \
             the service; or remove the setting `webhook_key`: the start then makes `{KEY_FILE}` in the data directory"
        ))
}

/// The key in the file that the broker made, or a new one.
fn own_key(path: &Path, environment: &Environment) -> Result<WebhookKey, CommandFailure> {
    if path.exists() {
        return read_key(path);
    }
    let key = WebhookKey::new(Sensitive::filled(|to: &mut [u8; 32]| environment.entropy.fill(to)));
    replace(path, key.text().expose().as_bytes()).map_err(|error| CommandFailure::of_file(path, &error))?;
    tracing::info!(file = %path.display(), "a key for the webhook was made: give it to the service, which verifies the messages with it");
    Ok(key)
}

fn read_key(path: &Path) -> Result<WebhookKey, CommandFailure> {
    let text = read_secret_file(path, KEY_FILE_BYTES_MAX)?;
    WebhookKey::parse(&text).map_err(|error| {
        CommandFailure::new(code::WEBHOOK_UNUSABLE)
            .because(format!("`{}` has no key for the webhook: {error}", path.display()))
            .mended_by("store the key that the service expects in this file; or remove the setting `webhook_key`, delete `webhook.key` in the \
                 data directory, and start the broker: it makes a key, which the service then needs")
    })
}
