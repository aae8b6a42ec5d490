use std::path::{Path, PathBuf};

use crate::app::environment::Environment;
use crate::app::open_keyring::slot_key;
use crate::cli::{NewSlotArgs, OpeningArgs};
use crate::config::Config;
use crate::console::{Console, Failure, known_passphrase, known_shares, new_passphrase};
use crate::keyring::SlotKey;

/// What opens the keyring of a stopped broker: what was asked for, or what `[root_key]` names.
pub(super) fn opening_key(
    config: &Config,
    opening: &OpeningArgs,
    console: &Console,
) -> Result<SlotKey, Failure> {
    let passphrase = opening.by_passphrase_file.as_deref();
    if opening.by_passphrase || passphrase.is_some() {
        return known_passphrase(passphrase, console).map(SlotKey::Passphrase);
    }
    if opening.by_shares || !opening.by_share_file.is_empty() {
        return known_shares(&opening.by_share_file, console);
    }
    match &opening.root_key_file {
        Some(file) => Ok(SlotKey::from_file(file)?),
        None => slot_key(config),
    }
}

/// What is to open a slot that is not opened by shares.
pub(super) fn new_key(
    by: &NewSlotArgs,
    environment: &Environment,
    console: &Console,
) -> Result<SlotKey, Failure> {
    let Some(file) = &by.key_file else {
        return new_passphrase(by.passphrase_file.as_deref(), console).map(SlotKey::Passphrase);
    };
    let made =
        if file.exists() { Ok(()) } else { SlotKey::create_file(file, &*environment.entropy).map(drop) };
    // What counts is what the file gives at the next start.
    Ok(made.and_then(|()| SlotKey::from_file(file))?)
}

/// Something that a verb is handed: whether it was asked for without a file, and the files.
pub(super) type SecretSource<'a> = (bool, &'a [PathBuf]);

/// What opens the keyring, as it is handed.
pub(super) fn opening_sources(opening: &OpeningArgs) -> [SecretSource<'_>; 2] {
    [
        (opening.by_passphrase, opening.by_passphrase_file.as_slice()),
        (opening.by_shares, &opening.by_share_file),
    ]
}

/// Standard input holds one thing; at a terminal each has a prompt of its own.
pub(super) fn one_from_standard_input(handed: &[SecretSource<'_>], console: &Console) -> Result<(), Failure> {
    let piped = |(asked, files): &SecretSource<'_>| {
        let named = files.iter().filter(|file| file.as_path() == Path::new("-")).count();
        named.saturating_add(usize::from(*asked && !console.is_interactive()))
    };
    if handed.iter().map(piped).sum::<usize>() > 1 {
        let why = "two things are to come from standard input, which holds one";
        return Err(Failure::usage(why, "name a file for one of them, or run this at a terminal"));
    }
    Ok(())
}
