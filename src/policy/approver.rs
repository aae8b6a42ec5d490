use std::collections::BTreeSet;

use super::right::{Right, VoteApprovals};
use super::vote_lapse::VoteLapse;
use crate::approvals::{Approval, Ballot, CastVote, PolicyDemand};
use crate::authn::{Records, enrolled_operator};
use crate::base::code::{self, Code};
use crate::base::{ApproverGroupName, DemandKind, Person, PolicyName, Scope, Timestamp};
use crate::operators::{ApprovalKey, Operator, OperatorKind, is_of_host};
use crate::registry::Owned;

/// The policies whose demands the vote of `operator` at `now` counts for: at least one.
///
/// # Errors
/// The code that says why the vote counts for none.
pub fn demands_met_by(
    records: Records<'_>,
    approval: &Approval,
    operator: &Operator,
    now: Timestamp,
) -> Result<Vec<PolicyName>, Code> {
    let (mut met, mut refusal) = (Vec::new(), code::APPROVER_NOT_IN_GROUP);
    for demand in &approval.opened.terms.demands {
        match can_meet(records, approval, demand, operator, now) {
            Ok(()) => met.push(demand.policy.clone()),
            Err(code) => refusal = code,
        }
    }
    if met.is_empty() { Err(refusal) } else { Ok(met) }
}

/// Whether an operator with this scope may see and decide about the approval: all its capabilities are within the scope.
#[must_use]
pub fn is_within(records: Records<'_>, approval: &Approval, scope: &Scope) -> bool {
    let owners = records.registry.owners();
    let capabilities = &approval.opened.terms.request.capabilities;
    capabilities.iter().all(|one| scope.covers(owners.of(&Owned::Capability(one.name.clone()))))
}

/// Whether the votes still meet all demands: each operator has the role, the scope, the group and a valid certificate of the
/// same enrolment, as when it voted.
#[must_use]
pub fn is_still_met(records: Records<'_>, approval: &Approval) -> bool {
    let demands = &approval.opened.terms.demands;
    demands.iter().all(|demand| approved_by(records, approval, demand) >= demand.demand.quorum)
}

/// Whether this vote, with the ones that count, meets all demands.
#[must_use]
pub fn is_met_with(records: Records<'_>, approval: &Approval, ballot: &Ballot) -> bool {
    approval.opened.terms.demands.iter().all(|demand| {
        let new = ballot.person.as_ref().filter(|_| ballot.meets.contains(&demand.policy));
        let before = persons(records, approval, demand);
        let all = before.into_iter().chain(new.map(Person::folded)).collect::<BTreeSet<String>>();
        u32::try_from(all.len()).is_ok_and(|count| count >= demand.demand.quorum)
    })
}

/// The number of persons who have approved what `demand` asks for, and whose votes count.
#[must_use]
pub fn approved_by(records: Records<'_>, approval: &Approval, demand: &PolicyDemand) -> u32 {
    u32::try_from(persons(records, approval, demand).len()).unwrap_or(u32::MAX)
}

/// Whether the vote counts for a demand; a denial always counts.
#[must_use]
pub fn counts_for_any(records: Records<'_>, approval: &Approval, vote: &CastVote) -> bool {
    let demands = &approval.opened.terms.demands;
    !vote.ballot.approves || demands.iter().any(|demand| counts(records, approval, demand, vote))
}

/// The persons whose votes count for `demand`: a person with two operator names counts once.
#[must_use]
pub fn persons(records: Records<'_>, approval: &Approval, demand: &PolicyDemand) -> BTreeSet<String> {
    let votes = approval.votes_for(&demand.policy);
    let counting = votes.filter(|vote| counts(records, approval, demand, vote));
    counting.filter_map(|vote| vote.ballot.person.as_ref()).map(Person::folded).collect()
}

fn counts(records: Records<'_>, approval: &Approval, demand: &PolicyDemand, vote: &CastVote) -> bool {
    lapse_of(records, approval, demand, vote).is_none()
}

/// Why the vote, which approves, does not count any more for `demand`; `None` if it counts.
#[must_use]
pub fn lapse_of(
    records: Records<'_>,
    approval: &Approval,
    demand: &PolicyDemand,
    vote: &CastVote,
) -> Option<VoteLapse> {
    let ballot = &vote.ballot;
    let enrolled = enrolled_operator(ballot.operator_id, &ballot.operator, ballot.enrolled_seq, records);
    let Ok(operator) = enrolled else { return Some(VoteLapse::Operator) };
    if !VoteApprovals::NEED.roles.contains(&operator.role) {
        return Some(VoteLapse::Role);
    }
    if !Person::are_same(operator.profile.person.as_ref(), ballot.person.as_ref()) {
        return Some(VoteLapse::Person);
    }
    let accepted = records.operators.approval_key(&operator.name).map(ApprovalKey::fingerprint);
    if accepted.is_none() {
        return Some(VoteLapse::KeyRemoved);
    }
    if accepted != ballot.key {
        return Some(VoteLapse::KeyReplaced);
    }
    if !is_within(records, approval, &operator.scope) {
        return Some(VoteLapse::Scope);
    }
    let refusal = can_meet(records, approval, demand, operator, vote.at).err()?;
    Some(if refusal == code::APPROVER_NOT_IN_GROUP {
        VoteLapse::Group
    } else if refusal == code::APPROVER_WITHOUT_PERSON {
        VoteLapse::Person
    } else {
        VoteLapse::AgentPerson
    })
}

/// Whether the vote of `operator` at `at` counts for `demand`.
fn can_meet(
    records: Records<'_>,
    approval: &Approval,
    demand: &PolicyDemand,
    operator: &Operator,
    at: Timestamp,
) -> Result<(), Code> {
    let is_human = operator.profile.kind == OperatorKind::Human && !is_of_host(&operator.name);
    let person = operator.profile.person.as_ref().filter(|_| is_human);
    let person = person.ok_or(code::APPROVER_WITHOUT_PERSON)?;
    let requester = &approval.opened.requester;
    let is = |one: Option<&Person>| one.is_some_and(|one| one.is_same_as(person));
    let then = is(requester.person.as_ref());
    let now = is(records.registry.agent(requester.agent).and_then(|agent| agent.person.as_ref()));
    match demand.demand.kind {
        DemandKind::Approval if then || now => return Err(code::APPROVER_IS_REQUESTER),
        DemandKind::Confirmation if !then || !now => return Err(code::APPROVER_IS_NOT_THE_PERSON),
        DemandKind::Approval | DemandKind::Confirmation => {}
    }
    match &demand.demand.group {
        Some(group) if !is_member(records, approval, group, operator, at) => Err(code::APPROVER_NOT_IN_GROUP),
        Some(_) | None => Ok(()),
    }
}

/// Whether the operator belongs to the group, or at `at` to the one that it had escalated to.
fn is_member(
    records: Records<'_>,
    approval: &Approval,
    group: &ApproverGroupName,
    operator: &Operator,
    at: Timestamp,
) -> bool {
    let Some(group) = records.rules.group(group) else { return false };
    let owner = operator.scope.owner();
    if group.has(&operator.name, owner) {
        return true;
    }
    let escalated =
        group.escalation.as_ref().filter(|one| at >= approval.opened_at.plus_s(i64::from(one.after_s)));
    let escalated = escalated.and_then(|one| records.rules.group(&one.to));
    escalated.is_some_and(|group| group.has(&operator.name, owner))
}
