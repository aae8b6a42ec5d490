use serde::Serialize;

use super::profile::{OperatorKind, OperatorProfile};
use super::role::OperatorRole;
use crate::base::{AgentName, CodeId, OperatorId, OperatorName, OwnerName, Person, Scope};
use crate::ledger::Kind;
use crate::store::Event;

/// A person on the broker's host gave an operator a certificate; the operator is an admin from here on.
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
    /// On whose word: `host` for a person with the root key on the broker's host.
    pub by: &'a str,
}

/// An operator was invited: the broker made an enrolment code for it.
#[derive(Debug, Serialize)]
pub struct OperatorInvited<'a> {
    /// The inviting operator.
    pub by: &'a OperatorName,
    /// The invited operator.
    pub operator: &'a OperatorName,
    /// Its id.
    pub operator_id: OperatorId,
    /// Its role.
    pub role: &'static str,
    /// The owner that its reach ends at, if it ends at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a OwnerName>,
    /// The code's id; the code itself is in no record.
    pub code: CodeId,
    /// The end of its life.
    pub expires_at: String,
    /// Its profile.
    #[serde(flatten)]
    pub profile: ProfileText<'a>,
}

/// The profile of an operator as entries tell it. An operator with the profile of a human without a person has no field.
#[derive(Debug, Default, Serialize)]
pub struct ProfileText<'a> {
    /// The kind, unless it is a human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_kind: Option<&'static str>,
    /// The networks that its certificates are bound to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// The life of its certificates in seconds, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u32>,
    /// The person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<&'a Person>,
}

impl<'a> ProfileText<'a> {
    /// The text of `profile`.
    #[must_use]
    pub fn of(profile: &'a OperatorProfile) -> Self {
        let kind = profile.kind;
        Self {
            operator_kind: (kind != OperatorKind::Human).then(|| kind.as_str()),
            networks: profile.networks.iter().map(ToString::to_string).collect(),
            life_s: profile.life_s,
            person: profile.person.as_ref(),
        }
    }
}

/// An operator got other networks, another life of its certificates or another person; `from` has the profile before.
#[derive(Debug, Serialize)]
pub struct OperatorProfileChanged<'a> {
    /// The operator who changed it.
    pub by: &'a OperatorName,
    /// The operator.
    pub operator: &'a OperatorName,
    /// The approval keys that ended because the person changed: SHA-256 of each public key, in hex.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended_approval_keys: Vec<String>,
    /// The profile before.
    pub from: ProfileText<'a>,
    /// The profile from here on.
    #[serde(flatten)]
    pub profile: ProfileText<'a>,
}

/// A service or an automation used its certificate for the first time on this day.
#[derive(Debug, Serialize)]
pub struct OperatorUsed<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The address of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Alarm: the certificate of an operator was used from outside of the networks that it is bound to.
#[derive(Debug, Serialize)]
pub struct OperatorElsewhere<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// The address of the caller.
    pub peer: String,
    /// The networks that the operator is bound to.
    pub networks: Vec<String>,
    /// Earlier uses from elsewhere that got no entry of their own.
    pub unrecorded: u64,
}

/// An operator got another role or another scope; `from` has the role and the scope before.
#[derive(Debug, Serialize)]
pub struct OperatorPlaced<'a> {
    /// The operator that changed it.
    pub by: &'a OperatorName,
    /// The operator.
    pub operator: &'a OperatorName,
    /// The role and the scope before.
    pub from: PlaceText<'a>,
    /// The role and the scope from here on.
    #[serde(flatten)]
    pub place: PlaceText<'a>,
}

/// The role and the scope of an operator.
#[derive(Debug, Serialize)]
pub struct PlaceText<'a> {
    /// The role.
    pub role: &'static str,
    /// The owner whose objects it manages; absent for the scope `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a OwnerName>,
}

impl<'a> PlaceText<'a> {
    /// The text of this role and scope.
    #[must_use]
    pub const fn of(role: OperatorRole, scope: &'a Scope) -> Self {
        Self { role: role.as_str(), owner: scope.owner() }
    }
}

/// An operator redeemed its enrolment code; the broker is about to sign its certificate.
#[derive(Debug, Serialize)]
pub struct OperatorEnrolled<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The code that was redeemed.
    pub code: CodeId,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// SHA-256 of the certificate's public key, in hex.
    pub key: String,
    /// When the certificate ends.
    pub not_after: String,
    /// The address of the caller.
    pub peer: String,
}

/// An operator asked for its next certificate, which the broker is about to sign.
#[derive(Debug, Serialize)]
pub struct OperatorRenewed<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The next certificate's serial, in hex.
    pub serial: String,
    /// SHA-256 of its public key, in hex.
    pub key: String,
    /// When it ends.
    pub not_after: String,
    /// The serial of the certificate that asked, in hex.
    pub previous: String,
    /// The address of the caller.
    pub peer: String,
}

/// Alarm: an operator renewed its certificate after its expiry, within the grace period.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct OperatorLateRenewal<'a>(pub OperatorRenewed<'a>);

/// The broker signed the certificate of an operator, and is about to send it.
#[derive(Debug, Serialize)]
pub struct OperatorCertificateRecorded<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// Its serial, in hex.
    pub serial: String,
    /// SHA-256 of the certificate, in hex.
    pub thumbprint: String,
}

/// The broker is about to sign the certificate of an operator again from its recorded plan, because the first signature
/// never left the broker.
#[derive(Debug, Serialize)]
pub struct OperatorCertificateRetried<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// Its serial, in hex.
    pub serial: String,
}

/// An operator used its renewed certificate for the first time; its previous certificate is invalid from here on.
#[derive(Debug, Serialize)]
pub struct OperatorCertificatePromoted<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// The serial of the one before, in hex.
    pub previous: String,
}

/// Alarm: an operator's enrolment code that was redeemed before was sent with another key, so another person has the code.
#[derive(Debug, Serialize)]
pub struct OperatorCodeReused<'a> {
    /// The operator it was for.
    pub operator: &'a OperatorName,
    /// The code's id.
    pub code: CodeId,
    /// The serial of the certificate that it gave first, in hex.
    pub first_serial: String,
    /// SHA-256 of the other key, in hex.
    pub other_key: String,
    /// The address of the second caller.
    pub peer: String,
}

/// Alarm: a user of the broker's host got an administrator's certificate for an hour.
#[derive(Debug, Serialize)]
pub struct BreakGlassUsed<'a> {
    /// The actor: `host uid N`.
    pub by: String,
    /// The operator that the certificate is for.
    pub operator: &'a OperatorName,
    /// Its id.
    pub operator_id: OperatorId,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// SHA-256 of its public key, in hex.
    pub key: String,
    /// When it ends.
    pub not_after: String,
}

/// The broker refused a request of an operator: its role or scope does not allow it, the operator may not see an object of
/// it, or it would take away the last admin.
#[derive(Debug, Serialize)]
pub struct OperatorDenied<'a> {
    /// The caller.
    pub operator: &'a OperatorName,
    /// Its role.
    pub role: &'static str,
    /// The right that the request needs.
    pub right: &'static str,
    /// The object that the request named, e.g. `secret/github/app`, if it exists. A name of nothing may be a secret that
    /// was typed by mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The agent that asked for the approval that the request named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The stable code of the refusal.
    pub code: &'static str,
    /// Earlier denials of the same operator that got no entry of their own.
    pub unrecorded: u64,
}

/// An operator was deleted; its name stays reserved.
#[derive(Debug, Serialize)]
pub struct OperatorDeleted<'a> {
    /// The acting operator.
    pub by: &'a OperatorName,
    /// The deleted operator.
    pub operator: &'a OperatorName,
    /// Its id.
    pub operator_id: OperatorId,
    /// The number of its certificates that were valid.
    pub certificates: usize,
}

/// An operator proposed an approval key. It counts only after it was accepted.
#[derive(Debug, Serialize)]
pub struct ApprovalKeyProposed<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// SHA-256 of the public key, in hex.
    pub key: String,
    /// The public key: DER `SubjectPublicKeyInfo` in base64url.
    pub public_key: String,
    /// The address of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Another admin, or a user of the broker's host, accepted the approval key of an operator; from here on it counts.
#[derive(Debug, Serialize)]
pub struct ApprovalKeyAccepted<'a> {
    /// The operator that accepted it, or `host uid N`.
    pub by: &'a str,
    /// The operator whose key it is.
    pub operator: &'a OperatorName,
    /// SHA-256 of the public key, in hex.
    pub key: String,
    /// The public key: DER `SubjectPublicKeyInfo` in base64url.
    pub public_key: String,
    /// SHA-256 of the key that it replaces, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The approval keys of an operator were removed.
#[derive(Debug, Serialize)]
pub struct ApprovalKeysRemoved<'a> {
    /// The operator that removed them.
    pub by: &'a OperatorName,
    /// The operator whose keys they were.
    pub operator: &'a OperatorName,
    /// SHA-256 of each public key, in hex.
    pub keys: Vec<String>,
}

/// An operator began to read the ledger; further requests with the same filter get no entry of their own, and
/// `ledger.reading-ended` counts them. A reading ends after a pause of five minutes, or after an hour.
#[derive(Debug, Serialize)]
pub struct LedgerRead<'a> {
    /// The operator.
    pub by: &'a OperatorName,
    /// Whether the newest or the oldest entries come first.
    pub order: &'static str,
    /// The filter as it was given, `name=text` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// Only entries after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only entries before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Most entries of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A reading of the ledger with more than one request ended: the entry has the filter, the number of requests, and the
/// times of the first and the last one.
#[derive(Debug, Serialize)]
pub struct LedgerReadingEnded<'a> {
    /// The operator.
    pub by: &'a OperatorName,
    /// The filter, as in the entry `ledger.read` of the first request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// The number of requests, with the first one.
    pub requests: u64,
    /// The time of the first request.
    pub since: String,
    /// The time of the last request.
    pub until: String,
}

macro_rules! events {
    ($($event:ty = $kind:literal, $name:literal;)*) => {$(
        impl Event for $event {
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = $name;
        }
    )*};
}

events! {
    OperatorCertified<'_> = 0x0201, "operator.certified";
    OperatorInvited<'_> = 0x0202, "operator.invited";
    OperatorPlaced<'_> = 0x0203, "operator.placed";
    OperatorEnrolled<'_> = 0x0204, "operator.enrolled";
    OperatorRenewed<'_> = 0x0205, "operator.renewed";
    OperatorCertificateRecorded<'_> = 0x0206, "operator.certificate-recorded";
    OperatorCertificateRetried<'_> = 0x0207, "operator.certificate-retried";
    OperatorCertificatePromoted<'_> = 0x0208, "operator.certificate-promoted";
    OperatorCodeReused<'_> = 0x0209, "alarm.operator-enrolment-code-reused";
    OperatorDenied<'_> = 0x020a, "operator.denied";
    BreakGlassUsed<'_> = 0x020b, "alarm.break-glass-used";
    OperatorLateRenewal<'_> = 0x020c, "alarm.operator-late-renewal";
    OperatorDeleted<'_> = 0x0240, "operator.deleted";
    OperatorProfileChanged<'_> = 0x0210, "operator.profile-changed";
    OperatorUsed<'_> = 0x0211, "operator.used";
    OperatorElsewhere<'_> = 0x0212, "alarm.operator-elsewhere";
    LedgerRead<'_> = 0x0213, "ledger.read";
    LedgerReadingEnded<'_> = 0x0214, "ledger.reading-ended";
    ApprovalKeyProposed<'_> = 0x0220, "approval-key.proposed";
    ApprovalKeyAccepted<'_> = 0x0221, "approval-key.accepted";
    ApprovalKeysRemoved<'_> = 0x0222, "approval-key.removed";
}
