use serde::{Deserialize, Serialize};

use super::name::ApproverGroupName;

/// What a policy demands for a request that it matches.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApprovalDemand {
    /// Who approves.
    pub kind: DemandKind,
    /// The group of approvers; without it every operator with the right can approve.
    pub group: Option<ApproverGroupName>,
    /// The number of persons who have to approve, at least 1.
    pub quorum: u32,
}

/// Who approves a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum DemandKind {
    /// Second persons: never the person for whom the agent acts.
    Approval,
    /// The person for whom the agent acts.
    Confirmation,
}

impl DemandKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Confirmation => "confirmation",
        }
    }
}
