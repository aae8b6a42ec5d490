use std::collections::{BTreeMap, BTreeSet};

use crate::base::{AgentId, AgentName, InstanceId, RoleName, Timestamp};
use crate::crypto::Digest;

/// An agent: a name, what it may ask for, and who holds keys in its name.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its id, never given again.
    pub id: AgentId,
    /// Its name, unique among the agents there are.
    pub name: AgentName,
    /// The roles it holds.
    pub roles: BTreeSet<RoleName>,
    /// Most live instances at a time.
    pub max_instances: u32,
    /// Its enrolments, by id, which is by time.
    pub instances: BTreeMap<InstanceId, Instance>,
}

/// One enrolment of an agent: one key, one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The certificate's serial.
    pub serial: [u8; 16],
    /// SHA-256 of the certificate's public key (DER `SubjectPublicKeyInfo`).
    pub key: Digest,
    /// When the certificate begins to hold.
    pub not_before: Timestamp,
    /// When the certificate ends.
    pub not_after: Timestamp,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// The entry by which it did.
    pub enrolled_seq: u64,
    /// The sequence of the entry that holds the certificate, once it has been signed.
    pub certificate_seq: Option<u64>,
}

/// Whether an instance can still act.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceState {
    /// Its certificate holds.
    Live,
    /// Its certificate has ended.
    Expired,
}

impl InstanceState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
        }
    }
}

impl Instance {
    /// Whether it can act at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> InstanceState {
        if now < self.not_after { InstanceState::Live } else { InstanceState::Expired }
    }
}

impl Agent {
    /// The instance that holds the certificate with this serial *and* this key: a serial alone can
    /// be copied into another certificate.
    #[must_use]
    pub fn instance_of(&self, serial: &[u8; 16], key: &Digest) -> Option<&Instance> {
        self.instances.values().find(|instance| instance.serial == *serial && instance.key == *key)
    }
}
