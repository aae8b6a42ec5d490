use crate::authn::{AgentPrincipal, Credential, OperatorPrincipal, PresentError, live};
use crate::base::code;
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{AgentName, InstanceId, OperatorName, Scope, TokenId};
use crate::broker::denial::Denial;
use crate::broker::desk::{AdminDesk, AgentDesk, records};
use crate::broker::failure::Failure;
use crate::broker::identity::operators::{operator_unknown, somebody_else_administers};
use crate::broker::once::{done_before, remembering};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::custody::{Order, TakeAway};
use crate::idempotency::{Once, Outcome};
use crate::operators::{self, Operator};
use crate::pki::Serial;
use crate::policy::{Authorised, Contain, ContainOperators, RevokeTokens};
use crate::registry::{Agent, Owned};
use crate::revocation::{self, RevocationChanged, Subject};
use crate::store::{Change, OnConflict, Taken};
use crate::telemetry::Alarm;

/// Something was ended, suspended or resumed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The entry of this sequence says so.
    Recorded(u64),
    /// The ledger has not taken it in time: it is in force in memory, at once, and the ledger takes it as
    /// soon as it can.
    InMemory {
        /// Whether the order is kept in the runtime directory too, so that the next start carries it out.
        kept: bool,
    },
}

/// What was done, before anybody is told.
pub(in crate::broker) struct Applied {
    pub(in crate::broker) taken: Taken,
    /// What is to be done by the next start when the ledger does not take it before.
    pub(in crate::broker) order: Option<Order>,
}

impl Applied {
    /// The entry of this sequence says so.
    pub(in crate::broker) const fn recorded(seq: u64) -> Self {
        Self { taken: Taken::Recorded(seq), order: None }
    }
}

/// What is done to a subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revocation {
    /// Everything issued under it so far is dead, for good.
    Revoke,
    /// Nothing issued under it counts, until it is resumed.
    Suspend,
    /// Ends a suspension.
    Resume,
}

impl Revocation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    /// What of it can be done without a record: whatever takes away.
    fn denial(self, subject: Subject) -> Option<Denial> {
        match self {
            Self::Revoke => Some(Denial::Subject(revocation::Denial::Kill(subject))),
            Self::Suspend => Some(Denial::Subject(revocation::Denial::Block(subject))),
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

/// A subject, and the name of whom it belongs to.
pub(in crate::broker) struct Found {
    subject: Subject,
    agent: Option<String>,
    operator: Option<String>,
}

impl Found {
    /// The order that does `what` to it.
    fn order(&self, what: Revocation) -> Option<TakeAway> {
        let agent = || self.agent.as_deref().and_then(|name| name.parse().ok());
        let operator = || self.operator.as_deref().and_then(|name| name.parse().ok());
        match (what, &self.subject) {
            (Revocation::Revoke, Subject::Agent(_)) => agent().map(TakeAway::RevokeAgent),
            (Revocation::Suspend, Subject::Agent(_)) => agent().map(TakeAway::SuspendAgent),
            (Revocation::Revoke, Subject::Operator(_)) => operator().map(TakeAway::RevokeOperator),
            (Revocation::Suspend, Subject::Operator(_)) => operator().map(TakeAway::SuspendOperator),
            (Revocation::Revoke, Subject::Instance(id)) => Some(TakeAway::RevokeInstance(*id)),
            (Revocation::Revoke, Subject::Token(id)) => Some(TakeAway::RevokeToken(*id)),
            // No verb sets these marks yet.
            (
                Revocation::Revoke | Revocation::Suspend,
                Subject::Role(_)
                | Subject::Capability(_)
                | Subject::Owner(_)
                | Subject::Secret(_)
                | Subject::Certificate(_)
                | Subject::Lineage(_)
                | Subject::Network(_)
                | Subject::Everything,
            )
            | (Revocation::Suspend, Subject::Instance(_) | Subject::Token(_))
            | (Revocation::Resume, _) => None,
        }
    }

    pub(in crate::broker) fn of_agent(subject: Subject, agent: &Agent) -> Self {
        Self { subject, agent: Some(agent.name.to_string()), operator: None }
    }

    pub(in crate::broker) fn of_operator(operator: &Operator) -> Self {
        let subject = Subject::Operator(operator.id);
        Self { subject, agent: None, operator: Some(operator.name.to_string()) }
    }

    pub(in crate::broker) const fn of_token(id: TokenId) -> Self {
        Self { subject: Subject::Token(id), agent: None, operator: None }
    }
}

/// On whose word something is taken away.
#[derive(Clone, Copy)]
pub(in crate::broker) enum Word<'a> {
    /// An operator's.
    Operator(&'a OperatorPrincipal),
    /// That of somebody on the broker's host, who is called so.
    Host(&'a str),
    /// That of an agent whose own it is.
    Holder,
}

impl<'a> Word<'a> {
    /// Who that is, as entries name it.
    pub(in crate::broker) fn by(self) -> &'a str {
        match self {
            Self::Operator(operator) => operator.name().as_str(),
            Self::Host(host) => host,
            Self::Holder => "its holder",
        }
    }

    /// How far it reaches.
    pub(in crate::broker) const fn scope(self) -> &'a Scope {
        match self {
            Self::Operator(operator) => operator.scope(),
            Self::Host(_) | Self::Holder => &Scope::Everything,
        }
    }

    /// `change` on this word: an operator's counts only while it is who it was when it was let.
    ///
    /// # Errors
    /// [`Failure`] when the operator is not that any more.
    pub(in crate::broker) fn given_for(
        self,
        core: &Core,
        change: Change<Effect>,
    ) -> Result<Change<Effect>, Failure> {
        match self {
            Self::Operator(operator) => core.while_allowed(change, operator),
            Self::Host(_) | Self::Holder => Ok(change),
        }
    }
}

impl AdminDesk {
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
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let find = |world: &World| {
            let agent = world.registry.agent_named(name);
            let agent = agent.filter(|agent| reaches(by, world, agent)).ok_or_else(unknown)?;
            Ok(Found::of_agent(Subject::Agent(agent.id), agent))
        };
        self.0.revoke(Word::Operator(by.operator()), what, once, &find).await
    }

    /// Revokes one instance of an agent, and leaves the others alone.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_instance(
        &self,
        by: &Authorised<Contain>,
        id: InstanceId,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let find = |world: &World| {
            let agent =
                agent_with(world, id).filter(|agent| reaches(by, world, agent)).ok_or_else(unknown)?;
            Ok(Found::of_agent(Subject::Instance(id), agent))
        };
        self.0.revoke(Word::Operator(by.operator()), Revocation::Revoke, once, &find).await
    }

    /// Revokes the holder of a certificate: the instance of an agent that holds it, as its current or
    /// its next one, with all that it was given.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_certificate(
        &self,
        by: &Authorised<Contain>,
        serial: Serial,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let find = |world: &World| {
            let found = holder_of(world, serial).filter(|(_, agent)| reaches(by, world, agent));
            found.map(|(id, agent)| Found::of_agent(Subject::Instance(id), agent)).ok_or_else(unknown)
        };
        self.0.revoke(Word::Operator(by.operator()), Revocation::Revoke, once, &find).await
    }

    /// Revokes one token. Nobody keeps a list of tokens: the id is taken as it is given.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_token(
        &self,
        by: &Authorised<RevokeTokens>,
        id: TokenId,
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let find = |_: &World| Ok(Found::of_token(id));
        self.0.revoke(Word::Operator(by.operator()), Revocation::Revoke, once, &find).await
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
        once: Option<&Once>,
    ) -> Result<Ended, Failure> {
        let find = |world: &World| {
            let operator = world.operators.named(name).ok_or_else(operator_unknown)?;
            if what != Revocation::Resume {
                somebody_else_administers(world, operator, self.0.state.clock.now())?;
            }
            Ok(Found::of_operator(operator))
        };
        self.0.revoke(Word::Operator(by.operator()), what, once, &find).await
    }
}

/// The agent that has the instance of this id.
pub(in crate::broker) fn agent_with(world: &World, id: InstanceId) -> Option<&Agent> {
    world.registry.agents().find(|agent| agent.instances.get(id).is_some())
}

/// The instance that holds the certificate with this serial, and its agent.
pub(in crate::broker) fn holder_of(world: &World, serial: Serial) -> Option<(InstanceId, &Agent)> {
    world.registry.agents().find_map(|agent| {
        let holder = agent.instances.iter().find(|one| one.has_serial(serial.as_bytes()))?;
        Some((holder.id, agent))
    })
}

/// Whether the agent is one that the operator may know of.
fn reaches(by: &Authorised<Contain>, world: &World, agent: &Agent) -> bool {
    by.operator().scope().covers(world.registry.owners().of(&Owned::Agent(agent.name.clone())))
}

impl AgentDesk {
    /// Gives up a token of `principal`'s own (RFC 7009). A token that is no good, or somebody
    /// else's, is passed over in silence, as the standard wants it: it is of no use to this caller.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be recorded.
    pub async fn give_up(&self, principal: &AgentPrincipal, token: &str) -> Result<(), Failure> {
        let Ok(claims) = self.0.signing.verifier.verify_for_anybody(token, self.0.state.clock.reading())
        else {
            return Ok(());
        };
        if *claims.sub != *principal.spiffe().text().as_str() || claims.instance != principal.instance() {
            return Ok(());
        }
        let _permit = self.0.limits.mints.admit(&principal.agent())?;
        if claims.seq > self.0.state.store.read(|_, as_of| as_of) {
            let unrecorded = PresentError::Unrecorded { token: claims.jti, seq: claims.seq };
            self.0.suspect_token(claims.sub.to_string(), unrecorded).await;
            return Ok(());
        }
        // What does not count is of no use, and giving it up again would fill the ledger.
        let minted = self.0.minted(&claims)?;
        let token = Credential::Token { claims: &claims, minted: minted.as_deref() };
        if self.0.state.store.read(|world, _| live(token, records(world))).is_err() {
            return Ok(());
        }
        let name = Some(principal.name().to_string());
        let find = |_: &World| {
            Ok(Found { subject: Subject::Token(claims.jti), agent: name.clone(), operator: None })
        };
        self.0.revoke(Word::Holder, Revocation::Revoke, None, &find).await.map(|_| ())
    }
}

impl Core {
    /// Does `what`, and keeps the order of what the ledger has not taken in time until it has.
    pub(in crate::broker) async fn revoke(
        &self,
        word: Word<'_>,
        what: Revocation,
        once: Option<&Once>,
        find: &(dyn Fn(&World) -> Result<Found, Failure> + Sync),
    ) -> Result<Ended, Failure> {
        let applied = self.apply_revocation(word, what, once, find).await?;
        Ok(self.conclude(applied).await)
    }

    /// Says what became of it. What is in force in memory alone is an alarm, and its order is kept until the
    /// ledger has it.
    pub(in crate::broker) async fn conclude(&self, Applied { taken, order }: Applied) -> Ended {
        let recorded = match taken {
            Taken::Recorded(seq) => return Ended::Recorded(seq),
            Taken::InMemory(recorded) => recorded,
        };
        self.notifications.meters.alarms().raise(
            Alarm::RevocationUnrecorded,
            format_args!(
                "the data disk did not take a revocation in time: it is in force in memory alone; look at the disk of \
                 the data directory, the ledger takes the revocation once it answers"
            ),
        );
        let Some(order) = order else { return Ended::InMemory { kept: false } };
        let kept = self.state.kept_orders.keep(order.clone()).await;
        let (orders, leases) = (self.state.kept_orders.clone(), self.notifications.leases.clone());
        tokio::spawn(async move {
            if recorded.wait().await.is_some() {
                orders.forget(order.what).await;
                // An end of leases that the ledger has is told upstream.
                leases.send_modify(|changes| *changes = changes.wrapping_add(1));
            }
        });
        Ended::InMemory { kept }
    }

    /// Records a mark on any kind of subject, and has every open connection and lease judged again. Verbs that mark
    /// what many credentials share are still to come; what they will do is in force by this.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be recorded.
    pub async fn mark(&self, by: &str, effect: revocation::Effect) -> Result<u64, Failure> {
        let (action, subject) = match &effect {
            revocation::Effect::Kill(subject) => (Revocation::Revoke, subject.clone()),
            revocation::Effect::Block(subject) => (Revocation::Suspend, subject.clone()),
            revocation::Effect::Unblock(subject) => (Revocation::Resume, subject.clone()),
        };
        let (action, id) = (action.as_str(), subject.id());
        let event =
            RevocationChanged { by, action, subject: subject.kind(), agent: None, operator: None, id };
        let change = Change::new(&event)?.effect(Effect::Revocation(effect));
        let seq = self.state.store.commit(change, ()).await?.seq();
        self.notifications.standing_changed();
        Ok(seq)
    }

    pub(in crate::broker) async fn apply_revocation(
        &self,
        word: Word<'_>,
        what: Revocation,
        once: Option<&Once>,
        find: &(dyn Fn(&World) -> Result<Found, Failure> + Sync),
    ) -> Result<Applied, Failure> {
        let revoked = deciding_again!(async {
            let (found, before, as_of) = self
                .state
                .store
                .read(|world, as_of| (find(world), done_before(world, once, self.state.clock.now()), as_of));
            if let Some(before) = before? {
                return Ok((Applied::recorded(before.seq), None));
            }
            let found = found?;
            let ordered = found.order(what);
            let Found { subject, agent, operator } = found;
            let denial = what.denial(subject.clone());
            if denial.is_none() && self.state.store.read(|world, _| world.revocations.is_unrecorded(&subject))
            {
                return Err(Again::Stop(Failure::new(code::REVOCATION_UNRECORDED)));
            }
            let id = subject.id();
            let by = word.by();
            let order = ordered.map(|what| Order { at: self.state.clock.now(), by: by.to_owned(), what });
            let event =
                RevocationChanged { by, action: what.as_str(), subject: subject.kind(), agent, operator, id };
            // It relies on nothing of its subject: a revocation is never too late and never in
            // anybody's way.
            let mut change = Change::new(&event)?.effect(Effect::Revocation(what.effect(subject.clone())));
            change = word.given_for(self, change)?;
            // What an agent does with its own tokens must not use the room up.
            if what != Revocation::Resume && !matches!(word, Word::Holder) {
                change = change.urgent();
            }
            if matches!(subject, Subject::Operator(_)) {
                let admins = operators::keys::admins();
                change = change.rely(admins, as_of);
            }
            change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
            let Some(denial) = denial else {
                return Ok((
                    Applied::recorded(self.state.store.commit(change, ()).await?.seq()),
                    Some(subject),
                ));
            };
            let decide = |world: &World| find(world).is_ok();
            let taken =
                self.state.store.take_away(change.taking_away(denial), OnConflict::Repeat, decide).await?;
            Ok((Applied { taken, order }, Some(subject)))
        });
        let (applied, subject) = revoked?;
        // Nobody is connected on the strength of a token.
        if !matches!(subject, None | Some(Subject::Token(_))) {
            self.notifications.standing_changed();
        }
        Ok(applied)
    }
}

pub(in crate::broker) const fn unknown() -> Failure {
    Failure::new(code::SUBJECT_UNKNOWN)
}
