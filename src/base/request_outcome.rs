/// The outcome of a decision on a request of an agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestOutcome {
    /// As requested.
    Allow,
    /// Less than requested.
    Constrain,
    /// Only with an approval.
    Approval,
    /// Not at all.
    Deny,
}

impl RequestOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Constrain, Self::Approval, Self::Deny];

    /// The word for it in answers and in case files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Constrain => "constrain",
            Self::Approval => "approval",
            Self::Deny => "deny",
        }
    }
}
