use std::collections::HashMap;
use std::io::{self, Read, Write};

use super::entry::{Entry, Link};
use super::key::{Key, Kind};
use super::tree::Tree;
use crate::base::Timestamp;
use crate::crypto::Digest;

/// The newest durable entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Its sequence; 0 when there is none.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
}

impl Head {
    /// Before the first entry.
    pub const NONE: Self = Self { seq: 0, time: Timestamp::from_ms(0) };
}

/// The history that the next entry has to continue.
#[derive(Clone, Debug)]
pub(super) struct LedgerHistory {
    head: Head,
    /// The node of the newest entry; zeros when there is none.
    node: Digest,
    /// The newest delta key that an entry was sealed under.
    generation: u32,
    tree: Tree,
    /// The last entry that concerned each agent and operator.
    last: HashMap<Key, u64>,
}

impl LedgerHistory {
    pub(super) fn new() -> Self {
        let (node, tree, last) = (Digest::from_bytes([0; 32]), Tree::new(), HashMap::new());
        Self { head: Head::NONE, node, generation: 0, tree, last }
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    pub(super) const fn node(&self) -> Digest {
        self.node
    }

    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Goes on with a batch, of which nothing counts yet.
    pub(super) fn succession(&self) -> Succession<'_> {
        let Self { head, node, generation, .. } = *self;
        Succession { history: self, head, node, generation, last: HashMap::new() }
    }

    /// Adds an entry that fits.
    pub(super) fn take(&mut self, entry: &Entry) {
        self.head = Head { seq: entry.seq, time: entry.time };
        self.node = entry.node();
        self.generation = entry.generation().unwrap_or(self.generation);
        self.tree.append_node(self.node);
        for link in &entry.chain.links {
            self.last.insert(link.subject, entry.seq);
        }
    }

    /// Writes what a snapshot as of the newest entry keeps of it.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.generation.to_be_bytes())?;
        self.tree.nodes().try_for_each(|node| out.write_all(node.as_bytes()))?;
        out.write_all(&(self.last.len() as u64).to_be_bytes())?;
        for (subject, seq) in &self.last {
            out.write_all(&[subject.as_bytes().as_slice(), &seq.to_be_bytes()].concat())?;
        }
        Ok(())
    }

    /// Reads what [`LedgerHistory::write`] wrote as of the entry `head` with this node.
    pub(super) fn read(head: Head, node: Digest, from: &mut dyn Read) -> io::Result<Self> {
        let generation = u32::from_be_bytes(array(from)?);
        let nodes = (0..head.seq.count_ones()).map(|_| Ok(Digest::from_bytes(array(from)?)));
        let tree = Tree::of_nodes(head.seq, nodes.collect::<io::Result<_>>()?);
        let count = u64::from_be_bytes(array(from)?);
        let mut last = HashMap::new();
        for _ in 0..count {
            last.insert(Key::from_bytes(array(from)?), u64::from_be_bytes(array(from)?));
        }
        Ok(Self { head, node, generation, tree, last })
    }
}

fn array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Entries that would follow a history.
#[derive(Debug)]
pub(super) struct Succession<'h> {
    history: &'h LedgerHistory,
    head: Head,
    node: Digest,
    generation: u32,
    last: HashMap<Key, u64>,
}

impl Succession<'_> {
    pub(super) const fn head(&self) -> Head {
        self.head
    }

    pub(super) const fn node(&self) -> Digest {
        self.node
    }

    /// The links of an entry that concerns `subjects` and comes next.
    pub(super) fn links(&self, subjects: &[Key]) -> Vec<Link> {
        let link = |subject: &Key| Link { subject: *subject, previous: self.previous(*subject) };
        subjects.iter().map(link).collect()
    }

    fn previous(&self, subject: Key) -> u64 {
        self.last.get(&subject).or_else(|| self.history.last.get(&subject)).copied().unwrap_or_default()
    }

    /// Adds the entry that comes next.
    pub(super) fn add(&mut self, entry: &Entry) {
        self.head = Head { seq: entry.seq, time: entry.time };
        self.node = entry.node();
        self.generation = entry.generation().unwrap_or(self.generation);
        self.last.extend(entry.chain.links.iter().map(|link| (link.subject, entry.seq)));
    }

    /// Whether `entry` can come next; what is wrong with it otherwise.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), &'static str> {
        if entry.seq != self.head.seq.saturating_add(1) {
            return Err("another entry stands in its place");
        }
        if entry.chain.previous != self.node {
            return Err("it was written after another entry than the one before it");
        }
        // A holder of an earlier delta key can seal with it: entries after its rotation are not believed.
        if entry.generation().is_none_or(|generation| generation < self.generation) {
            return Err("it is sealed under an earlier delta key than the entry before it");
        }
        if entry.time < self.head.time && entry.kind != Kind::CLOCK_ADJUSTED {
            return Err("it is older than the entry before it");
        }
        let in_order = entry.chain.links.is_sorted_by(|one, next| one.subject < next.subject);
        if !in_order || entry.chain.links.iter().any(|link| link.previous != self.previous(link.subject)) {
            return Err("it leaves out an entry that concerned the same agent or operator");
        }
        Ok(())
    }
}
