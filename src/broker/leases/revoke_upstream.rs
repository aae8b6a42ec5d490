use std::collections::BTreeSet;

use super::lease_upstream::{LeaseUpstream, LeaseUpstreams, revocations_at};
use super::views::described;
use crate::base::limits::{
    LEASE_RETRY_FIRST_S, LEASE_RETRY_MAX_S, LEASE_RETRY_OPEN_MAX_S, LEASE_STILL_OPEN_FAILURES,
};
use crate::base::{LeaseId, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::retry::AttemptError;
use crate::broker::services::Services;
use crate::broker::upstreams::RetryWaits;
use crate::broker::world::Effect;
use crate::leases::{
    self, EndReason, Ending, Lease, LeaseEnded, LeaseRevocationAttempted, LeaseRevocationFailed,
    LeaseSelection, LeaseStage, LeaseStillOpen,
};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;
use crate::upstream::UpstreamFault;

/// The number of attempts to revoke one login that may use the ledger's reserve.
const FROM_RESERVE_MAX: u32 = 3;

impl Services {
    /// Revokes the login of `lease`, if that is due. The same code continues after a failure and after a start.
    ///
    /// # Errors
    /// [`Failure`] if the step could not be recorded; the upstream was not called then.
    pub async fn revoke_login(&self, lease: LeaseId) -> Result<(), Failure> {
        let (found, preconditions) = self.state.read(|reading| {
            let lease = reading.recorded_lease(lease).filter(|lease| lease.due_at() <= reading.now())?;
            let counters = LeaseUpstreams::of(reading.unconditional(), lease).noted(reading);
            Some((counters, lease.clone()))
        });
        let Some((counters, lease)) = found.filter(|(_, lease)| !self.is_creating(lease.id)) else {
            return Ok(());
        };
        // The first attempt ignores the circuit.
        let place = counters.place().filter(|_| lease.is_failing());
        let call = place.map(|place| self.lets_call_at(&revocations_at(&place)));
        if matches!(call, Some(Err(_))) {
            return Ok(());
        }
        let ended = self.revoke_by_declarations(counters, &lease, preconditions).await;
        drop(call);
        match ended {
            Ok(Ok(())) => self.record_ended(&lease).await,
            Ok(Err(fault)) => self.record_failed_revocation(&lease, &fault).await,
            // The lease was renewed or has ended in the meantime: the next check decides.
            Err(AttemptError::Retry) => Ok(()),
            Err(AttemptError::Stop(failure)) => Err(failure),
        }
    }

    /// Calls the upstream by the current declaration, then by the original one. The absence of a login at another
    /// server than the one where it was created proves nothing.
    async fn revoke_by_declarations(
        &self,
        LeaseUpstreams { current, original }: LeaseUpstreams,
        lease: &Lease,
        mut preconditions: Preconditions,
    ) -> Result<Result<(), UpstreamFault>, AttemptError> {
        let mut first = None;
        if let Some(current) = current {
            let place = current.as_ref().ok().map(|current| current.place.clone());
            let is_same = original.as_ref().is_ok_and(|original| Some(&original.place) == place.as_ref());
            let presence = if is_same { Presence::Known } else { Presence::Unproven };
            let attempt = Attempt { lease, presence, declaration: Declaration::Current };
            match self.call(current, attempt, &mut preconditions).await? {
                Ok(true) => return Ok(Ok(())),
                Ok(false) => {}
                // Its sessions are ending: the other declaration would give the same result.
                Err(fault) if fault.code == code::UPSTREAM_NOT_REVOKED => return Ok(Err(fault)),
                // The login is at this server; its absence at another server proves nothing.
                Err(fault)
                    if !is_same
                        && (fault.is_shut_out() || fault.code == code::UPSTREAM_LOGIN_STILL_VALID) =>
                {
                    return Ok(Err(fault));
                }
                Err(fault) => first = Some(fault),
            }
        }
        let attempt = Attempt { lease, presence: Presence::Known, declaration: Declaration::Original };
        let ended = self.call(original, attempt, &mut preconditions).await?;
        Ok(ended.map(drop).map_err(|fault| first.unwrap_or(fault)))
    }

    /// Revokes the login by one declaration; returns whether it has certainly ended.
    async fn call(
        &self,
        counter: Result<LeaseUpstream, Failure>,
        attempt: Attempt<'_>,
        preconditions: &mut Preconditions,
    ) -> Result<Result<bool, UpstreamFault>, AttemptError> {
        let counter = match counter {
            Ok(counter) => counter,
            Err(failure) => return Ok(Err(UpstreamFault::refused(failure.code))),
        };
        let lease = attempt.lease;
        let change = attempted(&counter, attempt)?;
        let (admin, seq) = self.open_admin_secret(&counter, change, preconditions.clone()).await?;
        // This entry itself advances the lease.
        *preconditions = std::mem::take(preconditions).since(seq);
        let (driver, call) = (&counter.driver, self.lease_call(&admin));
        let ended = async {
            if attempt.presence == Presence::Unproven {
                let found = driver.find(call, &lease.login.name, self.state.clock.now()).await?;
                if !found.iter().any(|one| one.name == lease.login.name) {
                    return Ok(false);
                }
            }
            driver.revoke(call, &lease.login.name).await.map(|()| true)
        };
        let ended = ended.await;
        self.note_answer_of(&revocations_at(&counter.place), ended.as_ref().err());
        Ok(ended)
    }

    async fn record_ended(&self, lease: &Lease) -> Result<(), Failure> {
        let event = LeaseEnded {
            lease: lease.id,
            agent: &lease.holder.agent_name,
            capability: &lease.capability,
            login: &lease.login.name,
            why: why(lease).as_str(),
        };
        let change = Change::new(&event)?.effect(Effect::Lease(leases::Effect::Ended(lease.id)));
        Ok(self.record_of_leases(from_reserve(change, lease), Preconditions::none()).await?)
    }

    async fn record_failed_revocation(&self, lease: &Lease, fault: &UpstreamFault) -> Result<(), Failure> {
        let before = if let LeaseStage::Ending(ending) = &lease.stage { ending.failures } else { 0 };
        let failures = before.saturating_add(1);
        let is_shut_for_good = fault.code == code::UPSTREAM_LOGIN_NOT_DROPPED;
        let longest_s = if is_shut_for_good { LEASE_RETRY_MAX_S } else { LEASE_RETRY_OPEN_MAX_S };
        let retry_at = self.retry_at(failures, RetryWaits { first_s: LEASE_RETRY_FIRST_S, longest_s });
        tracing::warn!(
            lease = %lease.id, login = %lease.login.name, code = %fault.code, upstream = fault.detail, failures,
            reason = %fault.explained().why, "a login could not be revoked"
        );
        self.notifications.meters.lease_revocation_failed();
        let event = LeaseRevocationFailed {
            lease: lease.id,
            agent: &lease.holder.agent_name,
            capability: &lease.capability,
            login: &lease.login.name,
            code: fault.code.as_str(),
            upstream: fault.detail.clone(),
            failures,
            retry_at: retry_at.to_string(),
        };
        let (code, upstream) = (fault.code.as_str().to_owned(), fault.detail.clone());
        let failed = leases::Effect::Fail { lease: lease.id, code, upstream, retry_at };
        let change = Change::new(&event)?.effect(Effect::Lease(end(lease))).effect(Effect::Lease(failed));
        self.record_of_leases(from_reserve(change, lease), Preconditions::none()).await?;
        if fault.code == code::UPSTREAM_LOGIN_STILL_VALID && !was_raised(lease) {
            self.raise_still_valid(lease, failures).await?;
        }
        Ok(())
    }

    /// Raises the alarm about a login that can still log in, after enough failures.
    async fn raise_still_valid(&self, lease: &Lease, failures: u32) -> Result<(), Failure> {
        if failures < LEASE_STILL_OPEN_FAILURES {
            return Ok(());
        }
        let (upstream, _) = self.state.read(|reading| described(reading.unconditional(), lease));
        self.notifications.meters.alarms().raise(
            Alarm::LoginStillValid,
            format_args!(
                "the revoked login {} at {upstream} can still log in: a transaction has its role locked; end it, on \
                 the server's host if need be",
                lease.login.name
            ),
        );
        let event = LeaseStillOpen {
            lease: lease.id,
            agent: &lease.holder.agent_name,
            capability: &lease.capability,
            login: &lease.login.name,
            upstream,
            failures,
        };
        Ok(self.record_of_leases(Change::new(&event)?, Preconditions::none()).await?)
    }
}

/// The entry that precedes a call of the upstream.
fn attempted(
    counter: &LeaseUpstream,
    Attempt { lease, declaration, .. }: Attempt<'_>,
) -> Result<Change<Effect>, CommitError> {
    let event = LeaseRevocationAttempted {
        lease: lease.id,
        agent: &lease.holder.agent_name,
        capability: &lease.capability,
        login: &lease.login.name,
        why: why(lease).as_str(),
        upstream: counter.driver.describe(),
        declaration: declaration.as_str(),
        administering: counter.administering(),
    };
    Ok(from_reserve(Change::new(&event)?.effect(Effect::Lease(end(lease))), lease))
}

/// An attempt to revoke a login.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    lease: &'a Lease,
    presence: Presence,
    declaration: Declaration,
}

/// The declaration by which a server is called.
#[derive(Clone, Copy)]
enum Declaration {
    /// The current one.
    Current,
    /// The one with which the login was created.
    Original,
}

impl Declaration {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Original => "original",
        }
    }
}

/// The meaning of the absence of a login at a server.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Presence {
    /// It was created there, so it has ended.
    Known,
    /// It was created elsewhere, or at this server under another address: unknown.
    Unproven,
}

/// `change`, which may use the ledger's reserve for the first attempts to revoke a login. The number is limited, so
/// that a failing server does not use up the reserve.
fn from_reserve(change: Change<Effect>, lease: &Lease) -> Change<Effect> {
    match &lease.stage {
        LeaseStage::Ending(ending)
            if ending.why == EndReason::Ineligible && ending.failures < FROM_RESERVE_MAX =>
        {
            change.urgent()
        }
        LeaseStage::Intended | LeaseStage::Live { .. } | LeaseStage::Ending(_) => change,
    }
}

/// The end of the login, unless it is ending already.
fn end(lease: &Lease) -> leases::Effect {
    let which = LeaseSelection::Each(BTreeSet::from([lease.id]));
    leases::Effect::End { which, why: why(lease) }
}

/// The reason for the due end of a lease.
const fn why(lease: &Lease) -> EndReason {
    match &lease.stage {
        LeaseStage::Intended => EndReason::Unfinished,
        LeaseStage::Live { .. } => EndReason::Expired,
        LeaseStage::Ending(ending) => ending.why,
    }
}

/// Whether the alarm about a login that can still log in was raised already.
fn was_raised(lease: &Lease) -> bool {
    let LeaseStage::Ending(Ending { failures, trouble: Some(trouble), .. }) = &lease.stage else {
        return false;
    };
    *failures >= LEASE_STILL_OPEN_FAILURES && trouble.code == code::UPSTREAM_LOGIN_STILL_VALID.as_str()
}
