use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::base::{AgentName, InstanceId, OperatorEnrolment, OperatorName, TokenId};
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::changes::{ChangeRequest, Initiator, OperatorRequest};
use crate::broker::denial::MemoryRevocation;
use crate::broker::failure::Failure;
use crate::broker::identity::operators::operator_unknown;
use crate::broker::identity::relatives::Relatives;
use crate::broker::incidents::resume::check_not_contained;
use crate::broker::reading::Reading;
use crate::broker::removals::{Ended, Removal, RemovalOrder, Removed};
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::custody::{PendingOrder, RevocationOrder};
use crate::operators::Operator;
use crate::pki::Serial;
use crate::policy::{Authorised, Contain, ContainOperators, RevokeTokens};
use crate::registry::{Agent, Owned};
use crate::revocation::{
    self, NamedSubject, Subject, SubjectChange, SubjectResumed, SubjectRevoked, SubjectSuspended,
};
use crate::store::{Change, CommitError};

/// Revocation, suspension or resumption.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// Revokes all credentials that were issued under the subject so far.
    Revoke,
    /// Suspends all credentials of the subject until it is resumed.
    Suspend,
    /// Ends a suspension.
    Resume,
}

impl Revocation {
    /// The ledger entry.
    fn change(self, subject: Subject, said: SubjectChange<'_>) -> Result<Change<Effect>, CommitError> {
        let change = match self {
            Self::Revoke => Change::new(&SubjectRevoked(said)),
            Self::Suspend => Change::new(&SubjectSuspended(said)),
            Self::Resume => Change::new(&SubjectResumed(said)),
        };
        Ok(change?.effect(Effect::Revocation(self.effect(subject))))
    }

    /// The part that can take effect before it is recorded: revocations and suspensions.
    fn denial(self, subject: Subject) -> Option<MemoryRevocation> {
        match self {
            Self::Revoke => Some(MemoryRevocation::Subject(revocation::Denial::Kill(subject))),
            Self::Suspend => Some(MemoryRevocation::Subject(revocation::Denial::Block(subject))),
            Self::Resume => None,
        }
    }

    fn effect(self, subject: Subject) -> revocation::Effect {
        match self {
            Self::Revoke => revocation::Effect::Kill(subject),
            Self::Suspend => revocation::Effect::Block(subject),
            Self::Resume => revocation::Effect::Unblock(subject),
        }
    }
}

/// An instance of an agent, or a certificate of an operator, was revoked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HolderRevoked {
    /// The state of the change.
    pub ended: Ended,
    /// The number of uses that the enrolment codes had left that ended too, because the instance had used them.
    pub unused_uses: Option<usize>,
    /// The fingerprints of the approval keys of an operator that ended with the certificate, in hex.
    pub ended_approval_keys: Vec<String>,
}

/// A subject with the name of its agent or operator.
pub(crate) struct FoundSubject {
    subject: Subject,
    /// Its name, if it has one.
    name: Option<String>,
    /// The agent that it belongs to.
    agent: Option<String>,
    /// The operator whose certificate it is.
    operator: Option<String>,
    /// The enrolment of an operator's certificate, which is revoked with it: its other certificates are renewals of this one.
    enrolment: Option<OperatorEnrolment>,
}

impl FoundSubject {
    /// The event of a change by `by`.
    fn said<'a>(&self, by: &'a str) -> SubjectChange<'a> {
        let subject = NamedSubject::of(&self.subject, self.name.clone());
        SubjectChange { subject, agent: self.agent.clone(), operator: self.operator.clone(), by }
    }

    /// The order of `what` for this subject.
    fn order(&self, what: Revocation) -> Option<RevocationOrder> {
        let name = self.name.as_deref();
        let agent = || name.and_then(|name| name.parse().ok());
        let operator = || name.and_then(|name| name.parse().ok());
        match (what, &self.subject) {
            (Revocation::Revoke, Subject::Agent(_)) => agent().map(RevocationOrder::RevokeAgent),
            (Revocation::Suspend, Subject::Agent(_)) => agent().map(RevocationOrder::SuspendAgent),
            (Revocation::Revoke, Subject::Operator(_)) => operator().map(RevocationOrder::RevokeOperator),
            (Revocation::Suspend, Subject::Operator(_)) => operator().map(RevocationOrder::SuspendOperator),
            (Revocation::Revoke, Subject::Instance(id)) => Some(RevocationOrder::RevokeInstance(*id)),
            (Revocation::Revoke, Subject::Token(id)) => Some(RevocationOrder::RevokeToken(*id)),
            (Revocation::Revoke, Subject::Certificate(serial)) => {
                Some(RevocationOrder::RevokeCertificate(*serial))
            }
            // No verb uses these subjects yet.
            (
                Revocation::Revoke | Revocation::Suspend,
                Subject::Role(_)
                | Subject::Capability(_)
                | Subject::Owner(_)
                | Subject::Secret(_)
                | Subject::Lineage(_)
                | Subject::OperatorEnrolment(_)
                | Subject::Network(_)
                | Subject::Everything,
            )
            | (Revocation::Suspend, Subject::Instance(_) | Subject::Token(_) | Subject::Certificate(_))
            | (Revocation::Resume, _) => None,
        }
    }

    const fn new(subject: Subject) -> Self {
        Self { subject, name: None, agent: None, operator: None, enrolment: None }
    }

    pub(crate) fn of_agent(agent: &Agent) -> Self {
        Self { name: Some(agent.name.to_string()), ..Self::new(Subject::Agent(agent.id)) }
    }

    pub(crate) fn of_instance(id: InstanceId, agent: &Agent) -> Self {
        Self { agent: Some(agent.name.to_string()), ..Self::new(Subject::Instance(id)) }
    }

    pub(crate) fn of_operator(operator: &Operator) -> Self {
        Self { name: Some(operator.name.to_string()), ..Self::new(Subject::Operator(operator.id)) }
    }

    /// One certificate of an operator, with the certificates of the same enrolment.
    pub(crate) fn of_certificate(serial: Serial, operator: &Operator) -> Self {
        let subject = Subject::Certificate(*serial.as_bytes());
        let enrolment = operator.enrolment_of(serial.as_bytes());
        Self { operator: Some(operator.name.to_string()), enrolment, ..Self::new(subject) }
    }

    pub(crate) const fn of_token(id: TokenId) -> Self {
        Self::new(Subject::Token(id))
    }
}

impl AdminServices {
    /// Revokes, suspends or resumes the agent called `name`. Repeating it does no harm.
    ///
    /// When this returns, the very next request of every instance meets it, on connections that are
    /// open too. Gives the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_agent(
        &self,
        by: &Authorised<Contain>,
        name: &AgentName,
        what: Revocation,
        request: OperatorRequest<'_>,
    ) -> Result<Ended, Failure> {
        let find = |reading: &Reading<'_>| {
            let world = reading.unconditional();
            let agent = world.registry.agent_named(name);
            let agent = agent.filter(|agent| reaches(by, world, agent)).ok_or_else(unknown)?;
            Ok(FoundSubject::of_agent(agent))
        };
        self.0.revoke(ChangeRequest::of(by.operator(), request), what, &find).await
    }

    /// Revokes one instance of an agent, and leaves the others alone.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_instance(
        &self,
        by: &Authorised<Contain>,
        id: InstanceId,
        request: OperatorRequest<'_>,
    ) -> Result<HolderRevoked, Failure> {
        let find = |reading: &Reading<'_>| {
            let world = reading.unconditional();
            let agent =
                agent_with(world, id).filter(|agent| reaches(by, world, agent)).ok_or_else(unknown)?;
            Ok(FoundSubject::of_instance(id, agent))
        };
        self.0.revoke_holder(ChangeRequest::of(by.operator(), request), &find).await
    }

    /// Revokes one token by its id. There is no list of tokens, so that the id is not checked.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_token(
        &self,
        by: &Authorised<RevokeTokens>,
        id: TokenId,
        request: OperatorRequest<'_>,
    ) -> Result<Ended, Failure> {
        let find = |_: &Reading<'_>| Ok(FoundSubject::of_token(id));
        self.0.revoke(ChangeRequest::of(by.operator(), request), Revocation::Revoke, &find).await
    }

    /// Revokes, suspends or resumes the operator called `name`; not the last one who administers
    /// everything and can act.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_operator(
        &self,
        by: &Authorised<ContainOperators>,
        name: &OperatorName,
        what: Revocation,
        request: OperatorRequest<'_>,
    ) -> Result<Ended, Failure> {
        let find = |reading: &Reading<'_>| {
            let world = reading.unconditional();
            let operator = world.operators.named(name).ok_or_else(|| operator_unknown(world, name))?;
            if what != Revocation::Resume {
                reading.another_admin_than(operator, self.0.settings.operator_renewal_grace_s)?;
            }
            Ok(FoundSubject::of_operator(operator))
        };
        self.0.revoke(ChangeRequest::of(by.operator(), request), what, &find).await
    }
}

/// The agent that has the instance of this id.
pub(crate) fn agent_with(world: &World, id: InstanceId) -> Option<&Agent> {
    world.registry.agents().find(|agent| agent.instances.get(id).is_some())
}

/// Whether the agent is within the operator's scope.
pub(super) fn reaches(by: &Authorised<Contain>, world: &World, agent: &Agent) -> bool {
    by.operator().scope().covers(world.registry.owners().of(&Owned::Agent(agent.name.clone())))
}

impl AgentServices {
    /// Gives up a token of `principal`'s own (RFC 7009). An invalid token,
    /// and a token of another agent, is ignored, as the standard asks: this caller cannot use it.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be recorded.
    pub async fn give_up(&self, principal: &AgentPrincipal, token: &str) -> Result<(), Failure> {
        let Ok(claims) = self.0.signing.verifier.verify_for_anybody(token, self.0.state.clock.reading())
        else {
            return Ok(());
        };
        if *claims.sub != *principal.spiffe().text().as_str() || claims.instance != principal.instance() {
            return Ok(());
        }
        let _permit = self.0.limits.mints.admit(&principal.agent())?;
        // An invalid token is useless, and a repeated revocation would fill the ledger.
        if !self.0.counts(&claims, principal.connection()).await? {
            return Ok(());
        }
        let name = Some(principal.name().to_string());
        let find =
            |_: &Reading<'_>| Ok(FoundSubject { agent: name.clone(), ..FoundSubject::of_token(claims.jti) });
        let request =
            ChangeRequest { by: Initiator::Holder(principal.connection()), idempotency: None, reason: None };
        self.0.revoke(request, Revocation::Revoke, &find).await.map(|_| ())
    }
}

impl Services {
    /// Carries out `what`; stores the order until the ledger has recorded it.
    pub(super) async fn revoke(
        &self,
        request: ChangeRequest<'_>,
        what: Revocation,
        find: &(dyn Fn(&Reading<'_>) -> Result<FoundSubject, Failure> + Sync),
    ) -> Result<Ended, Failure> {
        let applied = self.apply_revocation(request, what, find).await?;
        Ok(self.conclude(applied).await)
    }

    /// Revokes the holder of a certificate, with the open enrolment codes that it had used.
    pub(super) async fn revoke_holder(
        &self,
        request: ChangeRequest<'_>,
        find: &(dyn Fn(&Reading<'_>) -> Result<FoundSubject, Failure> + Sync),
    ) -> Result<HolderRevoked, Failure> {
        let applied = self.apply_revocation(request, Revocation::Revoke, find).await?;
        let unused_uses = applied.count;
        let ended = self.conclude(applied).await;
        Ok(HolderRevoked { ended, unused_uses, ended_approval_keys: Vec::new() })
    }

    /// Records a mark on any kind of subject, after which all open connections and leases are judged again. No verb marks
    /// shared subjects yet; their effect is implemented here.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be recorded.
    pub async fn mark(&self, by: &str, what: Revocation, subject: Subject) -> Result<u64, Failure> {
        let found = FoundSubject::new(subject.clone());
        let change = what.change(subject, found.said(by))?;
        let seq = self.state.store.commit(change, ()).await?.seq();
        self.notifications.revocations_changed();
        Ok(seq)
    }

    /// Without preconditions, so that a revocation never conflicts with other changes.
    pub(crate) async fn apply_revocation(
        &self,
        request: ChangeRequest<'_>,
        what: Revocation,
        find: &(dyn Fn(&Reading<'_>) -> Result<FoundSubject, Failure> + Sync),
    ) -> Result<Removed, Failure> {
        let applied = self.state.change_revoking(request, |reading| {
            let found = find(reading)?;
            let order = found.order(what);
            let said = found.said(request.by.name());
            let subject = found.subject;
            let mut denial = what.denial(subject.clone());
            if denial.is_none() && reading.unconditional().revocations.is_unrecorded(&subject) {
                return Err(Failure::new(code::REVOCATION_UNRECORDED));
            }
            if what == Revocation::Resume {
                check_not_contained(reading, &subject)?;
            }
            let mut change = what.change(subject.clone(), said)?;
            let mut unused_uses = None;
            if what == Revocation::Revoke {
                let relatives = Relatives::of(reading, &subject, found.enrolment);
                unused_uses = relatives.unused_uses(reading);
                change = relatives.added_to(change);
                denial = denial.map(|denial| relatives.denied_with(denial));
            }
            if let Some(reason) = request.reason.cloned() {
                change = change.effect(Effect::Revocation(revocation::Effect::Explain { subject, reason }));
            }
            // Revocations of an agent's own tokens must not use up the reserved space.
            let is_urgent = what != Revocation::Resume && !matches!(request.by, Initiator::Holder(_));
            let change = if is_urgent { change.urgent() } else { change };
            Ok(Removal { change, denial, order: RemovalOrder::Unconditional(order), count: unused_uses })
        });
        let applied = applied.await?;
        // Connections do not depend on tokens.
        if !matches!(&applied.order, Some(PendingOrder { what: RevocationOrder::RevokeToken(_), .. })) {
            self.notifications.revocations_changed();
        }
        Ok(applied)
    }
}

pub(crate) const fn unknown() -> Failure {
    Failure::new(code::SUBJECT_UNKNOWN)
}
