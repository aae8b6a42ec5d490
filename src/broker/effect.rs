use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::ledger::Key;
use crate::revocation::Subject;
use crate::store::History;
use crate::{
    approvals, custody, idempotency, incidents, leases, operators, pki, registry, revocation, rotation,
    rules, secrets, token,
};

/// A state change of any record room. New rooms join at the end: the position is the stored form.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Of agents, roles, capabilities, codes.
    Registry(registry::Effect),
    /// Of operators.
    Operators(operators::Effect),
    /// Of secrets.
    Secrets(secrets::Effect),
    /// Of the certificate authority.
    Pki(pki::Effect),
    /// Of what no longer counts.
    Revocation(revocation::Effect),
    /// Of which token keys there are.
    Token(token::Effect),
    /// Of what requests with a key did.
    Idempotency(idempotency::Effect),
    /// Of how secrets are rotated.
    Rotation(rotation::Effect),
    /// Of which slots the keyring has.
    Custody(custody::Effect),
    /// Of which logins are lent.
    Lease(leases::Effect),
    /// The wall clock was adopted; before that it was taken to be this late.
    Clock {
        /// What the time was taken to be.
        was: Timestamp,
    },
    /// Of incidents.
    Incident(incidents::Effect),
    /// Of policies and environments.
    Rules(rules::Effect),
    /// Of requests for approval.
    Approval(approvals::Effect),
}

/// What the time is, beyond its going on.
pub(crate) fn clock_key() -> Key {
    Key::of("clock", b"")
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub(crate) fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Registry(effect) => effect.advances(keys),
            Self::Operators(effect) => effect.advances(keys),
            Self::Secrets(effect) => effect.advances(keys),
            Self::Pki(effect) => effect.advances(keys),
            Self::Revocation(effect) => {
                effect.advances(keys);
                // An admin may have come or gone.
                if may_concern_admins(effect.subject()) {
                    keys.push(operators::keys::admins());
                }
            }
            Self::Token(effect) => effect.advances(keys),
            Self::Idempotency(effect) => effect.advances(keys),
            Self::Rotation(effect) => effect.advances(keys),
            Self::Custody(effect) => effect.advances(keys),
            Self::Lease(effect) => effect.advances(keys),
            Self::Rules(effect) => effect.advances(keys),
            Self::Approval(effect) => effect.advances(keys),
            Self::Clock { .. } => keys.push(clock_key()),
            Self::Incident(effect) => {
                effect.advances(keys);
                if effect.concerns_all() {
                    keys.push(revocation::keys::wide());
                }
            }
        }
    }

    pub(crate) fn takes_away(&self) -> bool {
        match self {
            Self::Registry(effect) => effect.takes_away(),
            Self::Operators(effect) => effect.takes_away(),
            Self::Secrets(effect) => effect.takes_away(),
            Self::Pki(effect) => effect.takes_away(),
            Self::Revocation(effect) => effect.takes_away(),
            Self::Token(effect) => effect.takes_away(),
            Self::Idempotency(effect) => effect.takes_away(),
            Self::Rotation(effect) => effect.takes_away(),
            Self::Custody(effect) => effect.takes_away(),
            Self::Lease(effect) => effect.takes_away(),
            Self::Incident(effect) => effect.takes_away(),
            Self::Rules(effect) => effect.takes_away(),
            Self::Approval(effect) => effect.takes_away(),
            Self::Clock { .. } => false,
        }
    }

    pub(crate) fn history(&self) -> Option<History> {
        match self {
            Self::Custody(effect) => effect.history(),
            Self::Registry(_)
            | Self::Operators(_)
            | Self::Secrets(_)
            | Self::Pki(_)
            | Self::Revocation(_)
            | Self::Token(_)
            | Self::Idempotency(_)
            | Self::Rotation(_)
            | Self::Lease(_)
            | Self::Clock { .. }
            | Self::Incident(_)
            | Self::Rules(_)
            | Self::Approval(_) => None,
        }
    }
}

/// Whether a mark on the subject can refuse the certificate of an admin.
const fn may_concern_admins(subject: &Subject) -> bool {
    matches!(
        subject,
        Subject::Operator(_) | Subject::Certificate(_) | Subject::Owner(_) | Subject::Network(_)
    )
}
