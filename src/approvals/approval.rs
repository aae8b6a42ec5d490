use serde::{Deserialize, Serialize};

use super::opened::OpenedApproval;
use super::with_parameters;
use crate::base::limits::{APPROVAL_PENDING_S, APPROVAL_UNUSED_S};
use crate::base::{OperatorId, OperatorName, Person, PolicyName, Reason, Timestamp, TokenId};
use crate::crypto::Digest;
use crate::store::At;
use crate::wire::ApprovalState;

/// The vote of an operator.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ballot {
    /// The operator.
    pub operator: OperatorName,
    /// Its id.
    pub operator_id: OperatorId,
    /// The entry by which it enrolled.
    pub enrolled_seq: u64,
    /// The person who is the operator. An approval always has one.
    pub person: Option<Person>,
    /// The approval key of the signature. An approval always has one.
    pub key: Option<Digest>,
    /// Whether the operator approves; otherwise it denies.
    pub approves: bool,
    /// The policies whose demands the vote counts for.
    pub meets: Vec<PolicyName>,
}

/// A recorded vote.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CastVote {
    /// The vote.
    pub ballot: Ballot,
    /// When.
    pub at: Timestamp,
    /// The entry.
    pub seq: u64,
}

/// The end of a request before its time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Ending {
    /// An operator denied it.
    Denied,
    /// Its agent withdrew it.
    Withdrawn,
}

/// A request for approval.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Approval {
    /// As it was opened.
    #[serde(with = "with_parameters")]
    pub opened: OpenedApproval,
    /// When.
    pub opened_at: Timestamp,
    /// The entry.
    pub opened_seq: u64,
    /// The votes, the oldest first.
    pub votes: Vec<CastVote>,
    /// When all demands were met.
    pub approved_at: Option<Timestamp>,
    /// The tokens that were issued with it, at most [`APPROVAL_USES_MAX`](crate::base::limits::APPROVAL_USES_MAX).
    pub tokens: Vec<TokenId>,
    /// The first use.
    pub first_use: Option<Timestamp>,
    /// The end before its time.
    pub ended: Option<Ending>,
    /// Why an operator denied it, if the operator told the agent.
    told_reason: Option<Reason>,
}

impl Approval {
    pub(super) const fn new(opened: OpenedApproval, at: At) -> Self {
        Self {
            opened,
            opened_at: at.time,
            opened_seq: at.seq,
            votes: Vec::new(),
            approved_at: None,
            tokens: Vec::new(),
            first_use: None,
            ended: None,
            told_reason: None,
        }
    }

    /// The state at `now`. Nothing is recorded when a time is over.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> ApprovalState {
        match self.ended {
            Some(Ending::Denied) => return ApprovalState::Denied,
            Some(Ending::Withdrawn) => return ApprovalState::Withdrawn,
            None => {}
        }
        if self.approved_at.is_some() && self.uses() >= self.opened.terms.request.uses {
            return ApprovalState::Used;
        }
        if now >= self.expires_at() {
            return ApprovalState::Expired;
        }
        if self.approved_at.is_some() { ApprovalState::Approved } else { ApprovalState::Pending }
    }

    /// The end of the wait for votes, of the wait for the first use, or of the grant that the first use began.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let grant_life_s = self.opened.terms.request.grant_life_s.map_or(0, i64::from);
        match (self.approved_at, self.first_use) {
            (None, _) => self.opened_at.plus_s(APPROVAL_PENDING_S),
            (Some(approved), None) => approved.plus_s(APPROVAL_UNUSED_S),
            (Some(_), Some(first)) => first.plus_s(grant_life_s),
        }
    }

    /// The number of tokens that it still gives at `now`.
    #[must_use]
    pub fn uses_left(&self, now: Timestamp) -> u32 {
        if self.state(now) == ApprovalState::Approved {
            self.opened.terms.request.uses.saturating_sub(self.uses())
        } else {
            0
        }
    }

    /// The votes that approve, and count for the demand of `policy`.
    pub fn votes_for<'a>(&'a self, policy: &'a PolicyName) -> impl Iterator<Item = &'a CastVote> {
        self.votes.iter().filter(move |vote| vote.ballot.approves && vote.ballot.meets.contains(policy))
    }

    /// Why an operator denied it, if the operator told the agent.
    #[must_use]
    pub const fn told_reason(&self) -> Option<&Reason> {
        self.told_reason.as_ref()
    }

    pub(super) fn tell(&mut self, reason: Reason) {
        self.told_reason = Some(reason);
    }

    /// The number of tokens that were issued with it.
    #[must_use]
    pub fn uses(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn vote(&mut self, ballot: Ballot, completes: bool, at: At) {
        if !ballot.approves {
            self.ended.get_or_insert(Ending::Denied);
        }
        // The same operator votes again if its earlier vote does not count any more.
        self.votes.retain(|vote| vote.ballot.operator_id != ballot.operator_id);
        self.votes.push(CastVote { ballot, at: at.time, seq: at.seq });
        if completes {
            self.approved_at = Some(at.time);
        }
    }

    pub(super) fn use_once(&mut self, token: TokenId, at: At) {
        self.tokens.push(token);
        self.first_use.get_or_insert(at.time);
    }

    /// Times in the future move back to `now`.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        self.opened_at = self.opened_at.min(now);
        let times = self.votes.iter_mut().map(|vote| &mut vote.at);
        for time in times.chain(&mut self.approved_at).chain(&mut self.first_use) {
            *time = (*time).min(now);
        }
    }
}
