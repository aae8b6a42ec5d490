use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::{OperatorId, Person};

/// The introducers of an operator: those that made the codes of its enrolments or named its person, and those that introduced
/// them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Introducers {
    operators: BTreeSet<OperatorId>,
    /// The persons who these operators are or were, and who the operator itself was, folded.
    persons: BTreeSet<String>,
}

impl Introducers {
    /// The operators.
    pub(super) fn operators(&self) -> impl Iterator<Item = OperatorId> {
        self.operators.iter().copied()
    }

    /// Whether the operator with this id is one of them.
    pub(super) fn has(&self, operator: OperatorId) -> bool {
        self.operators.contains(&operator)
    }

    /// Whether this person is one of them, with any operator.
    pub(super) fn has_person(&self, person: &Person) -> bool {
        self.persons.contains(&person.folded())
    }

    /// Adds an operator.
    pub(super) fn add(&mut self, operator: OperatorId) {
        self.operators.insert(operator);
    }

    /// Adds a person.
    pub(super) fn add_person(&mut self, person: &Person) {
        self.persons.insert(person.folded());
    }

    /// Adds all of `others`.
    pub(super) fn add_all(&mut self, others: Self) {
        self.operators.extend(others.operators);
        self.persons.extend(others.persons);
    }
}
