use std::collections::BTreeSet;

use super::lease_upstream::{LeaseUpstream, revocations_at};
use crate::base::LeaseId;
use crate::base::limits::{LEASE_LIFE_MAX_S, UNKNOWN_LOGINS_LISTED_MAX};
use crate::broker::failure::Failure;
use crate::broker::reading::Preconditions;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::leases::{LoginsInspected, StrayLoginEnded, UnknownLogins};
use crate::secrets::SecretValue;
use crate::store::Change;
use crate::telemetry::Alarm;
use crate::upstream::{Expiry, FoundLogin};

impl Services {
    /// Searches every upstream for logins of this broker without a lease. They exist only if the ledger has lost
    /// entries or a copy of it is in use, because a login's name is recorded before its creation. Expired ones are
    /// removed. The others may be leases of a copy, and raise an alarm.
    ///
    /// # Errors
    /// [`Failure`] if a step could not be recorded. The log has the failures of upstreams; they do not stop the
    /// search.
    pub async fn remove_stray_logins(&self) -> Result<(), Failure> {
        let (declared, _) = self.state.read(|reading| {
            let declared = reading.unconditional().leases.upstreams().map(|(declared, _)| declared);
            // The newest declaration first: a server's authority may have changed since the earlier ones.
            let mut declared: Vec<u64> = declared.collect();
            declared.reverse();
            declared
        });
        let mut seen = BTreeSet::new();
        for declared in declared {
            let (counter, _) =
                self.state.read(|reading| LeaseUpstream::of(reading.unconditional(), declared));
            if counter.is_ok_and(|counter| seen.insert(counter.place)) {
                retry_on_conflict!(self.inspect_upstream(declared))?;
            }
        }
        Ok(())
    }

    async fn inspect_upstream(&self, declared: u64) -> Result<(), AttemptError> {
        // The administering secret may have been replaced during the search of another server.
        let (counter, preconditions) = self.state.read(|reading| {
            LeaseUpstream::of(reading.unconditional(), declared).map(|counter| counter.noted(reading))
        });
        let Ok(counter) = counter else { return Ok(()) };
        let Ok(_call) = self.lets_call_at(&revocations_at(&counter.place)) else { return Ok(()) };
        let upstream = counter.driver.describe();
        let event = LoginsInspected { upstream: upstream.clone(), administering: counter.administering() };
        let (admin, _) = self.open_admin_secret(&counter, Change::new(&event)?, preconditions).await?;
        let call = self.lease_call(&admin);
        let found = counter.driver.find(call, &self.upstream.login_prefix, self.state.clock.now()).await;
        self.note_answer_of(&revocations_at(&counter.place), found.as_ref().err());
        let found = match found {
            Ok(found) => found,
            Err(fault) => {
                tracing::warn!(place = %counter.place, code = %fault.code, "an upstream could not be searched for unknown logins");
                return Ok(());
            }
        };
        let expiry = counter.driver.expiry();
        let (over, others): (Vec<_>, Vec<_>) =
            self.unknown(found).into_iter().partition(|one| self.is_over(one, expiry));
        self.raise_unknown(&counter, &admin, others).await?;
        for FoundLogin { name: login, .. } in &over {
            match counter.driver.revoke(call, login).await {
                Ok(()) => {
                    self.notifications.meters.alarms().raise(
                        Alarm::LoginUnknownRemoved,
                        format_args!("login {login} at {upstream} belonged to no lease and was deleted"),
                    );
                    let event = StrayLoginEnded { upstream: upstream.clone(), login };
                    self.record_of_leases(Change::new(&event)?, Preconditions::none()).await?;
                }
                Err(fault) => {
                    tracing::warn!(%login, code = %fault.code, "an unknown login could not be deleted");
                }
            }
        }
        Ok(())
    }

    /// The logins in `found` without a lease.
    fn unknown(&self, found: Vec<FoundLogin>) -> Vec<FoundLogin> {
        let unknown = self.state.read(|reading| {
            let leases = reading.unconditional().leases.all();
            let known: BTreeSet<&str> = leases.map(|lease| lease.login.name.as_str()).collect();
            found.into_iter().filter(|one| !known.contains(one.name.as_str())).collect()
        });
        unknown.0
    }

    /// Raises the alarm for the logins in `unknown` that another copy of the broker created: after the last adoption
    /// of the data, and not by a lease that ended a moment ago.
    async fn raise_unknown(
        &self,
        counter: &LeaseUpstream,
        admin: &SecretValue,
        unknown: Vec<FoundLogin>,
    ) -> Result<(), AttemptError> {
        let (adopted, _) = self.state.read(|reading| reading.unconditional().keys.custody.adopted());
        let adopted_at = adopted.map(|(_, at)| at);
        let is_of_a_copy = |one: &FoundLogin| {
            let made_at = self.lease_of(&one.name).map(|lease| lease.minted_at());
            made_at.is_some_and(|made_at| adopted_at.is_none_or(|adopted_at| made_at > adopted_at))
        };
        if !unknown.iter().any(is_of_a_copy) {
            return Ok(());
        }
        // A lease is removed with its login, perhaps between the two reads.
        let (call, upstream) = (self.lease_call(admin), counter.driver.describe());
        let found = counter.driver.find(call, &self.upstream.login_prefix, self.state.clock.now()).await;
        let Ok(found) = found else { return Ok(()) };
        let unknown = self.unknown(found).into_iter();
        let expiry = counter.driver.expiry();
        let unknown = unknown.filter(|one| !self.is_over(one, expiry) && is_of_a_copy(one));
        let unknown: Vec<FoundLogin> = unknown.collect();
        let Some(first) = unknown.first() else { return Ok(()) };
        self.notifications.meters.alarms().raise(
            Alarm::LoginUnknown,
            format_args!(
                "{} logins at {upstream} have this broker's prefix and belong to no lease, e.g. {}: look for another copy of the broker",
                unknown.len(),
                first.name
            ),
        );
        let listed = unknown.iter().take(UNKNOWN_LOGINS_LISTED_MAX).map(|one| one.name.as_str());
        let logins: Vec<&str> = listed.collect();
        let more = unknown.len().saturating_sub(logins.len());
        let change = Change::new(&UnknownLogins { upstream, logins, more })?;
        Ok(self.record_of_leases(change, Preconditions::none()).await?)
    }

    /// Whether a login has expired: by its server, or, if servers do not know the expiry, because it is older than
    /// any lease.
    fn is_over(&self, login: &FoundLogin, expiry: Expiry) -> bool {
        let minted_at = self.lease_of(&login.name).map(|lease| lease.minted_at());
        let longest_s = i64::from(LEASE_LIFE_MAX_S);
        let has_outlived = minted_at.is_some_and(|at| at.plus_s(longest_s) < self.state.clock.now());
        login.is_over || (expiry == Expiry::ByBroker && has_outlived)
    }

    /// The id of the lease with this login name.
    fn lease_of(&self, login: &str) -> Option<LeaseId> {
        let own = login.strip_prefix(&self.upstream.login_prefix)?;
        format!("{}_{own}", LeaseId::PREFIX).parse().ok()
    }
}
