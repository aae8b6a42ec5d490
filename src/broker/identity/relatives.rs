use crate::base::{CodeId, OperatorEnrolment};
use crate::broker::denial::MemoryRevocation;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::registry::{self, AgentCode, Instance};
use crate::revocation::{self, Denial, Subject};
use crate::store::Change;

/// What is revoked together with a subject: the other certificates of its holder, and the open codes with which a revoked
/// instance enrolled.
pub(crate) struct Relatives {
    /// The instance or the enrolment of an operator whose other certificates are renewals of the subject.
    renewals: Option<Subject>,
    codes: Vec<CodeId>,
}

impl Relatives {
    /// Those of `subject`, which is a certificate of this `enrolment` if there is one.
    pub(crate) fn of(reading: &Reading<'_>, subject: &Subject, enrolment: Option<OperatorEnrolment>) -> Self {
        let renewals = enrolment.map(Subject::OperatorEnrolment).or_else(|| instance_with(reading, subject));
        Self { renewals, codes: codes_of_holders(reading, subject) }
    }

    /// Whether an enrolment code is revoked too.
    pub(crate) const fn has_codes(&self) -> bool {
        !self.codes.is_empty()
    }

    /// The number of uses that the codes have left; none if no code is revoked.
    pub(crate) fn unused_uses(&self, reading: &Reading<'_>) -> Option<usize> {
        let registry = &reading.unconditional().registry;
        let left = self.codes.iter().filter_map(|id| registry.code(*id)).map(AgentCode::uses_left);
        let sum = left.fold(0, usize::saturating_add);
        (sum > 0).then_some(sum)
    }

    /// The change that revokes them too.
    pub(crate) fn added_to(&self, mut change: Change<Effect>) -> Change<Effect> {
        if let Some(renewals) = self.renewals.clone() {
            change = change.effect(Effect::Revocation(revocation::Effect::Kill(renewals)));
        }
        if self.codes.is_empty() {
            return change;
        }
        change.effect(Effect::Registry(registry::Effect::EndCodes(self.codes.clone())))
    }

    /// The denial that revokes them too.
    pub(crate) fn denied_with(self, denial: MemoryRevocation) -> MemoryRevocation {
        if self.renewals.is_none() && self.codes.is_empty() {
            return denial;
        }
        let renewals = self.renewals.map(|renewals| MemoryRevocation::Subject(Denial::Kill(renewals)));
        let codes = (!self.codes.is_empty()).then_some(MemoryRevocation::Codes(self.codes));
        MemoryRevocation::Several([Some(denial), renewals, codes].into_iter().flatten().collect())
    }
}

/// The instance that holds the certificate `subject`. An entry before the revocation can replace the certificate by its
/// renewal, and a mark on a certificate that nobody holds concerns nothing.
fn instance_with(reading: &Reading<'_>, subject: &Subject) -> Option<Subject> {
    let Subject::Certificate(serial) = subject else { return None };
    let registry = &reading.unconditional().registry;
    let mut instances = registry.agents().flat_map(|agent| agent.instances.iter());
    instances.find(|one| one.has_serial(serial)).map(|one| Subject::Instance(one.id))
}

/// The open codes by which an instance under `subject` has enrolled, and can enrol again with another key.
fn codes_of_holders(reading: &Reading<'_>, subject: &Subject) -> Vec<CodeId> {
    let is_concerned = |instance: &Instance| match subject {
        Subject::Instance(id) => instance.id == *id,
        Subject::Certificate(serial) => instance.has_serial(serial),
        Subject::Network(network) => instance.enrolled_from.is_some_and(|from| network.contains(from)),
        Subject::Agent(_)
        | Subject::Token(_)
        | Subject::Operator(_)
        | Subject::Role(_)
        | Subject::Capability(_)
        | Subject::Owner(_)
        | Subject::Secret(_)
        | Subject::Lineage(_)
        | Subject::Everything
        | Subject::OperatorEnrolment(_) => false,
    };
    reading.unconditional().registry.open_codes_of(reading.now(), is_concerned).collect()
}
