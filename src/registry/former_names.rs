use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::owners::Owned;
use crate::base::limits::{FORMER_NAMES_MAX, FORMER_NAMES_PER_OWNER_MAX};
use crate::base::{AgentName, Audience, OperatorName, OwnerName, Scope};
use crate::crypto::sha256_parts;

/// Names and audiences that are declared no more, and whose they were: tokens, certificates and rules elsewhere may
/// still mean what bore them. They come back to their owner, or by an operator who is bound to no owner.
///
/// None is forgotten: an owner that has, and has left behind, [`FORMER_NAMES_PER_OWNER_MAX`] of them has no new ones
/// declared by operators bound to it. To take a name away is never refused.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct FormerNames {
    /// Of nobody as well: an audience that two owners had, and left.
    left: BTreeMap<NameDigest, Option<OwnerName>>,
    counts: BTreeMap<Option<OwnerName>, usize>,
    /// Whether one was left that did not fit in: each name that is not known may be that one.
    is_incomplete: bool,
}

/// A name that was deleted. It is never given again: certificates with its SPIFFE ID were trusted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeletedName {
    /// Of an agent or a resource server.
    Agent(AgentName),
    /// Of an operator.
    Operator(OperatorName),
}

/// Why a name or an audience that nothing bears is not to be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameRefusal {
    /// An agent or a resource server of this name was deleted.
    Deleted,
    /// It belonged to another owner.
    OfAnother,
    /// It is new, and its owner has as many as it may, with those that it left behind.
    NoRoom,
    /// It is new, and more of anybody's would not be remembered.
    Full,
}

/// A digest of a name or an audience, and of what sort of thing bears it.
type NameDigest = [u8; 16];

impl FormerNames {
    /// Why an operator who reaches as far as `scope`, where there are `live` names and audiences, may not declare a
    /// thing of this name, which there is not, if so.
    #[must_use]
    pub fn keeps(&self, scope: &Scope, thing: &Owned, live: usize) -> Option<NameRefusal> {
        if let Owned::Agent(name) = thing
            && self.is_deleted(&DeletedName::Agent(name.clone()))
        {
            return Some(NameRefusal::Deleted);
        }
        self.kept(scope, &mark_of(thing), live)
    }

    /// Whether this name was deleted.
    #[must_use]
    pub fn is_deleted(&self, name: &DeletedName) -> bool {
        self.left.contains_key(&mark_of_deleted(name))
    }

    /// Whether one more name can be deleted: a resource server leaves a former name, a former audience and a deleted name.
    #[must_use]
    pub fn has_room_for_deletion(&self) -> bool {
        self.left.len().saturating_add(3) <= FORMER_NAMES_MAX
    }

    /// The same of an audience that was not that of the same thing before.
    #[must_use]
    pub fn keeps_audience(&self, scope: &Scope, audience: &Audience, live: usize) -> Option<NameRefusal> {
        self.kept(scope, &mark_of_audience(audience), live)
    }

    /// Whether a thing of this name was there before.
    #[must_use]
    pub fn knows(&self, thing: &Owned) -> bool {
        self.left.contains_key(&mark_of(thing))
    }

    /// The owner of a thing of this name when it was removed; none of one that belonged to nobody, and of one that is there.
    #[must_use]
    pub fn owner_of(&self, thing: &Owned) -> Option<&OwnerName> {
        self.left.get(&mark_of(thing)).and_then(Option::as_ref)
    }

    /// Whether this audience was there before.
    #[must_use]
    pub fn knows_audience(&self, audience: &Audience) -> bool {
        self.left.contains_key(&mark_of_audience(audience))
    }

    fn kept(&self, scope: &Scope, mark: &NameDigest, live: usize) -> Option<NameRefusal> {
        let own = scope.owner()?;
        match self.left.get(mark) {
            Some(was) => (!scope.covers(was.as_ref())).then_some(NameRefusal::OfAnother),
            None if self.is_incomplete => Some(NameRefusal::Full),
            None => {
                let left = self.counts.get(&Some(own.clone())).copied().unwrap_or_default();
                (left.saturating_add(live) >= FORMER_NAMES_PER_OWNER_MAX).then_some(NameRefusal::NoRoom)
            }
        }
    }

    pub(super) fn leave(&mut self, thing: &Owned, owner: Option<&OwnerName>) {
        self.note(mark_of(thing), owner);
    }

    pub(super) fn leave_audience(&mut self, audience: &Audience, owner: Option<&OwnerName>) {
        self.note(mark_of_audience(audience), owner);
    }

    pub(super) fn delete(&mut self, name: &DeletedName) {
        self.note(mark_of_deleted(name), None);
    }

    pub(super) fn take(&mut self, thing: &Owned) {
        self.forget(&mark_of(thing));
    }

    pub(super) fn take_audience(&mut self, audience: &Audience) {
        self.forget(&mark_of_audience(audience));
    }

    /// What another owner left before, an audience that both had, is neither's from here on.
    fn note(&mut self, mark: NameDigest, owner: Option<&OwnerName>) {
        let is_of_both = self.left.get(&mark).is_some_and(|was| was.as_ref() != owner);
        let owner = owner.filter(|_| !is_of_both);
        self.forget(&mark);
        if self.left.len() >= FORMER_NAMES_MAX {
            self.is_incomplete = true;
            return;
        }
        let count = self.counts.entry(owner.cloned()).or_default();
        *count = count.saturating_add(1);
        self.left.insert(mark, owner.cloned());
    }

    fn forget(&mut self, mark: &NameDigest) {
        let Some(owner) = self.left.remove(mark) else { return };
        if let Some(count) = self.counts.get_mut(&owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
    }
}

fn mark_of(thing: &Owned) -> NameDigest {
    match thing {
        Owned::Capability(name) => mark(b"capability", name.as_str()),
        Owned::Role(name) => mark(b"role", name.as_str()),
        Owned::Agent(name) => mark(b"agent", name.as_str()),
    }
}

fn mark_of_deleted(name: &DeletedName) -> NameDigest {
    match name {
        DeletedName::Agent(name) => mark(b"deleted-agent", name.as_str()),
        DeletedName::Operator(name) => mark(b"deleted-operator", name.as_str()),
    }
}

fn mark_of_audience(audience: &Audience) -> NameDigest {
    mark(b"audience", audience.as_str())
}

fn mark(kind: &[u8], name: &str) -> NameDigest {
    let digest = sha256_parts(&[kind, b"\0", name.as_bytes()]);
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(number: usize) -> Owned {
        Owned::Agent(format!("a-{number}").parse().unwrap())
    }

    fn owner(name: &str) -> OwnerName {
        name.parse().unwrap()
    }

    #[test]
    fn an_owner_that_left_too_many_names_gets_no_new_one_and_pushes_out_none() {
        let (red, blue) = (owner("red"), owner("blue"));
        let (of_red, of_blue) = (Scope::Owner(red.clone()), Scope::Owner(blue.clone()));
        let mut former = FormerNames::default();
        former.leave(&thing(0), Some(&red));
        for number in 1..FORMER_NAMES_PER_OWNER_MAX {
            former.leave(&thing(number), Some(&blue));
        }
        let fresh = thing(usize::MAX);
        assert_eq!(former.keeps(&of_blue, &fresh, 0), None, "one below the limit");
        assert_eq!(former.keeps(&of_blue, &fresh, 1), Some(NameRefusal::NoRoom), "at it with what it has");
        let last = FORMER_NAMES_PER_OWNER_MAX;
        former.leave(&thing(last), Some(&blue));
        assert_eq!(former.keeps(&of_blue, &fresh, 0), Some(NameRefusal::NoRoom), "at the limit");
        assert_eq!(former.keeps(&of_blue, &thing(1), 0), None, "its own come back");
        assert_eq!(former.keeps(&of_red, &fresh, 0), None, "another owner's limit is its own");
        former.leave(&thing(last + 1), Some(&blue));
        assert_eq!(
            former.keeps(&of_red, &thing(last + 1), 0),
            Some(NameRefusal::OfAnother),
            "beyond it, all are kept"
        );
        assert_eq!(former.keeps(&of_blue, &thing(0), 0), Some(NameRefusal::OfAnother));
        for number in 0..=last {
            assert_eq!(former.keeps(&Scope::Everything, &thing(number), 0), None);
        }
        former.take(&thing(1));
        former.take(&thing(2));
        assert_eq!(former.keeps(&of_blue, &fresh, 0), None, "two were taken up again");
    }

    #[test]
    fn what_does_not_fit_in_makes_every_unknown_name_unavailable() {
        let (red, nobody) = (Scope::Owner(owner("red")), None);
        let mut former = FormerNames::default();
        for number in 0..FORMER_NAMES_MAX {
            former.leave(&thing(number), nobody);
        }
        let beyond = thing(FORMER_NAMES_MAX);
        assert_eq!(former.keeps(&red, &beyond, 0), None, "at the limit");
        former.leave(&beyond, nobody);
        assert_eq!(former.keeps(&red, &beyond, 0), Some(NameRefusal::Full), "one beyond it");
        assert_eq!(former.keeps(&red, &thing(0), 0), Some(NameRefusal::OfAnother), "the oldest is there");
        assert_eq!(former.keeps(&Scope::Everything, &beyond, 0), None);
    }

    #[test]
    fn a_deleted_name_is_given_to_nobody_and_room_for_it_is_checked() {
        let mut former = FormerNames::default();
        let (name, red) = (thing(0), owner("red"));
        let Owned::Agent(deleted) = &name else { panic!("an agent") };
        former.leave(&name, Some(&red));
        former.delete(&DeletedName::Agent(deleted.clone()));
        for scope in [Scope::Everything, Scope::Owner(red)] {
            assert_eq!(former.keeps(&scope, &name, 0), Some(NameRefusal::Deleted));
        }
        former.take(&name);
        assert_eq!(former.keeps(&Scope::Everything, &name, 0), Some(NameRefusal::Deleted), "for good");
        assert!(
            !former.is_deleted(&DeletedName::Operator("a-0".parse().unwrap())),
            "the digest is of its kind"
        );
        (1..FORMER_NAMES_MAX - 3).for_each(|number| former.leave(&thing(number), None));
        assert!(former.has_room_for_deletion(), "at the limit");
        let mut beyond = former.clone();
        beyond.leave(&thing(FORMER_NAMES_MAX), None);
        assert!(!beyond.has_room_for_deletion(), "one beyond it");
        // A resource server leaves most names. All of them fit in, the deleted one too.
        let server = thing(FORMER_NAMES_MAX);
        let Owned::Agent(deleted) = &server else { panic!("a resource server") };
        former.leave_audience(&"https://a.example.com".parse().unwrap(), None);
        former.leave(&server, None);
        former.delete(&DeletedName::Agent(deleted.clone()));
        assert_eq!(former.keeps(&Scope::Everything, &server, 0), Some(NameRefusal::Deleted));
    }

    #[test]
    fn an_audience_that_two_owners_left_is_neither_s() {
        let (red, blue) = (owner("red"), owner("blue"));
        let audience: Audience = "https://a.example.com".parse().unwrap();
        for leavers in [[Some(&blue), Some(&red)], [Some(&red), Some(&blue)], [None, Some(&red)]] {
            let mut former = FormerNames::default();
            leavers.iter().for_each(|leaver| former.leave_audience(&audience, *leaver));
            former.leave_audience(&audience, Some(&red));
            for scope in [Scope::Owner(red.clone()), Scope::Owner(blue.clone())] {
                assert_eq!(
                    former.keeps_audience(&scope, &audience, 0),
                    Some(NameRefusal::OfAnother),
                    "{leavers:?}"
                );
            }
            assert_eq!(former.keeps_audience(&Scope::Everything, &audience, 0), None);
        }
        let mut former = FormerNames::default();
        former.leave_audience(&audience, Some(&red));
        former.leave_audience(&audience, Some(&red));
        assert_eq!(
            former.keeps_audience(&Scope::Owner(red), &audience, 0),
            None,
            "the twin: left twice by one"
        );
    }

    #[test]
    fn the_digest_of_a_name_is_of_its_kind() {
        let mut former = FormerNames::default();
        former.leave(&Owned::Role("a".parse().unwrap()), None);
        let red = Scope::Owner(owner("red"));
        assert_eq!(former.keeps(&red, &Owned::Role("a".parse().unwrap()), 0), Some(NameRefusal::OfAnother));
        assert_eq!(former.keeps(&red, &Owned::Agent("a".parse().unwrap()), 0), None);
    }
}
