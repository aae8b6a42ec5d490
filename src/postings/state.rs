use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::block::{Block, PostingLists};
use super::block_file::{self, BlockFile, BlockFileError, BlockSource, PageCache};
use super::header::BlockHeader;
use super::keys::PostingsKeys;
use super::options::PostingsOptions;
use super::place::{block_of, first_of, last_of};
use super::recent::Recent;
use super::source::PostingSource;
use crate::base::limits::POSTING_PAGES_KEPT_MAX;
use crate::base::{Entropy, LedgerId, io_reason};
use crate::files;

/// The blocks, and where they are.
pub(super) struct Blocks {
    dir: PathBuf,
    ledger: LedgerId,
    pub(super) keys: PostingsKeys,
    entropy: Arc<dyn Entropy>,
    source: Arc<dyn PostingSource>,
    known: Mutex<KnownBlocks>,
    changed: Condvar,
    files: Mutex<Recent<u64, Arc<BlockFile>>>,
    pages: PageCache,
}

#[derive(Debug)]
struct KnownBlocks {
    /// Whether it has yet to be closed.
    is_open: bool,
    /// The block of the newest entries.
    newest: Block,
    /// The block before, while its file is being written.
    full: Option<Arc<Block>>,
    /// Blocks with a file.
    written: BTreeSet<u64>,
    /// Earlier blocks without a file.
    missing: BTreeSet<u64>,
}

/// What a search finds of a block.
pub(super) enum Found<R> {
    /// The index has the block, up to this entry.
    Through(u64, R),
    /// The index does not have the block.
    Nothing,
}

const SUFFIX: &str = "postings";

fn file_name(block: u64) -> String {
    format!("{block:012}.{SUFFIX}")
}

fn block_of_name(name: &str) -> Option<u64> {
    let block = name.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse().ok()?;
    (file_name(block) == name).then_some(block)
}

impl Blocks {
    /// The blocks in a directory, about the entries of `source`. Files that do not belong to it are removed. If the
    /// directory cannot be used, they are closed.
    pub(super) fn open(options: PostingsOptions, source: Arc<dyn PostingSource>) -> Self {
        let PostingsOptions { dir, ledger, keys, entropy } = options;
        let newest = block_of(source.head().max(1));
        let known = KnownBlocks {
            is_open: true,
            newest: Block::new(newest),
            full: None,
            written: BTreeSet::new(),
            missing: (0..newest).collect(),
        };
        let blocks = Self {
            dir,
            ledger,
            keys,
            entropy,
            source,
            known: Mutex::new(known),
            changed: Condvar::new(),
            files: Mutex::new(Recent::new(POSTING_PAGES_KEPT_MAX / 4)),
            pages: Mutex::new(Recent::new(POSTING_PAGES_KEPT_MAX)),
        };
        if let Err(error) = blocks.survey() {
            tracing::warn!(
                dir = %blocks.dir.display(), reason = %io_reason(&error),
                "the directory of the ledger's search index cannot be used: the broker reads the ledger instead"
            );
            blocks.close();
        }
        blocks
    }

    /// Finds the files of earlier blocks.
    fn survey(&self) -> std::io::Result<()> {
        files::private_dir(&self.dir)?;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let Some(block) = block_of_name(&name) else {
                // A file that was not finished; what was moved aside stays for an investigation.
                if name.ends_with(".new") {
                    files::remove(&path)?;
                }
                continue;
            };
            let is_missing = self.known().missing.contains(&block);
            match block_file::read_header(&path) {
                Ok(header) if is_missing && self.fits(&header) => {
                    let mut known = self.known();
                    known.missing.remove(&block);
                    known.written.insert(block);
                }
                // Sealed under a former key, of entries that there are not, or by another rule.
                Ok(_) | Err(BlockFileError::OtherVersion) => files::remove(&path)?,
                Err(error) => self.set_aside(block, &error),
            }
        }
        Ok(())
    }

    fn fits(&self, header: &BlockHeader) -> bool {
        header.ledger == self.ledger
            && header.generation == self.keys.generation()
            && header.rule == self.source.rule()
    }

    fn known(&self) -> MutexGuard<'_, KnownBlocks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, block: u64) -> PathBuf {
        self.dir.join(file_name(block))
    }

    /// Whether it has yet to be closed.
    pub(super) fn is_open(&self) -> bool {
        self.known().is_open
    }

    /// Nothing is added from here on, and nothing found.
    pub(super) fn close(&self) {
        self.known().is_open = false;
        self.changed.notify_all();
    }

    /// Waits for `pause`, or until it is closed.
    pub(super) fn pause(&self, pause: Duration) {
        let known = self.known();
        let waited = self.changed.wait_timeout_while(known, pause, |known| known.is_open);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The entry that comes next in the newest block.
    pub(super) fn next(&self) -> u64 {
        self.known().newest.next()
    }

    /// The newest earlier block without a file that `is_wanted`.
    pub(super) fn newest_missing(&self, is_wanted: impl Fn(u64) -> bool) -> Option<u64> {
        self.known().missing.iter().rev().copied().find(|block| is_wanted(*block))
    }

    /// The last entry up to which the index has every entry.
    pub(super) fn through(&self) -> u64 {
        let known = self.known();
        let missing = known.missing.first().map(|block| first_of(*block));
        missing.unwrap_or_else(|| known.newest.next()).saturating_sub(1)
    }

    /// Changes the newest block. When that makes it full, the next one takes its place, and it is given back to be
    /// written.
    pub(super) fn add(&self, add: impl FnOnce(&mut Block)) -> Option<Arc<Block>> {
        let mut known = self.known();
        if !known.is_open {
            return None;
        }
        add(&mut known.newest);
        if !known.newest.is_full() {
            return None;
        }
        let next = Block::new(known.newest.number.saturating_add(1));
        let full = Arc::new(std::mem::replace(&mut known.newest, next));
        known.full = Some(Arc::clone(&full));
        Some(full)
    }

    /// Writes the file of a full block. If that fails, the block is one without a file.
    pub(super) fn write(&self, block: &Block) -> Result<(), String> {
        let about = self.about(block.number);
        let bytes = about.map(|about| block_file::encode(block, &about, &self.keys, &*self.entropy));
        let written = match bytes {
            // The directory may have been deleted meanwhile.
            Ok(Some(bytes)) => files::private_dir(&self.dir)
                .and_then(|()| files::replace(&self.path(block.number), &bytes))
                .map_err(|error| io_reason(&error)),
            Ok(None) => Err("the keys were wiped".to_owned()),
            Err(reason) => Err(reason),
        };
        let mut known = self.known();
        known.full.take_if(|full| full.number == block.number);
        if written.is_ok() {
            known.missing.remove(&block.number);
            known.written.insert(block.number);
        } else {
            known.missing.insert(block.number);
        }
        drop(known);
        self.forget_block(block.number);
        written
    }

    /// Shows block `number` to `look`, if the index has it. A file that is not what was written is moved aside.
    pub(super) fn look<R>(&self, number: u64, look: impl BlockLook<R>) -> Found<R> {
        let known = self.known();
        if !known.is_open {
            return Found::Nothing;
        }
        let in_memory = |block: &Block| match look.at(block) {
            Ok(found) => Found::Through(block.next().saturating_sub(1), found),
        };
        if known.newest.number == number {
            return in_memory(&known.newest);
        }
        if let Some(full) = known.full.clone().filter(|full| full.number == number) {
            drop(known);
            return in_memory(&full);
        }
        let is_written = known.written.contains(&number);
        drop(known);
        if !is_written {
            return Found::Nothing;
        }
        let found = self.file(number).and_then(|file| look.at(&file.lists(&self.pages)));
        match found {
            Ok(found) => Found::Through(last_of(number), found),
            Err(BlockFileError::Forgotten | BlockFileError::Unchecked(_)) => Found::Nothing,
            Err(error) => {
                self.lose(number, &error);
                Found::Nothing
            }
        }
    }

    fn file(&self, number: u64) -> Result<Arc<BlockFile>, BlockFileError> {
        let kept = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&number);
        if let Some(file) = kept {
            return Ok(file);
        }
        let about = self.about(number).map_err(BlockFileError::Unchecked)?;
        let file = Arc::new(BlockFile::open(&self.path(number), number, &about, &self.keys)?);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).put(number, Arc::clone(&file));
        Ok(file)
    }

    /// The entries of the source that block `number` has to be about.
    fn about(&self, number: u64) -> Result<BlockSource, String> {
        let node = self.source.node(last_of(number))?;
        Ok(BlockSource { ledger: self.ledger, rule: self.source.rule(), node })
    }

    /// A block whose file does not answer is built again.
    fn lose(&self, number: u64, error: &BlockFileError) {
        let mut known = self.known();
        // Another search may have found the same, or the keys were wiped meanwhile.
        if !known.is_open || !known.written.remove(&number) {
            return;
        }
        known.missing.insert(number);
        drop(known);
        self.set_aside(number, error);
        self.forget_block(number);
    }

    fn set_aside(&self, number: u64, error: &BlockFileError) {
        let path = self.path(number);
        tracing::warn!(
            file = %path.display(), reason = %error,
            "a file of the ledger's search index is damaged: the broker moves it aside and builds it again"
        );
        if let Err(error) = fs::rename(&path, path.with_extension("broken")) {
            tracing::warn!(file = %path.display(), reason = %io_reason(&error), "the damaged file cannot be moved aside");
        }
    }

    fn forget_block(&self, number: u64) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).retain(|block| *block != number);
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).retain(|(block, _)| *block != number);
    }

    /// Wipes the keys, and what was opened with them.
    pub(super) fn forget_keys(&self) {
        self.close();
        self.keys.forget();
        self.files.lock().unwrap_or_else(PoisonError::into_inner).retain(|_| false);
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).retain(|_| false);
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A look at a block, in memory or in a file.
pub(super) trait BlockLook<R> {
    fn at<L: PostingLists>(&self, lists: &L) -> Result<R, L::Error>;
}

/// Removes the index below `dir`, e.g. because the ledger has lost entries.
pub(super) fn discard(dir: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
