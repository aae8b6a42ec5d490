//! The bytes of a segment file: a header, then frames, then zeros.

use crc32fast::Hasher;

use super::entry::{Entry, EntryFields, EntryMark, EntrySizes, SIZES_BYTES};
use super::keys::WriterSession;
use crate::base::LedgerId;
use crate::crypto::{Aad, Digest, SEAL_OVERHEAD_BYTES};

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 192;
/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"keywrdsg";
/// The format of segments that this version writes.
pub const SEGMENT_FORMAT: u16 = 2;
// Not UTF-8, so that no event in JSON can contain it.
const FRAME_MAGIC: [u8; 4] = [0xE5, b'K', b'W', 0xFF];
const CHECKSUM_BYTES: usize = 4;
/// Bytes before the entry in a frame: magic and checksum.
const FRAME_HEAD_BYTES: usize = 8;
/// Most bytes that a frame adds to its entry: the head, and zeros up to a multiple of [`ALIGN`].
pub(super) const FRAME_EXTRA_BYTES_MAX: usize = FRAME_HEAD_BYTES + ALIGN - 1;

/// Why bytes are no header of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoHeader {
    /// The bytes are not what was written.
    Damaged(&'static str),
    /// The bytes are of a format that only a later build reads.
    Newer(u16),
    /// The bytes are of a format that only earlier builds read.
    Older(u16),
}

/// What a segment says of itself. Synced before the file gets its name: never torn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SegmentHeader {
    pub(super) ledger: LedgerId,
    pub(super) first_seq: u64,
    /// The node of the entry before the first one.
    pub(super) previous: Digest,
    /// The file's length when it was made.
    pub(super) bytes: u64,
    /// The group commit that stands first, up to this entry, was written by an earlier segment and is copied from it.
    pub(super) carried_through: Option<u64>,
    /// The writer session that made it.
    pub(super) session: [u8; 32],
    /// Proof of that.
    pub(super) seal: [u8; SEAL_OVERHEAD_BYTES],
}

impl SegmentHeader {
    /// The header, sealed by the session that it names; `None` when the keys were wiped.
    pub(super) fn sealed(mut self, session: &WriterSession) -> Option<Self> {
        self.session = session.salt();
        self.seal = session.vouch(self.mark()).try_into().ok()?;
        Some(self)
    }

    /// What its seal is bound to.
    pub(super) fn mark(&self) -> Aad {
        Aad::new("keyward/ledger/segment").field(&self.fields())
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&SEGMENT_FORMAT.to_be_bytes());
        out.extend_from_slice(self.ledger.as_bytes());
        out.extend_from_slice(&self.first_seq.to_be_bytes());
        out.extend_from_slice(self.previous.as_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.extend_from_slice(&self.carried_through.unwrap_or_default().to_be_bytes());
        out.extend_from_slice(&self.session);
        out
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.fields();
        out.extend_from_slice(&self.seal);
        out.resize(const { HEADER_BYTES - CHECKSUM_BYTES }, 0);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    pub(super) fn decode(file: &[u8]) -> Result<Self, NoHeader> {
        const CUT_OFF: NoHeader = NoHeader::Damaged("the header is cut off");
        let (header, _) = file.split_first_chunk::<HEADER_BYTES>().ok_or(CUT_OFF)?;
        let (body, checksum) = header.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CUT_OFF)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(NoHeader::Damaged("the header's checksum does not match"));
        }
        let mut fields = EntryFields(body);
        if fields.array() != Some(SEGMENT_MAGIC) {
            return Err(NoHeader::Damaged("the file is not a segment"));
        }
        match fields.array().map(u16::from_be_bytes).ok_or(CUT_OFF)? {
            SEGMENT_FORMAT => Self::decode_fields(&mut fields).ok_or(CUT_OFF),
            newer if newer > SEGMENT_FORMAT => Err(NoHeader::Newer(newer)),
            0 => Err(NoHeader::Damaged("this version does not know the segment's format")),
            older => Err(NoHeader::Older(older)),
        }
    }

    fn decode_fields(fields: &mut EntryFields<'_>) -> Option<Self> {
        Some(Self {
            ledger: LedgerId::from_bytes(fields.array()?),
            first_seq: u64::from_be_bytes(fields.array()?),
            previous: Digest::from_bytes(fields.array()?),
            bytes: u64::from_be_bytes(fields.array()?),
            carried_through: Some(u64::from_be_bytes(fields.array()?)).filter(|through| *through > 0),
            session: fields.array()?,
            seal: fields.array()?,
        })
    }

    /// Frame checksums start from this, so that a frame of another segment is no frame here.
    pub(super) fn checksum_seed(&self) -> u32 {
        crc32fast::hash(&self.seal)
    }
}

/// The name of the segment that begins with `first_seq`.
pub(super) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The first sequence of the segment called `name`; `None` when it is no segment's name.
pub(super) fn segment_of_name(name: &str) -> Option<u64> {
    let first_seq = name.strip_suffix(".seg")?.parse().ok()?;
    (segment_name(first_seq) == name).then_some(first_seq)
}

/// One frame, as it stands in a segment.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    /// All of it, padding included.
    bytes: &'a [u8],
    pub(super) mark: EntryMark,
    pub(super) entry: Entry,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoFrame {
    /// The bytes end before the frame does.
    Short,
    /// No frame begins here.
    Magic,
    /// The frame's bytes are not what was written.
    Checksum,
    /// The frame is of a sort this build does not know.
    Unknown,
}

impl NoFrame {
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Short => "the frame is cut off",
            Self::Magic => "the frame's first bytes are wrong",
            Self::Checksum => "the frame's checksum does not match",
            Self::Unknown => "this version does not know the kind of the frame",
        }
    }
}

impl<'a> Frame<'a> {
    /// Bytes it takes up, padding included.
    pub(super) const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the frame as it stands, for a segment with another seed.
    pub(super) fn copy(&self, seed: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.bytes);
        put_checksum(seed, out, start);
    }

    /// The frame that `bytes` begin with.
    pub(super) fn decode(bytes: &'a [u8], seed: u32) -> Result<Self, NoFrame> {
        let (bytes, body) = checked(bytes, seed)?;
        let (mark, entry) = Entry::read(body).ok_or(NoFrame::Unknown)?;
        Ok(Self { bytes, mark, entry })
    }
}

/// The first entry of the group commit of the frame that `bytes` begin with.
pub(super) fn batch_of_frame(bytes: &[u8], seed: u32) -> Option<u64> {
    let (_, body) = checked(bytes, seed).ok()?;
    Entry::read(body).map(|(_, entry)| entry.batch.first)
}

fn checked(bytes: &[u8], seed: u32) -> Result<(&[u8], &[u8]), NoFrame> {
    let size = frame_size(bytes)?;
    let whole = bytes.get(..size).ok_or(NoFrame::Short)?;
    let (head, body) = whole.split_at_checked(FRAME_HEAD_BYTES).ok_or(NoFrame::Short)?;
    let stored = head.last_chunk::<CHECKSUM_BYTES>().ok_or(NoFrame::Short)?;
    if checksum(seed, body) == u32::from_be_bytes(*stored) {
        Ok((whole, body))
    } else {
        Err(NoFrame::Checksum)
    }
}

/// Writes a frame with `entry` at the end of `out`, which must stand at a multiple of [`ALIGN`].
pub(super) fn encode_frame(entry: &Entry, mark: EntryMark, seed: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    entry.write(mark, out);
    out.resize(start.saturating_add(padded(entry.len())), 0);
    put_checksum(seed, out, start);
}

fn put_checksum(seed: u32, out: &mut [u8], start: usize) {
    let (_, frame) = out.split_at_mut(start);
    let (head, body) = frame.split_at_mut(FRAME_HEAD_BYTES);
    if let Some(place) = head.last_chunk_mut::<CHECKSUM_BYTES>() {
        *place = checksum(seed, body).to_be_bytes();
    }
}

/// Bytes that the frame at the beginning of `bytes` takes up, by its own unchecked word.
pub(super) fn frame_size(bytes: &[u8]) -> Result<usize, NoFrame> {
    let mut fields = EntryFields(bytes);
    if fields.array().ok_or(NoFrame::Short)? != FRAME_MAGIC {
        return Err(NoFrame::Magic);
    }
    let _checksum: [u8; CHECKSUM_BYTES] = fields.array().ok_or(NoFrame::Short)?;
    let sizes = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + SIZES_BYTES).ok_or(NoFrame::Short)?;
    Ok(padded(EntrySizes::read(sizes).ok_or(NoFrame::Magic)?.total()))
}

/// Bytes of a frame whose entry takes up `entry` bytes.
pub(super) const fn padded(entry: usize) -> usize {
    match FRAME_HEAD_BYTES.saturating_add(entry).checked_next_multiple_of(ALIGN) {
        Some(padded) => padded,
        None => usize::MAX,
    }
}

fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::entry::{EntryBatch, EntryCause, EntryChain, Link, SealedState};
    use super::super::key::{Key, Kind};
    use super::*;
    use crate::base::{IncidentId, Timestamp};

    fn header(carried_through: Option<u64>) -> SegmentHeader {
        SegmentHeader {
            ledger: LedgerId::from_bytes([7; 16]),
            first_seq: 9,
            previous: Digest::from_bytes([3; 32]),
            bytes: 4096,
            carried_through,
            session: [5; 32],
            seal: [6; SEAL_OVERHEAD_BYTES],
        }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        for carried_through in [None, Some(11)] {
            let bytes = header(carried_through).encode();
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(SegmentHeader::decode(&bytes), Ok(header(carried_through)));
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_reads_back_and_any_flipped_bit_is_noticed() {
        let entry = Entry {
            seq: 12,
            batch: EntryBatch { first: 10, is_last: true },
            time: Timestamp::from_ms(99),
            kind: Kind(4),
            chain: EntryChain::new(
                [1; 32],
                Digest::from_bytes([2; 32]),
                vec![Link { subject: Key::from_bytes([3; 16]), previous: 7 }],
            ),
            cause: EntryCause {
                incident: Some(IncidentId::from_bytes([4; 16])),
                reason: Some("a drill".parse().unwrap()),
            },
            event: b"{\"a\":1}".to_vec(),
            state: SealedState { session: [8; 32], sealed: vec![9; 50] },
        };
        let mut bytes = Vec::new();
        encode_frame(&entry, EntryMark::Last, 77, &mut bytes);
        assert_eq!(bytes.len(), padded(entry.len()));
        let frame = Frame::decode(&bytes, 77).unwrap();
        assert_eq!((frame.mark, frame.size()), (EntryMark::Last, bytes.len()));
        assert_eq!((frame.entry.to_bytes(), frame.entry.node()), (entry.to_bytes(), entry.node()));
        assert_eq!(Entry::from_bytes(&entry.to_bytes()).unwrap().leaf(), entry.leaf());
        assert_eq!(Frame::decode(&bytes, 78).unwrap_err(), NoFrame::Checksum);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&bad, 77).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_canonical_names_are_segments() {
        assert_eq!(segment_of_name(&segment_name(42)), Some(42));
        assert_eq!(segment_of_name("42.seg"), None);
        assert_eq!(segment_of_name("+0000000000000000042.seg"), None);
        assert_eq!(segment_of_name("new.tmp"), None);
    }
}
