use serde::{Deserialize, Serialize};

use super::containment::Containment;
use super::denial::Denial;
use super::judged::CredentialForm;
use crate::base::{IncidentId, OperatorEnrolment, Reason};

/// What is recorded against a subject.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct SubjectMark {
    /// Sequence of the latest `Kill`; never lowered.
    pub(super) dead_before: u64,
    pub(super) suspended: bool,
    contained: Vec<OpenContainment>,
    /// Why it was set.
    pub(super) reason: Option<Reason>,
}

/// A containment that is not lifted.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct OpenContainment {
    incident: IncidentId,
    /// The first entry of the containment.
    since: u64,
    spared: Option<OperatorEnrolment>,
    /// The entry by which the host gave the operator a certificate after the containment; this certificate is accepted.
    certified: Option<u64>,
}

impl OpenContainment {
    fn blocks(&self, form: &CredentialForm) -> bool {
        match form {
            CredentialForm::Issued | CredentialForm::Certificate => true,
            CredentialForm::OperatorCertificate { enrolment, is_of_host } => {
                let is_later = *is_of_host && enrolment.enrolled_seq > self.since;
                let is_certified = self.certified.is_some_and(|entry| enrolment.enrolled_seq >= entry);
                !(is_later || is_certified || self.spared == Some(*enrolment))
            }
        }
    }
}

impl SubjectMark {
    pub(super) fn blocks(&self, form: &CredentialForm) -> bool {
        self.suspended || self.contained.iter().any(|one| one.blocks(form))
    }

    pub(super) const fn is_blocked(&self) -> bool {
        self.suspended || !self.contained.is_empty()
    }

    pub(super) fn incidents(&self) -> impl Iterator<Item = IncidentId> {
        self.contained.iter().map(|one| one.incident)
    }

    /// The incidents whose containment refuses a credential of this form.
    pub(super) fn incidents_against(&self, form: &CredentialForm) -> impl Iterator<Item = IncidentId> {
        self.contained.iter().filter(|one| one.blocks(form)).map(|one| one.incident)
    }

    /// Contains the subject by entry `seq`. A repetition spares only the operator that orders the repetition. Certificates
    /// of the host from before the repetition are still accepted.
    pub(super) fn contain(&mut self, containment: &Containment, seq: u64) {
        let Containment { incident, spared, .. } = containment;
        let before = self.contained.iter().position(|one| one.incident == *incident);
        let before = before.map(|at| self.contained.remove(at));
        let (since, certified) = before.map_or((seq, None), |before| (before.since, before.certified));
        self.contained.push(OpenContainment { incident: *incident, since, spared: *spared, certified });
        self.reason = None;
    }

    /// Whether this incident contains the subject, and spares the same operator.
    pub(super) fn has_containment(&self, Containment { incident, spared, .. }: &Containment) -> bool {
        self.contained.iter().any(|one| one.incident == *incident && one.spared == *spared)
    }

    pub(super) fn lift(&mut self, incident: IncidentId) {
        self.contained.retain(|one| one.incident != incident);
        self.reason = None;
    }

    /// Ends a suspension. The host also does this when it gives an operator a certificate by entry `seq`: a containment
    /// stays, and accepts this certificate.
    pub(super) fn resume(&mut self, seq: u64) {
        (self.suspended, self.reason) = (false, None);
        self.contained.iter_mut().for_each(|one| one.certified = one.certified.or(Some(seq)));
    }
}

/// What is in force against a subject, and not recorded yet.
#[derive(Clone, Debug, Default)]
pub(super) struct UnrecordedMarks {
    kills: u32,
    blocks: u32,
    contained: Vec<Containment>,
}

impl UnrecordedMarks {
    pub(super) fn add(&mut self, denial: &Denial) {
        match denial {
            Denial::Kill(_) => self.kills = self.kills.saturating_add(1),
            Denial::Block(_) => self.blocks = self.blocks.saturating_add(1),
            Denial::Contain(containment) => self.contained.push(containment.clone()),
        }
    }

    pub(super) fn remove(&mut self, denial: &Denial) {
        match denial {
            Denial::Kill(_) => self.kills = self.kills.saturating_sub(1),
            Denial::Block(_) => self.blocks = self.blocks.saturating_sub(1),
            Denial::Contain(containment) => {
                let at = self.contained.iter().position(|one| one == containment);
                at.into_iter().for_each(|at| drop(self.contained.remove(at)));
            }
        }
    }

    pub(super) fn containment_sparing(&self, spared: Option<OperatorEnrolment>) -> Option<IncidentId> {
        self.contained.iter().find(|one| one.spared == spared).map(|one| one.incident)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.kills == 0 && self.blocks == 0 && self.contained.is_empty()
    }

    pub(super) fn kills(&self, form: &CredentialForm) -> bool {
        self.kills > 0 || self.contained.iter().any(|one| one.blocks(form))
    }

    pub(super) fn blocks(&self, form: &CredentialForm) -> bool {
        self.blocks > 0 || self.contained.iter().any(|one| one.blocks(form))
    }

    pub(super) const fn is_blocked(&self) -> bool {
        self.blocks > 0 || !self.contained.is_empty()
    }

    /// The incidents whose containment refuses a credential of this form.
    pub(super) fn incidents_against(&self, form: &CredentialForm) -> impl Iterator<Item = IncidentId> {
        self.contained.iter().filter(|one| one.blocks(form)).map(|one| one.incident)
    }

    pub(super) fn incidents(&self) -> impl Iterator<Item = IncidentId> {
        self.contained.iter().map(|one| one.incident)
    }
}
