use super::subjects::is_of_operators;
use crate::authn::{Credential, is_under, live};
use crate::base::OperatorEnrolment;
use crate::broker::identity::facts::acting_admins;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::revocation::Subject;

impl Services {
    /// Whether no unrestricted admin can act from the address of its last use, after a containment of `subject`.
    pub(super) fn leaves_no_admin(&self, subject: &Subject) -> bool {
        is_of_operators(subject) && !self.has_acting_admin(|_, _, _| true)
    }

    /// Whether a containment of `subject` that spares this enrolment would leave no such admin.
    pub(super) fn would_leave_no_admin(&self, subject: &Subject, spared: Option<OperatorEnrolment>) -> bool {
        let is_accepted = |world: &World, presented: Credential<'_>, enrolment| {
            spared == Some(enrolment) || !is_under(presented, records(world), subject)
        };
        is_of_operators(subject) && !self.has_acting_admin(is_accepted)
    }

    /// Whether an unrestricted admin has a valid certificate that `is_accepted`, presented from the address of its last use.
    fn has_acting_admin(
        &self,
        is_accepted: impl Fn(&World, Credential<'_>, OperatorEnrolment) -> bool,
    ) -> bool {
        let (now, grace_s) = (self.state.clock.now(), self.settings.operator_renewal_grace_s);
        self.state.store.read(|world, _| {
            acting_admins(world, grace_s, now).any(|(operator, certificate)| {
                let from = self.state.operator_uses.last(operator).and_then(|last| last.from);
                let from = from.filter(|from| operator.profile.admits(*from));
                let presented = Credential::OperatorCertificate { operator, certificate, from };
                let enrolment =
                    OperatorEnrolment { operator: operator.id, enrolled_seq: certificate.enrolled_seq };
                live(presented, records(world)).is_ok() && is_accepted(world, presented, enrolment)
            })
        })
    }
}
