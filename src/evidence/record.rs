use serde::{Deserialize, Serialize};

use crate::base::encoding::{from_hex, hex};
use crate::base::{IncidentId, Reason, Timestamp};
use crate::crypto::Digest;
use crate::ledger::{DisclosedEntry, EntryCause, Key, Kind, Link};

/// One line of the file `entries.jsonl`: an entry with everything that its leaf is the hash of, and its proof.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRecord {
    /// Its sequence number.
    pub seq: u64,
    /// Why it is in the bundle.
    pub place: EntryPlace,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The number of the event's kind; the leaf contains it.
    pub kind: u16,
    /// The name of the kind. The leaf does not contain it.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The event: JSON in a text, byte for byte.
    pub event: String,
    links: Vec<RecordLink>,
    /// In hex, as all hashes.
    salt: String,
    state_sha256: String,
    path: Vec<String>,
}

/// Why an entry is in a bundle.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryPlace {
    /// It concerns the subject, and is in the range.
    Subject,
    /// It is the last entry before the range that concerns the subject: it shows that the range begins after it.
    Before,
    /// It is the first entry after the range that concerns the subject: it shows that the range ends before it.
    After,
    /// It concerns something that the subject used. The bundle does not claim to have all such entries.
    Related,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RecordLink {
    subject: String,
    previous: u64,
}

impl EvidenceRecord {
    /// The record of `entry`, whose kind is called `name`, with its inclusion proof.
    ///
    /// # Errors
    /// The event is not text.
    pub fn of(
        entry: DisclosedEntry,
        place: EntryPlace,
        name: &str,
        path: &[Digest],
    ) -> Result<Self, std::string::FromUtf8Error> {
        let link =
            |link: &Link| RecordLink { subject: hex(link.subject.as_bytes()), previous: link.previous };
        Ok(Self {
            seq: entry.seq,
            place,
            time_ms: entry.time.ms(),
            kind: entry.kind.0,
            name: name.to_owned(),
            incident: entry.cause.incident,
            reason: entry.cause.reason,
            event: String::from_utf8(entry.event)?,
            links: entry.links.iter().map(link).collect(),
            salt: hex(&entry.salt),
            state_sha256: entry.state.hex(),
            path: path.iter().map(Digest::hex).collect(),
        })
    }

    /// The operator's reason.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_ref().map(Reason::as_str)
    }

    /// The entry before that concerns `subject`, 0 if there is none; `None` if this one does not concern it.
    pub(super) fn previous(&self, subject: &Key) -> Option<u64> {
        let subject = hex(subject.as_bytes());
        self.links.iter().find(|link| link.subject == subject).map(|link| link.previous)
    }

    /// The entry, and its inclusion proof; `None` if a hash has another form.
    pub(super) fn disclosed(&self) -> Option<(DisclosedEntry, Vec<Digest>)> {
        let links = self.links.iter().map(|link| {
            Some(Link { subject: Key::from_bytes(bytes(&link.subject)?), previous: link.previous })
        });
        let path: Option<Vec<Digest>> = self.path.iter().map(|one| digest(one)).collect();
        let entry = DisclosedEntry {
            seq: self.seq,
            time: Timestamp::from_ms(self.time_ms),
            kind: Kind(self.kind),
            cause: EntryCause { incident: self.incident, reason: self.reason.clone() },
            event: self.event.clone().into_bytes(),
            links: links.collect::<Option<_>>()?,
            salt: bytes(&self.salt)?,
            state: digest(&self.state_sha256)?,
        };
        Some((entry, path?))
    }
}

pub(super) fn digest(text: &str) -> Option<Digest> {
    Digest::from_hex(text)
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    from_hex(text)?.try_into().ok()
}
