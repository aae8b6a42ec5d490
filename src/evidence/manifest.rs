use serde::{Deserialize, Serialize};

use super::archive::{ArchiveError, Files, pack};
use super::record::{EvidenceRecord, digest};
use super::render;
use super::scope::EvidenceScope;
use super::timeline::Timeline;
use crate::crypto::{Digest, sha256};
use crate::ledger::Notary;

pub(super) const MANIFEST: &str = "manifest.txt";
pub(super) const CHECKPOINT: &str = "checkpoint.txt";
pub(super) const ENTRIES: &str = "entries.jsonl";
pub(super) const SCOPE: &str = "scope.json";
pub(super) const TAKEOVERS: &str = "checkpoint-keys.jsonl";
const PAGE: &str = "timeline.html";
const MARKDOWN: &str = "timeline.md";
const INCIDENT: &str = "incident.json";
const README: &str = "README.txt";

/// The page docs/reference/evidence-format.md describes the same files.
const HOW: &str = "This is evidence from the ledger of a Keyward broker.

timeline.html         what happened, for a browser; it loads nothing
timeline.md           the same as text
entries.jsonl         the entries of the ledger, with a proof each (RFC 9162, section 2.1.3);
                      those of votes have the request, the key and the signature
scope.json            the subject, the beginning of the range, and its last entry
incident.json         the record of the incident, if the bundle was made for one
checkpoint.txt        the signed state of the ledger (C2SP tlog-checkpoint)
checkpoint-keys.jsonl earlier changes of the key that signs checkpoints
manifest.txt          the hash of every other file, signed by the same key

Nothing in it is proved before you have verified it. Use the checkpoint key that you
got from the broker's operators before, and not from the sender of this file:

  keyward verify FILE.zip --key KEY
";

/// A change of the checkpoint key: a line of the file `checkpoint-keys.jsonl`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Takeover {
    /// The entry that announced it.
    pub seq: u64,
    /// The announcement, signed by both keys.
    pub note: String,
}

/// The content of a bundle.
#[derive(Debug)]
pub struct BundleParts<'a> {
    /// What it is about.
    pub scope: &'a EvidenceScope,
    /// The entries, rising.
    pub records: &'a [EvidenceRecord],
    /// The signed checkpoint that the proofs lead to.
    pub checkpoint: &'a str,
    /// The changes of the checkpoint key so far.
    pub takeovers: &'a [Takeover],
    /// The timeline of the entries.
    pub timeline: &'a Timeline,
    /// The record of the incident in JSON, if the bundle is made for one.
    pub incident: Option<&'a serde_json::Value>,
}

/// The bundle of `parts`, signed by `notary`.
///
/// # Errors
/// [`ArchiveError`].
pub fn bundle(parts: &BundleParts<'_>, notary: &Notary) -> Result<Vec<u8>, ArchiveError> {
    let scope = json(parts.scope)?;
    let mut files: Files = [
        (README, HOW.as_bytes().to_vec()),
        (CHECKPOINT, parts.checkpoint.as_bytes().to_vec()),
        (ENTRIES, lines(parts.records)?),
        (SCOPE, [scope, b"\n".to_vec()].concat()),
        (TAKEOVERS, lines(parts.takeovers)?),
        (PAGE, render::html(parts.timeline).into_bytes()),
        (MARKDOWN, render::markdown(parts.timeline).into_bytes()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into();
    if let Some(incident) = parts.incident {
        files.insert(INCIDENT.to_owned(), [json(incident)?, b"\n".to_vec()].concat());
    }
    let manifest = notary.sign_manifest(&hashes(&files));
    files.insert(MANIFEST.to_owned(), manifest.into_bytes());
    pack(&files)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, ArchiveError> {
    serde_json::to_vec(value).map_err(|_| ArchiveError::Form)
}

fn lines<T: Serialize>(values: &[T]) -> Result<Vec<u8>, ArchiveError> {
    let mut out = Vec::new();
    for value in values {
        out.extend_from_slice(&json(value)?);
        out.push(b'\n');
    }
    Ok(out)
}

/// A line for each file but the manifest: `SHA-256 in hex, space, name`, in the order of names.
pub(super) fn hashes(files: &Files) -> Vec<String> {
    let others = files.iter().filter(|(name, _)| *name != MANIFEST);
    others.map(|(name, bytes)| format!("{} {name}", sha256(bytes).hex())).collect()
}

/// Whether `line` names a hash: a manifest says nothing else.
pub(super) fn hash_of(line: &str) -> Option<(Digest, &str)> {
    let (hash, name) = line.split_once(' ')?;
    Some((digest(hash)?, name))
}
