//! An inverted index of the ledger: which entries have a term.
//!
//! A term stands for a field and a text, and is made with a key of this room. The index follows the ledger and is never
//! the truth: it may lag, be deleted or be damaged, and is then built again from the entries. A search names the ranges
//! that the index does not have, so that its caller reads these entries instead. A reader of the disk learns nothing from
//! the files, and a writer of the disk cannot hide an entry unnoticed.

mod block;
mod block_file;
mod header;
mod indexer;
mod keys;
mod options;
mod place;
mod posting_list;
mod recent;
mod search;
mod source;
mod state;
mod term_cache;
mod times;

pub use indexer::{Postings, discard};
pub use keys::{PostingsKeys, Term};
pub use options::PostingsOptions;
pub use search::{Hits, PostingQuery, Search, SearchOrder, SearchPart};
pub use source::{PostedEntry, PostingSource};
pub use times::TimeSpan;

#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod tests;
