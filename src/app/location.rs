//! Detects whether the data directory is the original or a copy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::adoption::{ADOPT, AdoptionFile, LOCK, adoption, unusable};
use super::duty::ServeMode;
use super::environment::Environment;
use super::failures::start_failed;
use crate::base::encoding::hex;
use crate::base::{Timestamp, code, io_reason};
use crate::broker::{self, Located, World};
use crate::console::CommandFailure;
use crate::crypto::sha256_parts;
use crate::custody::{AdoptionOrder, Location};
use crate::store::Store;
use crate::telemetry::{Alarm, Alarms};

/// Age difference between the first entry and the lock file, in seconds, from which on the lock file is not the original
/// one.
const COPIED_AFTER_S: i64 = 3600;

/// The location of a data directory.
pub(super) struct DataLocation {
    data_dir: PathBuf,
    location: Location,
    adoption: Option<AdoptionFile>,
    /// The creation time of the lock file, if the file system stores it.
    made: Option<Timestamp>,
    /// When it was looked at.
    now: Timestamp,
}

impl DataLocation {
    /// The location of the data directory of `store`.
    pub(super) fn at(
        data_dir: &Path,
        store: &Store<World>,
        environment: &Environment,
    ) -> Result<Self, CommandFailure> {
        let lock = store.lock_mark().map_err(|error| start_failed(&error))?;
        let location = Location { lock, machine: machine(&environment.machine_id) };
        let adoption = adoption(data_dir).filter(|adoption| adoption.lock == lock);
        let made = fs::metadata(data_dir.join(LOCK)).and_then(|lock| lock.created()).ok();
        let made = made.map(Timestamp::of_system);
        let now = environment.clock.now();
        Ok(Self { data_dir: data_dir.to_owned(), location, adoption, made, now })
    }

    /// The duties of the broker: read-only mode if the data are a copy that no order adopts.
    pub(super) fn duty(&self, store: &Store<World>, wanted: ServeMode) -> ServeMode {
        let known = store.read(|world, _| world.keys.custody.location());
        match known {
            Some(known) if known.lock != self.location.lock && self.adoption.is_none() => {
                let dir = self.data_dir.display();
                tracing::error!(
                    %dir, code = %code::DATA_COPIED,
                    "the data directory is a copy (its lock file is another one): the broker is in read-only mode until `keyward adopt`"
                );
                ServeMode::ReadOnly
            }
            Some(_) | None => wanted,
        }
    }

    /// Records the location, and raises an alarm if only the machine has changed.
    pub(super) async fn record(self, store: &Store<World>, alarms: &Alarms) -> Result<(), CommandFailure> {
        self.tell_of_earlier_copies(store, alarms);
        let Self { data_dir, location, adoption, now, .. } = self;
        let order = adoption.as_ref().map(|adoption| AdoptionOrder { by: &adoption.by, at: adoption.at });
        let by = order.map(|order| order.by);
        let located = broker::record_location(store, now, location, order).await;
        let located = match located {
            Ok(located) => located,
            // The disk is full: a start without an order to adopt continues without the entry.
            Err(failure) if adoption.is_none() => {
                tracing::error!(code = %failure.code, "the location of the data directory is not recorded");
                return Ok(());
            }
            Err(failure) => return Err(failure.into()),
        };
        match located {
            Located::AsBefore => {}
            Located::Adopted => tracing::warn!(by, lock = location.lock, "the data directory was adopted"),
            Located::OtherMachine { was, machine } => alarms.raise(
                Alarm::MachineChanged,
                format_args!(
                    "the data directory is on another machine: the machine id changed from {} to {}",
                    hex(&was),
                    hex(&machine)
                ),
            ),
        }
        // Also a copied order, which names another lock file.
        let order = data_dir.join(ADOPT);
        match fs::remove_file(&order) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if adoption.is_some() => Err(unusable(&order, &error)),
            Err(error) => {
                tracing::warn!(path = %order.display(), reason = %io_reason(&error), "the file is not an order to adopt and cannot be removed: remove it by hand");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Raises an alarm if no earlier start recorded a location (earlier versions did not), and the lock file is much newer
    /// than the first entry: the data were copied or moved, and another copy may serve.
    fn tell_of_earlier_copies(&self, store: &Store<World>, alarms: &Alarms) {
        let is_known = store.read(|world, _| world.keys.custody.location()).is_some();
        if is_known || self.adoption.is_some() {
            return;
        }
        let first = store.entries(1, 1).ok().and_then(|entries| entries.first().map(|entry| entry.time));
        if were_moved(first, self.made) {
            let dir = self.data_dir.display();
            alarms.raise(
                Alarm::DataMoved,
                format_args!("the data directory `{dir}` was copied or moved before this version first served from it: make sure that no other broker uses these data"),
            );
        }
    }
}

/// Whether a lock file of this time is not the original one of data with a first entry of that time.
fn were_moved(first: Option<Timestamp>, made: Option<Timestamp>) -> bool {
    first.zip(made).is_some_and(|(first, made)| made > first.plus_s(COPIED_AFTER_S))
}

/// A digest, because the id itself is confidential (machine-id(5)).
fn machine(machine_id: &Path) -> Option<[u8; 16]> {
    let text = fs::read_to_string(machine_id).ok()?;
    let id = text.trim();
    // The content of the file in an image before its first start.
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    let digest = sha256_parts(&[b"keyward machine\0", id.as_bytes()]);
    digest.as_bytes().first_chunk().copied()
}

/// Records an order to adopt for a broker that has all duties already.
pub(super) async fn take_order(
    data_dir: &Path,
    store: &Store<World>,
    environment: &Environment,
    alarms: &Alarms,
) -> Result<(), CommandFailure> {
    DataLocation::at(data_dir, store, environment)?.record(store, alarms).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_with_a_lock_file_younger_than_the_first_entry_count_as_moved() {
        let at = |s| Some(Timestamp::from_s(s));
        let first = at(1_800_000_000);
        for (made, is_moved) in [
            (at(1_799_999_999), false),
            (at(1_800_000_000 + COPIED_AFTER_S), false),
            (at(1_800_000_001 + COPIED_AFTER_S), true),
            (None, false),
        ] {
            assert_eq!(were_moved(first, made), is_moved, "{made:?}");
        }
        assert!(!were_moved(None, at(1_900_000_000)), "there is nothing in it");
    }
}
