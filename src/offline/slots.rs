use std::path::{Path, PathBuf};

use super::slot_change::{SlotChange, out_of_reach};
use super::slot_keys::{new_key, one_from_standard_input, opening_key, opening_sources};
use crate::app::data_dir::keyring_path;
use crate::app::environment::Environment;
use crate::app::open_keyring::not_opened;
use crate::base::code;
use crate::base::{SlotId, Timestamp};
use crate::cli::{DealingArgs, NewSlotArgs, OpeningArgs, OtherSlotsArgs, Question, SlotCommand};
use crate::config::Config;
use crate::console::{CommandFailure, Console, known_shares, not_an_argument, print_shares};
use crate::keyring::{Keyring, Replacing, ShareSplit, SlotView, UnreachableSlots, slots_of};
use crate::wire::{Items, SlotDoneOutput, SlotOutput};

/// `keyward slot …`, on the data directory of a stopped broker, under its lock. The operator who changes a slot has to
/// open the keyring with an unseal key; a running broker would not ask for one.
///
/// # Errors
/// [`CommandFailure`].
pub async fn slot(command: &SlotCommand, console: &Console) -> Result<(), CommandFailure> {
    let environment = &Environment::system();
    match command {
        SlotCommand::List { config } => {
            let slots = slots_of(&keyring_path(&Config::load(config)?))?;
            list(&slots, environment.clock.now(), console);
            Ok(())
        }
        SlotCommand::Check { opening } => check(opening, console),
        SlotCommand::Add { by, dealing, opening } => {
            let out_of_reach = UnreachableSlots::Refuse;
            NewSlot { place: None, by, dealing, out_of_reach }.add(opening, environment, console).await
        }
        SlotCommand::Rekey { id, by, dealing, others, opening } => {
            let id = id.parse().map_err(|_| CommandFailure::new(code::SLOT_UNKNOWN))?;
            let out_of_reach = out_of_reach(others);
            NewSlot { place: Some(id), by, dealing, out_of_reach }.add(opening, environment, console).await
        }
        SlotCommand::Confirm { share_file, argument, others, opening } => {
            not_an_argument(argument, "--share-file")?;
            confirm(share_file, others, opening, environment, console).await
        }
        SlotCommand::Remove { id, yes, others, opening } => {
            let id: SlotId = id.parse().map_err(|_| CommandFailure::new(code::SLOT_UNKNOWN))?;
            one_from_standard_input(&opening_sources(opening), console)?;
            let config = Config::load(&opening.config)?;
            if !yes {
                ask_to_remove(id, &config, console)?;
            }
            let opened_by = &opening_key(&config, opening, console)?;
            let (config, out_of_reach) = (&config, out_of_reach(others));
            let slots = SlotChange { config, opened_by, out_of_reach, environment, console };
            let removed = slots.carry_out(&|keyring, path, by| keyring.remove_slot(path, id, by)).await?;
            tell("removed", &removed, console);
            slots.warn_of_start();
            Ok(())
        }
    }
}

/// A new slot.
struct NewSlot<'a> {
    /// The slot that it replaces.
    place: Option<SlotId>,
    by: &'a NewSlotArgs,
    dealing: &'a DealingArgs,
    out_of_reach: UnreachableSlots,
}

impl NewSlot<'_> {
    async fn add(
        &self,
        opening: &OpeningArgs,
        environment: &Environment,
        console: &Console,
    ) -> Result<(), CommandFailure> {
        let [passphrase, shares] = opening_sources(opening);
        let new = (self.by.passphrase, self.by.passphrase_file.as_slice());
        one_from_standard_input(&[new, passphrase, shares], console)?;
        let config = &Config::load(&opening.config)?;
        let out_of_reach = self.out_of_reach;
        if let (Some(of), Some(threshold)) = (self.by.shares, self.dealing.threshold) {
            let split = ShareSplit::new(threshold, of)?;
            let opened_by = &opening_key(config, opening, console)?;
            return self
                .deal(split, SlotChange { config, opened_by, out_of_reach, environment, console })
                .await;
        }
        let opened_by = &opening_key(config, opening, console)?;
        let key = new_key(self.by, environment, console)?;
        let now = environment.clock.now();
        let slots = SlotChange { config, opened_by, out_of_reach, environment, console };
        let change = |keyring: &mut Keyring, path: &Path, by: &Replacing<'_>| match self.place {
            Some(id) => keyring.rekey_slot(path, id, &key, now, by),
            None => keyring.add_slot(path, &key, now, by.entropy),
        };
        let slot = slots.carry_out(&change).await?;
        tell(self.done(), &slot, console);
        self.warn(slots);
        Ok(())
    }

    /// Makes shares. Printed shares have to be confirmed later; files are read back and confirmed at once.
    async fn deal(&self, split: ShareSplit, slots: SlotChange<'_>) -> Result<(), CommandFailure> {
        let (now, console) = (slots.environment.clock.now(), slots.console);
        let deal = |keyring: &mut Keyring, path: &Path, by: &Replacing<'_>| {
            keyring.deal_slot(path, split, self.place, now, by.entropy)
        };
        let Some(directory) = &self.dealing.shares_dir else {
            let dealt = slots.carry_out(&deal).await?;
            return print_shares(&dealt, console);
        };
        let change = |keyring: &mut Keyring, path: &Path, by: &Replacing<'_>| {
            let dealt = deal(keyring, path, by)?;
            let read_back = dealt.to_files(directory);
            let done =
                read_back.and_then(|(files, shares)| Ok((keyring.confirm_slot(path, &shares, by)?, files)));
            if done.is_err() {
                // What failed is told; a slot that stays and waits is told by `slot list`.
                drop(keyring.remove_slot(path, dealt.slot.id, by));
            }
            done
        };
        let (slot, files) = slots.carry_out(&change).await?;
        tell(self.done(), &slot, console);
        files.iter().for_each(|file| console.say(&format!("share in `{}`", file.display())));
        self.warn(slots);
        Ok(())
    }

    const fn done(&self) -> &'static str {
        if self.place.is_some() { "rekeyed" } else { "added" }
    }

    fn warn(&self, slots: SlotChange<'_>) {
        if self.place.is_some() {
            slots.warn_of_start();
        }
    }
}

/// Reads shares back; their slot opens the keyring from here on.
async fn confirm(
    files: &[PathBuf],
    others: &OtherSlotsArgs,
    opening: &OpeningArgs,
    environment: &Environment,
    console: &Console,
) -> Result<(), CommandFailure> {
    let [passphrase, by_shares] = opening_sources(opening);
    one_from_standard_input(&[(files.is_empty(), files), passphrase, by_shares], console)?;
    let config = Config::load(&opening.config)?;
    let opened_by = &opening_key(&config, opening, console)?;
    let shares = known_shares(files, console)?;
    let (config, out_of_reach) = (&config, out_of_reach(others));
    let slots = SlotChange { config, opened_by, out_of_reach, environment, console };
    let confirmed = slots.carry_out(&|keyring, path, by| keyring.confirm_slot(path, &shares, by)).await?;
    tell("confirmed", &confirmed, console);
    slots.warn_of_start();
    Ok(())
}

/// Opens the whole keyring without a change. A broker may be running.
fn check(opening: &OpeningArgs, console: &Console) -> Result<(), CommandFailure> {
    one_from_standard_input(&opening_sources(opening), console)?;
    let config = Config::load(&opening.config)?;
    let key = opening_key(&config, opening, console)?;
    let opened = Keyring::open_by(&keyring_path(&config), &key);
    let (_, slot) = opened.map_err(|error| not_opened(error, &key))?;
    tell("checked", &slot, console);
    Ok(())
}

/// Asks whether the slot is to be removed, after saying what it is.
fn ask_to_remove(id: SlotId, config: &Config, console: &Console) -> Result<(), CommandFailure> {
    let slots = slots_of(&keyring_path(config))?;
    let slot = slots.iter().find(|slot| slot.id == id);
    let slot = slot.ok_or_else(|| CommandFailure::new(code::SLOT_UNKNOWN))?;
    if console.is_interactive() {
        console.say(&format!(
            "slot `{id}` ({}, made at {}): after the removal, its unseal key opens nothing that is written from then on",
            kind(slot),
            slot.made_at
        ));
    }
    let (act, question) = (format!("the removal of slot `{id}`"), format!("Remove slot `{id}`?"));
    Question { act: &act, question: &question, fix: "add `--yes` to remove it" }.ask(console)
}

fn list(slots: &[SlotView], now: Timestamp, console: &Console) {
    if console.is_json() {
        let item = |slot: &SlotView| SlotOutput {
            id: slot.id.to_string(),
            kind: slot.kind.as_str().into(),
            made_at: slot.made_at.to_string(),
            age_s: now.seconds_since(slot.made_at),
            state: slot.state.as_str().into(),
            threshold: slot.split.map(ShareSplit::threshold),
            shares: slot.split.map(ShareSplit::of),
        };
        console.json(&Items { items: slots.iter().map(item).collect() });
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
    console.table(
        "slots",
        &["ID", "KIND", "STATE", "MADE AT", "AGE"],
        &slots.iter().map(row).collect::<Vec<_>>(),
    );
}

/// The kind of unseal key, for a table.
fn kind(slot: &SlotView) -> String {
    let of = slot.split.map(|split| format!(", {} of {}", split.threshold(), split.of()));
    format!("{}{}", slot.kind.as_str(), of.unwrap_or_default())
}

fn tell(what: &'static str, slot: &SlotView, console: &Console) {
    if console.is_json() {
        console.json(&SlotDoneOutput {
            done: what.into(),
            id: slot.id.to_string(),
            kind: slot.kind.as_str().into(),
        });
    } else {
        console.line(&format!("{what} {} {}", kind(slot), slot.id));
    }
}
