use crate::base::LedgerId;
use crate::crypto::{Aad, Digest};

/// What a block file says of itself, in clear; every page is bound to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BlockHeader {
    pub(super) ledger: LedgerId,
    /// The generation of the index key from which the file's key is derived.
    pub(super) generation: u32,
    pub(super) block: u64,
    /// Random: no two files have the same key.
    pub(super) salt: [u8; 32],
    /// The number of pages with lists.
    pub(super) pages: u32,
    /// The rule by which its entries got terms.
    pub(super) rule: u16,
    /// The hash of its last entry: a block about the entries of a lost history does not have it.
    pub(super) node: Digest,
}

const MAGIC: [u8; 8] = *b"keywrdpl";
const FORMAT: u16 = 2;

impl BlockHeader {
    pub(super) const BYTES: usize = 8 + 2 + 16 + 4 + 8 + 32 + 4 + 2 + 32;

    pub(super) fn encode(&self) -> Vec<u8> {
        [
            MAGIC.as_slice(),
            &FORMAT.to_be_bytes(),
            self.ledger.as_bytes(),
            &self.generation.to_be_bytes(),
            &self.block.to_be_bytes(),
            &self.salt,
            &self.pages.to_be_bytes(),
            &self.rule.to_be_bytes(),
            self.node.as_bytes(),
        ]
        .concat()
    }

    /// Whether another version wrote the file that begins with `bytes`.
    pub(super) fn is_of_other_version(bytes: &[u8]) -> bool {
        let mut fields = Fields(bytes);
        let format = |fields: &mut Fields<'_>| Some(u16::from_be_bytes(fields.array()?));
        fields.array() == Some(MAGIC) && format(&mut fields).is_some_and(|format| format != FORMAT)
    }

    /// The header that `bytes` begin with, if this version wrote it.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.array()? != MAGIC || u16::from_be_bytes(fields.array()?) != FORMAT {
            return None;
        }
        Some(Self {
            ledger: LedgerId::from_bytes(fields.array()?),
            generation: u32::from_be_bytes(fields.array()?),
            block: u64::from_be_bytes(fields.array()?),
            salt: fields.array()?,
            pages: u32::from_be_bytes(fields.array()?),
            rule: u16::from_be_bytes(fields.array()?),
            node: Digest::from_bytes(fields.array()?),
        })
    }

    /// What page `number` is bound to: the whole header, and its place.
    pub(super) fn bound(&self, number: u64) -> Aad {
        Aad::new("keyward/postings").field(&self.encode()).number(number)
    }
}

/// Reads fields of a fixed size one after another.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}
