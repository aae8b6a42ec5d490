use super::eligibility::refusal_of;
use super::reads::within;
use crate::approvals::{Approval, CastVote, OpenedApproval, PolicyDemand};
use crate::authn::AgentPrincipal;
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::base::{ApprovalReference, CapabilityName, Reason, Timestamp, code};
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::failure::Failure;
use crate::broker::world::{World, records};
use crate::policy::{Authorised, ReadApprovals, approved_by, is_of, is_within, lapse_of};
use crate::wire::{
    ApprovalAnswer, ApprovalDemandAnswer, ApprovalState, ApprovalVerdict, ApprovalVoteAnswer, ApprovalsQuery,
    GET_OWN_APPROVAL, LapsedVoteAnswer, OwnApprovalAnswer, PageAnswer,
};

impl AgentServices {
    /// The requests for approval of the caller's instance, the newest first.
    #[must_use]
    pub fn own_approvals(&self, principal: &AgentPrincipal) -> Vec<OwnApprovalAnswer> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let of_agent = world.approvals().of_agent(principal.agent()).rev();
            of_agent.filter(|one| is_of(one, principal)).map(|one| own_answer(one, now)).collect()
        })
    }
}

/// An approval as its agent sees it.
pub(super) fn own_answer(approval: &Approval, now: Timestamp) -> OwnApprovalAnswer {
    let OpenedApproval { id, code, terms, decision, .. } = &approval.opened;
    let state = approval.state(now);
    OwnApprovalAnswer {
        approval: *id,
        approval_uri: GET_OWN_APPROVAL.path_to(id),
        state: state.as_str().into(),
        user_code: *code,
        expires_at: (!state.is_ended()).then(|| approval.expires_at().to_string()),
        uses_left: approval.uses_left(now),
        capabilities: terms.request.names().cloned().collect(),
        opened_at: approval.opened_at.to_string(),
        reason: terms.request.reason.as_ref().map(ToString::to_string),
        decision_id: *decision,
        denial_reason: approval.told_reason().map(ToString::to_string),
    }
}

impl AdminServices {
    /// The requests for approval within the operator's scope that fit `query`, the newest first.
    #[must_use]
    pub fn approvals(
        &self,
        by: &Authorised<ReadApprovals>,
        query: &ApprovalsQuery,
    ) -> PageAnswer<ApprovalAnswer> {
        let now = self.0.state.clock.now();
        let limit = query.limit.unwrap_or(PAGE_ENTRIES_MAX).clamp(1, PAGE_ENTRIES_MAX);
        self.0.state.store.read(|world, _| {
            let scope = by.operator().scope();
            let shown = world
                .approvals()
                .newest()
                .filter(|one| fits(one, query, now) && is_within(records(world), one, scope));
            let mut shown = shown.peekable();
            let items: Vec<_> = shown.by_ref().take(limit).map(|one| answer(world, one, now)).collect();
            let next_after = shown.peek().and_then(|_| items.last().map(|last| last.approval.to_string()));
            PageAnswer { items, next_after }
        })
    }

    /// One request for approval, with the reasons of the votes, its valid tokens, and the refusal that an approval by the
    /// operator would get.
    ///
    /// # Errors
    /// [`Failure`] if there is none of this id or code within the operator's scope.
    pub async fn approval(
        &self,
        by: &Authorised<ReadApprovals>,
        reference: ApprovalReference,
    ) -> Result<ApprovalAnswer, Failure> {
        let (now, operator) = (self.0.state.clock.now(), by.operator());
        let demands = self.0.settings.widening_second_operator;
        let mut shown = self.0.state.store.read(|world, _| {
            let found = within(world, operator.scope(), reference)?;
            let refused_vote = refusal_of(world, found, operator, now, demands);
            let refused_vote = refused_vote.map(|code| code.as_str().into());
            Ok::<_, Failure>(ApprovalAnswer { refused_vote, ..answer(world, found, now) })
        })?;
        let seqs: Vec<u64> = shown.votes.iter().map(|vote| vote.seq).collect();
        let (services, id) = (self.0.clone(), shown.approval);
        let read = move || {
            let reasons: Vec<Option<Reason>> =
                seqs.into_iter().map(|seq| services.reason_of_vote(seq)).collect();
            (reasons, services.valid_tokens(id))
        };
        let (reasons, valid_tokens) =
            tokio::task::spawn_blocking(read).await.map_err(|_| Failure::new(code::INTERNAL))?;
        shown.valid_tokens = valid_tokens;
        for (vote, reason) in shown.votes.iter_mut().zip(reasons) {
            vote.reason = reason.map(|reason| reason.to_string());
        }
        Ok(shown)
    }
}

fn fits(approval: &Approval, query: &ApprovalsQuery, now: Timestamp) -> bool {
    let opened = &approval.opened;
    let has = |wanted: &CapabilityName| opened.terms.request.names().any(|name| name == wanted);
    query.after.is_none_or(|after| opened.id < after)
        && query.state.is_none_or(|state| approval.state(now) == state)
        && query.agent.as_ref().is_none_or(|agent| opened.requester.name == *agent)
        && query.capability.as_ref().is_none_or(has)
}

fn answer(world: &World, approval: &Approval, now: Timestamp) -> ApprovalAnswer {
    let opened = &approval.opened;
    let (requester, terms, state) = (&opened.requester, &opened.terms, approval.state(now));
    ApprovalAnswer {
        approval: opened.id,
        user_code: opened.code,
        state: state.as_str().into(),
        agent: requester.name.clone(),
        instance: requester.instance,
        person: requester.person.as_ref().map(ToString::to_string),
        source: requester.source.map(|source| source.to_canonical().to_string()),
        request: terms.request.text(),
        digest: terms.request.digest().hex(),
        rules: terms.rules.hex(),
        policies: terms.policies.iter().map(|(name, _)| name.clone()).collect(),
        demands: terms.demands.iter().map(|one| demand(world, approval, one)).collect(),
        votes: approval.votes.iter().map(|one| vote(world, approval, one, state)).collect(),
        opened_at: approval.opened_at.to_string(),
        decision_id: opened.decision,
        seq: approval.opened_seq,
        approved_at: approval.approved_at.map(|at| at.to_string()),
        expires_at: (!state.is_ended()).then(|| approval.expires_at().to_string()),
        uses: approval.uses(),
        uses_left: approval.uses_left(now),
        valid_tokens: Vec::new(),
        refused_vote: None,
    }
}

fn demand(world: &World, approval: &Approval, one: &PolicyDemand) -> ApprovalDemandAnswer {
    let group = one.demand.group.as_ref();
    let escalation = group.and_then(|group| world.rules().group(group)?.escalation.as_ref());
    let escalates_at = escalation.map(|one| approval.opened_at.plus_s(i64::from(one.after_s)).to_string());
    ApprovalDemandAnswer {
        policy: one.policy.clone(),
        kind: one.demand.kind.as_str().into(),
        group: group.cloned(),
        quorum: one.demand.quorum,
        approved: approved_by(records(world), approval, one),
        reason: one.reason.clone(),
        escalates_at,
        escalates_to: escalation.map(|one| one.to.clone()),
    }
}

fn vote(world: &World, approval: &Approval, vote: &CastVote, state: ApprovalState) -> ApprovalVoteAnswer {
    let verdict = if vote.ballot.approves { ApprovalVerdict::Approve } else { ApprovalVerdict::Deny };
    let demands = approval.opened.terms.demands.iter();
    // After the end of a request no vote has to count: later changes of the operator say nothing about it.
    let matters = vote.ballot.approves && !state.is_ended();
    let counted = demands.filter(|one| matters && vote.ballot.meets.contains(&one.policy));
    let lapsed = counted.filter_map(|one| {
        let why = lapse_of(records(world), approval, one, vote)?.as_str().into();
        Some(LapsedVoteAnswer { policy: one.policy.clone(), why })
    });
    ApprovalVoteAnswer {
        operator: vote.ballot.operator.clone(),
        verdict: verdict.as_str().into(),
        at: vote.at.to_string(),
        seq: vote.seq,
        reason: None,
        lapsed: lapsed.collect(),
    }
}
