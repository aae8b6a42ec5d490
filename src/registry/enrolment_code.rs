use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::effect::Effect;
use crate::base::{AgentId, CodeId, InstanceId, Network, Timestamp};
use crate::crypto::{Digest, KeyedDigest};
use crate::store::At;

/// An enrolment code as the broker knows it: by the hash of its secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AgentCode {
    /// Its id.
    pub id: CodeId,
    /// For whom it is.
    pub agent: AgentId,
    /// SHA-256 of its secret.
    pub hash: Digest,
    /// The keyed digest of its secret; none once it is used up.
    digest: Option<KeyedDigest>,
    /// The end of its life.
    pub expires_at: Timestamp,
    /// The entry that made it known.
    pub issued_seq: u64,
    /// The number of keys that can redeem it.
    pub uses: u32,
    /// From where it can be redeemed; from anywhere when there is none.
    pub network: Option<Network>,
    /// The instances that redeemed it, by their keys.
    redeemed: BTreeMap<Digest, InstanceId>,
    /// Whether its use with another key has been reported.
    reported: bool,
}

impl AgentCode {
    /// The code that `effect` makes known.
    pub(super) fn issued(at: At, effect: &Effect) -> Option<Self> {
        let Effect::IssueCode { id, agent, hash, digest, expires_at, uses, network } = effect else {
            return None;
        };
        Some(Self {
            id: *id,
            agent: *agent,
            hash: *hash,
            digest: Some(*digest),
            expires_at: *expires_at,
            issued_seq: at.seq,
            uses: *uses,
            network: *network,
            redeemed: BTreeMap::new(),
            reported: false,
        })
    }

    pub(super) fn redeem(&mut self, key: Digest, instance: InstanceId) {
        self.redeemed.insert(key, instance);
        if self.is_used_up() {
            self.digest = None;
        }
    }

    /// The instance that redeemed it with the key of this digest.
    #[must_use]
    pub fn redeemed_with(&self, key: &Digest) -> Option<InstanceId> {
        self.redeemed.get(key).copied()
    }

    /// The instances that redeemed it.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.redeemed.values().copied()
    }

    /// The instance that redeemed it first.
    #[must_use]
    pub fn first_instance(&self) -> Option<InstanceId> {
        self.redeemed.values().min().copied()
    }

    /// Whether as many keys have redeemed it as can.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.uses_left() == 0
    }

    /// The number of further keys that can redeem it.
    #[must_use]
    pub fn uses_left(&self) -> usize {
        usize::try_from(self.uses).unwrap_or(usize::MAX).saturating_sub(self.redeemed.len())
    }

    /// Whether its use with another key has been reported.
    #[must_use]
    pub const fn is_reported(&self) -> bool {
        self.reported
    }

    pub(super) const fn report(&mut self) {
        self.reported = true;
    }

    /// Forgets the digest of an expired code.
    pub(super) const fn forget_digest(&mut self) {
        self.digest = None;
    }
}
