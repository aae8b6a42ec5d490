use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use super::trusted_files::BrokerUser;
use crate::base::encoding::hex;
use crate::base::io_reason;
use crate::broker::{self, KeptOrders};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::crypto::sha256;
use crate::custody::{Orders, SealOrder};

/// Bytes of the digest in a directory name: enough to distinguish the brokers of one machine.
const NAME_CHARS: usize = 16;

/// The use of the runtime directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RuntimeDir {
    /// A broker of this user keeps orders there.
    Usable,
    /// It does not exist. systemd makes it when it starts the service.
    Absent,
    /// It is not used, for this reason.
    Unusable(&'static str),
}

impl RuntimeDir {
    /// As a broker of `user` finds it: only this user can access it, and it is on another file system than the data
    /// directory.
    pub(crate) fn of(config: &Config, BrokerUser(user): BrokerUser) -> Self {
        let Ok(runtime) = fs::metadata(&config.runtime_dir) else { return Self::Absent };
        // Before `init` there is no data directory.
        let data = fs::metadata(&config.data_dir).ok();
        if data.is_some_and(|data| runtime.dev() == data.dev()) {
            Self::Unusable("it is on the file system of the data directory")
        } else if runtime.uid() != user {
            Self::Unusable("it belongs to another user than the broker's")
        } else if runtime.mode() & 0o077 != 0 {
            Self::Unusable("other users can access it")
        } else {
            Self::Usable
        }
    }
}

/// This broker's directory in the runtime directory, if that is usable.
fn usable(config: &Config) -> Option<PathBuf> {
    match RuntimeDir::of(config, BrokerUser::of_process()) {
        RuntimeDir::Usable => place(config),
        RuntimeDir::Absent => None,
        RuntimeDir::Unusable(why) => {
            let dir = config.runtime_dir.display();
            tracing::warn!(%dir, why, "the runtime directory is not used: unrecorded revocations do not survive a restart");
            None
        }
    }
}

/// Brokers of one user can share the runtime directory: the path of the data directory determines the name. A copy of the
/// data in another directory does not see the orders of the original.
fn place(config: &Config) -> Option<PathBuf> {
    let canonical = fs::canonicalize(&config.data_dir).ok()?;
    let digest = sha256(canonical.as_os_str().as_bytes());
    let name: String = hex(digest.as_bytes()).chars().take(NAME_CHARS).collect();
    let place = config.runtime_dir.join(name);
    let made = fs::DirBuilder::new().mode(0o700).create(&place);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let dir = place.display();
            tracing::warn!(%dir, error = %io_reason(&error), "the runtime directory is not used: unrecorded revocations do not survive a restart");
            None
        }
        Ok(()) | Err(_) => Some(place),
    }
}

/// The store of orders that the ledger has not recorded yet, if the runtime directory is usable.
pub(super) fn kept_orders(config: &Config) -> Result<KeptOrders, CommandFailure> {
    let Some(dir) = usable(config) else { return Ok(KeptOrders::default()) };
    let orders = Orders::open(&dir.join("orders"));
    let orders = orders.map_err(broker::Failure::from)?;
    Ok(KeptOrders::of(orders, SealOrder::at(&dir)))
}

/// Whether the broker was stopped before it had carried out an order to seal.
pub(super) fn is_seal_pending(config: &Config) -> bool {
    usable(config).is_some_and(|dir| SealOrder::at(&dir).is_pending())
}

/// Removes the order to seal, after it was carried out or the broker was unsealed.
pub(super) fn forget_seal_order(config: &Config) {
    let Some(dir) = usable(config) else { return };
    let order = SealOrder::at(&dir);
    if let Err(error) = order.clear() {
        let path = order.path().display();
        tracing::error!(%path, error = %io_reason(&error), "the order to seal cannot be removed: the next start is sealed again");
    }
}
