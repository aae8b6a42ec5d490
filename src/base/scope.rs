use serde::{Deserialize, Serialize};

use super::name::OwnerName;

/// How far somebody's reach goes, by whose things are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Scope {
    /// To everything, owned or not.
    Everything,
    /// To what this owner has, and to nothing else.
    Owner(OwnerName),
}

impl Scope {
    /// To what `owner` has; to everything when none is named.
    #[must_use]
    pub fn of(owner: Option<OwnerName>) -> Self {
        owner.map_or(Self::Everything, Self::Owner)
    }

    /// Whether something that belongs to `owner`, or to nobody, is within reach.
    #[must_use]
    pub fn covers(&self, owner: Option<&OwnerName>) -> bool {
        match self {
            Self::Everything => true,
            Self::Owner(own) => owner == Some(own),
        }
    }

    /// The owner that it ends at, if it ends at one.
    #[must_use]
    pub const fn owner(&self) -> Option<&OwnerName> {
        match self {
            Self::Everything => None,
            Self::Owner(owner) => Some(owner),
        }
    }
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
