use std::path::Path;
use std::sync::PoisonError;

use crate::app::assemble::{FOUND_AT_START, assemble_to_record, record_slot_changes};
use crate::app::data_dir::{give_to_broker, keyring_path};
use crate::app::environment::Environment;
use crate::app::open_keyring::{open_by, slot_key};
use crate::base::code;
use crate::broker::Services;
use crate::cli::OtherSlotsArgs;
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console, host_user};
use crate::keyring::{Keyring, KeyringError, Replacing, SlotKey, SlotState, SlotView, UnreachableSlots};

/// A change of the keyring's slots, on the data directory of a stopped broker.
#[derive(Clone, Copy)]
pub(super) struct SlotChange<'a> {
    pub(super) config: &'a Config,
    pub(super) opened_by: &'a SlotKey,
    pub(super) out_of_reach: UnreachableSlots,
    pub(super) environment: &'a Environment,
    pub(super) console: &'a Console,
}

/// A change of the keyring at a path.
type KeyringChange<'a, T> = &'a dyn Fn(&mut Keyring, &Path, &Replacing<'_>) -> Result<T, KeyringError>;

pub(super) const fn out_of_reach(others: &OtherSlotsArgs) -> UnreachableSlots {
    if others.remove_old_slots { UnreachableSlots::Remove } else { UnreachableSlots::Refuse }
}

impl SlotChange<'_> {
    /// Makes `change` and records it in the ledger. After a replacement of the root key, the ledger and the index are
    /// opened again: the entry is the first one under the new keys.
    pub(super) async fn carry_out<T>(&self, change: KeyringChange<'_, T>) -> Result<T, CommandFailure> {
        let done = self.make_and_record(change).await;
        give_to_broker(self.config, done)
    }

    async fn make_and_record<T>(&self, change: KeyringChange<'_, T>) -> Result<T, CommandFailure> {
        let keyring = open_by(self.config, self.opened_by)?;
        // From here on the store holds the lock of the data directory.
        let services = self.assemble(keyring).await?;
        // Earlier changes by others are recorded separately.
        let told = record_slot_changes(&services, FOUND_AT_START).await;
        let done = told.and_then(|()| self.change(&services, change));
        let Ok((done, is_root_replaced)) = done else {
            services.state.store.close().await;
            return done.map(|(done, _)| done);
        };
        let recorded = if is_root_replaced {
            self.root_was_replaced();
            self.record_anew(services).await
        } else {
            let recorded = record_slot_changes(&services, &host_user()).await;
            services.state.store.close().await;
            recorded
        };
        recorded.map_err(|failure| CommandFailure::new(code::SLOT_UNRECORDED).because(failure.why()))?;
        Ok(done)
    }

    async fn assemble(&self, keyring: Keyring) -> Result<Services, CommandFailure> {
        assemble_to_record(self.config, keyring, self.environment).await
    }

    /// Makes the change, and returns whether it replaced the root key.
    fn change<T>(
        &self,
        services: &Services,
        change: KeyringChange<'_, T>,
    ) -> Result<(T, bool), CommandFailure> {
        let path = keyring_path(self.config);
        let entropy = &*self.environment.entropy;
        let by = Replacing { opened_by: self.opened_by, out_of_reach: self.out_of_reach, entropy };
        let mut keyring = services.keyring.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let old_slots = keyring.out_of_reach(&path)?;
        let before = keyring.root_id();
        let done = change(&mut keyring, &path, &by);
        // From here on the former keyring is refused.
        services.state.store.keys_changed(&keyring)?;
        let done = done?;
        let is_root_replaced = keyring.root_id() != before;
        if is_root_replaced {
            old_slots.iter().for_each(|slot| self.was_removed(slot));
        }
        Ok((done, is_root_replaced))
    }

    async fn record_anew(&self, services: Services) -> Result<(), CommandFailure> {
        services.state.store.close().await;
        let Services { keyring, state, .. } = services;
        drop(state);
        let services =
            self.assemble(keyring.ring.into_inner().unwrap_or_else(PoisonError::into_inner)).await?;
        let recorded = record_slot_changes(&services, &host_user()).await;
        services.state.store.close().await;
        recorded
    }

    fn was_removed(&self, slot: &SlotView) {
        if slot.state == SlotState::Opens {
            self.console.say(&format!(
                "note: slot {} ({}) no longer opens the keyring: add it again with `keyward slot add`",
                slot.id,
                slot.kind.as_str()
            ));
        }
    }

    fn root_was_replaced(&self) {
        self.console.say(ROOT_REPLACED);
    }

    /// Warns if the key that `[root_key]` names opens no remaining slot, and says where the key file `new` belongs.
    pub(super) fn warn_of_start(&self, new: Option<&Path>) {
        let path = keyring_path(self.config);
        if slot_key(self.config).is_ok_and(|key| Keyring::open(&path, &key).is_ok()) {
            return;
        }
        let named = match &self.config.root_key {
            RootKey::File(file) => format!("the file `{}`", file.display()),
            RootKey::Credential(name) => format!("the credential `{name}`"),
            RootKey::Attended => return,
        };
        self.console.say(&format!(
            "note: {named} of `[root_key]` does not open the keyring: the broker cannot start with it{}",
            new.map(|new| self.next_step(new)).unwrap_or_default()
        ));
    }

    /// What makes the broker start with the key file `new`.
    fn next_step(&self, new: &Path) -> String {
        let new = new.display();
        match &self.config.root_key {
            RootKey::File(file) => format!(
                "; next, before the start, put the new key file in its place, with the same owner and mode: `mv {new} {}`",
                file.display()
            ),
            RootKey::Credential(_) => format!(
                "; next, before the start, put the new key file `{new}` in the place of the file of `LoadCredential=` in the \
                 systemd unit"
            ),
            RootKey::Attended => String::new(),
        }
    }
}

const ROOT_REPLACED: &str = "note: the root key was replaced; new value, delta, index and digest keys protect \
     everything that is written from now on. An older copy of the keyring, together with its unseal key, still opens \
     older data, and contains the present signing keys. If another person may have such a copy, start the broker and \
     replace these keys too: `keyward token-key prepare`, then `activate` and `revoke`; `keyward authority prepare`, \
     then `activate`, `taint` and `revoke`; `keyward checkpoint-key rotate`; and the values of the secrets: `keyward \
     secret put NAME`";
