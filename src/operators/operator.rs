use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::approval_key::ApprovalKeys;
use super::introducers::Introducers;
use super::profile::{OperatorKind, OperatorProfile};
use super::role::OperatorRole;
use crate::base::limits::BACKDATE_S;
use crate::base::{OperatorEnrolment, OperatorId, OperatorName, Scope, Timestamp};
use crate::crypto::Digest;

/// An operator: a name, a role, its reach, and the certificates that prove it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
    /// Its role.
    pub role: OperatorRole,
    /// Its scope.
    pub scope: Scope,
    /// The certificates it was given and has not replaced, as long as they can be of use.
    pub certificates: Vec<Certificate>,
    /// Its kind, networks, life of certificates and person.
    pub profile: OperatorProfile,
    /// The last recorded use of a certificate.
    pub last_use: Option<OperatorUse>,
    /// The keys that sign its approvals.
    pub approval_keys: ApprovalKeys,
    /// Where a second operator is demanded, none of them accepts its approval key.
    introducers: Introducers,
}

/// A use of an operator's certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OperatorUse {
    /// When.
    pub at: Timestamp,
    /// The address of the caller, if known.
    pub from: Option<IpAddr>,
}

/// One certificate of an operator.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Certificate {
    /// Its serial.
    pub serial: [u8; 16],
    /// SHA-256 of its public key.
    pub key: Digest,
    /// When it begins to hold.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The entry by which its holder enrolled. A renewal does not change it.
    pub enrolled_seq: u64,
    /// From where its holder enrolled. A renewal does not change it.
    pub enrolled_from: EnrolledFrom,
    /// The signed certificate, if it was signed.
    pub signed: Option<SignedOperatorCertificate>,
    /// Whether it is in use.
    pub serving: Serving,
}

/// From where the holder of a certificate enrolled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum EnrolledFrom {
    /// This was not recorded.
    #[default]
    Unknown,
    /// From this address.
    Address(IpAddr),
    /// The broker's host made the certificate.
    Host,
}

impl EnrolledFrom {
    /// The address, if the holder enrolled over the network and the address was recorded.
    #[must_use]
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unknown | Self::Host => None,
        }
    }
}

/// A certificate as it was signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedOperatorCertificate {
    /// The entry that keeps it, or went before it.
    pub seq: u64,
    /// SHA-256 of it in DER; none of one that was signed on the host.
    pub thumbprint: Option<Digest>,
    /// The generation of the authority that signed it.
    pub authority: Option<u32>,
}

/// Whether a certificate is in use. Its first use puts it in the place of the one before; until then
/// that one counts too, so that a lost answer locks nobody out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Serving {
    /// It is in use.
    Current,
    /// It was issued by a renewal instead of the one with this serial, and is not used yet.
    Next {
        /// The serial of the one before.
        replaces: [u8; 16],
    },
}

impl Operator {
    /// A new admin with the scope `all`, without certificates.
    pub(super) fn new(id: OperatorId, name: OperatorName) -> Self {
        Self {
            id,
            name,
            role: OperatorRole::Admin,
            scope: Scope::Everything,
            certificates: Vec::new(),
            profile: OperatorProfile::default(),
            last_use: None,
            approval_keys: ApprovalKeys::default(),
            introducers: Introducers::default(),
        }
    }

    pub(super) const fn introducers(&self) -> &Introducers {
        &self.introducers
    }

    pub(super) const fn introducers_mut(&mut self) -> &mut Introducers {
        &mut self.introducers
    }

    /// The certificate with this serial *and* this key: a serial alone can be copied into another one.
    #[must_use]
    pub fn holding(&self, serial: &[u8; 16], key: &Digest) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.serial == *serial && one.key == *key)
    }

    /// The certificate with this serial.
    #[must_use]
    pub fn certificate(&self, serial: &[u8; 16]) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.serial == *serial)
    }

    /// The enrolment that the certificate with this serial comes from.
    #[must_use]
    pub fn enrolment_of(&self, serial: &[u8; 16]) -> Option<OperatorEnrolment> {
        let enrolled_seq = self.certificate(serial)?.enrolled_seq;
        Some(OperatorEnrolment { operator: self.id, enrolled_seq })
    }

    /// The certificate that was given in place of the one with this serial and has not been used yet.
    #[must_use]
    pub fn next_of(&self, serial: &[u8; 16]) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.serving == Serving::Next { replaces: *serial })
    }

    /// The end of the time in which `certificate` can be renewed, if the grace period is `grace_s` seconds. The grace period
    /// of an automation is at most the life of its certificate. A certificate of break-glass access has none.
    #[must_use]
    pub fn renewable_until(&self, certificate: &Certificate, grace_s: i64) -> Timestamp {
        let life_s = certificate.not_after.seconds_since(certificate.not_before).saturating_sub(BACKDATE_S);
        let grace_s = match self.profile.kind {
            _ if is_of_host(&self.name) => 0,
            OperatorKind::Automation => grace_s.min(life_s),
            OperatorKind::Human | OperatorKind::Service => grace_s,
        };
        certificate.not_after.plus_s(grace_s)
    }

    /// Whether it administers everything.
    #[must_use]
    pub fn is_full_admin(&self) -> bool {
        self.role == OperatorRole::Admin && self.scope == Scope::Everything
    }
}

/// The name of the operator of break-glass access.
pub const BREAK_GLASS: &str = "break-glass";

/// The advice for an operator whose certificate is refused because of a wrong clock.
pub(crate) const CONTAIN_ON_HOST: &str = "to contain at once, on the broker's host, as root: `keyward break-glass contain SUBJECT --reason \
    TEXT` or `keyward break-glass freeze --reason TEXT`, which need no certificate";

/// Whether the name is the host's own: nobody is invited by it, and nobody renews.
#[must_use]
pub fn is_of_host(name: &OperatorName) -> bool {
    name.as_str() == BREAK_GLASS
}
