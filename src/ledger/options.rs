use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::keys::DeltaKeys;
use super::layer::Layer;
use crate::base::{Clock, Entropy, LedgerId};
use crate::crypto::{Digest, Sha256Stream};

/// The options of a ledger.
#[derive(Debug)]
pub struct Options {
    /// The expected ledger.
    pub ledger: LedgerId,
    /// The keys that state changes are sealed under.
    pub keys: Arc<DeltaKeys>,
    /// The clock of entries.
    pub clock: Arc<dyn Clock>,
    /// The source of salts.
    pub entropy: Arc<dyn Entropy>,
    /// The snapshots.
    pub snapshots: Arc<dyn Layer>,
    /// The build, which reads only its own snapshots.
    pub build: Build,
}

/// Which build of the program this is. What state looks like inside is a build's own affair: only the one
/// that wrote a snapshot reads it, and any other reads the entries once.
#[derive(Clone, Copy, Debug)]
pub enum Build {
    /// The file that runs, by its SHA-256.
    Executable,
    /// One that goes by this name, for tests.
    Named(Digest),
}

impl Build {
    pub(super) fn digest(self) -> io::Result<Digest> {
        if let Self::Named(name) = self {
            return Ok(name);
        }
        // The file that runs, even when another one has its name by now.
        let mut file = File::open("/proc/self/exe")?;
        let (mut hash, mut piece) = (Sha256Stream::new(), vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hash.finish()),
                read => hash.update(piece.get(..read).unwrap_or_default()),
            }
        }
    }
}

const PIECE_BYTES: usize = 256 * 1024;
