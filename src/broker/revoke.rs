use super::desk::{AdminDesk, Again, AgentDesk, Core, deciding_again};
use super::failure::Failure;
use super::world::{Effect, World};
use crate::authn::{AgentPrincipal, OperatorPrincipal};
use crate::base::code;
use crate::base::{AgentName, InstanceId, TokenId};
use crate::pki::Serial;
use crate::registry::Agent;
use crate::revocation::{self, Liveness, RevocationChanged, Subject, keys};
use crate::store::Change;

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

    const fn effect(self, subject: Subject) -> revocation::Effect {
        match self {
            Self::Revoke => revocation::Effect::Kill(subject),
            Self::Suspend => revocation::Effect::Block(subject),
            Self::Resume => revocation::Effect::Unblock(subject),
        }
    }
}

/// What is found of a subject: itself, and the name of the agent that it belongs to.
type Found = Option<(Subject, Option<String>)>;

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
        operator: &OperatorPrincipal,
        name: &AgentName,
        what: Revocation,
    ) -> Result<u64, Failure> {
        let find = |world: &World| {
            world.registry.agent_named(name).map(|one| (Subject::Agent(one.id), name_of(one)))
        };
        self.0.revoke(operator.name().as_str(), what, &find).await
    }

    /// Revokes one instance of an agent, and leaves the others alone.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_instance(
        &self,
        operator: &OperatorPrincipal,
        id: InstanceId,
    ) -> Result<u64, Failure> {
        let find = |world: &World| {
            let agent = world.registry.agents().find(|agent| agent.instances.contains_key(&id))?;
            Some((Subject::Instance(id), name_of(agent)))
        };
        self.0.revoke(operator.name().as_str(), Revocation::Revoke, &find).await
    }

    /// Revokes the holder of a certificate: the instance of an agent that holds it, as its current or
    /// its next one, with all that it was given.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_certificate(
        &self,
        operator: &OperatorPrincipal,
        serial: Serial,
    ) -> Result<u64, Failure> {
        let find = |world: &World| {
            world.registry.agents().find_map(|agent| {
                let holder = agent.instances.values().find(|one| one.has_serial(serial.as_bytes()))?;
                Some((Subject::Instance(holder.id), name_of(agent)))
            })
        };
        self.0.revoke(operator.name().as_str(), Revocation::Revoke, &find).await
    }

    /// Revokes one token. Nobody keeps a list of tokens: the id is taken as it is given.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn revoke_token(&self, operator: &OperatorPrincipal, id: TokenId) -> Result<u64, Failure> {
        let find = |_: &World| Some((Subject::Token(id), None));
        self.0.revoke(operator.name().as_str(), Revocation::Revoke, &find).await
    }
}

impl AgentDesk {
    /// Gives up a token of `principal`'s own (RFC 7009). A token that is no good, or somebody
    /// else's, is passed over in silence, as the standard wants it: it is of no use to this caller.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be recorded.
    pub async fn give_up(&self, principal: &AgentPrincipal, token: &str) -> Result<(), Failure> {
        let Ok(claims) = self.0.verifier.verify_for_anybody(token, self.0.clock.now()) else { return Ok(()) };
        if claims.sub != principal.spiffe().to_string() || claims.instance != principal.instance() {
            return Ok(());
        }
        let _permit = self.0.mints.admit(&principal.agent())?;
        let judged =
            self.0.store.read(|world, _| world.revocations.judge(claims.seq, &[Subject::Token(claims.jti)]));
        if judged == Liveness::Dead {
            return Ok(());
        }
        let name = Some(principal.name().to_string());
        let find = |_: &World| Some((Subject::Token(claims.jti), name.clone()));
        self.0.revoke("its holder", Revocation::Revoke, &find).await.map(|_| ())
    }
}

fn name_of(agent: &Agent) -> Option<String> {
    Some(agent.name.to_string())
}

impl Core {
    async fn revoke(
        &self,
        by: &str,
        what: Revocation,
        find: &(dyn Fn(&World) -> Found + Sync),
    ) -> Result<u64, Failure> {
        let revoked = deciding_again!(async {
            let Some((subject, agent)) = self.store.read(|world, _| find(world)) else {
                return Err(Again::Stop(unknown()));
            };
            let id = match subject {
                Subject::Agent(id) => id.to_string(),
                Subject::Instance(id) => id.to_string(),
                Subject::Token(id) => id.to_string(),
            };
            let event = RevocationChanged { by, action: what.as_str(), subject: subject.kind(), agent, id };
            // It relies on nothing: a revocation is never too late and never in anybody's way.
            let change = Change::new(&event)?
                .effect(Effect::Revocation(what.effect(subject)))
                .advance(keys::subject(subject));
            Ok((self.store.commit(change, ()).await?.seq(), subject))
        });
        let (seq, subject) = revoked?;
        // Nobody is connected on the strength of a token.
        if !matches!(subject, Subject::Token(_)) {
            self.standing_changed();
        }
        Ok(seq)
    }
}

fn unknown() -> Failure {
    Failure::new(code::SUBJECT_UNKNOWN)
}
