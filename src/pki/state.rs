use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::authority_certificate::{AuthorityCertificate, AuthorityKeyId};
use crate::base::{Timestamp, TrustDomain};
use crate::keyring::{Generations, KeyStage};
use crate::ledger::{Key, Kind};
use crate::store::{At, Event};

/// The first generation of the certificate authority was made.
#[derive(Debug, Serialize)]
pub struct AuthorityFounded<'a> {
    /// The trust domain of its certificates.
    pub trust_domain: &'a str,
    /// SHA-256 of its public key, in hex: what enrolment codes carry.
    pub pin: String,
    /// When its certificate ends.
    pub not_after: String,
}

impl Event for AuthorityFounded<'_> {
    const KIND: Kind = Kind(0x0501);
    const NAME: &'static str = "authority.founded";
}

/// The broker is about to make a certificate for its own listeners.
#[derive(Debug, Serialize)]
pub struct ServerCertified<'a> {
    /// The names it answers to.
    pub names: &'a [String],
    /// SHA-256 of the public key, in hex.
    pub key: String,
    /// The life, in seconds.
    pub life_s: i64,
}

impl Event for ServerCertified<'_> {
    const KIND: Kind = Kind(0x0502);
    const NAME: &'static str = "server.certified";
}

/// A generation of the certificate authority came to another stage: prepared, active, old, tainted or revoked.
#[derive(Debug, Serialize)]
pub struct AuthorityStaged<'a> {
    /// The actor: an operator, or `the schedule`.
    pub by: &'a str,
    /// The generation.
    pub generation: u32,
    /// SHA-256 of its public key, in hex.
    pub pin: String,
    /// The new stage.
    pub stage: &'static str,
    /// Live instances that hold, or know, only what this may take from them.
    pub behind: usize,
}

impl Event for AuthorityStaged<'_> {
    const KIND: Kind = Kind(0x0503);
    const NAME: &'static str = "authority.staged";
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// The first authority's certificate, DER: it is active from here on.
    Found(Vec<u8>),
    /// A further authority is prepared.
    Prepare {
        /// Its generation.
        generation: u32,
        /// Its certificate, DER.
        certificate: Vec<u8>,
    },
    /// A generation is at another stage.
    Stage {
        /// The generation.
        generation: u32,
        /// The stage.
        stage: KeyStage,
    },
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Found(_) | Self::Prepare { .. } | Self::Stage { .. } => keys.push(keys::authority()),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Stage { stage: KeyStage::Old | KeyStage::Tainted | KeyStage::Revoked, .. } => true,
            Self::Found(_)
            | Self::Prepare { .. }
            | Self::Stage { stage: KeyStage::Prepared | KeyStage::Active, .. } => false,
        }
    }
}

/// The certificate authority's public half, in memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Record {
    generations: Generations,
    certificates: BTreeMap<u32, AuthorityCertificate>,
    /// The generation that was prepared last, and the sequence of its entry. A snapshot does not have it.
    #[serde(skip)]
    prepared: Option<(u32, u64)>,
}

impl Record {
    /// The generations and where each is.
    #[must_use]
    pub const fn generations(&self) -> &Generations {
        &self.generations
    }

    /// The sequence of the entry that prepared this generation, unless that was before the snapshot of the last start.
    #[must_use]
    pub fn prepared_seq(&self, generation: u32) -> Option<u64> {
        self.prepared.filter(|(prepared, _)| *prepared == generation).map(|(_, seq)| seq)
    }

    /// The certificate of this generation.
    #[must_use]
    pub fn certificate(&self, generation: u32) -> Option<&AuthorityCertificate> {
        self.certificates.get(&generation)
    }

    /// The stage of the authority with this key.
    #[must_use]
    pub fn stage_of(&self, key: AuthorityKeyId) -> Option<KeyStage> {
        let all = self.generations.all();
        let of = |generation: &u32| self.certificate(*generation).map(AuthorityCertificate::key_id);
        all.into_iter()
            .find(|(generation, _)| of(generation) == Some(key))
            .map(|(_, stage_since)| stage_since.stage)
    }

    /// The generation whose key signed `certificate`, DER, which this broker's ledger keeps: it names the key's
    /// identifier. Nobody else wrote it, so that the name need not be parsed out of it.
    #[must_use]
    pub fn signer_of(&self, certificate: &[u8]) -> Option<u32> {
        let names = |key: AuthorityKeyId| {
            certificate.windows(key.as_bytes().len()).any(|part| part == key.as_bytes())
        };
        let named =
            |(generation, one): (&u32, &AuthorityCertificate)| names(one.key_id()).then_some(*generation);
        self.certificates.iter().find_map(named)
    }

    /// The trust domain; `None` before the first authority.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.certificates.values().next().map(AuthorityCertificate::trust_domain)
    }

    /// Entry times go on from `now`: no key has signed since later than that.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.generations.time_went_back(now);
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Found(certificate) => self.take(at, 1, KeyStage::Active, certificate),
            Effect::Prepare { generation, certificate } => {
                self.prepared = Some((*generation, at.seq));
                self.take(at, *generation, KeyStage::Prepared, certificate);
            }
            Effect::Stage { generation, stage } => self.generations.apply(*generation, *stage, at.time),
        }
    }

    fn take(&mut self, at: At, generation: u32, stage: KeyStage, certificate: &[u8]) {
        // An unreadable record was never written: the writer had parsed it.
        if let Ok(certificate) = AuthorityCertificate::parse(certificate.to_vec()) {
            self.certificates.insert(generation, certificate);
            self.generations.apply(generation, stage, at.time);
        }
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use std::sync::LazyLock;

    use crate::ledger::Key;

    /// The authorities and their stages, on which every decision relies.
    #[must_use]
    pub fn authority() -> Key {
        static KEY: LazyLock<Key> = LazyLock::new(|| Key::of("authority", b""));
        *KEY
    }
}
