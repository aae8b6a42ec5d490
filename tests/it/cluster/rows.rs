//! Entries, and a ledger of a few of them.

/// Most entries of a ledger in the model.
pub(super) const ROWS_MAX: usize = 4;

/// What an entry says. All entries are about one credential and one enrolment code.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// A token of the credential is issued: relies on the credential not being revoked.
    Mint,
    /// The code is used: relies on it not being used.
    Redeem,
    /// The credential is revoked: relies on nothing.
    Revoke,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Mint, Self::Redeem, Self::Revoke];

    /// The kind of an entry after which one of this kind may not come.
    pub(super) fn forbidden_by(self) -> Option<Self> {
        match self {
            Self::Mint => Some(Self::Revoke),
            Self::Redeem => Some(Self::Redeem),
            Self::Revoke => None,
        }
    }
}

/// The id of one attempt to commit, from 1; never used again.
pub(super) type Batch = u8;

/// A set of batches.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Batches(u8);

impl Batches {
    pub(super) fn add(&mut self, batch: Batch) {
        self.0 |= 1 << batch;
    }

    pub(super) fn has(self, batch: Batch) -> bool {
        self.0 & (1 << batch) != 0
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) fn is_apart_from(self, other: Self) -> bool {
        self.0 & other.0 == 0
    }
}

/// An entry, which is a batch of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) batch: Batch,
    /// The batch of the entry that it was sealed to follow; 0 for the first entry.
    pub(super) after: Batch,
}

/// Entries in the order of their numbers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Rows {
    len: u8,
    entries: [Option<Entry>; ROWS_MAX],
}

impl Rows {
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().map_while(|row| *row)
    }

    pub(super) fn len(&self) -> u8 {
        self.len
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries[usize::from(self.len)] = Some(entry);
        self.len += 1;
    }

    /// The first `len` entries; all, if there are fewer.
    pub(super) fn first(&self, len: u8) -> Self {
        let mut rows = *self;
        rows.entries.iter_mut().skip(usize::from(len)).for_each(|row| *row = None);
        rows.len = rows.len.min(len);
        rows
    }

    pub(super) fn get(&self, index: u8) -> Option<Entry> {
        self.entries.get(usize::from(index)).copied().flatten()
    }

    pub(super) fn last(&self) -> Option<Entry> {
        self.len.checked_sub(1).and_then(|at| self.get(at))
    }

    /// How many entries there are up to and with the first that `is_it`; `None` if there is none.
    fn through_first(&self, is_it: impl Fn(Entry) -> bool) -> Option<u8> {
        (1..=self.len).find(|through| self.get(through - 1).is_some_and(&is_it))
    }

    /// How many entries there are up to and with the batch; `None` if it is not there.
    pub(super) fn through(&self, batch: Batch) -> Option<u8> {
        self.through_first(|row| row.batch == batch)
    }

    /// How many entries there are up to and with the first of `kind`; `None` if there is none.
    pub(super) fn through_kind(&self, kind: Kind) -> Option<u8> {
        self.through_first(|row| row.kind == kind)
    }

    /// Whether an entry forbids one of `kind`.
    pub(super) fn forbids(&self, kind: Kind) -> bool {
        kind.forbidden_by().is_some_and(|other| self.through_kind(other).is_some())
    }

    pub(super) fn batches(&self) -> Batches {
        let mut batches = Batches::default();
        self.iter().for_each(|row| batches.add(row.batch));
        batches
    }

    /// Whether `other` begins with these entries.
    pub(super) fn is_beginning_of(&self, other: &Self) -> bool {
        other.first(self.len) == *self
    }
}
