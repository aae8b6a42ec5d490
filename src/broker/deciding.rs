use super::failure::Failure;
use super::reading::{Preconditions, Reading};
use super::retry::AttemptError;
use super::services::{Services, State};
use super::tokens::offers::OfferedRequest;
use super::world::World;
use crate::authn::{AgentPrincipal, AuthnError, PresentError};
use crate::base::{
    AgentId, CapabilityName, ClockReading, Connection, DecisionId, InstanceId, Timestamp, code, did_you_mean,
};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::policy::{AgentAct, Basis, Decision, DecisionContext, Denial, Grant, Past};
use crate::quota::{Admitted, Limited, Note, Permit};
use crate::store::Event;
use crate::telemetry::DecisionOutcome;
use crate::token::{IssuanceRefused, TokenDenied, TokenRefused};

/// The time for something that is to be issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IssueTime {
    pub(crate) time: ClockReading,
    /// An entry that was in the records before the clock was read: a decision by this time relies on no adjustment after it.
    pub(crate) as_of: u64,
}

/// What a decision is made with, but for the records. Its id is drawn before they are read, so that nothing waits for
/// randomness while they are.
pub(crate) struct Deciding<'a> {
    services: &'a Services,
    decision: DecisionId,
    issue: IssueTime,
}

impl Deciding<'_> {
    /// For a decision on when something ends: it is made again when the clock is adjusted.
    pub(crate) fn timed_on<'c>(&'c self, reading: &Reading<'c>) -> DecisionContext<'c> {
        reading.clock(self.issue.as_of);
        self.on(reading)
    }

    pub(crate) fn on<'c>(&'c self, reading: &Reading<'c>) -> DecisionContext<'c> {
        DecisionContext {
            decision: self.decision,
            records: reading.records(),
            reading: self.issue.time,
            limits: &self.services.settings.tokens,
            digests: &self.services.state.digests,
            past: Past::Recorded,
            disregarded: None,
        }
    }
}

impl Reading<'_> {
    /// `decision`, which these records led to. What it allows is done only while the agent may do it.
    pub(crate) fn noting<A: AgentAct>(&self, decision: Decision<A>) -> Decision<A> {
        if let Some(act) = decision.act() {
            let principal = act.principal();
            self.past_reads(principal.agent());
            self.holds(principal.agent(), principal.instance(), principal.roles(), act.capability_names());
        }
        decision
    }
}

impl State {
    /// Reads the records at `now` for a change that `principal` asks for: it relies on them as of the entry at which the
    /// principal was proved, which may be an earlier one.
    pub(crate) fn read_as<T>(
        &self,
        principal: &AgentPrincipal,
        now: Timestamp,
        read: impl FnOnce(&Reading<'_>) -> T,
    ) -> (T, Preconditions) {
        self.store.read(|world, _| Reading::of(world, principal.as_of(), now).noting_all(read))
    }
}

/// An agent whose request is within its rate, to be decided until there is no conflict.
pub(crate) struct AdmittedAgent {
    id: AgentId,
    instance: InstanceId,
    certificate: PeerCertificate,
    proved: Option<AgentPrincipal>,
    admitted: Admitted,
}

impl AdmittedAgent {
    /// The certificate of its connection.
    pub(crate) const fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The caller, for the record of a refusal.
    pub(crate) const fn caller(&self) -> IssuanceCaller<'_> {
        IssuanceCaller { id: self.id, instance: self.instance, certificate: &self.certificate }
    }

    /// The request has waited: its next attempt proves the agent as of then.
    pub(crate) fn waited(&mut self) {
        self.proved = None;
    }

    /// The agent and a permit for one attempt: as it was proved, and after a conflict as it is proved now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn attempt(
        &mut self,
        services: &Services,
        time: ClockReading,
    ) -> Result<(AgentPrincipal, Permit), AuthnError> {
        let again = || services.state.read(|reading| reading.agent_behind(&self.certificate, time)).0;
        let principal = self.proved.take().map_or_else(again, Ok)?;
        Ok((principal, self.admitted.permit()))
    }
}

/// An authenticated agent that asked the broker to issue something.
#[derive(Clone, Copy)]
pub(crate) struct IssuanceCaller<'a> {
    pub(crate) id: AgentId,
    pub(crate) instance: InstanceId,
    pub(crate) certificate: &'a PeerCertificate,
}

/// The capabilities of `denial` that are declared, and whether its secret exists.
fn existing(world: &World, denial: &Denial) -> (Vec<CapabilityName>, bool) {
    let declared = |name: &&CapabilityName| world.registry.declarations().capability(name).is_some();
    let capabilities = denial.requested.iter().filter(declared).cloned().collect();
    let has_secret = denial.secret.as_ref().is_some_and(|name| world.secrets.existing(name).is_some());
    (capabilities, has_secret)
}

/// The question about similar names of capabilities that the agent holds, if it named one that it does not hold.
fn similar_held(world: &World, principal: &AgentPrincipal, denial: &Denial) -> String {
    let [name] = denial.requested.as_slice() else { return String::new() };
    if denial.code != code::CAPABILITY_NOT_GRANTED {
        return String::new();
    }
    let declarations = world.registry.declarations();
    let held = principal.roles().iter().filter_map(|role| declarations.role(role));
    did_you_mean(name.as_str(), held.flat_map(|role| &role.capabilities).map(CapabilityName::as_str))
}

impl Services {
    /// Admits a request of `principal`.
    ///
    /// # Errors
    /// [`Limited`].
    pub(crate) fn admit(&self, principal: AgentPrincipal) -> Result<AdmittedAgent, Limited> {
        let admitted = self.limits.mints.admit(&principal.agent())?;
        let certificate = principal.certificate().clone();
        let (id, instance) = (principal.agent(), principal.instance());
        Ok(AdmittedAgent { id, instance, certificate, proved: Some(principal), admitted })
    }

    /// What a decision is made with at the time of `issue`.
    pub(crate) fn deciding(&self, issue: IssueTime) -> Deciding<'_> {
        Deciding { services: self, decision: self.state.decision(issue.time.now()), issue }
    }

    /// The grant of a decision on a request of `principal`; a denial is recorded and answered.
    pub(crate) async fn granted<A: Send>(
        &self,
        principal: &AgentPrincipal,
        action: &'static str,
        decision: Decision<A>,
    ) -> Result<Grant<A>, AttemptError> {
        match decision.grant() {
            Ok(grant) => Ok(grant),
            Err(denial) => Err(AttemptError::Stop(self.refuse(principal, action, *denial).await)),
        }
    }

    /// Records a denial, unless its agent has had its share of entries, and turns it into an answer.
    /// An answer that says no does not wait for more than that: a denial that cannot be recorded is
    /// still a denial.
    async fn refuse(&self, principal: &AgentPrincipal, action: &'static str, denial: Denial) -> Failure {
        // A client that waits for an approval asks again and again.
        let is_pending = denial.code == code::APPROVAL_PENDING;
        if !is_pending {
            self.notifications.meters.denied(denial.code.as_str());
        }
        if action == "mint" && !is_pending {
            self.measure_decision(DecisionOutcome::Deny, &denial.requested);
        }
        let Basis { decision, snapshot, rules, request, .. } = &denial.basis;
        if let Some(refusal) = denial.policy.as_ref().filter(|_| denial.code == code::POLICY_FAILED) {
            tracing::error!(policy = %refusal.policy, %decision, "a policy cannot be evaluated: the request was denied");
        }
        if let Some(instead) = &denial.instead {
            let (scope, parameters) = (instead.scope.clone(), instead.parameters.clone());
            let offered = OfferedRequest { scope, parameters };
            self.notifications.offers().note(*decision, principal.agent(), offered);
        }
        if !is_pending
            && let Note::Record { unrecorded } = self.limits.entries.agents.note(&principal.agent())
        {
            let (capabilities, has_secret) =
                self.state.read(|reading| existing(reading.unconditional(), &denial)).0;
            let mut facts = denial.basis.facts(principal.roles());
            if action == "mint" {
                // Entries of earlier versions do not say whether a request named an audience or actions.
                facts.target.get_or_insert_default();
            }
            let event = TokenDenied {
                agent: principal.name(),
                instance: principal.instance(),
                action,
                decision: *decision,
                code: denial.code.as_str(),
                snapshot: snapshot.in_hex(),
                rules,
                request: request.in_hex(),
                capabilities,
                secret: denial.secret.as_ref().filter(|_| has_secret),
                unrecorded,
                facts,
            };
            self.record_refusal(&event, principal.connection()).await;
        }
        let near = self.state.read(|reading| similar_held(reading.unconditional(), principal, &denial)).0;
        let failure = Failure::from(denial);
        if is_pending {
            // This decision has no entry: the one that opened the approval explains the request.
            let opening = |id| self.state.store.read(|world, _| world.approvals().get(id)?.opened.decision);
            let decision = failure.approval.and_then(opening);
            return failure.of_decision(decision);
        }
        let why = format!("{}{near}", failure.why);
        if near.is_empty() { failure } else { failure.because(why) }
    }

    /// Records that a token was not taken from `principal`, and turns it into an answer.
    pub(crate) async fn refuse_token(&self, principal: &AgentPrincipal, error: PresentError) -> Failure {
        self.suspect_token(principal.spiffe().to_string(), error, principal.connection()).await;
        let failure = Failure::from(error);
        if let Note::Record { unrecorded } = self.limits.entries.agents.note(&principal.agent()) {
            let token = match error {
                PresentError::OtherHolder(token)
                | PresentError::Revoked(token)
                | PresentError::NotIssued(token)
                | PresentError::Unrecorded { token, .. } => Some(token),
                PresentError::Token(_) => None,
            };
            let event = TokenRefused {
                agent: principal.name(),
                instance: principal.instance(),
                code: failure.code.as_str(),
                token,
                unrecorded,
            };
            self.record_refusal(&event, principal.connection()).await;
        }
        failure
    }

    /// Records that nothing was issued to `caller` because of the clock, unless its agent has had its share of entries.
    /// Other results are returned unchanged.
    pub(crate) async fn noting_clock_refusal<T>(
        &self,
        caller: IssuanceCaller<'_>,
        action: &'static str,
        issued: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Err(failure) = issued else { return issued };
        if failure.code == code::CLOCK_UNTRUSTED
            && let SpiffeId::Agent { name, .. } | SpiffeId::ResourceServer { name, .. } =
                caller.certificate.spiffe()
            && let Note::Record { unrecorded } = self.limits.entries.agents.note(&caller.id)
        {
            let (agent, instance) = (Some(name), Some(caller.instance));
            let code = failure.code.as_str();
            let event = IssuanceRefused { agent, operator: None, instance, action, code, unrecorded };
            self.record_refusal(&event, caller.certificate.connection()).await;
        }
        Err(failure)
    }

    pub(crate) async fn record_refusal<V: Event + Sync>(&self, event: &V, connection: Option<Connection>) {
        let recorded = self.state.record_request(event, connection).await;
        if let Err(error) = recorded {
            tracing::error!(%error, what = V::NAME, "a refusal could not be recorded");
        }
    }
}
