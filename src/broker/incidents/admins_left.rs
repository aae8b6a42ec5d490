use std::collections::BTreeSet;

use super::subjects::is_of_operators;
use crate::authn::{Credential, is_under, live};
use crate::base::limits::INCIDENT_NAMES_MAX;
use crate::base::{OperatorEnrolment, OperatorName};
use crate::broker::identity::facts::acting_admins;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::revocation::Subject;
use crate::wire::NamesAnswer;

/// The unrestricted admins that a containment leaves.
#[derive(Debug, Default)]
pub struct AdminsLeft {
    /// Whether no admin can act from the address of its last use. An admin whose last address is unknown may be locked out,
    /// and does not count.
    pub is_none: bool,
    /// The admins that may be locked out, because the address of their last use is unknown.
    pub of_unknown_address: BTreeSet<OperatorName>,
}

impl AdminsLeft {
    /// The admins of an unknown address, for answers; none if there is no such admin.
    #[must_use]
    pub fn unknown_answer(&self) -> Option<NamesAnswer> {
        let all = &self.of_unknown_address;
        let names = all.iter().take(INCIDENT_NAMES_MAX).map(ToString::to_string).collect();
        (!all.is_empty()).then_some(NamesAnswer { count: all.len(), names })
    }
}

impl Services {
    /// The admins that are left after a containment of `subject`.
    pub(super) fn admins_left(&self, subject: &Subject) -> AdminsLeft {
        self.admins_left_if(subject, |_, _, _| true)
    }

    /// The admins that a containment of `subject` would leave that spares this enrolment.
    pub(super) fn admins_that_would_be_left(
        &self,
        subject: &Subject,
        spared: Option<OperatorEnrolment>,
    ) -> AdminsLeft {
        let is_accepted = |world: &World, presented: Credential<'_>, enrolment| {
            spared == Some(enrolment) || !is_under(presented, records(world), subject)
        };
        self.admins_left_if(subject, is_accepted)
    }

    /// The admins with a valid certificate that `is_accepted`, presented from the address of its last use.
    fn admins_left_if(
        &self,
        subject: &Subject,
        is_accepted: impl Fn(&World, Credential<'_>, OperatorEnrolment) -> bool,
    ) -> AdminsLeft {
        let mut left = AdminsLeft { is_none: is_of_operators(subject), ..AdminsLeft::default() };
        if !left.is_none {
            return left;
        }
        let (now, grace_s) = (self.state.clock.now(), self.settings.operator_renewal_grace_s);
        self.state.store.read(|world, _| {
            // Without a contained network, an admin is accepted from any address.
            let needs_address =
                matches!(subject, Subject::Network(_)) || world.revocations.has_contained_network();
            for (operator, certificate) in acting_admins(world, grace_s, now) {
                let from = self.state.operator_uses.last(operator).and_then(|last| last.from);
                let from = from.filter(|from| operator.profile.admits(*from));
                let presented = Credential::OperatorCertificate { operator, certificate, from };
                let enrolment =
                    OperatorEnrolment { operator: operator.id, enrolled_seq: certificate.enrolled_seq };
                if live(presented, records(world)).is_err() || !is_accepted(world, presented, enrolment) {
                    continue;
                }
                if from.is_none() && needs_address {
                    left.of_unknown_address.insert(operator.name.clone());
                } else {
                    left.is_none = false;
                }
            }
        });
        left
    }
}
