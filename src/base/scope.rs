use serde::{Deserialize, Serialize};

use super::name::OwnerName;

/// The owners whose objects an operator can see and change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Scope {
    /// All objects, with or without an owner.
    Everything,
    /// Only objects of this owner.
    Owner(OwnerName),
}

impl Scope {
    /// The scope of one owner, or `All` without one.
    #[must_use]
    pub fn of(owner: Option<OwnerName>) -> Self {
        owner.map_or(Self::Everything, Self::Owner)
    }

    /// Whether the scope contains an object of `owner`.
    #[must_use]
    pub fn covers(&self, owner: Option<&OwnerName>) -> bool {
        match self {
            Self::Everything => true,
            Self::Owner(own) => owner == Some(own),
        }
    }

    /// The owner of a scope that is not `All`.
    #[must_use]
    pub const fn owner(&self) -> Option<&OwnerName> {
        match self {
            Self::Everything => None,
            Self::Owner(owner) => Some(owner),
        }
    }
}

/// The refusal `why` of an object that does not exist or belongs to another owner, as an operator of `owner` is told it.
pub(crate) fn refusal_within(owner: &str, why: &str) -> String {
    format!("among the objects that you may see (owner `{owner}`), {why}")
}

/// The fix of such a refusal.
pub(crate) fn fix_within(fix: &str) -> String {
    format!("{fix}; for an object of another owner, ask an operator with the scope `all`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_its_owners_things_alone() {
        let (ours, theirs): (OwnerName, OwnerName) = ("ours".parse().unwrap(), "theirs".parse().unwrap());
        let scope = Scope::Owner(ours.clone());
        assert!(scope.covers(Some(&ours)) && !scope.covers(Some(&theirs)) && !scope.covers(None));
        assert!(Scope::Everything.covers(Some(&theirs)) && Scope::Everything.covers(None));
    }
}
