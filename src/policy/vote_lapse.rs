/// Why a vote that approves does not count any more for a demand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VoteLapse {
    /// The operator was revoked, suspended, contained or deleted, or its enrolment has no valid certificate.
    Operator,
    /// The operator has a role that does not approve.
    Role,
    /// The operator is another person, or none.
    Person,
    /// Another approval key was accepted.
    KeyReplaced,
    /// The operator has no accepted approval key.
    KeyRemoved,
    /// A capability of the request is not within the operator's scope.
    Scope,
    /// The agent acts for another person.
    AgentPerson,
    /// The operator does not belong to the group of approvers.
    Group,
}

impl VoteLapse {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator_inactive",
            Self::Role => "role_changed",
            Self::Person => "person_changed",
            Self::KeyReplaced => "key_replaced",
            Self::KeyRemoved => "key_removed",
            Self::Scope => "scope_changed",
            Self::AgentPerson => "agent_person_changed",
            Self::Group => "group_changed",
        }
    }
}
