use std::collections::BTreeSet;

use super::reads::own;
use crate::approvals::{
    self, Approval, ApprovalRequested, ApprovalTerms, Approvals, OpenedApproval, RequestedGrant, Requester,
};
use crate::authn::AgentPrincipal;
use crate::base::limits::{APPROVALS_MAX, APPROVALS_PENDING_MAX};
use crate::base::{ApprovalId, DecisionId, Person, RecordedParameters, Timestamp, UserCode, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::deciding::AdmittedAgent;
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::tokens::mint_input::MintInput;
use crate::broker::world::Effect;
use crate::policy::{
    ApprovalRefusal, AskedGrant, Basis, Decision, Denial, Mint, MintRequest, RequestedActions, decide_mint,
    is_of, is_still_met,
};
use crate::store::{Change, CommitError};
use crate::telemetry::ApprovalOutcome;
use crate::wire::ApprovalState;

/// A request for an approval that an agent makes before it requests a token.
#[derive(Clone, Debug)]
pub struct ApprovalInput {
    /// The token request.
    pub request: MintInput,
    /// What it asks for besides one token.
    pub asked: AskedGrant,
    /// Whether the token is requested with a device code.
    pub with_device_code: bool,
}

/// An approval that an agent asked for.
#[derive(Clone, Copy, Debug)]
pub struct AskedApproval {
    /// The id.
    pub approval: ApprovalId,
    /// The code for a person.
    pub code: UserCode,
    /// The state.
    pub state: ApprovalState,
    /// The decision that opened it, which its entry records.
    pub decision: Option<DecisionId>,
}

impl AskedApproval {
    fn of(approval: &Approval, now: Timestamp) -> Self {
        let OpenedApproval { id, code, decision, .. } = &approval.opened;
        Self { approval: *id, code: *code, state: approval.state(now), decision: *decision }
    }
}

/// Who keeps the token request until it is approved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RequestKeeper {
    /// The agent, which sends it again.
    Agent,
    /// The broker: the agent requests the token with a device code.
    Broker,
}

impl AgentServices {
    /// Asks for an approval of the tokens that `input` describes. An identical request finds the approval that it opened before.
    ///
    /// # Errors
    /// [`Failure`] if the request needs no approval, or is denied whether it is approved or not.
    pub async fn ask_approval(
        &self,
        principal: AgentPrincipal,
        input: ApprovalInput,
    ) -> Result<AskedApproval, Failure> {
        let services = &*self.0;
        let request = MintRequest { asked: input.asked, ..input.request.into_request()? };
        let mut agent = services.admit(principal)?;
        let keeper = if input.with_device_code { RequestKeeper::Broker } else { RequestKeeper::Agent };
        services.ask(&mut agent, &request, keeper).await
    }

    /// The token request that the device code `id` of `principal` stands for.
    ///
    /// # Errors
    /// [`Failure`] if it belongs to another agent, or is polled too fast.
    pub fn device_request(&self, principal: &AgentPrincipal, id: ApprovalId) -> Result<MintInput, Failure> {
        let (found, _) = self.0.state.read(|reading| {
            let approval = own(reading.unconditional(), principal, id)?;
            let request = &approval.opened.terms.request;
            if has_sensitive(request) {
                return Err(Failure::new(code::PARAMETER_NOT_WITH_DEVICE_CODE).of_approval(id));
            }
            let parameters = request.parameters.iter().map(|(name, one)| (name.clone(), one.given()));
            Ok::<_, Failure>(MintInput {
                parameters: parameters.collect(),
                scope: request.names().cloned().collect(),
                resource: Some(request.audience.clone()),
                life_s: approval.opened.requested_life_s,
                details: approval.opened.is_detailed.then(RequestedActions::default),
                approval: Some(id),
                remediates: None,
            })
        });
        let input = found?;
        self.0.notifications.approvals().poll(id, self.0.state.clock.elapsed())?;
        Ok(input)
    }
}

/// The next step for a request for approval.
enum AskStep {
    /// An identical request can still be approved or used.
    Found(AskedApproval),
    /// The approval is opened.
    Open(Box<NeededApproval>),
    /// The request is allowed without one.
    NotNeeded,
    /// No further approval of the agent can be opened.
    Full(Box<Failure>),
    /// The code of the new approval is taken.
    CodeTaken,
    /// The token is requested with a device code, and a value of the request is not stored.
    NotStored,
    /// The request is denied whether it is approved or not.
    Denied(Box<Denial>),
}

/// Whether the request has a sensitive parameter, of which only the digest is stored.
fn has_sensitive(request: &RequestedGrant) -> bool {
    request.parameters.values().any(RecordedParameters::have_sensitive)
}

/// An approval that is to be opened.
struct NeededApproval {
    terms: ApprovalTerms,
    /// The decision that demands it.
    basis: Basis,
    /// The person for whom the agent acts.
    person: Option<Person>,
}

impl Services {
    /// Opens the approval that `request` needs, or finds it.
    pub(crate) async fn ask(
        &self,
        agent: &mut AdmittedAgent,
        request: &MintRequest,
        keeper: RequestKeeper,
    ) -> Result<AskedApproval, Failure> {
        let _turn = self.notifications.approvals().opening(agent.caller().id).await;
        agent.waited();
        let asked = retry_on_conflict!(self.ask_once(agent, request, keeper));
        self.noting_clock_refusal(agent.caller(), "approval", asked).await
    }

    async fn ask_once(
        &self,
        agent: &mut AdmittedAgent,
        request: &MintRequest,
        keeper: RequestKeeper,
    ) -> Result<AskedApproval, AttemptError> {
        let issue = self.state.issuing()?;
        let (time, now, deciding) = (issue.time, issue.time.now(), self.deciding(issue));
        let (principal, permit) = agent.attempt(self, time)?;
        let caller = principal.clone();
        let new = (ApprovalId::mint(now, &*self.state.entropy), UserCode::draw(&*self.state.entropy));
        let (step, preconditions) = self.state.read_as(&caller, now, |reading| {
            let decision = decide_mint(&deciding.on(reading), principal, permit, request);
            reading.ask_step(&caller, decision, new.1, keeper)
        });
        let needed = match step {
            AskStep::Found(found) => return Ok(found),
            AskStep::Open(needed) => *needed,
            AskStep::NotNeeded => return Err(Failure::new(code::APPROVAL_NOT_NEEDED).into()),
            AskStep::Full(failure) => return Err((*failure).into()),
            AskStep::NotStored => return Err(Failure::new(code::PARAMETER_NOT_WITH_DEVICE_CODE).into()),
            AskStep::CodeTaken => return Err(AttemptError::Retry),
            AskStep::Denied(denial) => {
                let denied = self.granted::<Mint>(&caller, "approval", Decision::Deny(*denial)).await;
                return Err(denied.err().unwrap_or(AttemptError::Retry));
            }
        };
        let opened = OpenedApproval {
            id: new.0,
            code: new.1,
            requester: Requester {
                agent: caller.agent(),
                name: caller.name().clone(),
                instance: caller.instance(),
                person: needed.person,
                source: caller.connection().map(|connection| connection.source),
            },
            decision: Some(needed.basis.decision),
            terms: needed.terms,
            requested_life_s: request.life_s,
            is_detailed: request.details.is_some(),
        };
        let decision = opened.decision;
        let change = opening(opened, &caller, &needed.basis)?;
        self.state.commit(change, preconditions, ()).await?.redeem();
        self.measure_approval(ApprovalOutcome::Requested, new.0);
        Ok(AskedApproval { approval: new.0, code: new.1, state: ApprovalState::Pending, decision })
    }
}

/// The change that opens an approval.
fn opening(
    opened: OpenedApproval,
    caller: &AgentPrincipal,
    basis: &Basis,
) -> Result<Change<Effect>, CommitError> {
    let request = &opened.terms.request;
    let event = ApprovalRequested {
        agent: &opened.requester.name,
        instance: opened.requester.instance,
        approval: opened.id,
        capabilities: request.names().collect(),
        audience: &request.audience,
        life_s: request.life_s,
        uses: request.uses,
        grant_life_s: request.grant_life_s,
        digest: request.digest().in_hex(),
        rules_hash: opened.terms.rules.in_hex(),
        policies: opened.terms.demands.iter().map(|one| &one.policy).collect(),
        decision: opened.decision,
        snapshot: basis.snapshot.in_hex(),
        rules: &basis.rules,
        facts: basis.facts(caller.roles()),
    };
    let change = Change::new(&event)?.requested_on(caller.connection());
    let change = match &request.reason {
        Some(reason) => change.because(reason.clone()),
        None => change,
    };
    Ok(change.effect(Effect::Approval(approvals::Effect::open(opened))))
}

/// How many requests a message names.
const NAMED_MAX: usize = 5;

/// The refusal of a further request: the same one fails until another request ends.
fn too_many(approvals: &Approvals, caller: &AgentPrincipal, now: Timestamp) -> Failure {
    let failure = Failure::new(code::TOO_MANY_APPROVALS);
    let pending: Vec<&Approval> = approvals.pending_of(caller.agent(), now).collect();
    if pending.len() < APPROVALS_PENDING_MAX {
        let why =
            format!("the broker remembers {APPROVALS_MAX} requests for approval, and none of them has ended");
        let fix = "wait until requests of other agents end: operators list them with `keyward approval list`, and deny those that nobody needs";
        return failure.because(why).mended_by(fix);
    }
    let why = format!("{} requests for approval of this agent are pending", pending.len());
    let own: Vec<String> =
        pending.iter().filter(|one| is_of(one, caller)).map(|one| one.opened.id.to_string()).collect();
    let Some((first, further)) = own.split_first() else {
        let fix = "all of them belong to other instances of this agent: withdraw one there (`keyward request withdraw ID`), or ask an operator to deny one";
        return failure.because(why).mended_by(fix);
    };
    let further: Vec<&str> = further.iter().take(NAMED_MAX.saturating_sub(1)).map(String::as_str).collect();
    let further = if further.is_empty() { String::new() } else { format!(" (or {})", further.join(", ")) };
    let others = match pending.len().saturating_sub(own.len()) {
        0 => String::new(),
        others => format!("; {others} of them belong to other instances of this agent"),
    };
    failure.because(why).mended_by(format!(
        "withdraw one that you do not need: `keyward request withdraw {first}`{further}; `keyward request list` lists them{others}"
    ))
}

impl Reading<'_> {
    fn ask_step(
        &self,
        caller: &AgentPrincipal,
        decision: Decision<Mint>,
        code: UserCode,
        keeper: RequestKeeper,
    ) -> AskStep {
        let mut denial = match decision {
            Decision::Allow(_) | Decision::Constrain(_) => return AskStep::NotNeeded,
            Decision::Deny(denial) => denial,
        };
        let terms = match denial.approval.take() {
            Some(ApprovalRefusal::Needed(terms)) => terms,
            other => {
                denial.approval = other;
                return AskStep::Denied(Box::new(denial));
            }
        };
        if keeper == RequestKeeper::Broker && has_sensitive(&terms.request) {
            return AskStep::NotStored;
        }
        let names: BTreeSet<_> = terms.request.names().cloned().collect();
        self.holds(caller.agent(), caller.instance(), caller.roles(), &names);
        let (approvals, now) = (self.approvals_of(caller.agent()), self.now());
        let digest = terms.request.digest();
        // Neither another instance's, nor one whose votes do not count any more.
        let is_usable = |one: &&Approval| {
            let is_approved = one.state(now) == ApprovalState::Approved;
            is_of(one, caller) && (!is_approved || is_still_met(self.records(), one))
        };
        if let Some(found) = approvals.open_for(caller.agent(), &digest, &terms.rules, now).find(is_usable) {
            return AskStep::Found(AskedApproval::of(found, now));
        }
        if !approvals.has_room_for(caller.agent(), now) {
            return AskStep::Full(Box::new(too_many(approvals, caller, now)));
        }
        if !approvals.is_free(code) {
            return AskStep::CodeTaken;
        }
        let agent = self.unconditional().registry.agent(caller.agent());
        let person = agent.and_then(|agent| agent.person.clone());
        AskStep::Open(Box::new(NeededApproval { terms: *terms, basis: denial.basis, person }))
    }
}
