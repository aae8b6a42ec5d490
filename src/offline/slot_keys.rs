use std::path::{Path, PathBuf};

use crate::app::data_dir::keyring_path;
use crate::app::environment::Environment;
use crate::app::open_keyring::{attended, slot_key};
use crate::cli::{NewSlotArgs, OpeningArgs};
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console, known_passphrase, known_shares, new_passphrase};
use crate::keyring::{SlotKey, SlotKind, opening_kinds};

/// The unseal key of a stopped broker: the one that the options name, or the one of `[root_key]`.
pub(super) fn opening_key(
    config: &Config,
    opening: &OpeningArgs,
    console: &Console,
) -> Result<SlotKey, CommandFailure> {
    let passphrase = opening.by_passphrase_file.as_deref();
    if opening.by_passphrase || passphrase.is_some() {
        return known_passphrase(passphrase, console).map(SlotKey::Passphrase);
    }
    if opening.by_shares || !opening.by_share_file.is_empty() {
        return known_shares(&opening.by_share_file, console);
    }
    match &opening.root_key_file {
        Some(file) => Ok(SlotKey::from_file(file)?),
        None => unnamed_key(config, &OF_SLOTS, console),
    }
}

/// The options with which a command names an unseal key, by the kind of its slot.
pub(super) struct KeyOptions {
    pub(super) key_file: &'static str,
    pub(super) passphrase: &'static str,
    /// A command without this option asks for shares only at a terminal.
    pub(super) shares: Option<&'static str>,
}

const OF_SLOTS: KeyOptions = KeyOptions {
    key_file: "--root-key-file FILE",
    passphrase: "--by-passphrase",
    shares: Some("--by-shares"),
};

impl KeyOptions {
    const fn of(&self, kind: SlotKind) -> Option<&'static str> {
        match kind {
            SlotKind::KeyFile => Some(self.key_file),
            SlotKind::Passphrase => Some(self.passphrase),
            SlotKind::Shares => self.shares,
        }
    }
}

/// The unseal key if no option names one: the key of `[root_key]`. With `attended = true` the command asks for a
/// passphrase or shares at the terminal.
pub(super) fn unnamed_key(
    config: &Config,
    options: &KeyOptions,
    console: &Console,
) -> Result<SlotKey, CommandFailure> {
    if config.root_key != RootKey::Attended {
        return slot_key(config);
    }
    let kinds = opening_kinds(&keyring_path(config))?;
    if console.is_interactive() {
        if kinds.contains(&SlotKind::KeyFile) && kinds.len() > 1 {
            console.say(&format!("note: to open the keyring with a key file, add `{}`", options.key_file));
        }
        if kinds.contains(&SlotKind::Passphrase) {
            return known_passphrase(None, console).map(SlotKey::Passphrase);
        }
        if kinds.contains(&SlotKind::Shares) {
            return known_shares(&[], console);
        }
    }
    let named: Vec<String> =
        kinds.iter().filter_map(|kind| Some(format!("`{}`", options.of(*kind)?))).collect();
    if named.is_empty() {
        return Err(attended().mended_by("run the command at a terminal: it asks for the shares"));
    }
    Err(attended()
        .mended_by(format!("add the option for the key of one of the slots: {}", named.join(" or "))))
}

/// The unseal key of a new slot without shares.
pub(super) fn new_key(
    by: &NewSlotArgs,
    environment: &Environment,
    console: &Console,
) -> Result<SlotKey, CommandFailure> {
    let Some(file) = &by.key_file else {
        return new_passphrase(by.passphrase_file.as_deref(), console).map(SlotKey::Passphrase);
    };
    let made =
        if file.exists() { Ok(()) } else { SlotKey::create_file(file, &*environment.entropy).map(drop) };
    // The slot must open with the key that the next start reads from the file.
    Ok(made.and_then(|()| SlotKey::from_file(file))?)
}

/// An option that reads a secret: whether it is given without a file, and its files.
pub(super) type SecretSource<'a> = (bool, &'a [PathBuf]);

/// The options of the present unseal key.
pub(super) fn opening_sources(opening: &OpeningArgs) -> [SecretSource<'_>; 2] {
    [
        (opening.by_passphrase, opening.by_passphrase_file.as_slice()),
        (opening.by_shares, &opening.by_share_file),
    ]
}

/// Only one option can read standard input; at a terminal each has its own prompt.
pub(super) fn one_from_standard_input(
    handed: &[SecretSource<'_>],
    console: &Console,
) -> Result<(), CommandFailure> {
    let piped = |(asked, files): &SecretSource<'_>| {
        let named = files.iter().filter(|file| file.as_path() == Path::new("-")).count();
        named.saturating_add(usize::from(*asked && !console.is_interactive()))
    };
    if handed.iter().map(piped).sum::<usize>() > 1 {
        let why = "two options read standard input, but only one can";
        return Err(CommandFailure::usage(
            why,
            "name a file for one of them, or run the command at a terminal",
        ));
    }
    Ok(())
}
