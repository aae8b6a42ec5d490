use std::path::Path;

use super::failure::CommandFailure;
use super::input;
use super::output::Console;
use crate::base::limits::PASSPHRASE_BYTES_MAX;
use crate::base::{Sensitive, code};
use crate::crypto::matches;
use crate::keyring::Passphrase;

/// Reads the passphrase of an existing slot: from `file` (`-`: standard input), standard input or a prompt.
///
/// # Errors
/// [`CommandFailure`].
pub fn known_passphrase(file: Option<&Path>, console: &Console) -> Result<Passphrase, CommandFailure> {
    let typed = typed(file, "Passphrase", console)?;
    Ok(Passphrase::entered(&typed)?)
}

/// Reads the passphrase of a new slot likewise, at a prompt twice.
///
/// # Errors
/// [`CommandFailure`].
pub fn new_passphrase(file: Option<&Path>, console: &Console) -> Result<Passphrase, CommandFailure> {
    let typed = typed(file, "New passphrase", console)?;
    let chosen = Passphrase::chosen(&typed)?;
    if file.is_none() && console.is_interactive() {
        let again = input::secret(None, "Repeat the new passphrase", TYPED_BYTES_MAX, console)?;
        check_repeated(&typed, &again)?;
    }
    Ok(chosen)
}

/// What was typed or sent. An empty standard input is that of a command without a terminal.
fn typed(file: Option<&Path>, prompt: &str, console: &Console) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    let typed = input::secret(file, prompt, TYPED_BYTES_MAX, console)?;
    if file.is_some() || console.is_interactive() || !typed.expose().is_empty() {
        return Ok(typed);
    }
    Err(CommandFailure::new(code::PASSPHRASE_REFUSED)
        .because("standard input is empty, and without a terminal the command cannot ask for a passphrase")
        .mended_by("run the command at a terminal, or send the passphrase to standard input"))
}

/// Reads the passphrase of an operator's sealed key: from `file` (`-`: standard input) or at the terminal, also if standard
/// input is a file or a pipe.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn known_key_passphrase(
    file: Option<&Path>,
    console: &Console,
) -> Result<Passphrase, CommandFailure> {
    Ok(Passphrase::entered(&typed_key_passphrase(file, console)?)?)
}

/// The same as it was typed, for another process.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn typed_key_passphrase(
    file: Option<&Path>,
    console: &Console,
) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    of_key(file, "Passphrase of the operator's key", console)
}

/// Reads the passphrase for a key that is sealed now likewise, at the terminal twice.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn new_key_passphrase(
    file: Option<&Path>,
    console: &Console,
) -> Result<Passphrase, CommandFailure> {
    let typed = of_key(file, "New passphrase of the operator's key", console)?;
    let chosen = Passphrase::chosen(&typed)?;
    if file.is_none() {
        let again = of_key(None, "Repeat the new passphrase", console)?;
        check_repeated(&typed, &again)?;
    }
    Ok(chosen)
}

/// Reads the passphrase of an approval key, at the terminal only: a program that can write a file, a variable or standard
/// input must not be able to approve. `shown` is printed above the prompt, at the same terminal.
///
/// # Errors
/// [`CommandFailure`] without a terminal.
pub(crate) fn known_approval_passphrase(shown: &str) -> Result<Passphrase, CommandFailure> {
    let typed = of_approval_key(&format!("{shown}Passphrase of the approval key"))?;
    Ok(Passphrase::entered(&typed)?)
}

/// Reads the passphrase for a new approval key likewise, twice.
///
/// # Errors
/// [`CommandFailure`] without a terminal.
pub(crate) fn new_approval_passphrase() -> Result<Passphrase, CommandFailure> {
    let typed = of_approval_key("New passphrase of the approval key")?;
    let chosen = Passphrase::chosen(&typed)?;
    check_repeated(&typed, &of_approval_key("Repeat the new passphrase")?)?;
    Ok(chosen)
}

fn of_approval_key(prompt: &str) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    if !input::has_terminal() {
        return Err(CommandFailure::usage(
            "the command cannot ask for the passphrase of the approval key: there is no terminal",
            "run the command at a terminal; this passphrase is read from a terminal only, so that no program can approve",
        ));
    }
    input::at_terminal(prompt, TYPED_BYTES_MAX)
}

fn of_key(
    file: Option<&Path>,
    prompt: &str,
    console: &Console,
) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    if file.is_some() {
        return input::secret(file, prompt, TYPED_BYTES_MAX, console);
    }
    if !input::has_terminal() {
        return Err(CommandFailure::usage(
            "the command cannot ask for a passphrase: there is no terminal",
            "run it at a terminal, or name a file with the passphrase: `--passphrase-file FILE`",
        ));
    }
    input::at_terminal(prompt, TYPED_BYTES_MAX)
}

fn check_repeated(typed: &Sensitive<Vec<u8>>, again: &Sensitive<Vec<u8>>) -> Result<(), CommandFailure> {
    if matches(typed.expose(), again.expose()) {
        return Ok(());
    }
    let why = "the two passphrases differ";
    let fix = "repeat the command, and type the same passphrase twice";
    Err(CommandFailure::new(code::PASSPHRASE_REFUSED).because(why).mended_by(fix))
}

/// A passphrase and the line break at its end.
pub(crate) const TYPED_BYTES_MAX: usize = PASSPHRASE_BYTES_MAX + 2;
