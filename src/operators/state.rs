use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{OperatorId, OperatorName, Timestamp};
use crate::crypto::Digest;
use crate::ledger::Kind;
use crate::store::{At, Event};

/// An operator was given a certificate.
#[derive(Debug, Serialize)]
pub struct OperatorCertified<'a> {
    /// The operator's name.
    pub operator: &'a OperatorName,
    /// Its id.
    pub operator_id: OperatorId,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// SHA-256 of the certificate's public key, in hex.
    pub key: String,
    /// When the certificate ends.
    pub not_after: String,
    /// On whose word: `host` for somebody with the root key on the broker's host.
    pub by: &'a str,
}

impl Event for OperatorCertified<'_> {
    const KIND: Kind = Kind(0x0201);
    const NAME: &'static str = "operator.certified";
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Creates the operator when there is none of this id, and adds a certificate.
    Certify {
        /// The operator.
        id: OperatorId,
        /// Its name.
        name: OperatorName,
        /// The new certificate.
        certificate: OperatorCertificate,
    },
}

/// An operator's certificate as the broker knows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OperatorCertificate {
    /// Its serial.
    pub serial: [u8; 16],
    /// SHA-256 of its public key.
    pub key: Digest,
    /// When it ends.
    pub not_after: Timestamp,
}

/// One operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
    certificates: Vec<OperatorCertificate>,
}

impl Operator {
    /// Whether the certificate with this serial and this key is one of this operator's.
    #[must_use]
    pub fn holds(&self, serial: &[u8; 16], key: &Digest) -> bool {
        self.certificates.iter().any(|one| one.serial == *serial && one.key == *key)
    }
}

/// All operators in memory.
#[derive(Debug, Default)]
pub struct Operators {
    by_name: BTreeMap<OperatorName, Operator>,
}

impl Operators {
    /// The operator of this name.
    #[must_use]
    pub fn named(&self, name: &OperatorName) -> Option<&Operator> {
        self.by_name.get(name)
    }

    /// Takes in one effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        let Effect::Certify { id, name, certificate } = effect;
        let operator = self.by_name.entry(name.clone()).or_insert_with(|| Operator {
            id: *id,
            name: name.clone(),
            certificates: Vec::new(),
        });
        operator.certificates.retain(|old| old.not_after > at.time);
        operator.certificates.push(certificate.clone());
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use crate::base::OperatorName;
    use crate::ledger::Key;

    /// This operator and its certificates.
    #[must_use]
    pub fn operator(name: &OperatorName) -> Key {
        Key::of("operator", name.as_str().as_bytes())
    }
}
