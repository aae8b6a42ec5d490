//! A write that is no entry: what an idle ledger learns of its disk by.

use std::io;

use super::layer::Layer;

/// The file, written over in place and never read.
const NAME: &str = "probe";
const BYTES: [u8; 512] = [0; 512];

/// Writes and syncs. A disk without space for this file is no trouble as long as the segment that is
/// written to has room: that is asked for apart.
pub(super) fn write(layer: &dyn Layer) -> io::Result<()> {
    let file = match layer.reopen(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => layer.create(NAME),
        opened => opened,
    };
    let written = file.and_then(|file| file.write_at(0, &BYTES).and_then(|()| file.sync_data()));
    match written {
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Ok(())
        }
        written => written,
    }
}
