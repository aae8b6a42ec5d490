use roaring::RoaringBitmap;

use super::block::PostingLists;
use super::keys::Term;
use super::place::{block_of, first_of, last_of, offset_of};
use super::state::{BlockLook, Blocks, Found};
use super::times::TimeSpan;
use crate::base::{Cancellation, Cancelled};

/// Most parts of one search, of up to 65,536 entries each; the next one continues there.
pub(super) const SEARCH_PARTS_MAX: u64 = 1024;

/// The entries that a search looks for.
#[derive(Clone, Debug)]
pub struct PostingQuery {
    /// The alternatives, each a list of groups: an entry has a term of each group of one of them.
    pub any: Vec<Vec<Vec<Term>>>,
    /// The first entry of the range.
    pub from: u64,
    /// The last entry of the range.
    pub through: u64,
    /// Entries of other times may be found too, but not many.
    pub times: TimeSpan,
    /// The order of the parts.
    pub order: SearchOrder,
}

/// The order in which entries are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SearchOrder {
    /// By descending sequence number.
    NewestFirst,
    /// By ascending sequence number.
    OldestFirst,
}

/// A part of the range of a search.
#[derive(Debug)]
pub struct SearchPart {
    /// Its first entry.
    pub from: u64,
    /// Its last entry.
    pub through: u64,
    /// The entries that were found in it; `None` if the index does not have this part.
    pub hits: Option<Hits>,
}

/// The entries that were found in a part.
#[derive(Debug)]
pub struct Hits {
    first: u64,
    offsets: RoaringBitmap,
    order: SearchOrder,
}

impl Hits {
    /// Their number.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.offsets.len()
    }

    /// Their sequence numbers, in the order of the search.
    pub fn seqs(&self) -> impl Iterator<Item = u64> {
        let (first, order, mut offsets) = (self.first, self.order, self.offsets.iter());
        std::iter::from_fn(move || {
            let offset = match order {
                SearchOrder::NewestFirst => offsets.next_back(),
                SearchOrder::OldestFirst => offsets.next(),
            };
            offset.map(|offset| first | u64::from(offset))
        })
    }
}

/// A search, which goes from part to part, at most one block each.
#[derive(Debug)]
pub struct Search<'p> {
    blocks: &'p Blocks,
    query: PostingQuery,
    /// The entry with which the next part begins in the order of the search; `None` at the end of the range.
    next: Option<u64>,
    parts: u64,
}

impl<'p> Search<'p> {
    pub(super) fn new(blocks: &'p Blocks, query: PostingQuery) -> Self {
        let begin = match query.order {
            SearchOrder::NewestFirst => query.through,
            SearchOrder::OldestFirst => query.from,
        };
        let next = (query.from <= query.through).then_some(begin);
        Self { blocks, query, next, parts: 0 }
    }

    /// The entry with which the next part begins; `None` at the end of the range.
    #[must_use]
    pub const fn position(&self) -> Option<u64> {
        self.next
    }

    /// The next part; `None` at the end of the range, and after as many parts as one search has.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn next_part(&mut self, work: &Cancellation) -> Result<Option<SearchPart>, Cancelled> {
        work.step()?;
        let Some(at) = self.next.filter(|_| self.parts < SEARCH_PARTS_MAX) else { return Ok(None) };
        self.parts = self.parts.saturating_add(1);
        let block = block_of(at);
        let (low, high) = match self.query.order {
            SearchOrder::NewestFirst => (self.query.from.max(first_of(block)), at),
            SearchOrder::OldestFirst => (at, self.query.through.min(last_of(block))),
        };
        let part = match self.blocks.look(block, QueryLook { query: &self.query, low, high }) {
            Found::Nothing => SearchPart { from: low, through: high, hits: None },
            Found::Through(through, offsets) => self.cut(low, high, through, offsets),
        };
        self.next = match self.query.order {
            SearchOrder::NewestFirst => part.from.checked_sub(1).filter(|next| *next >= self.query.from),
            SearchOrder::OldestFirst => {
                part.through.checked_add(1).filter(|next| *next <= self.query.through)
            }
        };
        Ok(Some(part))
    }

    /// The part of `low..=high` that comes next, when the index has the block up to entry `through`.
    fn cut(&self, low: u64, high: u64, through: u64, mut offsets: RoaringBitmap) -> SearchPart {
        let is_unknown = match self.query.order {
            SearchOrder::NewestFirst => high > through,
            SearchOrder::OldestFirst => low > through,
        };
        if is_unknown {
            let from = if low > through { low } else { through.saturating_add(1) };
            return SearchPart { from, through: high, hits: None };
        }
        let through = through.min(high);
        // Entries may have come while the block was looked at.
        offsets.remove_range(u32::from(offset_of(through)).saturating_add(1)..);
        let hits = Hits { first: first_of(block_of(low)), offsets, order: self.query.order };
        SearchPart { from: low, through, hits: Some(hits) }
    }
}

struct QueryLook<'a> {
    query: &'a PostingQuery,
    low: u64,
    high: u64,
}

impl BlockLook<RoaringBitmap> for QueryLook<'_> {
    fn at<L: PostingLists>(&self, lists: &L) -> Result<RoaringBitmap, L::Error> {
        let mut range = RoaringBitmap::new();
        range.insert_range(u32::from(offset_of(self.low))..=u32::from(offset_of(self.high)));
        lists.times().narrow(&mut range, &self.query.times);
        let mut found = RoaringBitmap::new();
        for groups in &self.query.any {
            found |= with_all(lists, groups, range.clone())?;
        }
        Ok(found)
    }
}

/// Those of `found` that have a term of each group.
fn with_all<L: PostingLists>(
    lists: &L,
    groups: &[Vec<Term>],
    mut found: RoaringBitmap,
) -> Result<RoaringBitmap, L::Error> {
    for group in groups {
        if found.is_empty() {
            break;
        }
        let mut any = RoaringBitmap::new();
        for term in group {
            if let Some(list) = lists.list(*term)? {
                any |= list;
            }
        }
        found &= any;
    }
    Ok(found)
}
