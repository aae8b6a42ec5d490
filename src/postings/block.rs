use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::keys::Term;
use super::place::{first_of, last_of, offset_of};
use super::posting_list;
use super::times::BlockTimes;
use crate::base::Timestamp;

/// The lists of one block, wherever they are.
pub(super) trait PostingLists {
    type Error;

    /// The entries with `term`.
    fn list(&self, term: Term) -> Result<Option<RoaringBitmap>, Self::Error>;

    fn times(&self) -> &BlockTimes;
}

/// A block in memory, to which entries are added in order.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) number: u64,
    /// The entry that comes next.
    next: u64,
    pub(super) times: BlockTimes,
    lists: HashMap<Term, Vec<u16>>,
}

impl Block {
    pub(super) fn new(number: u64) -> Self {
        let next = first_of(number).max(1);
        Self { number, next, times: BlockTimes::new(), lists: HashMap::new() }
    }

    /// The entry that comes next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn is_full(&self) -> bool {
        self.next > last_of(self.number)
    }

    /// Adds the next entry, with its time and terms.
    pub(super) fn add(&mut self, time: Timestamp, terms: &[Term]) {
        let offset = offset_of(self.next);
        self.times.note(offset, time);
        for term in terms {
            let list = self.lists.entry(*term).or_default();
            // A term that an entry has twice counts once.
            if list.last() != Some(&offset) {
                list.push(offset);
            }
        }
        self.next = self.next.saturating_add(1);
    }

    /// All lists, by their terms, in order.
    pub(super) fn sorted(&self) -> Vec<(&Term, &Vec<u16>)> {
        let mut sorted: Vec<_> = self.lists.iter().collect();
        sorted.sort_unstable_by_key(|(term, _)| **term);
        sorted
    }
}

impl PostingLists for Block {
    type Error = std::convert::Infallible;

    fn list(&self, term: Term) -> Result<Option<RoaringBitmap>, Self::Error> {
        Ok(self.lists.get(&term).map(|list| posting_list::bitmap(list.iter().copied())))
    }

    fn times(&self) -> &BlockTimes {
        &self.times
    }
}
