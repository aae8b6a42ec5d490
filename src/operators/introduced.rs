//! Operators that other operators introduced: by the code of an enrolment, or by naming the person.

use super::approval_key::{ApprovalKey, ApprovalKeyChange};
use super::operator::Operator;
use super::profile::OperatorProfile;
use super::state::Operators;
use crate::base::{OperatorId, OperatorName, Person};
use crate::store::At;

impl Operator {
    /// The operators that introduced this one, also those that were deleted since.
    pub fn introduced_by(&self) -> impl Iterator<Item = OperatorId> {
        self.introducers().operators()
    }

    /// Whether `by`, or another operator of its person, introduced this operator, itself or by operators that it introduced;
    /// also if this operator had this person before.
    #[must_use]
    pub fn is_introduced_by(&self, by: &Self) -> bool {
        let introducers = self.introducers();
        introducers.has(by.id) || by.profile.person.as_ref().is_some_and(|one| introducers.has_person(one))
    }

    /// Whether an operator that introduced this one accepted its approval key: such a key does not show a second person.
    #[must_use]
    pub fn has_key_of_introducer(&self) -> bool {
        self.approval_keys.accepted().is_some_and(ApprovalKey::is_of_introducer)
    }
}

impl Operators {
    /// `by` introduced the operator `name`, and so did the introducers of `by`.
    pub(super) fn introduce(&mut self, name: &OperatorName, by: OperatorId) {
        let maker = self.with(by);
        let mut introducers = maker.map(|maker| maker.introducers().clone()).unwrap_or_default();
        introducers.add(by);
        let person = maker.and_then(|maker| maker.profile.person.as_ref());
        person.into_iter().for_each(|person| introducers.add_person(person));
        self.change(name, |one| one.introducers_mut().add_all(introducers));
    }

    /// Gives the operator `name` another profile. Its person before stays known, and so does a new person of an introducer:
    /// otherwise one person is two after a change of its name.
    pub(super) fn describe(&mut self, name: &OperatorName, profile: &OperatorProfile) {
        let Some(operator) = self.named(name) else { return };
        let (id, before, after) = (operator.id, operator.profile.person.clone(), profile.person.as_ref());
        let is_same = Person::are_same(before.as_ref(), after);
        self.change(name, |one| one.profile = profile.clone());
        if is_same {
            return;
        }
        if let Some(before) = &before {
            self.change(name, |one| one.introducers_mut().add_person(before));
        }
        let Some(after) = after else { return };
        for introduced in self.all_mut().filter(|one| one.introducers().has(id)) {
            introduced.introducers_mut().add_person(after);
        }
    }

    /// Changes the approval keys of the operator `name`. Whether an introducer accepts a key is kept with the key: the accepter
    /// may be deleted later.
    pub(super) fn change_approval_keys(&mut self, at: At, name: &OperatorName, change: &ApprovalKeyChange) {
        let accepter = match change {
            ApprovalKeyChange::Accept { by, .. } => self.all().find(|one| one.name.as_str() == by),
            ApprovalKeyChange::Propose { .. } | ApprovalKeyChange::Remove => None,
        };
        let is_introducer = accepter.zip(self.named(name)).is_some_and(|(by, one)| one.is_introduced_by(by));
        self.change(name, |one| one.approval_keys.apply(at, change, is_introducer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Scope, SystemEntropy, Timestamp};
    use crate::crypto::sha256;
    use crate::operators::{Effect, OperatorRole};

    const BEGIN: Timestamp = Timestamp::from_s(1_800_000_000);

    /// Admins, by their names.
    #[derive(Default)]
    struct Records(Operators);

    impl Records {
        fn apply(&mut self, effect: &Effect) {
            self.0.apply(At { seq: 1, time: BEGIN }, effect);
        }

        fn join(&mut self, text: &str, person: &str) {
            let id = OperatorId::mint(BEGIN, &SystemEntropy);
            let (role, scope) = (OperatorRole::Admin, Scope::Everything);
            self.apply(&Effect::Place { id, name: name(text), role, scope });
            self.describe(text, Some(person));
        }

        fn describe(&mut self, text: &str, person: Option<&str>) {
            let person = person.map(|person| person.parse().unwrap());
            let profile = OperatorProfile { person, ..OperatorProfile::default() };
            self.apply(&Effect::Describe { operator: name(text), profile });
        }

        fn introduce(&mut self, text: &str, by: &str) {
            let by = self.one(by).id;
            self.apply(&Effect::RecordNamer { operator: name(text), by });
        }

        /// A new key of the operator, which `by` accepts.
        fn accept(&mut self, text: &str, by: &str) {
            let key = sha256(text.as_bytes());
            let propose = ApprovalKeyChange::Propose { key, point: vec![4; 65], enrolled_seq: 1 };
            for change in [propose, ApprovalKeyChange::Accept { key, by: by.to_owned() }] {
                self.apply(&Effect::ChangeApprovalKeys { operator: name(text), change });
            }
        }

        fn one(&self, text: &str) -> &Operator {
            self.0.named(&name(text)).unwrap()
        }

        fn has_introduced(&self, by: &str, text: &str) -> bool {
            self.one(text).is_introduced_by(self.one(by))
        }
    }

    fn name(text: &str) -> OperatorName {
        text.parse().unwrap()
    }

    /// Ann with two operators, and Bob; `eve` was introduced by `x`, which one of Ann's operators introduced.
    fn records() -> Records {
        let mut records = Records::default();
        let persons = [("ann-1", "ann"), ("ann-2", "ann"), ("bob", "bob"), ("x", "x"), ("eve", "eve")];
        persons.into_iter().for_each(|(text, person)| records.join(text, person));
        records.introduce("x", "ann-1");
        records.introduce("eve", "x");
        records
    }

    #[test]
    fn person_stays_the_introducer_without_the_operator_that_introduced() {
        let introduced = |records: &Records| ["x", "eve"].map(|one| records.has_introduced("ann-2", one));
        // Given two operators of a person, then what one of them introduced is introduced by both
        let mut deleted = records();
        assert!(introduced(&deleted) == [true; 2] && !deleted.has_introduced("bob", "eve"));
        // When the operator that introduced is deleted, or becomes another person, then that stays so
        deleted.apply(&Effect::Remove(name("ann-1")));
        assert_eq!(introduced(&deleted), [true; 2]);
        let mut renamed = records();
        renamed.describe("ann-1", Some("zoe"));
        assert_eq!(introduced(&renamed), [true; 2]);
        // And the person that it becomes has introduced them, too
        renamed.describe("bob", Some("Zoe"));
        assert!(renamed.has_introduced("bob", "x") && renamed.has_introduced("bob", "eve"));
    }

    #[test]
    fn operator_that_becomes_another_person_is_known_to_the_person_before() {
        for between in [None, Some("zoe")] {
            let mut records = records();
            assert!(!records.has_introduced("ann-1", "ann-2"));
            records.describe("ann-2", between);
            records.describe("ann-2", Some("zoe"));
            assert!(records.has_introduced("ann-1", "ann-2") && !records.has_introduced("bob", "ann-2"));
        }
        // The twin: the same person in another way of writing
        let mut records = records();
        records.describe("ann-2", Some("Ann"));
        assert!(!records.has_introduced("ann-1", "ann-2"));
    }

    #[test]
    fn key_that_an_introducer_accepted_stays_one_without_the_accepter() {
        let mut records = records();
        records.accept("x", "bob");
        assert!(!records.one("x").has_key_of_introducer());
        records.accept("x", "ann-2");
        assert!(records.one("x").has_key_of_introducer());
        records.apply(&Effect::Remove(name("ann-2")));
        assert!(records.one("x").has_key_of_introducer());
        // And the host can accept another one
        records.accept("x", "host uid 0");
        assert!(!records.one("x").has_key_of_introducer());
    }
}
