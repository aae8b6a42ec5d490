//! Operators that other operators introduced: by the code of an enrolment, or by naming the person.

use std::collections::BTreeSet;

use super::approval_key::ApprovalKey;
use super::operator::Operator;
use super::state::Operators;
use crate::base::{OperatorId, Person};

impl Operators {
    /// The operator of this id, and those that introduced it: the chain stays if the operator is deleted.
    pub(super) fn introducers_through(&self, id: OperatorId) -> BTreeSet<OperatorId> {
        let known = self.with(id).map(|operator| operator.introduced_by.clone()).unwrap_or_default();
        known.into_iter().chain([id]).collect()
    }

    /// Whether `by`, or another operator of its person, introduced `operator`, itself or by operators that it introduced.
    #[must_use]
    pub fn has_introduced(&self, by: &Operator, operator: &Operator) -> bool {
        let person = by.profile.person.as_ref();
        let is_same =
            |one: &Operator| person.is_some() && Person::are_same(person, one.profile.person.as_ref());
        operator.introduced_by.iter().any(|id| *id == by.id || self.with(*id).is_some_and(is_same))
    }

    /// Whether an operator that introduced `operator` accepted its approval key: such a key does not show that `operator` is
    /// a second person.
    #[must_use]
    pub fn is_key_of_introducer(&self, operator: &Operator) -> bool {
        let accepted_by = operator.approval_keys.accepted().map(ApprovalKey::accepted_by);
        let accepter = accepted_by.and_then(|by| self.all().find(|one| one.name.as_str() == by));
        accepter.is_some_and(|by| self.has_introduced(by, operator))
    }
}
