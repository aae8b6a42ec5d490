use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde_json::json;

use super::assemble::{
    FOUND, Surroundings, assemble, keyring_failure, keyring_path, not_opened, open_by, slot_key, tell_slots,
};
use super::load;
use super::slot_keys::{new_key, one_from_standard_input, opening_handed, opening_key};
use crate::base::code;
use crate::base::{SlotId, Timestamp};
use crate::cli::{
    Console, DealingArgs, Failure, NewSlotArgs, OpeningArgs, SlotCommand, hand_out, known_shares,
    not_an_argument, shares_failure, whoever_runs_this,
};
use crate::config::{Config, RootKey};
use crate::keyring::{Keyring, KeyringError, SlotKey, SlotView, Split, slots_of};
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
        SlotCommand::Check { opening } => check(opening, console),
        SlotCommand::Add { by, dealing, opening } => {
            Coming { place: None, by, dealing }.bring(opening, surroundings, console).await
        }
        SlotCommand::Rekey { id, by, dealing, opening } => {
            let id = id.parse().map_err(|_| Failure::new(code::SLOT_UNKNOWN))?;
            Coming { place: Some(id), by, dealing }.bring(opening, surroundings, console).await
        }
        SlotCommand::Confirm { share_file, argument, opening } => {
            not_an_argument(argument)?;
            confirm(share_file, opening, surroundings, console).await
        }
        SlotCommand::Remove { id, opening } => {
            let id: SlotId = id.parse().map_err(|_| Failure::new(code::SLOT_UNKNOWN))?;
            one_from_standard_input(&opening_handed(opening), console)?;
            let config = load(&opening.config)?;
            let opened_by = opening_key(&config, opening, console)?;
            let change = |keyring: &mut Keyring, path: &Path| keyring.remove_slot(path, id);
            let removed = changed(&config, &opened_by, surroundings, &change).await?;
            tell("removed", &removed, console);
            warn_of_start(&config, console);
            Ok(())
        }
    }
}

/// A slot that is to be.
struct Coming<'a> {
    /// The slot in whose place it comes.
    place: Option<SlotId>,
    by: &'a NewSlotArgs,
    dealing: &'a DealingArgs,
}

impl Coming<'_> {
    async fn bring(
        &self,
        opening: &OpeningArgs,
        surroundings: &Surroundings,
        console: &Console,
    ) -> Result<(), Failure> {
        let [passphrase, shares] = opening_handed(opening);
        let new = (self.by.passphrase, self.by.passphrase_file.as_slice());
        one_from_standard_input(&[new, passphrase, shares], console)?;
        let config = load(&opening.config)?;
        if let (Some(of), Some(threshold)) = (self.by.shares, self.dealing.threshold) {
            let split = Split::new(threshold, of).map_err(|error| shares_failure(&error))?;
            let opened_by = opening_key(&config, opening, console)?;
            return self.deal(split, (&config, &opened_by), surroundings, console).await;
        }
        let opened_by = opening_key(&config, opening, console)?;
        let key = new_key(self.by, surroundings, console)?;
        let (now, entropy) = (surroundings.clock.now(), &*surroundings.entropy);
        let change = |keyring: &mut Keyring, path: &Path| match self.place {
            Some(id) => keyring.rekey_slot(path, (id, &key), now, entropy),
            None => keyring.add_slot(path, &key, now, entropy),
        };
        let slot = changed(&config, &opened_by, surroundings, &change).await?;
        tell(self.done(), &slot, console);
        self.warn(&config, console);
        Ok(())
    }

    /// Hands shares out: printed, and the slot waits until they are handed back; or in files, which are
    /// read back at once.
    async fn deal(
        &self,
        split: Split,
        (config, opened_by): (&Config, &SlotKey),
        surroundings: &Surroundings,
        console: &Console,
    ) -> Result<(), Failure> {
        let (now, entropy) = (surroundings.clock.now(), &*surroundings.entropy);
        let deal =
            |keyring: &mut Keyring, path: &Path| keyring.deal_slot(path, split, self.place, now, entropy);
        let Some(directory) = &self.dealing.shares_dir else {
            let dealt = changed(config, opened_by, surroundings, &deal).await?;
            hand_out(&dealt, console);
            return Ok(());
        };
        let change = |keyring: &mut Keyring, path: &Path| {
            let dealt = deal(keyring, path)?;
            let read_back = dealt.to_files(directory);
            let done = read_back
                .and_then(|(files, shares)| Ok((keyring.confirm_slot(path, &shares, entropy)?, files)));
            if done.is_err() {
                // What failed is told; a slot that stays and waits is told by `slot list`.
                drop(keyring.remove_slot(path, dealt.slot.id));
            }
            done
        };
        let (slot, files) = changed(config, opened_by, surroundings, &change).await?;
        tell(self.done(), &slot, console);
        files.iter().for_each(|file| console.say(&format!("share in `{}`", file.display())));
        self.warn(config, console);
        Ok(())
    }

    const fn done(&self) -> &'static str {
        if self.place.is_some() { "rekeyed" } else { "added" }
    }

    fn warn(&self, config: &Config, console: &Console) {
        if self.place.is_some() {
            warn_of_start(config, console);
        }
    }
}

/// Shares that were handed out come back, and their slot opens the keyring from here on.
async fn confirm(
    files: &[PathBuf],
    opening: &OpeningArgs,
    surroundings: &Surroundings,
    console: &Console,
) -> Result<(), Failure> {
    let [passphrase, by_shares] = opening_handed(opening);
    one_from_standard_input(&[(files.is_empty(), files), passphrase, by_shares], console)?;
    let config = load(&opening.config)?;
    let opened_by = opening_key(&config, opening, console)?;
    let shares = known_shares(files, console)?;
    let change =
        |keyring: &mut Keyring, path: &Path| keyring.confirm_slot(path, &shares, &*surroundings.entropy);
    let confirmed = changed(&config, &opened_by, surroundings, &change).await?;
    tell("confirmed", &confirmed, console);
    warn_of_start(&config, console);
    Ok(())
}

/// Opens the keyring, all of it, and leaves it as it is. Looking is free: a broker may be running.
fn check(opening: &OpeningArgs, console: &Console) -> Result<(), Failure> {
    one_from_standard_input(&opening_handed(opening), console)?;
    let config = load(&opening.config)?;
    let key = opening_key(&config, opening, console)?;
    let opened = Keyring::open_by(&keyring_path(&config), &key);
    let (_, slot) = opened.map_err(|error| not_opened(&error, &key))?;
    tell("checked", &slot, console);
    Ok(())
}

/// Carries `change` out on the keyring that `opened_by` opens, and says so on the ledger.
async fn changed<T>(
    config: &Config,
    opened_by: &SlotKey,
    surroundings: &Surroundings,
    change: &dyn Fn(&mut Keyring, &Path) -> Result<T, KeyringError>,
) -> Result<T, Failure> {
    let path = keyring_path(config);
    let keyring = open_by(config, opened_by)?;
    // The store holds the lock of the data directory from here to its end.
    let core = assemble(config, keyring, surroundings, OnLostEntries::Refuse).await?;
    // What others did before is not put down to this change.
    let told = tell_slots(&core, FOUND).await;
    let done = told.and_then(|()| {
        let mut keyring = core.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut keyring, &path).map_err(|error| keyring_failure(&error))
    });
    let recorded = if done.is_ok() { tell_slots(&core, &whoever_runs_this()).await } else { Ok(()) };
    core.store.close().await;
    let done = done?;
    recorded.map_err(|failure| Failure::new(code::SLOT_UNRECORDED).because(failure.why()))?;
    Ok(done)
}

fn list(slots: &[SlotView], now: Timestamp, console: &Console) {
    if console.is_json() {
        let item = |slot: &SlotView| {
            json!({
                "id": slot.id, "kind": slot.kind, "made_at": slot.made_at.to_string(),
                "age_s": now.seconds_since(slot.made_at), "state": slot.state.as_str(),
                "threshold": slot.split.map(Split::threshold), "shares": slot.split.map(Split::of),
            })
        };
        console.json(&json!({ "items": slots.iter().map(item).collect::<Vec<_>>() }));
        return;
    }
    let row = |slot: &SlotView| {
        let days = now.seconds_since(slot.made_at).div_euclid(86_400);
        vec![
            slot.id.to_string(),
            kind(slot),
            slot.state.as_str().to_owned(),
            slot.made_at.to_string(),
            format!("{days} d"),
        ]
    };
    console.table(&["ID", "KIND", "STATE", "MADE AT", "AGE"], &slots.iter().map(row).collect::<Vec<_>>());
}

/// What opens it, as a table has it.
fn kind(slot: &SlotView) -> String {
    let of = slot.split.map(|split| format!(", {} of {}", split.threshold(), split.of()));
    format!("{}{}", slot.kind.as_str(), of.unwrap_or_default())
}

fn tell(what: &str, slot: &SlotView, console: &Console) {
    if console.is_json() {
        console.json(&json!({ "done": what, "id": slot.id, "kind": slot.kind }));
    } else {
        console.line(&format!("{what} {} {}", kind(slot), slot.id));
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
        RootKey::Attended => return,
    };
    console.say(&format!(
        "note: {named} of `[root_key]` does not open the keyring here: the broker starts with that alone"
    ));
}
