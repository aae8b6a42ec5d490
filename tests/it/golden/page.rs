//! A reader of stored entries that knows `docs/reference/ledger-format.md` alone.

use keyward::crypto::{sha256, sha256_parts};

/// Reads bytes one field after another, by the tables of `docs/reference/ledger-format.md` alone.
struct Reader(Vec<u8>, usize);

impl Reader {
    fn take(&mut self, len: usize) -> Vec<u8> {
        self.1 += len;
        self.0[self.1 - len..self.1].to_vec()
    }

    fn number(&mut self, len: usize) -> usize {
        self.take(len).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }
}

/// What a stored entry says, as far as these tests look at it.
pub(super) struct ReadEntry {
    pub(super) leaf: Vec<u8>,
    pub(super) event: Vec<u8>,
    pub(super) links: Vec<([u8; 16], usize)>,
}

pub(super) fn by_the_page(stored: Vec<u8>) -> ReadEntry {
    let mut read = Reader(stored, 0);
    let (event, sealed, links) = (read.number(4), read.number(4), read.number(4));
    let (reason, incident, _zero) = (read.number(2), read.take(1), read.take(1));
    let (kind, _mark, _seq, _batch, time) =
        (read.take(2), read.take(2), read.take(8), read.take(8), read.take(8));
    let (salt, _before, _session) = (read.take(32), read.take(32), read.take(32));
    let incident = [incident.clone(), read.take(16 * usize::from(incident[0]))].concat();
    let entry_links: Vec<_> =
        (0..links).map(|_| (read.take(16).try_into().unwrap(), read.number(8))).collect();
    let written: Vec<u8> = entry_links
        .iter()
        .flat_map(|(subject, before): &([u8; 16], usize)| [&subject[..], &before.to_be_bytes()].concat())
        .collect();
    let (reason_text, event, sealed) = (read.take(reason), read.take(event), read.take(sealed));
    assert_eq!(read.1, read.0.len());
    let said = sha256_parts(&[&salt, &time, &incident, &(reason as u16).to_be_bytes(), &reason_text, &event]);
    let shown = sha256_parts(&[sha256(&salt).as_bytes(), &(links as u32).to_be_bytes(), &written]);
    let leaf = [&[2][..], &kind, said.as_bytes(), shown.as_bytes(), sha256(&sealed).as_bytes()].concat();
    ReadEntry { leaf, event, links: entry_links }
}

/// The stored entries of a segment.
pub(super) fn stored_entries(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut rest) = (Vec::new(), &segment[192..]);
    while rest.len() > 8 && rest.starts_with(&[0xE5, b'K', b'W', 0xFF]) {
        let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (reason, incident) = (usize::from(rest[20]) << 8 | usize::from(rest[21]), usize::from(rest[22]));
        let len = 140 + word(8) + word(12) + 24 * word(16) + reason + 16 * incident;
        let is_entry = rest[27] < 2;
        if is_entry {
            found.push(rest[8..8 + len].to_vec());
        }
        rest = &rest[(8 + len).next_multiple_of(8).min(rest.len())..];
    }
    found
}
