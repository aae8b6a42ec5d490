//! Proofs that an entry is in a tree (RFC 9162 §2.1.3).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::entry::Entry;
use super::tree::{Tree, parent};
use crate::crypto::Digest;

/// A block has `2^BLOCK_LEVEL` entries.
const BLOCK_LEVEL: u32 = 12;
const BLOCK_ENTRIES: u64 = 1 << BLOCK_LEVEL;

/// The roots of the full blocks of a ledger, from the first one on, as far as they are known: a proof reads the entries
/// of other blocks only once.
#[derive(Debug, Default)]
pub struct BlockRoots(Mutex<Vec<Digest>>);

impl BlockRoots {
    /// The inclusion proofs of the entries `wanted`, each once and rising, in the tree of the first `size` entries. `read`
    /// returns some entries from a sequence number on. If it fails, the roots of the blocks so far are kept.
    ///
    /// # Errors
    /// The error of `read`. `None` if an entry is missing.
    pub fn prove<E>(
        &self,
        wanted: Vec<u64>,
        size: u64,
        mut read: impl FnMut(u64) -> Result<Vec<Entry>, E>,
    ) -> Result<Option<Vec<Vec<Digest>>>, E> {
        let mut paths = InclusionPaths::of(wanted);
        while paths.size < size {
            let block = paths.size / BLOCK_ENTRIES;
            let end = paths.size.saturating_add(BLOCK_ENTRIES).min(size);
            if let Some(root) = self.root(block).filter(|_| paths.size.saturating_add(BLOCK_ENTRIES) == end)
                && !paths.wants_up_to(end)
            {
                paths.add_subtree(BLOCK_LEVEL, root);
                continue;
            }
            let mut tree = Tree::new();
            while paths.size < end {
                let before = paths.size;
                for entry in read(before.saturating_add(1))? {
                    if paths.size < end && entry.seq == paths.size.saturating_add(1) {
                        tree.append_node(entry.node());
                        paths.add(entry.node());
                    }
                }
                if paths.size == before {
                    return Ok(None);
                }
            }
            if tree.size() == BLOCK_ENTRIES {
                self.keep(block, tree.root());
            }
        }
        Ok(paths.finish())
    }

    fn root(&self, block: u64) -> Option<Digest> {
        let roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roots.get(usize::try_from(block).ok()?).copied()
    }

    fn keep(&self, block: u64, root: Digest) {
        let mut roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if usize::try_from(block) == Ok(roots.len()) {
            roots.push(root);
        }
    }
}

/// Makes the inclusion proofs of some entries while the nodes of all entries are added in order.
#[derive(Debug)]
pub struct InclusionPaths {
    /// Rising sequence numbers.
    wanted: Vec<u64>,
    /// How many of them were added.
    found: usize,
    size: u64,
    /// The perfect subtrees so far, the largest first.
    subtrees: Vec<Subtree>,
    paths: Vec<Vec<Digest>>,
}

#[derive(Debug)]
struct Subtree {
    root: Digest,
    /// The places in `wanted` of the entries inside it.
    wanted: Range<usize>,
}

impl InclusionPaths {
    /// For the entries with these sequence numbers, each once and rising.
    #[must_use]
    pub fn of(wanted: Vec<u64>) -> Self {
        let paths = vec![Vec::new(); wanted.len()];
        Self { wanted, found: 0, size: 0, subtrees: Vec::new(), paths }
    }

    /// Adds the node of the next entry ([`Entry::node`]), from the first one on.
    pub fn add(&mut self, node: Digest) {
        self.add_subtree(0, node);
    }

    /// Whether an entry up to `seq` is wanted and was not added yet.
    fn wants_up_to(&self, seq: u64) -> bool {
        self.wanted.get(self.found).is_some_and(|next| *next <= seq)
    }

    /// Adds the next `2^level` entries, whose subtree has the root `root`. At level 0 the entry may be a wanted one.
    fn add_subtree(&mut self, level: u32, root: Digest) {
        let (before, first) = (self.size.checked_shr(level).unwrap_or(0), self.found);
        self.size = self.size.saturating_add(1_u64.checked_shl(level).unwrap_or(0));
        if self.wanted.get(first) == Some(&self.size) {
            self.found = self.found.saturating_add(1);
        }
        let mut right = Subtree { root, wanted: first..self.found };
        for _ in 0..before.trailing_ones() {
            let Some(left) = self.subtrees.pop() else { break };
            right = self.joined(&left, &right);
        }
        self.subtrees.push(right);
    }

    /// The proofs of the wanted entries in the tree of all that were added, in the order of their sequence numbers: the
    /// hashes beside the way from leaf to root. `None` if an entry is not in the tree.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<Vec<Digest>>> {
        while let Some(right) = self.subtrees.pop() {
            let Some(left) = self.subtrees.pop() else { break };
            let joined = self.joined(&left, &right);
            self.subtrees.push(joined);
        }
        (self.found == self.wanted.len()).then_some(self.paths)
    }

    fn joined(&mut self, left: &Subtree, right: &Subtree) -> Subtree {
        for path in self.paths.get_mut(left.wanted.clone()).into_iter().flatten() {
            path.push(right.root);
        }
        for path in self.paths.get_mut(right.wanted.clone()).into_iter().flatten() {
            path.push(left.root);
        }
        Subtree { root: parent(&left.root, &right.root), wanted: left.wanted.start..right.wanted.end }
    }
}

/// The root of the tree of `size` entries in which entry `seq` has the node `node`, if `path` is its proof (RFC 9162
/// §2.1.3.2). `None` if no tree of this size has such a path.
#[must_use]
pub fn root_by_inclusion(node: Digest, seq: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    let (mut at, mut last) = (seq.checked_sub(1)?, size.checked_sub(1)?);
    if at > last {
        return None;
    }
    let mut root = node;
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = parent(beside, &root);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            root = parent(&root, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::crypto::sha256;
    use crate::ledger::{EntryBatch, EntryCause, EntryChain, Kind, SealedState};

    fn nodes(size: u64) -> Vec<Digest> {
        (0..size).map(|at| sha256(&at.to_be_bytes())).collect()
    }

    #[test]
    fn every_entry_of_every_size_is_proved_and_no_other() {
        for size in 1..=70 {
            let nodes = nodes(size);
            let (mut tree, mut paths) = (Tree::new(), InclusionPaths::of((1..=size).collect()));
            for node in &nodes {
                tree.append_node(*node);
                paths.add(*node);
            }
            let paths = paths.finish().unwrap();
            for (seq, (node, path)) in (1..).zip(nodes.iter().zip(&paths)) {
                assert_eq!(root_by_inclusion(*node, seq, size, path), Some(tree.root()), "{seq} of {size}");
                let other = sha256(b"other");
                assert_ne!(root_by_inclusion(other, seq, size, path), Some(tree.root()));
                assert_ne!(
                    root_by_inclusion(*node, seq % size + 1, size, path),
                    Some(tree.root()).filter(|_| size > 1)
                );
                let longer = [path.as_slice(), &[other]].concat();
                assert_eq!(root_by_inclusion(*node, seq, size, &longer), None);
            }
        }
    }

    fn stored(seq: u64) -> Entry {
        let chain = EntryChain::new([u8::try_from(seq % 251).unwrap(); 32], sha256(b""), Vec::new());
        Entry {
            seq,
            batch: EntryBatch { first: seq, is_last: true },
            time: Timestamp::from_s(0),
            kind: Kind(1),
            chain,
            cause: EntryCause::default(),
            event: seq.to_be_bytes().to_vec(),
            state: SealedState { session: [0; 32], sealed: Vec::new() },
        }
    }

    #[test]
    fn known_blocks_are_not_read_again_and_prove_the_same() {
        let size = 3 * BLOCK_ENTRIES + 5;
        let entries: Vec<Entry> = (1..=size).map(stored).collect();
        let mut tree = Tree::new();
        entries.iter().for_each(|entry| tree.append_node(entry.node()));
        let (blocks, read) = (BlockRoots::default(), std::cell::Cell::new(0));
        let prove = |wanted: &[u64], size: u64| {
            blocks.prove(wanted.to_vec(), size, |from| {
                let from = usize::try_from(from).unwrap() - 1;
                let page = entries[from..entries.len().min(from + 500)].to_vec();
                read.set(read.get() + page.len());
                Ok::<_, ()>(page)
            })
        };
        let wanted = [1, BLOCK_ENTRIES, BLOCK_ENTRIES + 1, size];
        let first = prove(&wanted, size).unwrap().unwrap();
        for (seq, path) in wanted.iter().zip(&first) {
            let node = entries[usize::try_from(*seq).unwrap() - 1].node();
            assert_eq!(root_by_inclusion(node, *seq, size, path), Some(tree.root()), "{seq}");
        }
        let before = read.replace(0);
        assert_eq!(prove(&wanted, size), Ok(Some(first)));
        assert!(read.get() + 4000 < before, "the third block is known: {} of {before}", read.get());
        read.set(0);
        assert_eq!(prove(&[2], BLOCK_ENTRIES - 1).unwrap().unwrap()[0].len(), 12);
        assert_eq!(prove(&[size + 1], size), Ok(None), "not in the tree");
        assert_eq!(blocks.prove(vec![1], size, |_| Err("damaged")), Err("damaged"));
        assert_eq!(
            BlockRoots::default().prove(vec![1], 9, |_| Ok::<_, ()>(Vec::new())),
            Ok(None),
            "nothing is read"
        );
    }

    #[test]
    fn some_entries_get_the_same_proofs_as_all() {
        let nodes = nodes(133);
        let prove = |wanted: Vec<u64>| {
            let mut paths = InclusionPaths::of(wanted);
            nodes.iter().for_each(|node| paths.add(*node));
            paths.finish()
        };
        let all = prove((1..=133).collect()).unwrap();
        let some = prove(vec![1, 64, 65, 133]).unwrap();
        assert_eq!(some, [0, 63, 64, 132].map(|at: usize| all[at].clone()));
        assert_eq!(prove(vec![1, 134]), None, "not in the tree");
        assert_eq!(root_by_inclusion(nodes[0], 0, 133, &all[0]), None, "the first entry has the number 1");
        assert_eq!(root_by_inclusion(nodes[0], 1, 0, &[]), None, "an empty tree");
    }
}
