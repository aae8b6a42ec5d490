/// A part of the index, with keys of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IndexTree(&'static str);

impl IndexTree {
    /// The part called `name`; must be unlike any other.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub(super) const fn name(self) -> &'static str {
        self.0
    }

    /// Where `key` of this part lies: the name's length keeps parts from running into each other.
    pub(super) fn place(self, key: &[u8]) -> Vec<u8> {
        let length = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        [&[b'v', length], self.0.as_bytes(), key].concat()
    }
}

/// One write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Put {
    /// The place.
    pub tree: IndexTree,
    /// Under which key.
    pub key: Vec<u8>,
    /// The value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// The writes of the entries up to `seq`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The last entry whose writes these are.
    pub seq: u64,
    /// The writes, in order.
    pub puts: Vec<Put>,
}
