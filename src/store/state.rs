use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Write};

use super::change::{At, StoredState, decode};
use crate::ledger::{Entry, Follower, SnapshotPoint, SnapshotState, TakeInError, Tree};

/// The state as a start makes it, apart from the one that requests read.
#[derive(Default)]
pub(super) struct StartState<W> {
    world: W,
}

impl<W: StoredState> Follower for StartState<W> {
    fn apply(&mut self, entry: &Entry, delta: &[u8], _before: &Tree) -> Result<(), TakeInError> {
        for effect in &decode::<W::Effect>(delta)? {
            self.world.apply(At { seq: entry.seq, time: entry.time }, effect);
        }
        Ok(())
    }

    fn restore(&mut self, _point: &SnapshotPoint, _tree: &Tree, state: &mut dyn Read) -> Result<(), String> {
        self.world = read_state(state)?;
        Ok(())
    }
}

impl<W: StoredState> SnapshotState for StartState<W> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let written = postcard::to_io(&self.world, BufWriter::new(out));
        written.map_err(io::Error::other)?.flush()
    }
}

impl<W> fmt::Debug for StartState<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shadow")
    }
}

/// Longest text that a state may have in one piece.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// The state in a snapshot.
pub(super) fn read_state<W: StoredState>(state: &mut dyn Read) -> Result<W, String> {
    let mut text = vec![0; TEXT_BYTES_MAX];
    let read = postcard::from_io::<W, _>((BufReader::new(state), text.as_mut_slice()));
    let (world, (mut rest, _)) = read.map_err(|_| "its state has another format".to_owned())?;
    if rest.read(&mut [0]).map_or(true, |more| more > 0) {
        return Err("its state has another format".to_owned());
    }
    Ok(world)
}
