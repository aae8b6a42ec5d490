//! A full block in a file: a header in clear, the times, the pages with the lists, and the directory, which has the first
//! term and the size of each page. Everything after the header is sealed, each page under a nonce of its own.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::block::{Block, PostingLists};
use super::header::{BlockHeader, Fields};
use super::keys::{PostingsKeys, Term};
use super::posting_list;
use super::recent::Recent;
use super::times::BlockTimes;
use crate::base::{Entropy, LedgerId, Sensitive, io_reason};
use crate::crypto::{AeadKey, CounterKey, Digest, SEAL_OVERHEAD_BYTES, UnsealError};

/// Why a block file is not used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BlockFileError {
    #[error("it cannot be read: {0}")]
    Io(String),
    #[error("it is sealed under another index key")]
    OtherKey,
    #[error("the keys were wiped")]
    Forgotten,
    #[error("another version wrote it")]
    OtherVersion,
    #[error("the ledger cannot be read: {0}")]
    Unchecked(String),
    #[error("{0}")]
    Broken(&'static str),
    #[error("{0}")]
    Sealed(#[from] UnsealError),
}

impl From<io::Error> for BlockFileError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Broken("it is cut off")
        } else {
            Self::Io(io_reason(&error))
        }
    }
}

/// Pages are closed from this size on. A longer list has a page of its own.
const PAGE_BYTES: usize = 4 * 1024;
const DIRECTORY_LINE_BYTES: usize = Term::BYTES + 4;
/// The number of the page with the times; the lists follow, then the directory.
const TIMES_PAGE: u64 = 0;

/// The bytes of the file of `block`; `None` once the keys were wiped.
pub(super) fn encode(
    block: &Block,
    about: &BlockSource,
    keys: &PostingsKeys,
    entropy: &dyn Entropy,
) -> Option<Vec<u8>> {
    let pages = pages(block);
    let salt = entropy.bytes();
    let header = BlockHeader {
        ledger: about.ledger,
        generation: keys.generation(),
        block: block.number,
        salt,
        pages: u32::try_from(pages.len()).ok()?,
        rule: about.rule,
        node: about.node,
    };
    let key = CounterKey::new(keys.file_key(&salt)?);
    let (mut out, mut directory) = (header.encode(), Vec::new());
    let mut number = TIMES_PAGE;
    let mut seal = |plain: &[u8]| {
        let sealed = key.seal(header.bound(number), &[plain]);
        number = number.saturating_add(1);
        sealed
    };
    out.extend(seal(&block.times.encode()));
    for page in &pages {
        directory.extend_from_slice(page.first.as_bytes());
        directory.extend_from_slice(&u32::try_from(page.plain.len()).ok()?.to_be_bytes());
        out.extend(seal(&page.plain));
    }
    out.extend(seal(&directory));
    (!key.is_forgotten()).then_some(out)
}

/// The entries that a block is about.
#[derive(Clone, Debug)]
pub(super) struct BlockSource {
    pub(super) ledger: LedgerId,
    /// The rule of their terms.
    pub(super) rule: u16,
    /// The hash of the last one.
    pub(super) node: Digest,
}

struct NewPage {
    first: Term,
    plain: Vec<u8>,
}

fn pages(block: &Block) -> Vec<NewPage> {
    let mut pages: Vec<NewPage> = Vec::new();
    for (term, offsets) in block.sorted() {
        let mut line = term.as_bytes().to_vec();
        posting_list::write(offsets, &mut line);
        match pages.last_mut() {
            Some(page) if page.plain.len().saturating_add(line.len()) <= PAGE_BYTES => {
                page.plain.extend_from_slice(&line);
            }
            Some(_) | None => pages.push(NewPage { first: *term, plain: line }),
        }
    }
    pages
}

/// The header of the file at `path`, unchecked.
pub(super) fn read_header(path: &Path) -> Result<BlockHeader, BlockFileError> {
    let mut bytes = [0; BlockHeader::BYTES];
    File::open(path)?.read_exact_at(&mut bytes, 0)?;
    if BlockHeader::is_of_other_version(&bytes) {
        return Err(BlockFileError::OtherVersion);
    }
    BlockHeader::decode(&bytes).ok_or(BlockFileError::Broken("its header is malformed"))
}

/// Pages of all blocks that were read last.
pub(super) type PageCache = Mutex<Recent<(u64, u64), Arc<Sensitive<Vec<u8>>>>>;

/// A block file whose header, times and directory were read.
#[derive(Debug)]
pub(super) struct BlockFile {
    path: PathBuf,
    header: BlockHeader,
    key: AeadKey,
    times: BlockTimes,
    directory: Vec<PagePlace>,
}

#[derive(Clone, Copy, Debug)]
struct PagePlace {
    first: Term,
    offset: u64,
    /// Of the sealed page.
    bytes: usize,
}

impl BlockFile {
    /// Opens the file of block `number` of this ledger.
    pub(super) fn open(
        path: &Path,
        number: u64,
        about: &BlockSource,
        keys: &PostingsKeys,
    ) -> Result<Self, BlockFileError> {
        let header = read_header(path)?;
        if header.generation != keys.generation() {
            return Err(BlockFileError::OtherKey);
        }
        if header.ledger != about.ledger || header.block != number {
            return Err(BlockFileError::Broken("it is the file of another block or ledger"));
        }
        if header.rule != about.rule || header.node != about.node {
            return Err(BlockFileError::Broken("it is about other entries than those of the ledger"));
        }
        let key = keys.file_key(&header.salt).ok_or(BlockFileError::Forgotten)?;
        let mut opened = Self {
            path: path.to_owned(),
            key,
            times: BlockTimes::new(),
            // Not as many as the header says, which is unchecked.
            directory: Vec::new(),
            header,
        };
        opened.read_places()?;
        Ok(opened)
    }

    fn read_places(&mut self) -> Result<(), BlockFileError> {
        const MALFORMED: BlockFileError = BlockFileError::Broken("its directory is malformed");
        let file = File::open(&self.path)?;
        let pages = u64::from(self.header.pages);
        let times = PlainPlace { offset: BlockHeader::BYTES as u64, bytes: BlockTimes::BYTES };
        self.times = BlockTimes::decode(self.sealed(&file, TIMES_PAGE, &times)?.expose()).ok_or(MALFORMED)?;
        let lines = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(DIRECTORY_LINE_BYTES);
        let end = file.metadata()?.len();
        let directory_from = (lines.saturating_add(SEAL_OVERHEAD_BYTES)) as u64;
        let place = PlainPlace {
            offset: end.checked_sub(directory_from).ok_or(BlockFileError::Broken("it is cut off"))?,
            bytes: lines,
        };
        let directory = self.sealed(&file, pages.saturating_add(1), &place)?;
        let mut offset = times.end();
        let mut fields = Fields(directory.expose());
        for _ in 0..pages {
            let first = Term::from_bytes(fields.array().ok_or(MALFORMED)?);
            let plain = usize::try_from(u32::from_be_bytes(fields.array().ok_or(MALFORMED)?));
            let place = PlainPlace { offset, bytes: plain.map_err(|_| MALFORMED)? };
            self.directory.push(PagePlace { first, offset, bytes: place.bytes });
            offset = place.end();
        }
        if offset == place.offset { Ok(()) } else { Err(BlockFileError::Broken("it has bytes too many")) }
    }

    /// Page `number`, which stands at `place`, in clear.
    fn sealed(
        &self,
        file: &File,
        number: u64,
        place: &PlainPlace,
    ) -> Result<Sensitive<Vec<u8>>, BlockFileError> {
        let size = place.bytes.saturating_add(SEAL_OVERHEAD_BYTES);
        // Unchecked numbers decide about the size: never more than the file has.
        if place.end() > file.metadata()?.len() {
            return Err(BlockFileError::Broken("it is cut off"));
        }
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, place.offset)?;
        Ok(self.key.open_numbered(number, &self.header.bound(number), &bytes)?)
    }

    /// The page in which `term` would be, with its number; pages are numbered after the times.
    fn page_of(&self, term: Term) -> Option<(u64, PagePlace)> {
        let after = self.directory.partition_point(|page| page.first <= term);
        let place = self.directory.get(after.checked_sub(1)?)?;
        Some((after as u64, *place))
    }

    /// Its lists, with pages kept in `pages`.
    pub(super) const fn lists<'a>(&'a self, pages: &'a PageCache) -> FileLists<'a> {
        FileLists { file: self, pages, opened: Cell::new(None) }
    }
}

/// A page by the size of its content in clear.
struct PlainPlace {
    offset: u64,
    bytes: usize,
}

impl PlainPlace {
    const fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.saturating_add(SEAL_OVERHEAD_BYTES) as u64)
    }
}

/// The lists of a block file.
pub(super) struct FileLists<'a> {
    file: &'a BlockFile,
    pages: &'a PageCache,
    /// The file, once a page was read.
    opened: Cell<Option<File>>,
}

impl FileLists<'_> {
    fn page(&self, number: u64, place: PagePlace) -> Result<Arc<Sensitive<Vec<u8>>>, BlockFileError> {
        let key = (self.file.header.block, number);
        let kept = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&key);
        if let Some(page) = kept {
            return Ok(page);
        }
        let file = self.opened.take().map_or_else(|| File::open(&self.file.path), Ok)?;
        let place = PlainPlace { offset: place.offset, bytes: place.bytes };
        let page = Arc::new(self.file.sealed(&file, number, &place)?);
        self.opened.set(Some(file));
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).put(key, Arc::clone(&page));
        Ok(page)
    }
}

impl PostingLists for FileLists<'_> {
    type Error = BlockFileError;

    fn list(&self, term: Term) -> Result<Option<RoaringBitmap>, BlockFileError> {
        const MALFORMED: BlockFileError = BlockFileError::Broken("a page is malformed");
        let Some((number, place)) = self.file.page_of(term) else { return Ok(None) };
        let page = self.page(number, place)?;
        let mut rest = page.expose().as_slice();
        while !rest.is_empty() {
            let (found, after) = rest.split_first_chunk::<{ Term::BYTES }>().ok_or(MALFORMED)?;
            let (list, after) = posting_list::split(after).ok_or(MALFORMED)?;
            if found == term.as_bytes() {
                return posting_list::read(list).map(Some).ok_or(MALFORMED);
            }
            if found > term.as_bytes() {
                break;
            }
            rest = after;
        }
        Ok(None)
    }

    fn times(&self) -> &BlockTimes {
        &self.file.times
    }
}
