//! Whether the approval of an operator would count: for the vote, and for the operator before it enters a passphrase.

use crate::approvals::{Approval, CastVote};
use crate::authn::{OperatorPrincipal, Records};
use crate::base::code::{self, Code};
use crate::base::{Person, PolicyName, Timestamp};
use crate::broker::world::{World, records};
use crate::operators::Operator;
use crate::policy::{Right, VoteApprovals, counts_for_any, demands_met_by, is_still_met, persons};
use crate::wire::ApprovalState;

/// Whether the request cannot be approved at `now`: it has ended, or it is approved and the votes count.
pub(super) fn is_decided(records: Records<'_>, approval: &Approval, now: Timestamp) -> bool {
    let state = approval.state(now);
    state.is_ended() || state == ApprovalState::Approved && is_still_met(records, approval)
}

/// The vote of `principal` with this verdict, if it counts.
pub(super) fn counting_vote_of<'a>(
    records: Records<'_>,
    approval: &'a Approval,
    principal: &OperatorPrincipal,
    approves: bool,
) -> Option<&'a CastVote> {
    approval.votes.iter().find(|vote| {
        let ballot = &vote.ballot;
        let is_same = ballot.operator_id == principal.id() && ballot.approves == approves;
        is_same && counts_for_any(records, approval, vote)
    })
}

/// The policies whose demands an approval by `operator` would count for.
///
/// # Errors
/// The code that says why it would count for none.
pub(super) fn demands_newly_met(
    records: Records<'_>,
    approval: &Approval,
    operator: &Operator,
    now: Timestamp,
) -> Result<Vec<PolicyName>, Code> {
    let meets = demands_met_by(records, approval, operator, now)?;
    let person = operator.profile.person.as_ref().map(Person::folded).unwrap_or_default();
    let demands = approval.opened.terms.demands.iter().filter(|demand| meets.contains(&demand.policy));
    let is_new =
        demands.map(|demand| persons(records, approval, demand)).any(|persons| !persons.contains(&person));
    if is_new { Ok(meets) } else { Err(code::APPROVER_ALREADY_VOTED) }
}

/// The code of the refusal that an approval by `principal` would get at `now`. The same vote again is not refused. With
/// `is_second_demanded`, the broker demands a second operator.
pub(super) fn refusal_of(
    world: &World,
    approval: &Approval,
    principal: &OperatorPrincipal,
    now: Timestamp,
    is_second_demanded: bool,
) -> Option<Code> {
    let records = records(world);
    let Some(operator) = world.operators.named(principal.name()) else {
        return Some(code::OPERATOR_UNKNOWN);
    };
    if counting_vote_of(records, approval, principal, true).is_some() {
        return None;
    }
    if !VoteApprovals::NEED.roles.contains(&operator.role) {
        return Some(code::OPERATOR_ROLE_INSUFFICIENT);
    }
    if is_decided(records, approval, now) {
        return Some(code::APPROVAL_ALREADY_ENDED);
    }
    if world.operators.approval_key(principal.name()).is_none() {
        return Some(code::APPROVAL_KEY_MISSING);
    }
    if is_second_demanded && operator.has_key_of_introducer() {
        return Some(code::APPROVAL_KEY_OF_INTRODUCER);
    }
    demands_newly_met(records, approval, operator, now).err()
}
