use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::approval_key::ApprovalKeyChange;
use super::keys;
use super::profile::OperatorProfile;
use super::role::OperatorRole;
use crate::base::{CodeId, OperatorId, OperatorName, Scope, Timestamp};
use crate::crypto::{Digest, KeyedDigest};
use crate::ledger::Key;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Adds a certificate that was signed on the host; creates the operator, as an admin, when there is
    /// none of this name.
    Certify {
        /// The operator.
        id: OperatorId,
        /// Its name.
        name: OperatorName,
        /// The new certificate.
        certificate: OperatorCertificate,
    },
    /// Sets the role and scope of an operator; creates it if it does not exist.
    Place {
        /// The operator.
        id: OperatorId,
        /// Its name.
        name: OperatorName,
        /// Its role.
        role: OperatorRole,
        /// The scope.
        scope: Scope,
    },
    /// Makes an enrolment code known.
    IssueCode {
        /// The code's id.
        id: CodeId,
        /// For whom.
        operator: OperatorName,
        /// SHA-256 of its 256-bit secret.
        hash: Digest,
        /// The keyed digest of its secret.
        digest: KeyedDigest,
        /// The end of its life.
        expires_at: Timestamp,
    },
    /// Redeems a code: the operator has one more certificate, which is about to be signed.
    Enrol {
        /// The code's id.
        code: CodeId,
        /// The operator.
        operator: OperatorName,
        /// The certificate.
        certificate: OperatorCertificate,
        /// When it begins to hold.
        not_before: Timestamp,
    },
    /// Plans a certificate in the place of another one, and of any that was planned and never used.
    Renew {
        /// The operator.
        operator: OperatorName,
        /// The serial of the certificate whose place it takes with its first use.
        replaces: [u8; 16],
        /// The certificate.
        certificate: OperatorCertificate,
        /// When it begins to hold.
        not_before: Timestamp,
    },
    /// Keeps a signed certificate.
    RecordCertificate {
        /// The operator.
        operator: OperatorName,
        /// The certificate's serial.
        serial: [u8; 16],
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// The certificate of a renewal was used: it is current, and the one before counts no more.
    Promote {
        /// The operator.
        operator: OperatorName,
        /// The certificate's serial.
        serial: [u8; 16],
    },
    /// A second use of a code has been reported.
    ReportCode(CodeId),
    /// Records the operator that made an enrolment code, an operator's or an agent's, and the certificate that it was
    /// made under: the code counts while both do.
    RecordMaker {
        /// The code's id.
        code: CodeId,
        /// The maker.
        by: OperatorId,
        /// The serial of the certificate that the maker had shown.
        certificate: [u8; 16],
        /// The end of its life.
        expires_at: Timestamp,
    },
    /// Removes an operator with its certificates.
    Remove(OperatorName),
    /// Sets the profile of an operator.
    Describe {
        /// The operator.
        operator: OperatorName,
        /// The profile from here on.
        profile: OperatorProfile,
    },
    /// Records a use of an operator's certificate.
    RecordUse {
        /// The operator.
        operator: OperatorName,
        /// The address of the caller, if known.
        from: Option<IpAddr>,
    },
    /// Records the address from which an operator enrolled.
    EnrolledFrom {
        /// The operator.
        operator: OperatorName,
        /// The serial of the certificate of the enrolment.
        serial: [u8; 16],
        /// The address.
        address: IpAddr,
    },
    /// Records the address from which an enrolment code was made, after its maker.
    MadeFrom {
        /// The code's id.
        code: CodeId,
        /// The address.
        address: IpAddr,
    },
    /// Enrolment codes end.
    EndCodes(Vec<CodeId>),
    /// Changes the approval keys of an operator.
    ChangeApprovalKeys {
        /// The operator.
        operator: OperatorName,
        /// The change.
        change: ApprovalKeyChange,
    },
    /// Records the operator that said which person an operator is.
    RecordNamer {
        /// The operator.
        operator: OperatorName,
        /// The operator that named the person.
        by: OperatorId,
    },
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Certify { name, .. } => keys.extend([keys::operator(name), keys::certificates(name)]),
            Self::ChangeApprovalKeys { operator, .. } => keys.push(keys::approval_keys(operator)),
            Self::Place { name, .. } => keys.extend([keys::operator(name), keys::admins()]),
            Self::Remove(name) => {
                keys.extend([
                    keys::operator(name),
                    keys::certificates(name),
                    keys::approval_keys(name),
                    keys::admins(),
                ]);
            }
            Self::Enrol { code, operator, .. } => {
                keys.extend([keys::code(*code), keys::certificates(operator)]);
            }
            Self::Renew { operator, .. }
            | Self::RecordCertificate { operator, .. }
            | Self::Promote { operator, .. } => keys.push(keys::certificates(operator)),
            Self::ReportCode(code) => keys.push(keys::code_alarm(*code)),
            Self::EndCodes(codes) => keys.extend(codes.iter().copied().map(keys::code)),
            // An admin that becomes bound to networks may not be able to act.
            Self::Describe { operator, .. } => keys.extend([keys::operator(operator), keys::admins()]),
            Self::RecordNamer { operator, .. } => keys.push(keys::operator(operator)),
            Self::IssueCode { .. }
            | Self::RecordMaker { .. }
            | Self::RecordUse { .. }
            | Self::EnrolledFrom { .. }
            | Self::MadeFrom { .. } => {}
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Place { .. } | Self::Remove(_) | Self::Describe { .. } | Self::EndCodes(_) => true,
            Self::ChangeApprovalKeys { change, .. } => change.takes_away(),
            Self::Certify { .. }
            | Self::IssueCode { .. }
            | Self::Enrol { .. }
            | Self::Renew { .. }
            | Self::RecordCertificate { .. }
            | Self::Promote { .. }
            | Self::RecordMaker { .. }
            | Self::RecordUse { .. }
            | Self::EnrolledFrom { .. }
            | Self::MadeFrom { .. }
            | Self::RecordNamer { .. }
            | Self::ReportCode(_) => false,
        }
    }
}

/// A certificate as entries tell it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OperatorCertificate {
    /// Its serial.
    pub serial: [u8; 16],
    /// SHA-256 of its public key.
    pub key: Digest,
    /// When it ends.
    pub not_after: Timestamp,
}
