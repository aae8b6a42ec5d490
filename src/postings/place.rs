//! Entries are grouped in blocks of sequence numbers.

/// Sequence numbers of one block: as many as one container of a Roaring bitmap holds.
pub(super) const BLOCK_ENTRIES: usize = 1 << OFFSET_BITS;
const OFFSET_BITS: u32 = 16;
const OFFSET_MASK: u64 = 0xffff;

/// The block of entry `seq`.
pub(super) const fn block_of(seq: u64) -> u64 {
    seq >> OFFSET_BITS
}

/// The place of entry `seq` in its block.
pub(super) fn offset_of(seq: u64) -> u16 {
    u16::try_from(seq & OFFSET_MASK).unwrap_or_default()
}

/// The first sequence number of a block. Block 0 begins with 0, which is no entry.
pub(super) const fn first_of(block: u64) -> u64 {
    block << OFFSET_BITS
}

/// The last sequence number of a block.
pub(super) const fn last_of(block: u64) -> u64 {
    first_of(block) | OFFSET_MASK
}
