use super::desk::records;
use super::failure::Failure;
use super::retry::Again;
use super::services::Core;
use super::world::World;
use crate::authn::{self, AgentPrincipal, AuthnError, PresentError};
use crate::base::ClockReading;
use crate::pki::PeerCertificate;
use crate::policy::{Basis, Decision, DecisionContext, Denial, Grant};
use crate::quota::{Admitted, Limited, Note, Permit};
use crate::store::{Change, Event};
use crate::token::{TokenDenied, TokenRefused};

/// An agent whose request is within its rate, to be decided until there is no conflict.
pub(super) struct AdmittedAgent {
    certificate: PeerCertificate,
    proved: Option<AgentPrincipal>,
    admitted: Admitted,
}

impl AdmittedAgent {
    /// The certificate of its connection.
    pub(super) const fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The request has waited: its next attempt proves the agent as of then.
    pub(super) fn waited(&mut self) {
        self.proved = None;
    }

    /// The agent and a permit for one attempt: as it was proved, and after a conflict as it is proved now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(super) fn attempt(
        &mut self,
        core: &Core,
        reading: ClockReading,
    ) -> Result<(AgentPrincipal, Permit), AuthnError> {
        let again = || {
            core.state
                .store
                .read(|world, as_of| authn::agent(&self.certificate, records(world), as_of, reading))
        };
        let principal = self.proved.take().map_or_else(again, Ok)?;
        Ok((principal, self.admitted.permit()))
    }
}

impl Core {
    /// Admits a request of `principal`.
    ///
    /// # Errors
    /// [`Limited`].
    pub(super) fn admit(&self, principal: AgentPrincipal) -> Result<AdmittedAgent, Limited> {
        let admitted = self.limits.mints.admit(&principal.agent())?;
        let certificate = principal.certificate().clone();
        Ok(AdmittedAgent { certificate, proved: Some(principal), admitted })
    }

    /// What a decision on the state `world` is made with.
    pub(super) fn deciding<'a>(&'a self, world: &'a World, reading: ClockReading) -> DecisionContext<'a> {
        DecisionContext {
            decision: self.state.decision(reading.now()),
            records: records(world),
            reading,
            limits: &self.settings.tokens,
            digests: &self.state.digests,
        }
    }

    /// The grant of a decision on a request of `principal`; a denial is recorded and answered.
    pub(super) async fn granted<A: Send>(
        &self,
        principal: &AgentPrincipal,
        action: &'static str,
        decision: Decision<A>,
    ) -> Result<Grant<A>, Again> {
        match decision.grant() {
            Ok(grant) => Ok(grant),
            Err(denial) => Err(Again::Stop(self.refuse(principal, action, *denial).await)),
        }
    }

    /// Records a denial, unless its agent has had its share of entries, and turns it into an answer.
    /// An answer that says no does not wait for more than that: a denial that cannot be recorded is
    /// still a denial.
    async fn refuse(&self, principal: &AgentPrincipal, action: &'static str, denial: Denial) -> Failure {
        self.notifications.meters.denied(denial.code.as_str());
        let Basis { decision, snapshot, rules, request } = &denial.basis;
        if let Note::Record { unrecorded } = self.limits.denials.note(&principal.agent()) {
            let event = TokenDenied {
                agent: principal.name(),
                instance: principal.instance(),
                action,
                decision: *decision,
                code: denial.code.as_str(),
                snapshot: snapshot.in_hex(),
                rules,
                request: request.in_hex(),
                unrecorded,
            };
            self.record_refusal(&event).await;
        }
        denial.into()
    }

    /// Records that a token was not taken from `principal`, and turns it into an answer.
    pub(super) async fn refuse_token(&self, principal: &AgentPrincipal, error: PresentError) -> Failure {
        self.suspect_token(principal.spiffe().to_string(), error).await;
        let failure = Failure::from(error);
        if let Note::Record { unrecorded } = self.limits.denials.note(&principal.agent()) {
            let token = match error {
                PresentError::OtherHolder(token)
                | PresentError::Revoked(token)
                | PresentError::NotIssued(token)
                | PresentError::Unrecorded { token, .. } => Some(token),
                PresentError::Token(_) => None,
            };
            self.record_refusal(&TokenRefused {
                agent: principal.name(),
                instance: principal.instance(),
                code: failure.code.as_str(),
                token,
                unrecorded,
            })
            .await;
        }
        failure
    }

    pub(super) async fn record_refusal<V: Event + Sync>(&self, event: &V) {
        let recorded = match Change::new(event) {
            Ok(change) => self.state.store.commit(change, ()).await.map(|receipt| receipt.redeem()),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            tracing::error!(%error, what = V::NAME, "a refusal could not be recorded");
        }
    }
}
