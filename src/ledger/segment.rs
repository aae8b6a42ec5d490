//! The bytes of a segment file: a header, then frames, then zeros.

use crc32fast::Hasher;

use super::entry::{Entry, Kind};
use crate::base::{LedgerId, Timestamp};
use crate::crypto::SEAL_OVERHEAD_BYTES;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 192;
/// Bytes of a frame before event and sealed state change; also of a closing frame.
pub(super) const FRAME_BYTES: usize = 80;
/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"keywrdsg";
const SEGMENT_FORMAT: u16 = 1;
// Not UTF-8, so that no event in JSON can contain it.
const FRAME_MAGIC: [u8; 4] = [0xE5, b'K', b'W', 0xFF];
const FRAME_CHECKED_FROM: usize = 8;

/// What a segment says of itself. Synced before the file gets its name: never torn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) ledger: LedgerId,
    pub(super) first_seq: u64,
    pub(super) sealing: Sealing,
    /// The file's length when it was made.
    pub(super) bytes: u64,
    /// The group commit that stands first was written by an earlier segment and is copied from it.
    pub(super) carried: Option<Carried>,
}

/// What a segment's key is derived from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sealing {
    pub(super) generation: u32,
    pub(super) salt: [u8; 32],
}

/// Entries up to `through_seq` were sealed in another segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Carried {
    pub(super) sealing: Sealing,
    pub(super) through_seq: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&SEGMENT_FORMAT.to_be_bytes());
        out.extend_from_slice(self.ledger.as_bytes());
        out.extend_from_slice(&self.first_seq.to_be_bytes());
        out.extend_from_slice(&self.sealing.generation.to_be_bytes());
        out.extend_from_slice(&self.sealing.salt);
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.push(u8::from(self.carried.is_some()));
        if let Some(carried) = &self.carried {
            out.extend_from_slice(&carried.sealing.generation.to_be_bytes());
            out.extend_from_slice(&carried.sealing.salt);
            out.extend_from_slice(&carried.through_seq.to_be_bytes());
        }
        out.resize(const { HEADER_BYTES - 4 }, 0);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    pub(super) fn decode(file: &[u8]) -> Result<Self, &'static str> {
        let (header, _) = file.split_first_chunk::<HEADER_BYTES>().ok_or("the header is cut off")?;
        let (body, checksum) = header.split_last_chunk::<4>().ok_or("the header is cut off")?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err("the header's checksum does not match");
        }
        let mut fields = Fields(body);
        if fields.array() != Some(SEGMENT_MAGIC) {
            return Err("this is no segment");
        }
        if fields.array().map(u16::from_be_bytes) != Some(SEGMENT_FORMAT) {
            return Err("the segment's format is not known to this build");
        }
        Self::decode_fields(&mut fields).ok_or("the header is cut off")
    }

    fn decode_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let ledger = LedgerId::from_bytes(fields.array()?);
        let first_seq = u64::from_be_bytes(fields.array()?);
        let sealing = Sealing::decode(fields)?;
        let bytes = u64::from_be_bytes(fields.array()?);
        let carried = match fields.array()? {
            [0] => None,
            [_] => Some(Carried {
                sealing: Sealing::decode(fields)?,
                through_seq: u64::from_be_bytes(fields.array()?),
            }),
        };
        Some(Self { ledger, first_seq, sealing, bytes, carried })
    }

    /// Frame checksums start from this, so that a frame of another segment is no frame here.
    pub(super) const fn checksum_seed(&self) -> u32 {
        let [a, b, c, d, ..] = self.sealing.salt;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl Sealing {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { generation: u32::from_be_bytes(fields.array()?), salt: fields.array()? })
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

/// What a frame is besides an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    /// More entries of the same group commit follow.
    Within,
    /// The last entry of its group commit.
    Last,
    /// No entry: the ledger was closed in good order before the entry of this number.
    Closing,
}

impl Mark {
    const fn number(self) -> u16 {
        match self {
            Self::Within => 0,
            Self::Last => 1,
            Self::Closing => 2,
        }
    }
}

/// One frame, as it stands in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) seq: u64,
    /// The first sequence of its group commit: tells a torn group commit from damage to an old one.
    pub(super) batch: u64,
    pub(super) mark: Mark,
    pub(super) time: Timestamp,
    pub(super) kind: Kind,
    pub(super) salt: [u8; 32],
    pub(super) event: &'a [u8],
    pub(super) sealed: &'a [u8],
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
            Self::Magic => "no frame begins where one should",
            Self::Checksum => "the frame's checksum does not match",
            Self::Unknown => "the frame is of a sort this build does not know",
        }
    }
}

impl<'a> Frame<'a> {
    pub(super) fn of(entry: &'a Entry, batch: u64, mark: Mark) -> Self {
        Self {
            seq: entry.seq,
            batch,
            mark,
            time: entry.time,
            kind: entry.kind,
            salt: entry.salt,
            event: &entry.event,
            sealed: &entry.sealed,
        }
    }

    pub(super) const fn closing(seq: u64, time: Timestamp) -> Frame<'static> {
        let (mark, kind) = (Mark::Closing, Kind(0));
        Frame { seq, batch: seq, mark, time, kind, salt: [0; 32], event: &[], sealed: &[] }
    }

    pub(super) fn to_entry(self) -> Entry {
        Entry {
            seq: self.seq,
            time: self.time,
            kind: self.kind,
            salt: self.salt,
            event: self.event.to_vec(),
            sealed: self.sealed.to_vec(),
            said: None,
        }
    }

    /// Bytes it takes up, padding included.
    pub(super) fn size(&self) -> usize {
        padded(self.event.len(), self.sealed.len())
    }

    /// Writes the frame at the end of `out`, which must stand at a multiple of [`ALIGN`].
    pub(super) fn encode(&self, seed: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&length(self.event).to_be_bytes());
        out.extend_from_slice(&length(self.sealed).to_be_bytes());
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(&self.mark.number().to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.batch.to_be_bytes());
        out.extend_from_slice(&self.time.ms().to_be_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(self.event);
        out.extend_from_slice(self.sealed);
        out.resize(start.saturating_add(self.size()), 0);
        let (_, frame) = out.split_at_mut(start);
        let (head, checked) = frame.split_at_mut(FRAME_CHECKED_FROM);
        if let Some(place) = head.last_chunk_mut::<4>() {
            *place = checksum(seed, checked).to_be_bytes();
        }
    }

    /// The frame that `bytes` begin with.
    pub(super) fn decode(bytes: &'a [u8], seed: u32) -> Result<Self, NoFrame> {
        let size = frame_size(bytes)?;
        let whole = bytes.get(..size).ok_or(NoFrame::Short)?;
        let (head, checked) = whole.split_at_checked(FRAME_CHECKED_FROM).ok_or(NoFrame::Short)?;
        let stored = head.last_chunk::<4>().ok_or(NoFrame::Short)?;
        if checksum(seed, checked) != u32::from_be_bytes(*stored) {
            return Err(NoFrame::Checksum);
        }
        Self::decode_checked(&mut Fields(checked)).ok_or(NoFrame::Unknown)
    }

    fn decode_checked(fields: &mut Fields<'a>) -> Option<Self> {
        let event_len = u32::from_be_bytes(fields.array()?) as usize;
        let sealed_len = u32::from_be_bytes(fields.array()?) as usize;
        let kind = Kind(u16::from_be_bytes(fields.array()?));
        let mark = match u16::from_be_bytes(fields.array()?) {
            0 => Mark::Within,
            1 => Mark::Last,
            2 => Mark::Closing,
            _ => return None,
        };
        let [0, 0, 0, 0] = fields.array()? else { return None };
        Some(Self {
            seq: u64::from_be_bytes(fields.array()?),
            batch: u64::from_be_bytes(fields.array()?),
            mark,
            time: Timestamp::from_ms(i64::from_be_bytes(fields.array()?)),
            kind,
            salt: fields.array()?,
            event: fields.slice(event_len)?,
            sealed: fields.slice(sealed_len)?,
        })
    }
}

/// Bytes that the frame at the beginning of `bytes` takes up, by its own unchecked word.
pub(super) fn frame_size(bytes: &[u8]) -> Result<usize, NoFrame> {
    let mut fields = Fields(bytes);
    if fields.array().ok_or(NoFrame::Short)? != FRAME_MAGIC {
        return Err(NoFrame::Magic);
    }
    let _checksum: [u8; 4] = fields.array().ok_or(NoFrame::Short)?;
    let event_len = u32::from_be_bytes(fields.array().ok_or(NoFrame::Short)?);
    let sealed_len = u32::from_be_bytes(fields.array().ok_or(NoFrame::Short)?);
    Ok(padded(event_len as usize, sealed_len as usize))
}

/// Bytes that an entry with so much event and state change will take up.
pub(super) fn entry_size(event_len: usize, plain_len: usize) -> usize {
    padded(event_len, plain_len.saturating_add(SEAL_OVERHEAD_BYTES))
}

fn padded(event_len: usize, sealed_len: usize) -> usize {
    let bare = FRAME_BYTES.saturating_add(event_len).saturating_add(sealed_len);
    bare.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX)
}

fn length(bytes: &[u8]) -> u32 {
    // The limits of the house are far below 4 GiB and are checked before.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Reads fixed-size fields one after another.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(carried: Option<Carried>) -> Header {
        Header {
            ledger: LedgerId::from_bytes([7; 16]),
            first_seq: 9,
            sealing: Sealing { generation: 3, salt: [5; 32] },
            bytes: 4096,
            carried,
        }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let sealing = Sealing { generation: 2, salt: [6; 32] };
        for carried in [None, Some(Carried { sealing, through_seq: 11 })] {
            let bytes = header(carried).encode();
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(Header::decode(&bytes), Ok(header(carried)));
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(Header::decode(&bad).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_reads_back_and_any_flipped_bit_is_noticed() {
        let entry = Entry {
            seq: 12,
            time: Timestamp::from_ms(99),
            kind: Kind(4),
            salt: [1; 32],
            event: b"{\"a\":1}".to_vec(),
            sealed: vec![9; 50],
            said: None,
        };
        let mut bytes = Vec::new();
        Frame::of(&entry, 10, Mark::Last).encode(77, &mut bytes);
        assert_eq!(bytes.len(), 144);
        let frame = Frame::decode(&bytes, 77).unwrap();
        assert_eq!((frame.seq, frame.batch, frame.mark), (12, 10, Mark::Last));
        assert_eq!((frame.event, frame.sealed), (&entry.event[..], &entry.sealed[..]));
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
