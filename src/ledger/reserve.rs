//! Room taken beforehand, for what must be written although the disk is full: what takes away, and what a
//! start has to write again.

use std::io;
use std::sync::Arc;

use super::layer::{Layer, LayerFile, read_whole};
use super::walk::all_zero;

/// The files' names while nobody has needed them; then each becomes a segment. One is for what takes away,
/// the other for the start after a stop in the midst of that.
const NAMES: [&str; 2] = ["reserve-1", "reserve-2"];

const PIECE_BYTES: usize = 64 * 1024;

/// Takes room of so many bytes each, unless it is there already. Its bytes are written once, so that writing
/// over them later asks for no space.
pub(super) fn keep(layer: &dyn Layer, bytes: u64) -> io::Result<()> {
    for name in NAMES {
        if layer.list()?.iter().any(|there| there == name) {
            let there = read_whole(layer, name)?;
            if there.len() as u64 == bytes && all_zero(&there) {
                continue;
            }
            // A stop came while it was about to become a segment.
            layer.remove(name)?;
        }
        if let Err(error) = fill(layer, name, bytes) {
            drop(layer.remove(name));
            return Err(error);
        }
    }
    Ok(())
}

fn fill(layer: &dyn Layer, name: &str, bytes: u64) -> io::Result<()> {
    let file = layer.create(name)?;
    file.allocate(bytes)?;
    let (piece, mut offset) = (vec![0; PIECE_BYTES], 0_u64);
    while offset < bytes {
        let left = usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let piece = piece.get(..left).unwrap_or(&piece);
        file.write_at(offset, piece)?;
        offset = offset.saturating_add(piece.len() as u64);
    }
    file.sync_data()?;
    layer.sync_dir()
}

/// Opens what is left of the room, with its name; `None` when it has all been used.
pub(super) fn take(layer: &dyn Layer) -> io::Result<Option<(&'static str, Arc<dyn LayerFile>)>> {
    for name in NAMES {
        match layer.reopen(name) {
            Ok(file) => return Ok(Some((name, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
