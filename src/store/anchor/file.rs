use std::io;
use std::sync::Arc;

use super::{Anchor, AnchorKeys, StoredAnchor};
use crate::base::io_reason;
use crate::ledger::{Layer, LayerFile, name_durably};

const NAME: &str = "anchor";
const UNNAMED: &str = "anchor.new";
/// Two places for an anchor, written in turn: a write that is torn leaves the one before it whole, and a
/// full disk has room for the next one.
const PLACE_BYTES: usize = 4096;
const FILE_BYTES: u64 = 2 * PLACE_BYTES as u64;

/// Why the anchor file gives no anchor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorFileError {
    /// Neither of its places holds an anchor of this ledger.
    #[error("the file `anchor` is altered, damaged, or of another broker")]
    Altered,
    /// It is authenticated under a key that the keyring does not have.
    #[error("the file `anchor` names a key generation that the keyring does not have")]
    KeyMissing,
    /// The file cannot be used.
    #[error("the file `anchor` cannot be used: {}", io_reason(.0))]
    Io(#[from] io::Error),
}

/// The file `anchor`: the newest anchor, and the one before it.
#[derive(Debug)]
pub struct AnchorFile {
    layer: Arc<dyn Layer>,
    /// The file, once it is known to have both places.
    file: Option<Arc<dyn LayerFile>>,
    count: u64,
}

impl AnchorFile {
    /// The file in the directory of `layer`, and the newest anchor in it; none when there is no file yet.
    ///
    /// # Errors
    /// [`AnchorFileError`].
    pub fn open(layer: Arc<dyn Layer>, keys: &AnchorKeys) -> Result<(Self, Option<Anchor>), AnchorFileError> {
        let file = match layer.reopen(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::absent(layer), None));
            }
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; 2 * PLACE_BYTES];
        let read = file.read_at(0, &mut bytes)?;
        let stored: Vec<StoredAnchor> = bytes.chunks(PLACE_BYTES).map(|place| keys.read(place)).collect();
        let is_of_unknown_key = stored.iter().any(|one| matches!(one, StoredAnchor::OfUnknownKey));
        let anchors = stored.into_iter().filter_map(|one| match one {
            StoredAnchor::Good(anchor) => Some(anchor),
            StoredAnchor::OfUnknownKey | StoredAnchor::Unreadable => None,
        });
        let newest = anchors.max_by_key(|anchor| anchor.count);
        if is_of_unknown_key {
            return Err(AnchorFileError::KeyMissing);
        }
        let newest = newest.ok_or(AnchorFileError::Altered)?;
        let file = (read == bytes.len()).then_some(file);
        Ok((Self { layer, file, count: newest.count }, Some(newest)))
    }

    /// The file, when what is there is not to be read.
    pub(in crate::store) const fn absent(layer: Arc<dyn Layer>) -> Self {
        Self { layer, file: None, count: 0 }
    }

    /// Keeps `anchor` beside the one before it; durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn keep(&mut self, anchor: &Anchor, keys: &AnchorKeys) -> io::Result<()> {
        let Some(file) = self.file.clone() else { return self.replace(anchor, keys) };
        let count = self.count.saturating_add(1);
        let place = place_of(anchor, count, keys)?;
        let offset = if count.is_multiple_of(2) { 0 } else { PLACE_BYTES as u64 };
        let kept = file.write_at(offset, &place).and_then(|()| file.sync_data());
        if kept.is_err() {
            // What the place holds is unknown: the next one is written to a file of its own.
            self.file = None;
        }
        self.count = count;
        kept
    }

    /// Keeps `anchor` and no other one: a file of its own takes the name.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn replace(&mut self, anchor: &Anchor, keys: &AnchorKeys) -> io::Result<()> {
        let count = self.count.saturating_add(1);
        let place = place_of(anchor, count, keys)?;
        let layer = &self.layer;
        drop(layer.remove(UNNAMED));
        let file = layer.create(UNNAMED)?;
        file.allocate(FILE_BYTES)?;
        file.write_at(0, &[place.as_slice(), place.as_slice()].concat())?;
        name_durably(layer.as_ref(), file.as_ref(), UNNAMED, NAME)?;
        (self.file, self.count) = (Some(file), count);
        Ok(())
    }
}

/// A place as it stands in the file: text, filled up with spaces.
fn place_of(anchor: &Anchor, count: u64, keys: &AnchorKeys) -> io::Result<Vec<u8>> {
    let anchor = Anchor { count, ..anchor.clone() };
    let text = keys.write(&anchor).ok_or(io::ErrorKind::InvalidData)?;
    let mut place = text.into_bytes();
    if place.len() >= PLACE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    place.resize(PLACE_BYTES, b' ');
    Ok(place)
}
