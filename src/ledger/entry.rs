use std::sync::OnceLock;

use super::key::{Key, Kind};
use crate::base::{IncidentId, Reason, Timestamp};
use crate::crypto::{Digest, SEAL_OVERHEAD_BYTES, sealed_by, sha256, sha256_parts};

/// One durable entry, as read back.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place: counts up from 1 without a gap.
    pub seq: u64,
    /// Its group commit.
    pub batch: EntryBatch,
    /// When it was written; never earlier than the entry before it.
    pub time: Timestamp,
    /// The kind of the event.
    pub kind: Kind,
    /// Its links to earlier entries.
    pub chain: EntryChain,
    /// Its cause.
    pub cause: EntryCause,
    /// The event in JSON.
    pub event: Vec<u8>,
    /// The sealed state change.
    pub state: SealedState,
}

/// The group commit of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EntryBatch {
    /// Its first entry.
    pub first: u64,
    /// Whether the entry is its last one.
    pub is_last: bool,
}

/// The links of an entry to earlier entries, and the salt of its hashes.
#[derive(Clone, Debug)]
pub struct EntryChain {
    /// Random, so that a hash of a guessable event is no oracle.
    pub salt: [u8; 32],
    /// The node of the entry before it ([`Entry::node`]); zeros in the first entry.
    pub previous: Digest,
    /// The agents and operators concerned, in the order of their keys.
    pub links: Vec<Link>,
    digests: OnceLock<EntryDigests>,
    node: OnceLock<Digest>,
}

impl EntryChain {
    pub(super) const fn new(salt: [u8; 32], previous: Digest, links: Vec<Link>) -> Self {
        Self { salt, previous, links, digests: OnceLock::new(), node: OnceLock::new() }
    }
}

/// The cause of an entry.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EntryCause {
    /// The incident that it belongs to.
    pub incident: Option<IncidentId>,
    /// The operator's reason.
    pub reason: Option<Reason>,
}

/// The sealed state change of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedState {
    /// The salt of the writer session that sealed it.
    pub session: [u8; 32],
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// An agent or operator whom an entry concerns, and the entry before that concerned it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// The key of the agent or operator.
    pub subject: Key,
    /// The entry before; 0 when there is none.
    pub previous: u64,
}

/// The content of an entry for leaf and seal.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryDigests {
    /// SHA-256 of salt, time, incident, reason and event.
    pub(super) said: Digest,
    /// SHA-256 of SHA-256 of the salt, and the links.
    pub(super) links: Digest,
}

impl EntryDigests {
    pub(super) fn of(
        salt: &[u8; 32],
        time: Timestamp,
        cause: &EntryCause,
        event: &[u8],
        links: &[Link],
    ) -> Self {
        let reason = cause.reason.as_ref().map_or("", Reason::as_str);
        let said = sha256_parts(&[
            salt,
            &time.ms().to_be_bytes(),
            &[u8::from(cause.incident.is_some())],
            cause.incident.as_ref().map_or(&[], |incident| incident.as_bytes().as_slice()),
            &reason_len(reason).to_be_bytes(),
            reason.as_bytes(),
            event,
        ]);
        Self { said, links: sha256_parts(&[sha256(salt).as_bytes(), &written_links(links)]) }
    }
}

/// The leaf of an entry with these digests, and the digest `state` of the sealed state change.
pub(super) fn leaf(kind: Kind, digests: &EntryDigests, state: &Digest) -> Vec<u8> {
    let mut out = Vec::with_capacity(LEAF_BYTES);
    out.push(LEAF_VERSION);
    out.extend_from_slice(&kind.0.to_be_bytes());
    out.extend_from_slice(digests.said.as_bytes());
    out.extend_from_slice(digests.links.as_bytes());
    out.extend_from_slice(state.as_bytes());
    out
}

/// The node of a leaf in the Merkle tree.
pub(super) fn node_of(leaf: &[u8]) -> Digest {
    sha256_parts(&[&[LEAF_PREFIX], leaf])
}

/// Bytes of an entry before incident, links, reason, event and sealed state change.
pub(super) const FIXED_BYTES: usize = 140;
const LINK_BYTES: usize = 24;
const COUNT_BYTES: usize = 4;
const INCIDENT_BYTES: usize = 16;
const LEAF_VERSION: u8 = 2;
const LEAF_BYTES: usize = 99;
/// The first byte of what a node is the hash of (RFC 6962 §2.1).
const LEAF_PREFIX: u8 = 0;

impl Entry {
    /// The entry's leaf in the Merkle tree, 99 bytes: `version ‖ kind ‖ SHA-256(salt ‖ time ‖ incident ‖ reason ‖
    /// event) ‖ SHA-256(SHA-256(salt) ‖ links) ‖ SHA-256(sealed state change)`.
    ///
    /// What is hashed is stored beside it and disclosed per entry: public tiles carry hashes only, and an event can be
    /// withheld, also while its links are shown, without breaking a proof.
    #[must_use]
    pub fn leaf(&self) -> Vec<u8> {
        leaf(self.kind, self.digests(), &sha256(&self.state.sealed))
    }

    /// The hash of its leaf: the entry's node in the Merkle tree.
    #[must_use]
    pub fn node(&self) -> Digest {
        *self.chain.node.get_or_init(|| node_of(&self.leaf()))
    }

    /// The same, without what is remembered of it: its fields may have been altered since.
    pub(super) fn unread(&self) -> Self {
        let EntryChain { salt, previous, links, .. } = self.chain.clone();
        Self { chain: EntryChain::new(salt, previous, links), ..self.clone() }
    }

    /// The generation of the delta key that it says it was sealed under.
    pub(super) fn generation(&self) -> Option<u32> {
        sealed_by(&self.state.sealed).ok().map(|key| key.generation)
    }

    pub(super) fn digests(&self) -> &EntryDigests {
        let (chain, cause) = (&self.chain, &self.cause);
        chain
            .digests
            .get_or_init(|| EntryDigests::of(&chain.salt, self.time, cause, &self.event, &chain.links))
    }

    fn reason(&self) -> &str {
        self.cause.reason.as_ref().map_or("", Reason::as_str)
    }

    /// Bytes that [`Entry::write`] adds.
    pub(super) fn len(&self) -> usize {
        let incident = if self.cause.incident.is_some() { INCIDENT_BYTES } else { 0 };
        [incident, self.chain.links.len().saturating_mul(LINK_BYTES), self.reason().len(), self.event.len()]
            .into_iter()
            .fold(FIXED_BYTES.saturating_add(self.state.sealed.len()), usize::saturating_add)
    }

    /// Its stored form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.write(if self.batch.is_last { EntryMark::Last } else { EntryMark::Within }, &mut out);
        out
    }

    /// Writes its stored form at the end of `out`.
    pub(super) fn write(&self, mark: EntryMark, out: &mut Vec<u8>) {
        out.extend_from_slice(&long_len(&self.event).to_be_bytes());
        out.extend_from_slice(&long_len(&self.state.sealed).to_be_bytes());
        out.extend_from_slice(&long_len(&self.chain.links).to_be_bytes());
        out.extend_from_slice(&reason_len(self.reason()).to_be_bytes());
        out.extend_from_slice(&[u8::from(self.cause.incident.is_some()), 0]);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(&mark.number().to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.batch.first.to_be_bytes());
        out.extend_from_slice(&self.time.ms().to_be_bytes());
        out.extend_from_slice(&self.chain.salt);
        out.extend_from_slice(self.chain.previous.as_bytes());
        out.extend_from_slice(&self.state.session);
        if let Some(incident) = &self.cause.incident {
            out.extend_from_slice(incident.as_bytes());
        }
        out.extend_from_slice(written_links(&self.chain.links).get(COUNT_BYTES..).unwrap_or_default());
        out.extend_from_slice(self.reason().as_bytes());
        out.extend_from_slice(&self.event);
        out.extend_from_slice(&self.state.sealed);
    }

    /// The entry with this stored form; `None` when `bytes` are none that this build knows.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let sizes = EntrySizes::read(bytes)?;
        (sizes.total() == bytes.len()).then_some(())?;
        let (mark, entry) = Self::read(bytes)?;
        (mark != EntryMark::Closing).then_some(entry)
    }

    /// The entry that `bytes` begin with. Of a closing mark it holds number, time, the node before and the seal.
    pub(super) fn read(bytes: &[u8]) -> Option<(EntryMark, Self)> {
        let sizes = EntrySizes::read(bytes)?;
        let mut fields = EntryFields(bytes.get(SIZES_BYTES..)?);
        let kind = Kind(u16::from_be_bytes(fields.array()?));
        let mark = EntryMark::of_number(u16::from_be_bytes(fields.array()?))?;
        let (seq, first) = (u64::from_be_bytes(fields.array()?), u64::from_be_bytes(fields.array()?));
        let time = Timestamp::from_ms(i64::from_be_bytes(fields.array()?));
        let (salt, previous) = (fields.array()?, Digest::from_bytes(fields.array()?));
        let session = fields.array()?;
        let incident = if sizes.has_incident { Some(IncidentId::from_bytes(fields.array()?)) } else { None };
        let links = (0..sizes.links).map(|_| read_link(&mut fields)).collect::<Option<_>>()?;
        let reason = match fields.slice(sizes.reason)? {
            [] => None,
            text => Some(std::str::from_utf8(text).ok()?.parse().ok()?),
        };
        let (event, sealed) = (fields.slice(sizes.event)?.to_vec(), fields.slice(sizes.sealed)?.to_vec());
        let is_last = mark == EntryMark::Last;
        let entry = Self {
            seq,
            batch: EntryBatch { first, is_last },
            time,
            kind,
            chain: EntryChain::new(salt, previous, links),
            cause: EntryCause { incident, reason },
            event,
            state: SealedState { session, sealed },
        };
        Some((mark, entry))
    }
}

/// What stands in a row of entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntryMark {
    /// More entries of the same group commit follow.
    Within,
    /// The last entry of its group commit.
    Last,
    /// No entry: the ledger was closed in good order before the entry of this number.
    Closing,
}

impl EntryMark {
    const fn number(self) -> u16 {
        match self {
            Self::Within => 0,
            Self::Last => 1,
            Self::Closing => 2,
        }
    }

    const fn of_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Within),
            1 => Some(Self::Last),
            2 => Some(Self::Closing),
            _ => None,
        }
    }
}

/// The lengths that a stored entry begins with.
pub(super) struct EntrySizes {
    event: usize,
    sealed: usize,
    reason: usize,
    links: usize,
    has_incident: bool,
}

/// Bytes that the lengths take up.
pub(super) const SIZES_BYTES: usize = 16;

impl EntrySizes {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = EntryFields(bytes);
        let (event, sealed) = (u32::from_be_bytes(fields.array()?), u32::from_be_bytes(fields.array()?));
        let links = u32::from_be_bytes(fields.array()?);
        let reason = u16::from_be_bytes(fields.array()?);
        let [incident @ 0..=1, 0] = fields.array()? else { return None };
        Some(Self {
            event: event as usize,
            sealed: sealed as usize,
            reason: usize::from(reason),
            links: links as usize,
            has_incident: incident == 1,
        })
    }

    /// Bytes of the whole entry, by their own unchecked word.
    pub(super) const fn total(&self) -> usize {
        let incident = if self.has_incident { INCIDENT_BYTES } else { 0 };
        FIXED_BYTES
            .saturating_add(incident)
            .saturating_add(self.links.saturating_mul(LINK_BYTES))
            .saturating_add(self.reason)
            .saturating_add(self.event)
            .saturating_add(self.sealed)
    }
}

/// Most bytes of an entry that concerns so many, with so much event, reason and sealed text.
pub(super) fn entry_bytes_max(concerns: usize, event: usize, reason: usize, plain: usize) -> usize {
    [INCIDENT_BYTES, concerns.saturating_mul(LINK_BYTES), reason, event, plain, SEAL_OVERHEAD_BYTES]
        .into_iter()
        .fold(FIXED_BYTES, usize::saturating_add)
}

/// `count u32 ‖ count times (subject 16 ‖ previous u64)`.
fn written_links(links: &[Link]) -> Vec<u8> {
    let mut out = Vec::with_capacity(links.len().saturating_mul(LINK_BYTES).saturating_add(COUNT_BYTES));
    out.extend_from_slice(&long_len(links).to_be_bytes());
    for link in links {
        out.extend_from_slice(link.subject.as_bytes());
        out.extend_from_slice(&link.previous.to_be_bytes());
    }
    out
}

fn read_link(fields: &mut EntryFields<'_>) -> Option<Link> {
    Some(Link { subject: Key::from_bytes(fields.array()?), previous: u64::from_be_bytes(fields.array()?) })
}

fn long_len<T>(parts: &[T]) -> u32 {
    // The limits are far below 4 GiB and are checked before.
    u32::try_from(parts.len()).unwrap_or(u32::MAX)
}

fn reason_len(reason: &str) -> u16 {
    u16::try_from(reason.len()).unwrap_or(u16::MAX)
}

/// Reads fixed-size fields one after another.
pub(super) struct EntryFields<'a>(pub(super) &'a [u8]);

impl<'a> EntryFields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }
}
