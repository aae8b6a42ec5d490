use crate::crypto::{Digest, sha256, sha256_parts};

/// A Merkle tree over leaves in order, kept as the roots of its perfect subtrees (RFC 6962 §2.1):
/// at most 64 hashes for every size.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// Roots of perfect subtrees, the largest first: one for each bit that is set in `size`.
    subtrees: Vec<Digest>,
}

impl Tree {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree with so many leaves and these roots of perfect subtrees, the largest first.
    pub(super) const fn of_nodes(size: u64, subtrees: Vec<Digest>) -> Self {
        Self { size, subtrees }
    }

    /// The roots of its perfect subtrees, the largest first.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Digest> {
        self.subtrees.iter()
    }

    /// Adds `leaf` at the right.
    pub fn append(&mut self, leaf: &[u8]) {
        self.append_node(sha256_parts(&[&[LEAF], leaf]));
    }

    /// Adds the leaf that hashes to `node` ([`Entry::node`](super::Entry::node)).
    pub fn append_node(&mut self, mut node: Digest) {
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = parent(&left, &node);
            }
        }
        self.subtrees.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its root hash.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut from_the_right = self.subtrees.iter().rev();
        let Some(&smallest) = from_the_right.next() else { return sha256(b"") };
        from_the_right.fold(smallest, |right, left| parent(left, &right))
    }
}

// Different first bytes, so that no inner node can be passed off as a leaf.
const LEAF: u8 = 0;
const NODE: u8 = 1;

pub(super) fn parent(left: &Digest, right: &Digest) -> Digest {
    sha256_parts(&[&[NODE], left.as_bytes(), right.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::encoding::from_hex;

    /// Leaves and roots that the Certificate Transparency implementations publish as test data.
    const VECTORS: [(&str, &str); 8] = [
        ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (
            "606162636465666768696a6b6c6d6e6f",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];

    #[test]
    fn roots_match_the_published_ones() {
        let mut tree = Tree::new();
        assert_eq!(tree.root().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in VECTORS {
            tree.append(&from_hex(leaf).unwrap());
            assert_eq!(tree.root().hex(), root, "size {}", tree.size());
        }
        assert_eq!(tree.size(), 8);
    }

    /// The definition of RFC 6962 §2.1, word for word.
    fn by_definition(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => sha256(b""),
            [leaf] => sha256_parts(&[&[0], leaf]),
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                sha256_parts(&[&[1], by_definition(left).as_bytes(), by_definition(right).as_bytes()])
            }
        }
    }

    #[test]
    fn every_size_agrees_with_the_definition() {
        let leaves: Vec<Vec<u8>> = (0..130_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let mut tree = Tree::new();
        for size in 1..=leaves.len() {
            tree.append(&leaves[size - 1]);
            assert_eq!(tree.root(), by_definition(&leaves[..size]), "size {size}");
        }
    }
}
