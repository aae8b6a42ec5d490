use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::approval_key::ApprovalKey;
use super::effect::{Effect, OperatorCertificate};
use super::operator::{Certificate, EnrolledFrom, Operator, OperatorUse, Serving, SignedOperatorCertificate};
use super::profile::OperatorProfile;
use super::role::OperatorRole;
use crate::base::limits::BACKDATE_S;
use crate::base::{
    CodeId, FormerTies, OperatorEnrolment, OperatorId, OperatorName, OwnerName, Scope, Timestamp,
};
use crate::crypto::{Digest, KeyedDigest, sha256};
use crate::index::IndexTree;
use crate::store::{At, Projection};

/// The certificates that operators enrolled or renewed with, by serial, in DER.
pub const CERTIFICATES: IndexTree = IndexTree::new("operator-certificate");

/// Codes are forgotten this long after they ended: long enough to recognise a late second use.
const CODE_MEMORY_S: i64 = 24 * 3600;

/// An operator's enrolment code as the broker knows it: by the hash of its secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OperatorCode {
    /// Its id.
    pub id: CodeId,
    /// For whom it is.
    pub operator: OperatorName,
    /// SHA-256 of its secret.
    pub hash: Digest,
    /// The keyed digest of its secret; none once it is redeemed.
    pub digest: Option<KeyedDigest>,
    /// The end of its life.
    pub expires_at: Timestamp,
    /// The entry that made it known.
    pub issued_seq: u64,
    /// The serial of the certificate that it gave, and for which key.
    pub redeemed: Option<([u8; 16], Digest)>,
    /// Whether its use with another key has been reported.
    pub reported: bool,
}

/// The operator that made an enrolment code.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct CodeMaker {
    /// The operator.
    pub by: OperatorId,
    /// The serial of the certificate that it had shown.
    pub certificate: [u8; 16],
    /// The generation of the authority that signed the certificate, when it was recorded.
    pub authority: Option<u32>,
    /// The entry by which the operator had enrolled, if the certificate was recorded.
    pub enrolled_seq: Option<u64>,
    /// The addresses of that enrolment and of the request, as far as they were recorded.
    pub addresses: [Option<IpAddr>; 2],
    /// The end of the code.
    until: Timestamp,
}

/// All operators and their codes in memory.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Operators {
    by_name: BTreeMap<OperatorName, Operator>,
    codes: BTreeMap<CodeId, OperatorCode>,
    /// The makers of codes, also of agents' codes.
    makers: BTreeMap<CodeId, CodeMaker>,
    former_owners: FormerTies<OperatorId, OwnerName>,
}

impl Operators {
    /// The operator of this name.
    #[must_use]
    pub fn named(&self, name: &OperatorName) -> Option<&Operator> {
        self.by_name.get(name)
    }

    /// The operator of this id.
    #[must_use]
    pub fn with(&self, id: OperatorId) -> Option<&Operator> {
        self.by_name.values().find(|operator| operator.id == id)
    }

    /// The certificate of an operator with this serial was signed by this generation of the authority.
    pub fn signed_by(&mut self, operator: &OperatorName, serial: &[u8; 16], authority: Option<u32>) {
        let held = self.certificate_mut(operator, serial);
        if let Some(signed) = held.and_then(|held| held.signed.as_mut()) {
            signed.authority = authority;
        }
    }

    fn certificate_mut(&mut self, operator: &OperatorName, serial: &[u8; 16]) -> Option<&mut Certificate> {
        let operator = self.by_name.get_mut(operator)?;
        operator.certificates.iter_mut().find(|one| one.serial == *serial)
    }

    /// All operators, by name.
    pub fn all(&self) -> impl Iterator<Item = &Operator> {
        self.by_name.values()
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Operator> {
        self.by_name.values_mut()
    }

    /// The code of this id.
    #[must_use]
    pub fn code(&self, id: CodeId) -> Option<&OperatorCode> {
        self.codes.get(&id)
    }

    /// All codes that are not forgotten.
    pub fn codes(&self) -> impl Iterator<Item = &OperatorCode> {
        self.codes.values()
    }

    /// The maker of this code.
    #[must_use]
    pub fn maker_of(&self, code: CodeId) -> Option<&CodeMaker> {
        self.makers.get(&code)
    }

    /// The owners that the operator was bound to after entry `issued`, and is not any more.
    pub fn former_owners(&self, id: OperatorId, issued: u64) -> impl Iterator<Item = &OwnerName> {
        self.former_owners.of(&id, issued)
    }

    /// The approval key of this operator, if one was accepted.
    #[must_use]
    pub fn approval_key(&self, name: &OperatorName) -> Option<&ApprovalKey> {
        self.by_name.get(name)?.approval_keys.accepted()
    }

    /// Ends the approval keys of this operator that were proposed under the enrolment by entry `enrolled_seq`; all without
    /// one.
    pub fn end_approval_keys(&mut self, id: OperatorId, enrolled_seq: Option<u64>) {
        let operator = self.by_name.values_mut().find(|operator| operator.id == id);
        operator.into_iter().for_each(|operator| operator.approval_keys.end(enrolled_seq));
    }

    /// The enrolment of the operator that has the certificate with this serial.
    #[must_use]
    pub fn enrolment_of(&self, serial: &[u8; 16]) -> Option<OperatorEnrolment> {
        self.by_name.values().find_map(|operator| operator.enrolment_of(serial))
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Certify { id, name, certificate } => self.certify(at, *id, name, certificate),
            Effect::Place { id, name, role, scope } => {
                if let Some(owner) = self.place(*id, name, *role, scope) {
                    self.former_owners.add(at.seq, at.time, *id, owner);
                }
            }
            Effect::IssueCode { id, operator, hash, digest, expires_at } => {
                self.issue(
                    OperatorCode {
                        id: *id,
                        operator: operator.clone(),
                        hash: *hash,
                        digest: Some(*digest),
                        expires_at: *expires_at,
                        issued_seq: at.seq,
                        redeemed: None,
                        reported: false,
                    },
                    at.time,
                );
            }
            Effect::Enrol { code, operator, certificate, not_before } => {
                self.enrol(at, *code, operator, certificate.held(at, *not_before, Serving::Current));
            }
            Effect::Renew { operator, replaces, certificate, not_before } => {
                self.change(operator, |one| one.renew(at, *replaces, certificate, *not_before));
            }
            Effect::RecordCertificate { operator, serial, certificate } => {
                if let Some(held) = self.certificate_mut(operator, serial) {
                    let (seq, thumbprint) = (at.seq, Some(sha256(certificate)));
                    held.signed = Some(SignedOperatorCertificate { seq, thumbprint, authority: None });
                }
            }
            Effect::Promote { operator, serial } => self.change(operator, |one| one.promote(serial)),
            Effect::RecordMaker { code, by, certificate, expires_at } => {
                self.forget_makers(at.time);
                let made = self.made_by(*by, certificate, *expires_at);
                self.makers.insert(*code, made);
            }
            Effect::EnrolledFrom { operator, serial, address } => {
                let held = self.certificate_mut(operator, serial);
                held.into_iter().for_each(|held| held.enrolled_from = EnrolledFrom::Address(*address));
            }
            Effect::MadeFrom { code, address } => {
                self.makers.get_mut(code).into_iter().for_each(|made| made.addresses[1] = Some(*address));
            }
            Effect::Remove(name) => drop(self.by_name.remove(name)),
            Effect::EndCodes(codes) => codes.iter().for_each(|code| self.end_code(at.time, *code)),
            Effect::ReportCode(code) => {
                self.codes.get_mut(code).into_iter().for_each(|code| code.reported = true);
            }
            Effect::Describe { operator, profile } => self.describe(operator, profile),
            Effect::RecordUse { operator, from } => {
                let last = OperatorUse { at: at.time, from: *from };
                self.change(operator, |one| one.last_use = Some(last));
            }
            Effect::ChangeApprovalKeys { operator, change } => {
                self.change_approval_keys(at, operator, change);
            }
            Effect::RecordNamer { operator, by } => self.introduce(operator, *by),
        }
    }

    pub(super) fn change(&mut self, name: &OperatorName, change: impl FnOnce(&mut Operator)) {
        if let Some(operator) = self.by_name.get_mut(name) {
            change(operator);
        }
    }

    fn enrol(&mut self, at: At, code: CodeId, name: &OperatorName, certificate: Certificate) {
        if let Some(code) = self.codes.get_mut(&code) {
            (code.redeemed, code.digest) = (Some((certificate.serial, certificate.key)), None);
        }
        self.change(name, |operator| {
            operator.forget_expired_certificates(at.time);
            operator.certificates.push(certificate);
        });
        if let Some(maker) = self.makers.get(&code).map(|made| made.by) {
            self.introduce(name, maker);
        }
    }

    fn issue(&mut self, code: OperatorCode, now: Timestamp) {
        self.forget_codes(now);
        self.codes.insert(code.id, code);
    }

    /// The certificate's own record goes with its renewal, before the code does.
    fn made_by(&self, by: OperatorId, certificate: &[u8; 16], until: Timestamp) -> CodeMaker {
        let held = self.with(by).and_then(|maker| maker.certificate(certificate));
        CodeMaker {
            by,
            certificate: *certificate,
            authority: held.and_then(|held| held.signed?.authority),
            enrolled_seq: held.map(|held| held.enrolled_seq),
            addresses: [held.and_then(|held| held.enrolled_from.address()), None],
            until,
        }
    }

    /// Places the operator; gives the owner that it is not bound to any more.
    fn place(
        &mut self,
        id: OperatorId,
        name: &OperatorName,
        role: OperatorRole,
        scope: &Scope,
    ) -> Option<OwnerName> {
        let operator = self.operator(id, name);
        operator.role = role;
        let before = std::mem::replace(&mut operator.scope, scope.clone());
        before.owner().filter(|owner| scope.owner() != Some(*owner)).cloned()
    }

    /// The certificate left with the response, so it counts as signed. The host's last resort is bound to no network.
    fn certify(&mut self, at: At, id: OperatorId, name: &OperatorName, certificate: &OperatorCertificate) {
        let operator = self.operator(id, name);
        operator.forget_expired_certificates(at.time);
        let not_before = at.time.plus_s(BACKDATE_S.saturating_neg());
        let mut certificate = certificate.held(at, not_before, Serving::Current);
        certificate.enrolled_from = EnrolledFrom::Host;
        certificate.signed =
            Some(SignedOperatorCertificate { seq: at.seq, thumbprint: None, authority: None });
        operator.certificates.push(certificate);
        let person = operator.profile.person.take();
        operator.profile = OperatorProfile { person, ..OperatorProfile::default() };
    }

    /// The writes of `effect` to the index.
    pub fn project(effect: &Effect, out: &mut Projection) {
        if let Effect::RecordCertificate { serial, certificate, .. } = effect {
            out.put(CERTIFICATES, serial.to_vec(), certificate.clone());
        }
    }

    /// Entry times go on from `now`: earlier enrolment codes are void, because a wrong clock may have set their ends.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.former_owners.time_went_back(now);
        for code in self.codes.values_mut() {
            code.expires_at = code.expires_at.min(now);
        }
        for made in self.makers.values_mut() {
            made.until = made.until.min(now);
        }
        for used in self.by_name.values_mut().filter_map(|operator| operator.last_use.as_mut()) {
            used.at = used.at.min(now);
        }
        self.by_name.values_mut().for_each(|operator| operator.approval_keys.time_went_back(now));
    }

    /// Ends a code that can still be redeemed.
    fn end_code(&mut self, now: Timestamp, id: CodeId) {
        let Some(code) = self.codes.get_mut(&id).filter(|code| code.expires_at > now) else { return };
        (code.expires_at, code.digest) = (now, None);
    }

    fn forget_codes(&mut self, now: Timestamp) {
        self.codes.retain(|_, code| code.expires_at.plus_s(CODE_MEMORY_S) > now);
        for expired in self.codes.values_mut().filter(|code| code.expires_at <= now) {
            expired.digest = None;
        }
    }

    /// Ids sort by time of making: the oldest come first, and one that lives longer keeps younger ones.
    fn forget_makers(&mut self, now: Timestamp) {
        while let Some(oldest) = self.makers.first_entry() {
            if oldest.get().until > now {
                break;
            }
            oldest.remove();
        }
    }

    fn operator(&mut self, id: OperatorId, name: &OperatorName) -> &mut Operator {
        self.by_name.entry(name.clone()).or_insert_with(|| Operator::new(id, name.clone()))
    }
}

impl OperatorCertificate {
    fn held(&self, at: At, not_before: Timestamp, serving: Serving) -> Certificate {
        Certificate {
            serial: self.serial,
            key: self.key,
            not_before,
            not_after: self.not_after,
            enrolled_seq: at.seq,
            enrolled_from: EnrolledFrom::Unknown,
            signed: None,
            serving,
        }
    }
}

impl Operator {
    /// An enrolment ends the grace period of expired certificates: a thief of an old key gets no second identity beside
    /// the new one.
    fn forget_expired_certificates(&mut self, now: Timestamp) {
        self.certificates.retain(|old| old.not_after > now);
    }

    fn renew(&mut self, at: At, replaces: [u8; 16], next: &OperatorCertificate, not_before: Timestamp) {
        let Some(before) = self.certificate(&replaces) else { return };
        let (enrolled_seq, enrolled_from) = (before.enrolled_seq, before.enrolled_from);
        let serving = Serving::Next { replaces };
        self.certificates.retain(|old| old.serving != serving);
        let mut next = next.held(at, not_before, serving);
        (next.enrolled_seq, next.enrolled_from) = (enrolled_seq, enrolled_from);
        self.certificates.push(next);
    }

    fn promote(&mut self, serial: &[u8; 16]) {
        let Some(next) = self.certificates.iter_mut().find(|one| one.serial == *serial) else { return };
        if let Serving::Next { replaces } = next.serving {
            next.serving = Serving::Current;
            self.certificates.retain(|old| old.serial != replaces);
        }
    }
}
