//! Whether the data directory is the one that the broker served from before, or a copy of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::assemble::{broken, broker_failure};
use super::running::Duty;
use crate::base::encoding::hex;
use crate::base::{Clock, SystemClock, Timestamp, code, io_reason};
use crate::broker::{self, Located, World};
use crate::cli::{Console, Failure, whoever_runs_this};
use crate::config::Config;
use crate::crypto::sha256_parts;
use crate::custody::{AdoptionOrder, Location};
use crate::files::Replacement;
use crate::store::{Store, lock_mark};
use crate::telemetry::{Alarm, Alarms};

/// A lock file that was made so long after the first entry, in seconds, is not that of the start that made the data.
const COPIED_AFTER_S: i64 = 3600;

/// The lock file of the data directory.
const LOCK: &str = "lock";

/// Where a Linux machine's own id is (machine-id(5)).
pub(super) const MACHINE_ID: &str = "/etc/machine-id";

/// The file that `keyward adopt` leaves for the broker.
const ADOPT: &str = "adopt";

/// The order to serve from this copy of the data, as it lies in the file.
#[derive(Deserialize, Serialize)]
struct Adoption {
    /// The mark of the lock file that the order is for: a copy of the order counts for nothing.
    lock: u64,
    by: String,
    /// When it was given, by the host's clock: what another copy did since then was not stopped by the person who gave it.
    /// Earlier builds did not say.
    at: Option<Timestamp>,
}

/// The data directory as a start finds it, or a broker that serves from it.
pub(super) struct Found {
    data_dir: PathBuf,
    location: Location,
    adoption: Option<Adoption>,
    /// When the lock file was made, where the file system knows that.
    made: Option<Timestamp>,
}

impl Found {
    /// Looks at the data directory that `store` has open.
    pub(super) fn at(data_dir: &Path, store: &Store<World>, machine_id: &Path) -> Result<Self, Failure> {
        let lock = store.lock_mark().map_err(|error| broken(&error))?;
        let location = Location { lock, machine: machine(machine_id) };
        let adoption = adoption(data_dir).filter(|adoption| adoption.lock == lock);
        let made = fs::metadata(data_dir.join(LOCK)).and_then(|lock| lock.created()).ok();
        let made = made.map(Timestamp::of_system);
        Ok(Self { data_dir: data_dir.to_owned(), location, adoption, made })
    }

    /// What the broker may do: nothing but be looked at, when the data are a copy that no order adopts.
    pub(super) fn duty(&self, store: &Store<World>, wanted: Duty) -> Duty {
        let known = store.read(|world, _| world.custody.location());
        match known {
            Some(known) if known.lock != self.location.lock && self.adoption.is_none() => {
                let dir = self.data_dir.display();
                tracing::error!(
                    %dir, code = %code::DATA_COPIED,
                    "the data directory is a copy, because its lock file is another one: the broker starts in read-only mode until `keyward adopt`"
                );
                Duty::ReadOnly
            }
            Some(_) | None => wanted,
        }
    }

    /// Records where the data directory is, and raises the alarm when only the machine is another one.
    pub(super) async fn record(self, store: &Store<World>, alarms: &Alarms) -> Result<(), Failure> {
        self.tell_of_earlier_copies(store, alarms);
        let Self { data_dir, location, adoption, .. } = self;
        let order = adoption.as_ref().map(|adoption| AdoptionOrder { by: &adoption.by, at: adoption.at });
        let by = order.map(|order| order.by);
        let located = broker::record_location(store, location, order).await;
        let located = match located {
            Ok(located) => located,
            // The disk is full: a start that nobody ordered to adopt goes on without the entry.
            Err(failure) if adoption.is_none() => {
                tracing::error!(code = %failure.code, "the location of the data directory is not recorded");
                return Ok(());
            }
            Err(failure) => return Err(broker_failure(&failure)),
        };
        match located {
            Located::AsBefore => {}
            Located::Adopted => tracing::warn!(by, lock = location.lock, "the data directory was adopted"),
            Located::OtherMachine { was, machine } => alarms.raise(
                Alarm::MachineChanged,
                format_args!(
                    "the data directory is on another machine: its id was {}, and is {}",
                    hex(&was),
                    hex(&machine)
                ),
            ),
        }
        // One that was copied along, too: it is about another lock file.
        let order = data_dir.join(ADOPT);
        match fs::remove_file(&order) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if adoption.is_some() => Err(unusable(&order, &error)),
            Err(error) => {
                tracing::warn!(path = %order.display(), reason = %io_reason(&error), "this is no order to adopt, and cannot be removed: remove it by hand");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Raises the alarm when no start has located these data before, as starts of earlier builds did not, and their
    /// lock file was made long after their first entry: they were copied or moved, and another copy may serve.
    fn tell_of_earlier_copies(&self, store: &Store<World>, alarms: &Alarms) {
        let is_known = store.read(|world, _| world.custody.location()).is_some();
        if is_known || self.adoption.is_some() {
            return;
        }
        let first = store.entries(1, 1).ok().and_then(|entries| entries.first().map(|entry| entry.time));
        if were_moved(first, self.made) {
            let dir = self.data_dir.display();
            alarms.raise(
                Alarm::DataMoved,
                format_args!("the data directory `{dir}` was copied or moved before this build first served from it: make sure that no other broker has these data"),
            );
        }
    }
}

/// Whether data whose first entry is of this time are with another lock file, made at that time, than they began with.
fn were_moved(first: Option<Timestamp>, made: Option<Timestamp>) -> bool {
    first.zip(made).is_some_and(|(first, made)| made > first.plus_s(COPIED_AFTER_S))
}

/// Whether an order to serve from this data directory waits for the next start.
pub(super) fn is_adopted(data_dir: &Path) -> bool {
    adoption(data_dir).is_some_and(|adoption| lock_of(data_dir).is_ok_and(|lock| lock == adoption.lock))
}

fn adoption(data_dir: &Path) -> Option<Adoption> {
    serde_json::from_slice(&fs::read(data_dir.join(ADOPT)).ok()?).ok()
}

fn lock_of(data_dir: &Path) -> io::Result<u64> {
    Ok(lock_mark(&fs::metadata(data_dir.join(LOCK))?))
}

/// The id itself is not for others to see.
fn machine(machine_id: &Path) -> Option<[u8; 16]> {
    let text = fs::read_to_string(machine_id).ok()?;
    let id = text.trim();
    // systemd's word in an image whose machine has yet to start for the first time.
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    let digest = sha256_parts(&[b"keyward machine\0", id.as_bytes()]);
    digest.as_bytes().first_chunk().copied()
}

/// Records the order to adopt that was left for a broker that has all its duties already.
pub(super) async fn take_order(
    data_dir: &Path,
    store: &Store<World>,
    machine_id: &Path,
    alarms: &Alarms,
) -> Result<(), Failure> {
    Found::at(data_dir, store, machine_id)?.record(store, alarms).await
}

/// `keyward adopt`, on the broker's host: leaves the order in the data directory. A broker that runs sees it within
/// a second: on the copy in read-only mode it starts anew, and with all its duties it records it.
pub(super) fn adopt(config: &Config, console: &Console) -> Result<(), Failure> {
    let dir = &config.data_dir;
    let lock = lock_of(dir).map_err(|error| {
        if error.kind() != io::ErrorKind::NotFound || !dir.exists() {
            return unusable(dir, &error);
        }
        let why = format!("no broker was started in `{}` yet: it has no lock file", dir.display());
        Failure::new(code::NOTHING_TO_ADOPT).because(why)
    })?;
    let order = Adoption { lock, by: whoever_runs_this(), at: Some(SystemClock::new().now()) };
    write(dir, &order).map_err(|error| unusable(&dir.join(ADOPT), &error))?;
    if console.is_json() {
        console.json(&json!({ "data_dir": dir, "lock": lock }));
    } else {
        console.line(&format!(
            "`{}` is adopted: by the running broker within a second, or by its next start",
            dir.display()
        ));
    }
    Ok(())
}

fn write(dir: &Path, order: &Adoption) -> io::Result<()> {
    let written = serde_json::to_vec(order).map_err(io::Error::other)?;
    // The broker reads it as its own user, and root may have written it.
    Replacement::write(&dir.join(ADOPT), 0o644, &written)?.commit()
}

fn unusable(dir: &Path, error: &io::Error) -> Failure {
    let why = format!("`{}` cannot be used: {}", dir.display(), io_reason(error));
    Failure::new(code::DATA_DIR_UNUSABLE).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_moved_when_their_lock_file_is_much_younger_than_their_first_entry() {
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
