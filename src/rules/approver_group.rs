use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::{ApproverGroupName, OperatorName, OwnerName};

/// A declared group of approvers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApproverGroup {
    /// The name.
    pub name: ApproverGroupName,
    /// The operators that belong to it.
    pub operators: BTreeSet<OperatorName>,
    /// Every operator that is bound to this owner belongs to it, too.
    pub operators_of: Option<OwnerName>,
    /// Who can approve, too, if the group does not answer.
    pub escalation: Option<Escalation>,
    /// The owner. Only policies of the same owner can name the group; those without an owner can name every group.
    pub owner: Option<OwnerName>,
}

/// Who can approve a request after a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Escalation {
    /// The time since the request was opened, in seconds.
    pub after_s: u32,
    /// The group. Its own escalation has no effect on this one.
    pub to: ApproverGroupName,
}

impl ApproverGroup {
    /// Whether the operator `name`, which is bound to `owner` if it has a scope, belongs to the group.
    #[must_use]
    pub fn has(&self, name: &OperatorName, owner: Option<&OwnerName>) -> bool {
        self.operators.contains(name) || (self.operators_of.is_some() && self.operators_of.as_ref() == owner)
    }
}

/// Changes of groups of approvers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct GroupsChange {
    /// Groups declared or replaced.
    pub groups: Vec<ApproverGroup>,
    /// Groups removed.
    pub removed: Vec<ApproverGroupName>,
}

impl GroupsChange {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.removed.is_empty()
    }
}
