use std::path::Path;
use std::sync::PoisonError;

use serde_json::json;

use super::assemble::{FOUND, Surroundings, assemble, keyring_failure, keyring_path, slot_key, tell_slots};
use super::load;
use crate::base::code;
use crate::base::{SlotId, Timestamp};
use crate::cli::{
    Console, Failure, NewSlotArgs, OpeningArgs, SlotCommand, known_passphrase, new_passphrase,
    whoever_runs_this,
};
use crate::config::{Config, RootKey};
use crate::keyring::{Keyring, KeyringError, SlotKey, SlotView, slots_of};
use crate::store::OnLostEntries;

/// `keyward slot …`, on the data directory of a stopped broker, under its lock: whoever changes a slot
/// has to be able to open one, and a broker that runs would not ask.
pub(super) async fn slot(
    command: &SlotCommand,
    surroundings: &Surroundings,
    console: &Console,
) -> Result<(), Failure> {
    match command {
        SlotCommand::List { config } => {
            let slots = slots_of(&keyring_path(&load(config)?)).map_err(|error| keyring_failure(&error))?;
            list(&slots, surroundings.clock.now(), console);
            Ok(())
        }
        SlotCommand::Add { by, opening } => {
            one_from_standard_input(by, opening, console)?;
            let config = load(&opening.config)?;
            let opened_by = opening_key(&config, opening, console)?;
            let key = new_key(by, surroundings, console)?;
            let (now, entropy) = (surroundings.clock.now(), &*surroundings.entropy);
            let change = |keyring: &Keyring, path: &Path| keyring.add_slot(path, &key, now, entropy);
            let added = changed(&config, &opened_by, surroundings, &change).await?;
            tell("added", &added, console);
            Ok(())
        }
        SlotCommand::Rekey { id, by, opening } => {
            let id: SlotId = id.parse().map_err(|_| Failure::new(code::SLOT_UNKNOWN))?;
            one_from_standard_input(by, opening, console)?;
            let config = load(&opening.config)?;
            let opened_by = opening_key(&config, opening, console)?;
            let key = new_key(by, surroundings, console)?;
            let (now, entropy) = (surroundings.clock.now(), &*surroundings.entropy);
            let change = |keyring: &Keyring, path: &Path| keyring.rekey_slot(path, (id, &key), now, entropy);
            let put = changed(&config, &opened_by, surroundings, &change).await?;
            tell("rekeyed", &put, console);
            warn_of_start(&config, console);
            Ok(())
        }
        SlotCommand::Remove { id, opening } => {
            let id: SlotId = id.parse().map_err(|_| Failure::new(code::SLOT_UNKNOWN))?;
            let config = load(&opening.config)?;
            let opened_by = opening_key(&config, opening, console)?;
            let change = |keyring: &Keyring, path: &Path| keyring.remove_slot(path, id);
            let removed = changed(&config, &opened_by, surroundings, &change).await?;
            tell("removed", &removed, console);
            warn_of_start(&config, console);
            Ok(())
        }
    }
}

/// Carries `change` out on the keyring that `opened_by` opens, and says so on the ledger.
async fn changed(
    config: &Config,
    opened_by: &SlotKey,
    surroundings: &Surroundings,
    change: &dyn Fn(&Keyring, &Path) -> Result<SlotView, KeyringError>,
) -> Result<SlotView, Failure> {
    let path = keyring_path(config);
    let keyring = Keyring::open(&path, opened_by).map_err(|error| match (&error, opened_by) {
        (KeyringError::WrongKey, SlotKey::Passphrase(_)) => Failure::new(code::PASSPHRASE_WRONG),
        _ => keyring_failure(&error),
    })?;
    // The store holds the lock of the data directory from here to its end.
    let core = assemble(config, keyring, surroundings, OnLostEntries::Refuse).await?;
    // What others did before is not put down to this change.
    let told = tell_slots(&core, FOUND).await;
    let done = told.and_then(|()| {
        let keyring = core.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        change(&keyring, &path).map_err(|error| keyring_failure(&error))
    });
    let recorded = if done.is_ok() { tell_slots(&core, &whoever_runs_this()).await } else { Ok(()) };
    core.store.close().await;
    let slot = done?;
    recorded.map(|()| slot).map_err(|failure| {
        Failure::new(code::SLOT_UNRECORDED).because(format!("slot {}: {}", slot.id, failure.why()))
    })
}

/// Standard input holds one passphrase; at a terminal each has a prompt of its own.
fn one_from_standard_input(
    by: &NewSlotArgs,
    opening: &OpeningArgs,
    console: &Console,
) -> Result<(), Failure> {
    let piped = |asked: bool, file: Option<&Path>| match file {
        Some(file) => file == Path::new("-"),
        None => asked && !console.is_interactive(),
    };
    let new = piped(by.passphrase, by.passphrase_file.as_deref());
    let known = piped(opening.by_passphrase, opening.by_passphrase_file.as_deref());
    if new && known {
        let why = "both passphrases are to come from standard input, which holds one";
        return Err(Failure::usage(why, "name a file for one of them, or run this at a terminal"));
    }
    Ok(())
}

fn opening_key(config: &Config, opening: &OpeningArgs, console: &Console) -> Result<SlotKey, Failure> {
    let file = opening.by_passphrase_file.as_deref();
    if opening.by_passphrase || file.is_some() {
        return known_passphrase(file, console).map(SlotKey::Passphrase);
    }
    match &opening.root_key_file {
        Some(file) => SlotKey::from_file(file).map_err(|error| keyring_failure(&error)),
        None => slot_key(config),
    }
}

fn new_key(by: &NewSlotArgs, surroundings: &Surroundings, console: &Console) -> Result<SlotKey, Failure> {
    let Some(file) = &by.key_file else {
        return new_passphrase(by.passphrase_file.as_deref(), console).map(SlotKey::Passphrase);
    };
    let made =
        if file.exists() { Ok(()) } else { SlotKey::create_file(file, &*surroundings.entropy).map(drop) };
    // What counts is what the file gives at the next start.
    made.and_then(|()| SlotKey::from_file(file)).map_err(|error| keyring_failure(&error))
}

fn list(slots: &[SlotView], now: Timestamp, console: &Console) {
    if console.is_json() {
        let item = |slot: &SlotView| {
            json!({
                "id": slot.id, "kind": slot.kind, "made_at": slot.made_at.to_string(),
                "age_s": now.seconds_since(slot.made_at),
            })
        };
        console.json(&json!({ "items": slots.iter().map(item).collect::<Vec<_>>() }));
        return;
    }
    let row = |slot: &SlotView| {
        let days = now.seconds_since(slot.made_at).div_euclid(86_400);
        vec![
            slot.id.to_string(),
            slot.kind.as_str().to_owned(),
            slot.made_at.to_string(),
            format!("{days} d"),
        ]
    };
    console.table(&["ID", "KIND", "MADE AT", "AGE"], &slots.iter().map(row).collect::<Vec<_>>());
}

fn tell(what: &str, slot: &SlotView, console: &Console) {
    if console.is_json() {
        console.json(&json!({ "done": what, "id": slot.id, "kind": slot.kind }));
    } else {
        console.line(&format!("{what} {} {}", slot.kind.as_str(), slot.id));
    }
}

/// What is left may open by hand alone, and the broker starts by itself.
fn warn_of_start(config: &Config, console: &Console) {
    let starts = slot_key(config).is_ok_and(|key| Keyring::open(&keyring_path(config), &key).is_ok());
    if starts {
        return;
    }
    let named = match &config.root_key {
        RootKey::File(file) => format!("the file `{}`", file.display()),
        RootKey::Credential(name) => format!("the credential `{name}`"),
    };
    console.say(&format!(
        "note: {named} of `[root_key]` does not open the keyring here: the broker starts with that alone"
    ));
}
