//! The signatures of operators in the entries of a bundle: votes for requests, and approvals of plans and of lower
//! sensitivities.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::record::EvidenceRecord;
use crate::base::encoding::from_base64url;
use crate::base::{AgentName, ApprovalId, OperatorName, SecretName, Sensitivity, canonical_json};
use crate::crypto::{p256_point, sha256, verify_p256};
use crate::wire::{ApprovalBallot, ApprovalRequest, PlanBallot, SensitivityBallot};

/// The kinds of entries with a signature or an accepted key, by their numbers: each event is of a room beside this one. A
/// test of `broker` compares them with the events.
pub const DECLARATIONS_APPLIED: u16 = 0x0101;
/// `approval-key.accepted`
pub const APPROVAL_KEY_ACCEPTED: u16 = 0x0221;
/// `approval-key.removed`
pub const APPROVAL_KEYS_REMOVED: u16 = 0x0222;
/// `secret.sensitivity-lowered`
pub const SENSITIVITY_LOWERED: u16 = 0x0308;
/// `approval.approved`
pub const APPROVAL_APPROVED: u16 = 0x0f02;

/// The number of signatures of operators in a bundle.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signatures {
    /// Those that were verified.
    pub verified: usize,
    /// Those in entries of earlier versions, which do not have the public key.
    pub without_key: usize,
}

/// The entry that accepted the approval key of a signature, if the event has a signature with a key.
#[must_use]
pub fn key_entry_of(kind: u16, event: &[u8]) -> Option<u64> {
    let key: SigningKey = match kind {
        APPROVAL_APPROVED => serde_json::from_slice::<Vote>(event).ok()?.key,
        DECLARATIONS_APPLIED => serde_json::from_slice::<Applied>(event).ok()?.approved?.key,
        SENSITIVITY_LOWERED => serde_json::from_slice::<Lowered>(event).ok()?.approved?.key,
        _ => return None,
    };
    key.key_seq
}

/// The signature of an operator, and the key that made it.
#[derive(Deserialize)]
struct SigningKey {
    signature: String,
    /// SHA-256 of the key, in hex.
    approval_key: String,
    /// Absent in entries of earlier versions, as the next field.
    public_key: Option<String>,
    key_seq: Option<u64>,
}

/// The parts of `approval.approved`.
#[derive(Deserialize)]
struct Vote {
    by: OperatorName,
    agent: AgentName,
    approval: ApprovalId,
    capabilities: Vec<String>,
    digest: String,
    rules_hash: String,
    /// Absent in entries of earlier versions.
    canonical_request: Option<String>,
    #[serde(flatten)]
    key: SigningKey,
}

/// The parts of the canonical request that the entry of the vote has, too.
#[derive(Deserialize)]
struct SignedRequest {
    #[serde(rename = "type")]
    kind: String,
    agent: String,
    capabilities: Vec<SignedCapability>,
}

#[derive(Deserialize)]
struct SignedCapability {
    name: String,
}

/// The part of `declarations.applied` about the second operator.
#[derive(Deserialize)]
struct Applied {
    approved: Option<ApprovedPlan>,
}

#[derive(Deserialize)]
struct ApprovedPlan {
    operator: OperatorName,
    digest: String,
    #[serde(flatten)]
    key: SigningKey,
}

/// The parts of `secret.sensitivity-lowered`.
#[derive(Deserialize)]
struct Lowered {
    secret: SecretName,
    to: Sensitivity,
    approved: Option<ApprovedSensitivity>,
}

#[derive(Deserialize)]
struct ApprovedSensitivity {
    operator: OperatorName,
    classified_seq: u64,
    expires_at: String,
    #[serde(flatten)]
    key: SigningKey,
}

/// The parts of `approval-key.accepted` and `approval-key.removed`.
#[derive(Deserialize)]
struct KeyChange {
    operator: OperatorName,
    /// The accepted key.
    key: Option<String>,
}

/// Verifies each signature of an operator in `records`, whose entries are proved to be in the ledger.
///
/// # Errors
/// The first entry whose signature, key or request does not fit.
pub(super) fn signatures(records: &[EvidenceRecord]) -> Result<Signatures, u64> {
    let keys = KeyEntries::of(records);
    let mut found = Signatures::default();
    for record in records {
        match checked(record, &keys) {
            None => return Err(record.seq),
            Some(Checked::Verified) => found.verified = found.verified.saturating_add(1),
            Some(Checked::WithoutKey) => found.without_key = found.without_key.saturating_add(1),
            Some(Checked::Unsigned) => {}
        }
    }
    Ok(found)
}

enum Checked {
    Unsigned,
    WithoutKey,
    Verified,
}

/// `None` if the signature, the key or the request of `record` does not fit.
fn checked(record: &EvidenceRecord, keys: &KeyEntries) -> Option<Checked> {
    let (by, signed, key) = match record.kind {
        APPROVAL_APPROVED => {
            let vote: Vote = serde_json::from_str(&record.event).ok()?;
            // An entry has the key and the request, or neither of them.
            if vote.canonical_request.is_some() != vote.key.public_key.is_some() || !has_its_request(&vote) {
                return None;
            }
            let ballot = ApprovalBallot::approve(vote.approval, &vote.digest, &vote.rules_hash);
            (vote.by, ballot.canonical().ok()?, vote.key)
        }
        DECLARATIONS_APPLIED => {
            let applied: Applied = serde_json::from_str(&record.event).ok()?;
            let Some(plan) = applied.approved else { return Some(Checked::Unsigned) };
            let ballot = PlanBallot::approve(&plan.operator, &plan.digest).canonical().ok()?;
            (plan.operator, ballot, plan.key)
        }
        SENSITIVITY_LOWERED => {
            let Lowered { secret, to, approved } = serde_json::from_str(&record.event).ok()?;
            let Some(lower) = approved else { return Some(Checked::Unsigned) };
            let ApprovedSensitivity { operator, classified_seq, expires_at, key } = lower;
            let signed = SensitivityBallot::approve(&operator, &secret, to, classified_seq, &expires_at)
                .canonical()
                .ok()?;
            (operator, signed, key)
        }
        _ => return Some(Checked::Unsigned),
    };
    let (public_key, key_seq) = match (&key.public_key, key.key_seq) {
        (Some(public_key), Some(key_seq)) => (from_base64url(public_key)?, key_seq),
        (None, None) => return Some(Checked::WithoutKey),
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let is_key = sha256(&public_key).hex() == key.approval_key
        && keys.have(&by, &key.approval_key, key_seq, record.seq);
    let is_signed = verify_p256(p256_point(&public_key)?, &signed, &from_base64url(&key.signature)?);
    (is_key && is_signed).then_some(Checked::Verified)
}

/// Whether the request of the vote, if it has one, has the digest, and is one of the agent and for the capabilities that the
/// entry names: people read the entry, and the operator signed the request.
fn has_its_request(vote: &Vote) -> bool {
    let Some(text) = &vote.canonical_request else { return true };
    let is_canonical = |value: serde_json::Value| {
        // Not so, e.g., if a field occurs twice.
        canonical_json(&value).is_ok_and(|canonical| canonical == text.as_bytes())
    };
    let is_of_entry = |request: SignedRequest| {
        let agent = request.agent.strip_prefix("spiffe://").and_then(|id| id.split_once("/agent/"));
        let names = request.capabilities.iter().map(|one| one.name.as_str());
        request.kind == ApprovalRequest::KIND
            && agent.is_some_and(|(_, name)| name == vote.agent.as_str())
            && names.eq(vote.capabilities.iter().map(String::as_str))
    };
    sha256(text.as_bytes()).hex() == vote.digest
        && serde_json::from_str(text).is_ok_and(is_canonical)
        && serde_json::from_str(text).is_ok_and(is_of_entry)
}

/// The changes of approval keys in a bundle, by operator and entry: the accepted key, or none after a removal.
struct KeyEntries(BTreeMap<OperatorName, BTreeMap<u64, Option<String>>>);

impl KeyEntries {
    fn of(records: &[EvidenceRecord]) -> Self {
        let mut entries = Self(BTreeMap::new());
        for record in records {
            let is_accepted = record.kind == APPROVAL_KEY_ACCEPTED;
            if !is_accepted && record.kind != APPROVAL_KEYS_REMOVED {
                continue;
            }
            if let Ok(KeyChange { operator, key }) = serde_json::from_str(&record.event) {
                let changes = entries.0.entry(operator).or_default();
                changes.insert(record.seq, key.filter(|_| is_accepted));
            }
        }
        entries
    }

    /// Whether the entry `key_seq` accepted this key of the operator, and no entry of the bundle replaced or removed it before
    /// the entry `seq`.
    fn have(&self, operator: &OperatorName, key: &str, key_seq: u64, seq: u64) -> bool {
        let last = self.0.get(operator).and_then(|changes| changes.range(..seq).next_back());
        last.is_some_and(|(entry, accepted)| *entry == key_seq && accepted.as_deref() == Some(key))
    }
}
