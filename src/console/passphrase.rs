use std::path::Path;

use super::failure::CommandFailure;
use super::input;
use super::output::Console;
use crate::base::code;
use crate::base::limits::PASSPHRASE_BYTES_MAX;
use crate::crypto::matches;
use crate::keyring::Passphrase;

/// Reads the passphrase of an existing slot: from `file` (`-`: standard input), standard input or a prompt.
///
/// # Errors
/// [`CommandFailure`].
pub fn known_passphrase(file: Option<&Path>, console: &Console) -> Result<Passphrase, CommandFailure> {
    let typed = input::secret(file, "Passphrase", TYPED_BYTES_MAX, console)?;
    Ok(Passphrase::entered(&typed)?)
}

/// Reads the passphrase of a new slot likewise, at a prompt twice.
///
/// # Errors
/// [`CommandFailure`].
pub fn new_passphrase(file: Option<&Path>, console: &Console) -> Result<Passphrase, CommandFailure> {
    let typed = input::secret(file, "New passphrase", TYPED_BYTES_MAX, console)?;
    let chosen = Passphrase::chosen(&typed)?;
    if file.is_none() && console.is_interactive() {
        let again = input::secret(None, "Repeat the new passphrase", TYPED_BYTES_MAX, console)?;
        if !matches(typed.expose(), again.expose()) {
            let why = "the two passphrases differ";
            return Err(CommandFailure::new(code::PASSPHRASE_REFUSED)
                .because(why)
                .mended_by("repeat the command, and type the same passphrase twice"));
        }
    }
    Ok(chosen)
}

/// A passphrase and the line break at its end.
pub(crate) const TYPED_BYTES_MAX: usize = PASSPHRASE_BYTES_MAX + 2;
