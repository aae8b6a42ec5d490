use serde::{Deserialize, Serialize};

use super::approval::Ballot;
use super::keys;
use super::opened::OpenedApproval;
use super::with_parameters;
use crate::base::{ApprovalId, Reason, TokenId};
use crate::ledger::Key;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// An agent asks for an approval.
    Open(Box<OpenedApproval>),
    /// An operator votes.
    Vote {
        /// The approval.
        approval: ApprovalId,
        /// The vote.
        ballot: Ballot,
        /// Whether all demands are met with it.
        completes: bool,
    },
    /// A token is issued with the approval.
    Use {
        /// The approval.
        approval: ApprovalId,
        /// The token.
        token: TokenId,
    },
    /// The agent withdraws its request.
    Withdraw {
        /// The approval.
        approval: ApprovalId,
    },
    /// The operator that denies it tells the agent the reason.
    Tell {
        /// The approval.
        approval: ApprovalId,
        /// The reason.
        reason: Reason,
    },
    /// An agent asks for an approval of a request with parameters.
    OpenWithParameters(#[serde(with = "with_parameters")] Box<OpenedApproval>),
}

impl Effect {
    /// An agent asks for this approval.
    #[must_use]
    pub fn open(opened: OpenedApproval) -> Self {
        let has_parameters = !opened.terms.request.parameters.is_empty();
        let opened = Box::new(opened);
        if has_parameters { Self::OpenWithParameters(opened) } else { Self::Open(opened) }
    }

    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Open(opened) | Self::OpenWithParameters(opened) => {
                keys.extend([keys::approval(opened.id), keys::of_agent(opened.requester.agent)]);
            }
            Self::Vote { approval, .. }
            | Self::Use { approval, .. }
            | Self::Withdraw { approval }
            | Self::Tell { approval, .. } => keys.push(keys::approval(*approval)),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once. In an older copy of the ledger, an approval could be
    /// used again.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Open(_) | Self::OpenWithParameters(_) | Self::Tell { .. } => false,
            Self::Vote { ballot, .. } => !ballot.approves,
            Self::Use { .. } | Self::Withdraw { .. } => true,
        }
    }
}
