use super::eligibility::{counting_vote_of, demands_newly_met, is_decided};
use super::reads::within;
use crate::approvals::{self, Approval, ApprovalApproved, ApprovalDenied, Ballot, VoteText};
use crate::authn::OperatorPrincipal;
use crate::base::encoding::base64url;
use crate::base::{ApprovalId, ApprovalReference, PolicyName, Reason, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, OperatorRequest};
use crate::broker::failure::Failure;
use crate::broker::identity::introducers::check_key_of_second_person;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::operators::{self, ApprovalKey, Operator};
use crate::policy::{Authorised, RevokeTokens, Right as _, VoteApprovals, is_met_with};
use crate::wire::{ApprovalBallot, ApprovalState, ApprovalVerdict, ValidTokenAnswer, VotedApprovalAnswer};

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
    /// Whether the agent sees the reason of a denial.
    pub tells_agent: bool,
}

/// What an operator votes.
enum Verdict<'a> {
    Approve(&'a VerifiedVote<'a>),
    /// With the reason for the agent, if it is told.
    Deny(Option<&'a Reason>),
}

impl<'a> Verdict<'a> {
    const fn verified(&self) -> Option<&'a VerifiedVote<'a>> {
        match self {
            Self::Approve(verified) => Some(verified),
            Self::Deny(_) => None,
        }
    }
}

/// A vote that approves, whose signature is verified.
struct VerifiedVote<'a> {
    digest: &'a str,
    rules: &'a str,
    signature: &'a [u8],
    /// The key that verified it.
    key: ApprovalKey,
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
            return self.with_valid_tokens(before, approves).await;
        }
        let verified = if approves { Some(self.verified(operator, id, input)?) } else { None };
        let request = OperatorRequest { idempotency: None, reason: input.reason.as_ref() };
        let cast = match &verified {
            Some(verified) => Verdict::Approve(verified),
            None => Verdict::Deny(input.reason.as_ref().filter(|_| input.tells_agent)),
        };
        let change = services
            .state
            .change(ChangeRequest::of(operator, request), |reading| decide(reading, operator, id, &cast));
        let changed = match change.await {
            Err(failure) if failure.code == code::APPROVAL_ALREADY_ENDED && !approves => {
                return Err(self.refused_denial(id, failure).await);
            }
            other => other?,
        };
        turns.changed();
        let seq = changed.seq();
        let state = match changed {
            Changed::Recorded { value, .. } => value,
            // The request has no idempotency key.
            Changed::Before(_) => return Err(Failure::new(code::INTERNAL)),
        };
        services.measure_answer(id, state);
        let voted = VotedApprovalAnswer {
            approval: id,
            state: state.as_str().into(),
            seq,
            unchanged: false,
            valid_tokens: Vec::new(),
        };
        self.with_valid_tokens(voted, approves).await
    }

    /// The answer with the tokens that a denial leaves valid.
    async fn with_valid_tokens(
        &self,
        voted: VotedApprovalAnswer,
        approves: bool,
    ) -> Result<VotedApprovalAnswer, Failure> {
        let valid_tokens = if approves { Vec::new() } else { self.valid_tokens_of(voted.approval).await? };
        Ok(VotedApprovalAnswer { valid_tokens, ..voted })
    }

    async fn valid_tokens_of(&self, id: ApprovalId) -> Result<Vec<ValidTokenAnswer>, Failure> {
        let services = self.0.clone();
        let read = move || services.valid_tokens(id);
        tokio::task::spawn_blocking(read).await.map_err(|_| Failure::new(code::INTERNAL))
    }

    /// The refusal of a denial after the end of the approval, with the tokens that are still valid.
    async fn refused_denial(&self, id: ApprovalId, failure: Failure) -> Failure {
        let tokens = self.valid_tokens_of(id).await.unwrap_or_default();
        let Some(last) = tokens.last() else { return failure };
        let why = format!(
            "{}, and {} of its tokens can be used until {}",
            failure.why,
            tokens.len(),
            last.expires_at
        );
        let roles: Vec<&str> = RevokeTokens::NEED.roles.iter().map(|role| role.as_str()).collect();
        let fix = format!(
            "`keyward approval show {id}` shows the ids of the tokens; an operator with the role {} and the scope `all` revokes \
             them: `keyward token revoke ID`",
            roles.join(" or ")
        );
        failure.because(why).mended_by(fix)
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
            let approval = shown(reading, operator, id)?;
            let vote = counting_vote_of(reading.records(), approval, operator, approves);
            Ok::<_, Failure>(vote.map(|vote| (approval.state(now), vote.seq)))
        });
        Ok(found?.map(|(state, seq)| VotedApprovalAnswer {
            approval: id,
            state: state.as_str().into(),
            seq,
            unchanged: true,
            valid_tokens: Vec::new(),
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
        let demands = self.0.settings.widening_second_operator;
        let find = |reading: &Reading<'_>| -> Result<Option<ApprovalKey>, Failure> {
            let operators = &reading.unconditional().operators;
            let voting = operators.named(operator.name()).filter(|_| demands);
            voting.map_or(Ok(()), check_key_of_second_person)?;
            Ok(operators.approval_key(operator.name()).cloned())
        };
        let key = self.0.state.read(find).0?.ok_or_else(|| Failure::new(code::APPROVAL_KEY_MISSING))?;
        let ballot = ApprovalBallot::approve(id, digest, rules).canonical();
        let ballot = ballot.map_err(|error| Failure::internal(code::INTERNAL, &error))?;
        if key.verify(&ballot, signature) {
            Ok(VerifiedVote { digest, rules, signature, key })
        } else {
            Err(Failure::new(code::APPROVAL_SIGNATURE_INVALID))
        }
    }
}

/// The approval `id`, on which the change relies, if it is within the scope of `operator`.
fn shown<'w>(
    reading: &Reading<'w>,
    operator: &OperatorPrincipal,
    id: ApprovalId,
) -> Result<&'w Approval, Failure> {
    reading.approval(id);
    within(reading.unconditional(), operator.scope(), ApprovalReference::Id(id))
}

fn decide(
    reading: &Reading<'_>,
    principal: &OperatorPrincipal,
    id: ApprovalId,
    cast: &Verdict<'_>,
) -> Result<ChangeDraft<ApprovalState>, Failure> {
    let (approval, verified) = (shown(reading, principal, id)?, cast.verified());
    let state = approval.state(reading.now());
    let is_decided = || is_decided(reading.records(), approval, reading.now());
    if state.is_ended() || (verified.is_some() && is_decided()) {
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
        key: verified.map(|verified| verified.key.fingerprint()),
        approves: verified.is_some(),
        meets,
    };
    draft(reading, approval, ballot, cast)
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
    if world.operators.approval_key(&operator.name) != Some(&verified.key) {
        return Err(Failure::new(code::APPROVAL_SIGNATURE_INVALID));
    }
    demands_newly_met(reading.records(), approval, operator, reading.now()).map_err(Failure::new)
}

fn draft(
    reading: &Reading<'_>,
    approval: &Approval,
    ballot: Ballot,
    cast: &Verdict<'_>,
) -> Result<ChangeDraft<ApprovalState>, Failure> {
    let (id, terms) = (approval.opened.id, &approval.opened.terms);
    let vote = VoteText {
        person: ballot.person.as_ref(),
        approval: id,
        capabilities: terms.request.names().collect(),
        digest: terms.request.digest().in_hex(),
        rules_hash: terms.rules.in_hex(),
    };
    let (by, agent) = (&ballot.operator, &approval.opened.requester.name);
    let waited_s = reading.now().seconds_since(approval.opened_at);
    let completes = ballot.approves && is_met_with(reading.records(), approval, &ballot);
    let draft = match cast {
        Verdict::Approve(verified) => {
            let complete = completes;
            let state = if complete { ApprovalState::Approved } else { ApprovalState::Pending };
            let event = ApprovalApproved {
                by,
                agent,
                vote,
                complete,
                waited_s,
                signature: base64url(verified.signature),
                canonical_request: String::from_utf8_lossy(&terms.request.canonical()).into_owned(),
                approval_key: verified.key.fingerprint().hex(),
                public_key: base64url(&verified.key.public_der()),
                key_seq: verified.key.accepted_seq(),
            };
            ChangeDraft::new(&event, state)?
        }
        Verdict::Deny(told) => {
            let event = ApprovalDenied { by, agent, vote, waited_s, told_agent: told.is_some() };
            ChangeDraft::new(&event, ApprovalState::Denied)?
        }
    };
    let draft = draft.effect(Effect::Approval(approvals::Effect::Vote { approval: id, ballot, completes }));
    Ok(match cast {
        Verdict::Deny(Some(reason)) => {
            let reason = (*reason).clone();
            draft.effect(Effect::Approval(approvals::Effect::Tell { approval: id, reason }))
        }
        Verdict::Deny(None) | Verdict::Approve(_) => draft,
    })
}
