use crate::approvals::{self, Approval, ApprovalApproved, ApprovalDenied, Ballot, CastVote, VoteText};
use crate::authn::OperatorPrincipal;
use crate::base::encoding::base64url;
use crate::base::{ApprovalId, Person, PolicyName, Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::{Effect, records};
use crate::crypto::Digest;
use crate::operators::{self, ApprovalKey, Operator};
use crate::policy::{
    Authorised, VoteApprovals, counts_for_any, demands_met_by, is_met_with, is_still_met, is_within, persons,
};
use crate::wire::{ApprovalBallot, ApprovalState, ApprovalVerdict, VotedApprovalAnswer};

/// The vote of an operator.
#[derive(Clone, Debug)]
pub struct VoteInput {
    /// The verdict.
    pub verdict: ApprovalVerdict,
    /// The digest of the request that the operator saw, in hex.
    pub digest: Option<String>,
    /// The hash of the policies that the operator saw, in hex.
    pub rules: Option<String>,
    /// The signature of an approval.
    pub signature: Option<Vec<u8>>,
    /// The operator's reason.
    pub reason: Option<Reason>,
}

/// A vote that approves, whose signature is verified.
struct VerifiedVote<'a> {
    digest: &'a str,
    rules: &'a str,
    signature: &'a [u8],
    /// The key that verified it.
    key: Digest,
}

impl AdminServices {
    /// Records the vote of an operator on the approval `id`. The same vote again changes nothing.
    ///
    /// # Errors
    /// [`Failure`] if the approval has ended, or the operator cannot approve it.
    pub async fn vote_approval(
        &self,
        by: &Authorised<VoteApprovals>,
        id: ApprovalId,
        input: &VoteInput,
    ) -> Result<VotedApprovalAnswer, Failure> {
        let (services, operator) = (&*self.0, by.operator());
        let turns = services.notifications.approvals();
        let _turn = turns.using(id).await;
        let approves = input.verdict == ApprovalVerdict::Approve;
        if let Some(before) = self.voted_before(operator, id, approves)? {
            return Ok(before);
        }
        let verified = if approves { Some(self.verified(operator, id, input)?) } else { None };
        let request = OperatorRequest { idempotency: None, reason: input.reason.as_ref() };
        let change = services.state.change(ChangeRequest::of(operator, request), |reading| {
            decide(reading, operator, id, verified.as_ref())
        });
        let changed = change.await?;
        turns.changed();
        let seq = changed.seq();
        let state = match changed {
            Changed::Recorded { value, .. } => value,
            // The request has no idempotency key.
            Changed::Before(_) => return Err(Failure::new(code::INTERNAL)),
        };
        services.measure_answer(id, state);
        Ok(VotedApprovalAnswer { approval: id, state: state.as_str().into(), seq, unchanged: false })
    }

    /// The answer to a vote that the operator has cast before.
    fn voted_before(
        &self,
        operator: &OperatorPrincipal,
        id: ApprovalId,
        approves: bool,
    ) -> Result<Option<VotedApprovalAnswer>, Failure> {
        let now = self.0.state.clock.now();
        let (found, _) = self.0.state.read(|reading| {
            let approval = within(reading, operator, id)?;
            let is_same =
                |ballot: &Ballot| ballot.operator_id == operator.id() && ballot.approves == approves;
            let records = reading.records();
            let is_cast = |vote: &&CastVote| is_same(&vote.ballot) && counts_for_any(records, approval, vote);
            let vote = approval.votes.iter().find(is_cast);
            Ok::<_, Failure>(vote.map(|vote| (approval.state(now), vote.seq)))
        });
        Ok(found?.map(|(state, seq)| VotedApprovalAnswer {
            approval: id,
            state: state.as_str().into(),
            seq,
            unchanged: true,
        }))
    }

    /// Verifies the signature of a vote that approves, outside of the state's lock.
    fn verified<'a>(
        &self,
        operator: &OperatorPrincipal,
        id: ApprovalId,
        input: &'a VoteInput,
    ) -> Result<VerifiedVote<'a>, Failure> {
        let VoteInput { digest: Some(digest), rules: Some(rules), signature: Some(signature), .. } = input
        else {
            return Err(Failure::new(code::APPROVAL_VOTE_INCOMPLETE));
        };
        let find = |reading: &Reading<'_>| -> Option<ApprovalKey> {
            reading.unconditional().operators.approval_key(operator.name()).cloned()
        };
        let key = self.0.state.read(find).0.ok_or_else(|| Failure::new(code::APPROVAL_KEY_MISSING))?;
        let ballot = ApprovalBallot::approve(id, digest, rules).canonical();
        let ballot = ballot.map_err(|error| Failure::internal(code::INTERNAL, &error))?;
        if key.verify(&ballot, signature) {
            Ok(VerifiedVote { digest, rules, signature, key: key.fingerprint() })
        } else {
            Err(Failure::new(code::APPROVAL_SIGNATURE_INVALID))
        }
    }
}

/// The approval, if it is within the scope of `operator`.
pub(super) fn within<'w>(
    reading: &Reading<'w>,
    operator: &OperatorPrincipal,
    id: ApprovalId,
) -> Result<&'w Approval, Failure> {
    let approval = reading.approval(id);
    let approval = approval.filter(|one| is_within(records(reading.unconditional()), one, operator.scope()));
    approval.ok_or_else(|| Failure::new(code::APPROVAL_UNKNOWN))
}

fn decide(
    reading: &Reading<'_>,
    principal: &OperatorPrincipal,
    id: ApprovalId,
    verified: Option<&VerifiedVote<'_>>,
) -> Result<ChangeDraft<ApprovalState>, Failure> {
    let approval = within(reading, principal, id)?;
    let state = approval.state(reading.now());
    let is_approved = || state == ApprovalState::Approved && is_still_met(reading.records(), approval);
    if state.is_ended() || (verified.is_some() && is_approved()) {
        let why = format!("the approval is {state}");
        return Err(Failure::new(code::APPROVAL_ALREADY_ENDED).because(why).of_approval(id));
    }
    // Whether the vote completes the demands depends on the votes before.
    reading.approval_in_use(id);
    let operator = reading.acting_operator(principal.name());
    let operator = operator.ok_or_else(|| Failure::new(code::OPERATOR_UNKNOWN))?;
    let meets = match verified {
        Some(verified) => checked(reading, approval, operator, verified)?,
        None => Vec::new(),
    };
    let ballot = Ballot {
        operator: operator.name.clone(),
        operator_id: principal.id(),
        enrolled_seq: principal.enrolled_seq(),
        person: operator.profile.person.clone(),
        key: verified.map(|verified| verified.key),
        approves: verified.is_some(),
        meets,
    };
    draft(reading, approval, ballot, verified)
}

/// The policies whose demands a vote that approves counts for.
fn checked(
    reading: &Reading<'_>,
    approval: &Approval,
    operator: &Operator,
    verified: &VerifiedVote<'_>,
) -> Result<Vec<PolicyName>, Failure> {
    let terms = &approval.opened.terms;
    if verified.digest != terms.request.digest().hex() || verified.rules != terms.rules.hex() {
        return Err(Failure::new(code::APPROVAL_VOTE_DIFFERS));
    }
    let world = reading.under(operators::keys::approval_keys(&operator.name));
    let key = world.operators.approval_key(&operator.name).map(ApprovalKey::fingerprint);
    if key != Some(verified.key) {
        return Err(Failure::new(code::APPROVAL_SIGNATURE_INVALID));
    }
    let meets = demands_met_by(reading.records(), approval, operator, reading.now()).map_err(Failure::new)?;
    let person = operator.profile.person.as_ref().map(Person::folded).unwrap_or_default();
    let demands = terms.demands.iter().filter(|demand| meets.contains(&demand.policy));
    let is_new = demands
        .map(|demand| persons(reading.records(), approval, demand))
        .any(|persons| !persons.contains(&person));
    if is_new { Ok(meets) } else { Err(Failure::new(code::APPROVER_ALREADY_VOTED)) }
}

fn draft(
    reading: &Reading<'_>,
    approval: &Approval,
    ballot: Ballot,
    verified: Option<&VerifiedVote<'_>>,
) -> Result<ChangeDraft<ApprovalState>, Failure> {
    let (id, terms) = (approval.opened.id, &approval.opened.terms);
    let vote = VoteText {
        person: ballot.person.as_ref(),
        approval: id,
        capabilities: terms.request.capabilities.iter().map(|one| &one.name).collect(),
        digest: terms.request.digest().in_hex(),
        rules_hash: terms.rules.in_hex(),
    };
    let (by, agent) = (&ballot.operator, &approval.opened.requester.name);
    let waited_s = reading.now().seconds_since(approval.opened_at);
    let completes = verified.is_some() && is_met_with(reading.records(), approval, &ballot);
    let draft = match verified {
        Some(verified) => {
            let complete = completes;
            let state = if complete { ApprovalState::Approved } else { ApprovalState::Pending };
            let (signature, approval_key) = (base64url(verified.signature), verified.key.hex());
            let event = ApprovalApproved { by, agent, vote, complete, waited_s, signature, approval_key };
            ChangeDraft::new(&event, state)?
        }
        None => ChangeDraft::new(&ApprovalDenied { by, agent, vote, waited_s }, ApprovalState::Denied)?,
    };
    Ok(draft.effect(Effect::Approval(approvals::Effect::Vote { approval: id, ballot, completes })))
}
