use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::assemble::broker_failure;
use crate::broker::KeptOrders;
use crate::cli::{Failure, own_uid};
use crate::config::Config;
use crate::custody::{Orders, SealOrder};

/// The runtime directory, when it is the broker's own and does not hang together with the data directory.
fn usable(config: &Config) -> Option<&Path> {
    let (runtime, data) = (fs::metadata(&config.runtime_dir).ok()?, fs::metadata(&config.data_dir).ok()?);
    let why = if runtime.dev() == data.dev() {
        "it is on the data directory's file system"
    } else if runtime.uid() != own_uid() || runtime.mode() & 0o077 != 0 {
        "it is not the broker's alone"
    } else {
        return Some(&config.runtime_dir);
    };
    let dir = config.runtime_dir.display();
    tracing::warn!(%dir, why, "orders that the ledger has not taken are not kept in the runtime directory");
    None
}

/// Where orders are kept that the ledger has not taken yet: in the runtime directory, when it is usable.
pub(super) fn kept_orders(config: &Config) -> Result<KeptOrders, Failure> {
    let Some(dir) = usable(config) else { return Ok(KeptOrders::default()) };
    let orders = Orders::open(&dir.join("orders"));
    let orders = orders.map_err(|error| broker_failure(&error.into()))?;
    Ok(KeptOrders::of(orders, SealOrder::at(dir)))
}

/// Whether the broker was told to seal itself and was stopped before it had.
pub(super) fn is_seal_pending(config: &Config) -> bool {
    usable(config).is_some_and(|dir| SealOrder::at(dir).is_pending())
}

/// The broker is sealed as it was told, or was unsealed since.
pub(super) fn forget_seal_order(config: &Config) {
    let Some(dir) = usable(config) else { return };
    let order = SealOrder::at(dir);
    if let Err(error) = order.clear() {
        let path = order.path().display();
        tracing::error!(%path, %error, "the order to seal cannot be removed: the next start is sealed again");
    }
}
