use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::crypto::{Digest, p256_der, verify_p256};
use crate::store::At;

/// The approval keys of an operator: at most one that is proposed, and at most one that counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApprovalKeys {
    proposed: Option<ProposedApprovalKey>,
    accepted: Option<ApprovalKey>,
}

/// A key that an operator proposed with its certificate. It verifies nothing: a program with the certificate of the operator
/// can propose a key too.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProposedApprovalKey {
    /// SHA-256 of the public key (DER `SubjectPublicKeyInfo`), the fingerprint.
    pub key: Digest,
    /// The public key, an uncompressed P-256 point of 65 bytes.
    pub point: Vec<u8>,
    /// The time of the proposal.
    pub proposed_at: Timestamp,
    /// The entry by which the operator had enrolled that proposed it.
    pub enrolled_seq: u64,
}

/// A key that another admin or the broker's host accepted: it verifies the operator's approvals.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApprovalKey {
    proposal: ProposedApprovalKey,
    accepted_at: Timestamp,
    accepted_seq: u64,
    accepted_by: String,
    is_of_introducer: bool,
}

/// A change of the approval keys of an operator. Further changes join at the end: the position is the stored form.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum ApprovalKeyChange {
    /// The operator proposes a key, in the place of an earlier proposal.
    Propose {
        /// SHA-256 of the public key (DER `SubjectPublicKeyInfo`).
        key: Digest,
        /// The public key, an uncompressed P-256 point of 65 bytes.
        point: Vec<u8>,
        /// The entry by which the operator had enrolled.
        enrolled_seq: u64,
    },
    /// The proposed key counts, in the place of the one before.
    Accept {
        /// SHA-256 of the public key.
        key: Digest,
        /// The operator that accepted it, or `host uid N`.
        by: String,
    },
    /// Ends all keys, proposed and accepted.
    Remove,
}

impl ApprovalKeyChange {
    /// Whether it takes something away: such an entry is anchored at once. An acceptance ends the key before.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Accept { .. } | Self::Remove => true,
            Self::Propose { .. } => false,
        }
    }
}

impl ApprovalKey {
    /// SHA-256 of the public key (DER `SubjectPublicKeyInfo`), the fingerprint.
    #[must_use]
    pub const fn fingerprint(&self) -> Digest {
        self.proposal.key
    }

    /// The public key as DER `SubjectPublicKeyInfo` (RFC 5480).
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        p256_der(&self.proposal.point)
    }

    /// The time of the proposal.
    #[must_use]
    pub const fn proposed_at(&self) -> Timestamp {
        self.proposal.proposed_at
    }

    /// The time from which the key counts.
    #[must_use]
    pub const fn accepted_at(&self) -> Timestamp {
        self.accepted_at
    }

    /// The entry from which the key counts.
    #[must_use]
    pub const fn accepted_seq(&self) -> u64 {
        self.accepted_seq
    }

    /// The entry by which the operator had enrolled that proposed the key.
    #[must_use]
    pub const fn enrolled_seq(&self) -> u64 {
        self.proposal.enrolled_seq
    }

    /// The operator that accepted the key, or `host uid N`.
    #[must_use]
    pub fn accepted_by(&self) -> &str {
        &self.accepted_by
    }

    /// Whether the operator that accepted the key had introduced its owner: then it does not show a second person.
    #[must_use]
    pub const fn is_of_introducer(&self) -> bool {
        self.is_of_introducer
    }

    /// Whether `signature` (ECDSA P-256 with SHA-256, DER) is one of `message` by this key.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        verify_p256(&self.proposal.point, message, signature)
    }
}

impl ApprovalKeys {
    /// The key that counts.
    #[must_use]
    pub const fn accepted(&self) -> Option<&ApprovalKey> {
        self.accepted.as_ref()
    }

    /// The key that nobody has accepted yet.
    #[must_use]
    pub const fn proposed(&self) -> Option<&ProposedApprovalKey> {
        self.proposed.as_ref()
    }

    /// The fingerprints of all keys, the accepted one first.
    pub fn fingerprints(&self) -> impl Iterator<Item = Digest> {
        let accepted = self.accepted.iter().map(ApprovalKey::fingerprint);
        accepted.chain(self.proposed.iter().map(|one| one.key))
    }

    /// Applies a change; `is_introducer` says whether the operator that accepts a key introduced its owner. A key that counts
    /// goes on to count until another one is accepted.
    pub(super) fn apply(&mut self, at: At, change: &ApprovalKeyChange, is_introducer: bool) {
        match change {
            ApprovalKeyChange::Propose { key, point, enrolled_seq } => {
                let (key, point, enrolled_seq) = (*key, point.clone(), *enrolled_seq);
                self.proposed = Some(ProposedApprovalKey { key, point, proposed_at: at.time, enrolled_seq });
            }
            ApprovalKeyChange::Accept { key, by } => self.accept(at, *key, by, is_introducer),
            ApprovalKeyChange::Remove => self.end(None),
        }
    }

    fn accept(&mut self, at: At, key: Digest, by: &str, is_of_introducer: bool) {
        let Some(proposal) = self.proposed.take_if(|proposed| proposed.key == key) else { return };
        let (accepted_at, accepted_seq, accepted_by) = (at.time, at.seq, by.to_owned());
        let accepted = ApprovalKey { proposal, accepted_at, accepted_seq, accepted_by, is_of_introducer };
        self.accepted = Some(accepted);
    }

    /// Ends the keys that were proposed under the enrolment by entry `enrolled_seq`; all without one.
    pub(super) fn end(&mut self, enrolled_seq: Option<u64>) {
        let is_of = |one: &ProposedApprovalKey| enrolled_seq.is_none_or(|seq| one.enrolled_seq == seq);
        self.proposed.take_if(|one| is_of(one));
        self.accepted.take_if(|one| is_of(&one.proposal));
    }

    /// Entry times go on from `now`.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        let accepted = self.accepted.as_mut().map(|one| {
            one.accepted_at = one.accepted_at.min(now);
            &mut one.proposal
        });
        for one in self.proposed.iter_mut().chain(accepted) {
            one.proposed_at = one.proposed_at.min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{OperatorId, OperatorName, Scope, SystemEntropy};
    use crate::crypto::{EcdsaKey, SignatureForm, sha256};
    use crate::operators::{Effect, OperatorRole, Operators};

    const BEGIN: Timestamp = Timestamp::from_s(1_800_000_000);

    fn new_key() -> EcdsaKey {
        EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Asn1).unwrap()
    }

    /// The records of the operator `alice`, and the next entry.
    struct Records {
        operators: Operators,
        id: OperatorId,
        seq: u64,
    }

    impl Records {
        fn new() -> Self {
            let id = OperatorId::mint(BEGIN, &SystemEntropy);
            let mut records = Self { operators: Operators::default(), id, seq: 0 };
            let (role, scope) = (OperatorRole::Approver, Scope::Everything);
            records.apply(&Effect::Place { id, name: alice(), role, scope });
            records
        }

        fn apply(&mut self, effect: &Effect) {
            self.seq = self.seq.checked_add(1).unwrap();
            let time = BEGIN.plus_s(i64::try_from(self.seq).unwrap());
            self.operators.apply(At { seq: self.seq, time }, effect);
        }

        fn change(&mut self, change: ApprovalKeyChange) {
            self.apply(&Effect::ChangeApprovalKeys { operator: alice(), change });
        }

        /// Proposes `key`; its fingerprint.
        fn propose(&mut self, key: &EcdsaKey, enrolled_seq: u64) -> Digest {
            let point = key.public_point().to_vec();
            let key = sha256(&key.public_der().unwrap());
            self.change(ApprovalKeyChange::Propose { key, point, enrolled_seq });
            key
        }

        fn accept(&mut self, key: Digest) {
            self.change(ApprovalKeyChange::Accept { key, by: "bob".to_owned() });
        }

        fn verifies(&self, key: &EcdsaKey) -> bool {
            let signature = key.sign(b"a vote").unwrap();
            let accepted = self.operators.approval_key(&alice());
            assert!(accepted.is_none_or(|one| !one.verify(b"another vote", &signature)));
            accepted.is_some_and(|one| one.verify(b"a vote", &signature))
        }
    }

    fn alice() -> OperatorName {
        "alice".parse().unwrap()
    }

    #[test]
    fn proposed_key_verifies_nothing_until_it_is_accepted() {
        let (mut records, key) = (Records::new(), new_key());
        let fingerprint = records.propose(&key, 7);
        assert!(!records.verifies(&key));
        // An acceptance of another key accepts nothing
        records.accept(sha256(b"another key"));
        assert!(!records.verifies(&key));
        records.accept(fingerprint);
        assert!(records.verifies(&key) && !records.verifies(&new_key()));
        let accepted = records.operators.approval_key(&alice()).unwrap();
        assert_eq!((accepted.accepted_seq(), accepted.accepted_by()), (4, "bob"));
        assert_eq!(accepted.fingerprint(), fingerprint);
        assert_eq!(accepted.public_der(), key.public_der().unwrap());
    }

    #[test]
    fn replaced_key_counts_until_its_successor_is_accepted() {
        let (mut records, [old, new]) = (Records::new(), [(); 2].map(|()| new_key()));
        let first = records.propose(&old, 7);
        records.accept(first);
        let second = records.propose(&new, 7);
        assert!(records.verifies(&old) && !records.verifies(&new));
        records.accept(second);
        assert!(records.verifies(&new) && !records.verifies(&old));
    }

    #[test]
    fn keys_end_with_the_operator_and_with_the_enrolment_that_proposed_them() {
        let (mut records, key) = (Records::new(), new_key());
        let count = |records: &mut Records, enrolled_seq| {
            let fingerprint = records.propose(&key, enrolled_seq);
            records.accept(fingerprint);
            assert!(records.verifies(&key));
        };
        count(&mut records, 7);
        records.change(ApprovalKeyChange::Remove);
        assert!(!records.verifies(&key));
        count(&mut records, 7);
        records.operators.end_approval_keys(records.id, Some(8));
        assert!(records.verifies(&key), "another machine was revoked");
        records.operators.end_approval_keys(records.id, Some(7));
        assert!(!records.verifies(&key));
        count(&mut records, 7);
        records.operators.end_approval_keys(records.id, None);
        assert!(!records.verifies(&key));
        count(&mut records, 7);
        records.apply(&Effect::Remove(alice()));
        assert!(!records.verifies(&key));
    }
}
