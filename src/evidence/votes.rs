//! The signatures of operators in the entries of a bundle: votes for requests, and approvals of plans.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::record::EvidenceRecord;
use crate::base::encoding::from_base64url;
use crate::base::{ApprovalId, OperatorName};
use crate::crypto::{p256_point, sha256, verify_p256};
use crate::wire::{ApprovalBallot, PlanBallot};

/// The kinds of entries with a signature or an accepted key, by their numbers: each event is of a room beside this one. A
/// test of `broker` compares them with the events.
pub const DECLARATIONS_APPLIED: u16 = 0x0101;
/// `approval-key.accepted`
pub const APPROVAL_KEY_ACCEPTED: u16 = 0x0221;
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
    approval: ApprovalId,
    digest: String,
    rules_hash: String,
    canonical_request: Option<String>,
    #[serde(flatten)]
    key: SigningKey,
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

/// The parts of `approval-key.accepted`.
#[derive(Deserialize)]
struct Accepted {
    operator: OperatorName,
    key: String,
}

/// Verifies each signature of an operator in `records`, whose entries are proved to be in the ledger.
///
/// # Errors
/// The first entry whose signature, key or request does not fit.
pub(super) fn signatures(records: &[EvidenceRecord]) -> Result<Signatures, u64> {
    let by_seq: BTreeMap<u64, &EvidenceRecord> = records.iter().map(|record| (record.seq, record)).collect();
    let mut found = Signatures::default();
    for record in records {
        match checked(record, &by_seq) {
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
fn checked(record: &EvidenceRecord, by_seq: &BTreeMap<u64, &EvidenceRecord>) -> Option<Checked> {
    let (by, signed, key) = match record.kind {
        APPROVAL_APPROVED => {
            let vote: Vote = serde_json::from_str(&record.event).ok()?;
            let request = vote.canonical_request;
            if request.is_some_and(|request| sha256(request.as_bytes()).hex() != vote.digest) {
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
        _ => return Some(Checked::Unsigned),
    };
    let (Some(public_key), Some(key_seq)) = (&key.public_key, key.key_seq) else {
        return Some(Checked::WithoutKey);
    };
    let public_key = from_base64url(public_key)?;
    let is_key = sha256(&public_key).hex() == key.approval_key
        && by_seq.get(&key_seq).is_none_or(|accepted| accepts(accepted, &by, &key.approval_key));
    let is_signed = verify_p256(p256_point(&public_key)?, &signed, &from_base64url(&key.signature)?);
    (is_key && is_signed).then_some(Checked::Verified)
}

/// Whether `record` accepted this key of the operator.
fn accepts(record: &EvidenceRecord, operator: &OperatorName, key: &str) -> bool {
    let event: Option<Accepted> = serde_json::from_str(&record.event).ok();
    let is_it = |event: Accepted| event.operator == *operator && event.key == key;
    record.kind == APPROVAL_KEY_ACCEPTED && event.is_some_and(is_it)
}
