use super::section::SectionContext;
use crate::base::OwnerName;
use crate::config::FaultMessage;
use crate::registry::{ChangedValue, ForeignNames};

/// The present object of a name, for an operator.
pub(super) enum Present<'a, T> {
    /// It is within the scope.
    Own(&'a T),
    /// There is none, or the plan must not say that there is one.
    Absent,
    /// It belongs to another owner.
    Foreign,
}

impl<'a, T> Present<'a, T> {
    pub(super) fn of(ground: &SectionContext<'_>, found: Option<&'a T>, owner: Option<&OwnerName>) -> Self {
        match found {
            Some(found) if ground.scope.covers(owner) => Self::Own(found),
            Some(_) if ground.rules.foreign_names == ForeignNames::Told => Self::Foreign,
            Some(_) | None => Self::Absent,
        }
    }
}

/// The fault of a declaration whose name is that of an object of another owner.
pub(super) fn foreign() -> FaultMessage {
    FaultMessage::foreign("an object of another owner has this name: choose another name")
}

pub(super) fn owner_changed(old: Option<&OwnerName>, new: Option<&OwnerName>) -> Vec<ChangedValue> {
    ChangedValue::single("owner", old, new).into_iter().collect()
}
