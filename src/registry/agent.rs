use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{AgentId, AgentName, Audience, InstanceId, Person, RoleName, Timestamp};
use crate::crypto::Digest;

/// An agent, or a resource server: a name, what it may ask for, and who holds keys in its name.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Agent {
    /// Its id, never given again.
    pub id: AgentId,
    /// Its name, unique among the agents there are.
    pub name: AgentName,
    /// The roles it holds.
    pub roles: Arc<BTreeSet<RoleName>>,
    /// Most live instances at a time.
    pub max_instances: u32,
    /// The audience that it serves, when it is a resource server: it asks about tokens that are meant
    /// for this audience.
    pub serves: Option<Audience>,
    /// The person for whom it acts.
    pub person: Option<Person>,
    /// When it last read a secret of the sensitivity `high`. Policies can test it.
    pub last_sensitive_read: Option<Timestamp>,
    /// Its enrolments, by id, which is by time.
    pub instances: Instances,
}

/// The enrolments of an agent. Nearly always there is one: a tree's node, with room for eleven, would be ten times
/// as large as what is in it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Instances(Vec<Instance>);

impl Instances {
    /// All of them, by id.
    pub fn iter(&self) -> std::slice::Iter<'_, Instance> {
        self.0.iter()
    }

    /// The one of this id.
    #[must_use]
    pub fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.place(id).ok().and_then(|at| self.0.get(at))
    }

    pub(super) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.place(id).ok().and_then(|at| self.0.get_mut(at))
    }

    pub(super) fn insert(&mut self, instance: Instance) {
        match self.place(instance.id) {
            Ok(at) => drop(self.0.get_mut(at).map(|same| *same = instance)),
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, instance);
            }
        }
    }

    pub(super) fn retain(&mut self, keeps: impl FnMut(&Instance) -> bool) {
        self.0.retain(keeps);
    }

    fn place(&self, id: InstanceId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |instance| instance.id)
    }
}

/// The kind of an agent. It is in every certificate, and never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AgentKind {
    /// An agent, which gets tokens.
    Agent,
    /// A resource server, which accepts and introspects tokens.
    ResourceServer,
}

/// One enrolment of an agent, and the certificates that it has held since.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The current certificate.
    pub current: InstanceCertificate,
    /// What it was given at its last renewal and has not used yet. Its first use makes it the
    /// current one; until then the one before still counts, so that a lost answer locks nobody out.
    pub next: Option<Box<InstanceCertificate>>,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// The entry by which it did. A renewal does not change it: a revocation since kills what came later.
    pub enrolled_seq: u64,
    /// From where it enrolled, as far as that was recorded.
    pub enrolled_from: Option<IpAddr>,
}

/// One certificate for one key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InstanceCertificate {
    /// The certificate's serial.
    pub serial: [u8; 16],
    /// SHA-256 of its public key (DER `SubjectPublicKeyInfo`).
    pub key: Digest,
    /// When it begins to hold.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The signed certificate, if it was signed.
    pub signed: Option<SignedAgentCertificate>,
}

/// A certificate as it was signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedAgentCertificate {
    /// The sequence of the entry that keeps it.
    pub seq: u64,
    /// SHA-256 of the certificate in DER: what tokens are bound to.
    pub thumbprint: Digest,
    /// The generation of the authority that signed it.
    pub authority: Option<u32>,
}

/// The certificates of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertificateSlot {
    /// The one it proves itself with.
    Current,
    /// The one it has not used yet.
    Next,
}

/// Whether an instance can still act, as far as time goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceState {
    /// Its certificate holds.
    Live,
    /// Its certificate has ended.
    Expired,
}

impl Instance {
    /// Whether it can act at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> InstanceState {
        if now < self.not_after() { InstanceState::Live } else { InstanceState::Expired }
    }

    /// When the last of its certificates ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.next.as_ref().map_or(self.current.not_after, |next| next.not_after.max(self.current.not_after))
    }

    /// Its certificates: the current one, and the next one if there is one.
    pub fn holdings(&self) -> impl Iterator<Item = &InstanceCertificate> {
        std::iter::once(&self.current).chain(self.next.as_deref())
    }

    /// The one of its certificates that is held so.
    #[must_use]
    pub fn holding(&self, held: CertificateSlot) -> Option<&InstanceCertificate> {
        match held {
            CertificateSlot::Current => Some(&self.current),
            CertificateSlot::Next => self.next.as_deref(),
        }
    }

    /// Whether one of its certificates has this serial: to revoke it, never to authenticate by it.
    #[must_use]
    pub fn has_serial(&self, serial: &[u8; 16]) -> bool {
        self.current.serial == *serial || self.next.as_ref().is_some_and(|next| next.serial == *serial)
    }

    /// Which of its certificates has this serial *and* this key: a serial alone can be copied into
    /// another certificate.
    #[must_use]
    pub fn held(&self, serial: &[u8; 16], key: &Digest) -> Option<CertificateSlot> {
        let is = |one: &InstanceCertificate| one.serial == *serial && one.key == *key;
        if is(&self.current) {
            return Some(CertificateSlot::Current);
        }
        self.next.as_ref().filter(|next| is(next)).map(|_| CertificateSlot::Next)
    }
}

impl Agent {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> AgentKind {
        if self.serves.is_some() { AgentKind::ResourceServer } else { AgentKind::Agent }
    }

    /// The instance that holds the certificate with this serial and this key, and as which of its own.
    #[must_use]
    pub fn instance_of(&self, serial: &[u8; 16], key: &Digest) -> Option<(&Instance, CertificateSlot)> {
        self.instances.iter().find_map(|instance| Some((instance, instance.held(serial, key)?)))
    }
}

impl InstanceCertificate {
    /// A certificate that has been planned and not been signed yet; `times` are its first and last moment.
    pub(super) const fn planned(serial: [u8; 16], key: Digest, times: (Timestamp, Timestamp)) -> Self {
        Self { serial, key, not_before: times.0, not_after: times.1, signed: None }
    }
}
