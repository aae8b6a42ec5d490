use std::sync::Arc;

use super::effect::Effect;
use crate::base::{CodeId, SecretId, SecretName, Timestamp};
use crate::incidents;
use crate::keyring::KeyStage;
use crate::leases::{self, EndReason, LeaseSelection, Leases};
use crate::ledger::Key;
use crate::operators;
use crate::pki;
use crate::registry::{self, Registry, Removals};
use crate::revocation;
use crate::secrets::{self, Catalogue};
use crate::token::{self, TokenKeys};

/// What is taken away before an entry says so. Its constructors are for what takes away, and gives nothing.
#[derive(Clone, Debug)]
pub enum MemoryRevocation {
    /// Everything of a subject.
    Subject(revocation::Denial),
    /// Everything of the subject of an incident.
    Incident(Box<UnrecordedContainment>),
    /// Tokens, values and logins of all agents.
    Freeze,
    /// Something else.
    Other(Arc<DeniedEffect>),
    /// Enrolment codes. No receipt of an enrolment with one of them is delivered.
    Codes(Vec<CodeId>),
    /// All of these, by one entry.
    Several(Vec<Self>),
}

/// A containment that is in force before its entry.
#[derive(Clone, Debug)]
pub struct UnrecordedContainment {
    pub(crate) at: Timestamp,
    pub(crate) marks: revocation::Containment,
    pub(crate) contained: incidents::Contained,
}

impl UnrecordedContainment {
    pub(crate) fn denial(&self) -> revocation::Denial {
        revocation::Denial::Contain(self.marks.clone())
    }
}

/// An effect that ends something, in force before its entry.
#[derive(Debug)]
pub struct DeniedEffect {
    pub(crate) at: Timestamp,
    pub(crate) effect: Effect,
    withheld: Vec<Key>,
}

impl MemoryRevocation {
    /// Leases end. No receipt of a change that relied on one of `withheld` is delivered.
    pub(crate) fn leases(at: Timestamp, which: LeaseSelection, why: EndReason, withheld: Vec<Key>) -> Self {
        Self::ended(at, Effect::Lease(leases::Effect::End { which, why }), withheld)
    }

    /// A former version of a secret is destroyed. Nobody is handed a former version, so that no receipt is withheld.
    pub(crate) fn version(at: Timestamp, id: SecretId, name: SecretName, version: u32) -> Self {
        Self::ended(at, Effect::Secrets(secrets::Effect::Destroy { id, name, version }), Vec::new())
    }

    /// A token key that signs no more is revoked.
    pub(crate) fn token_key(at: Timestamp, generation: u32) -> Self {
        let stage = KeyStage::Revoked;
        Self::ended(at, Effect::Token(token::Effect::Stage { generation, stage }), Vec::new())
    }

    /// An authority that signs no more is revoked, or tainted when `is_revoked` is not set.
    pub(crate) fn authority(at: Timestamp, generation: u32, is_revoked: bool) -> Self {
        let stage = if is_revoked { KeyStage::Revoked } else { KeyStage::Tainted };
        Self::ended(at, Effect::Pki(pki::Effect::Stage { generation, stage }), Vec::new())
    }

    /// What an application of declarations takes away. No receipt of a change that relied on one of `withheld`
    /// is delivered.
    pub(crate) fn withdrawal(at: Timestamp, removals: Removals, withheld: Vec<Key>) -> Self {
        Self::ended(at, Effect::Registry(registry::Effect::Withdraw(removals)), withheld)
    }

    fn ended(at: Timestamp, effect: Effect, withheld: Vec<Key>) -> Self {
        Self::Other(Arc::new(DeniedEffect { at, effect, withheld }))
    }

    pub(crate) fn withheld(&self) -> Vec<Key> {
        match self {
            Self::Subject(denial) => vec![revocation::keys::subject(denial.subject())],
            Self::Incident(denied) => vec![revocation::keys::subject(&denied.marks.subject)],
            Self::Freeze => vec![revocation::keys::wide()],
            Self::Other(ended) => ended.withheld.clone(),
            Self::Codes(codes) => {
                let keys = |code: &CodeId| [registry::keys::code(*code), operators::keys::code(*code)];
                codes.iter().flat_map(keys).collect()
            }
            Self::Several(all) => all.iter().flat_map(Self::withheld).collect(),
        }
    }
}

/// What is denied of rooms other than the revocations, and those rooms as entries alone make them.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    pub(crate) ended: Vec<Arc<DeniedEffect>>,
    /// Each room that something is denied of. It takes the place of the denied one when nothing is any more.
    pub(crate) recorded: RecordedRooms,
}

/// Rooms as entries alone make them; none while nothing is denied of a room.
#[derive(Debug, Default)]
pub(crate) struct RecordedRooms {
    pub(crate) registry: Option<Registry>,
    pub(crate) secrets: Option<Catalogue>,
    pub(crate) authority: Option<pki::Record>,
    pub(crate) token_keys: Option<TokenKeys>,
    pub(crate) leases: Option<Leases>,
}

/// Does `change` to a room, and to what entries alone make of it.
pub(crate) fn both<R>(room: &mut R, recorded: &mut Option<R>, change: impl Fn(&mut R)) {
    change(room);
    if let Some(recorded) = recorded {
        change(recorded);
    }
}

/// A room, as entries alone make it.
pub(crate) fn restore<R>(room: &mut R, recorded: &mut Option<R>) {
    if let Some(recorded) = recorded.take() {
        *room = recorded;
    }
}
