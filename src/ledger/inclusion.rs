//! Proofs that an entry is in a tree (RFC 9162 §2.1.3).

use std::ops::Range;

use super::tree::parent;
use crate::crypto::Digest;

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

    /// Adds the node of the next entry ([`Entry::node`](super::Entry::node)), from the first one on.
    pub fn add(&mut self, node: Digest) {
        let (before, first) = (self.size, self.found);
        self.size = self.size.saturating_add(1);
        if self.wanted.get(first) == Some(&self.size) {
            self.found = self.found.saturating_add(1);
        }
        let mut right = Subtree { root: node, wanted: first..self.found };
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
    use crate::crypto::sha256;
    use crate::ledger::Tree;

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
