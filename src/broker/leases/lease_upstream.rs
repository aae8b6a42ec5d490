use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use crate::base::{LeaseId, SecretId, SecretName, code};
use crate::broker::failure::Failure;
use crate::broker::reading::{Preconditions, Reading};
use crate::broker::retry::AttemptError;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::issuance::NeededVersions;
use crate::leases::Lease;
use crate::secrets::{SecretValue, StoredVersion, Version};
use crate::store::{Change, CommitError};
use crate::upstream::{LeaseCall, LeaseDriver, stored_lease_driver};

/// The server of a lease, and the secret of its administering login.
#[derive(Debug)]
pub(super) struct LeaseUpstream {
    pub(super) driver: Box<dyn LeaseDriver>,
    /// Its place: upstreams with the same place share a circuit.
    pub(super) place: String,
    /// The entry that declared it; 0 before that.
    pub(super) declared: u64,
    secret: SecretId,
    version: Version,
}

impl LeaseUpstream {
    /// The upstream that entry `declared` declared.
    pub(super) fn of(world: &World, declared: u64) -> Result<Self, Failure> {
        let json = world.leases.upstream(declared).unwrap_or_default();
        let driver =
            stored_lease_driver(json).map_err(|error| Failure::internal(code::RECORD_UNREADABLE, &error))?;
        Ok(Self { declared, ..Self::planned(world, driver)? })
    }

    /// The upstream of a lease that is not declared yet.
    pub(super) fn planned(world: &World, driver: Box<dyn LeaseDriver>) -> Result<Self, Failure> {
        let admin = world.secrets.named(driver.admin_secret());
        let (secret, version) = admin
            .and_then(|secret| Some((secret.id, secret.current?)))
            .ok_or_else(|| Failure::new(code::SECRET_UNKNOWN))?;
        Ok(Self { place: driver.place(), declared: 0, driver, secret, version })
    }

    /// The name of the administering secret.
    pub(super) fn administering(&self) -> &SecretName {
        self.driver.admin_secret()
    }

    /// Notes that the change relies on the administering secret.
    pub(super) fn noted(self, reading: &Reading<'_>) -> Self {
        reading.versions_of(self.administering());
        self
    }

    /// The values for the entry of a call's intent.
    pub(super) fn loan(&self) -> NeededVersions {
        NeededVersions(vec![(self.secret, self.version.number)])
    }
}

/// The declarations by which a login can be revoked: the current one first, then the original one. A server's name,
/// authority or administering login may have changed in between.
#[derive(Debug)]
pub(super) struct LeaseUpstreams {
    /// The current declaration, if it differs from the original one.
    pub(super) current: Option<Result<LeaseUpstream, Failure>>,
    /// The declaration with which the login was created.
    pub(super) original: Result<LeaseUpstream, Failure>,
}

impl LeaseUpstreams {
    /// The declarations for `lease`.
    pub(super) fn of(world: &World, lease: &Lease) -> Self {
        let current = world.leases.offer(&lease.capability).map(|(_, declared)| *declared);
        let current = current.filter(|declared| *declared != lease.login.upstream);
        Self {
            current: current.map(|declared| LeaseUpstream::of(world, declared)),
            original: LeaseUpstream::of(world, lease.login.upstream),
        }
    }

    /// The place of the first call.
    pub(super) fn place(&self) -> Option<String> {
        let first = self.current.as_ref().and_then(|current| current.as_ref().ok());
        first.or(self.original.as_ref().ok()).map(|counter| counter.place.clone())
    }

    /// Notes that the change relies on the administering secrets.
    pub(super) fn noted(self, reading: &Reading<'_>) -> Self {
        let noted = |one: Result<LeaseUpstream, Failure>| one.map(|one| one.noted(reading));
        Self { current: self.current.map(noted), original: noted(self.original) }
    }

    /// The declaration for changes of a live login: the current one, unless it names another server.
    pub(super) fn for_renewal(self, reading: &Reading<'_>) -> Result<LeaseUpstream, Failure> {
        let chosen = match (self.current, self.original) {
            (Some(Ok(current)), Ok(original)) if current.place == original.place => Ok(current),
            (_, original) => original,
        };
        chosen.map(|one| one.noted(reading))
    }
}

/// The circuit of a server's revocations. It is separate, so that failed revocations do not stop new logins.
pub(super) fn revocations_at(place: &str) -> String {
    format!("{place}, revocations")
}

/// A lease whose login is being created. Until this is dropped, no job ends the lease.
#[derive(Debug)]
pub(super) struct LoginInCreation<'a> {
    services: &'a Services,
    lease: LeaseId,
}

impl<'a> LoginInCreation<'a> {
    pub(super) fn of(services: &'a Services, lease: LeaseId) -> Self {
        services.making().insert(lease);
        Self { services, lease }
    }
}

impl Drop for LoginInCreation<'_> {
    fn drop(&mut self) {
        self.services.making().remove(&self.lease);
        self.services.notifications.leases_changed();
    }
}

impl Services {
    /// The sealed value of the administering secret.
    pub(super) async fn stored_for(&self, counter: &LeaseUpstream) -> Result<[StoredVersion; 1], Failure> {
        Ok([self.stored_version(counter.secret, counter.version).await?])
    }

    /// Commits the intent of a call, and opens the administering secret; returns the entry's sequence too.
    pub(super) async fn open_admin_secret(
        &self,
        counter: &LeaseUpstream,
        change: Change<Effect>,
        preconditions: Preconditions,
    ) -> Result<(SecretValue, u64), AttemptError> {
        let stored = self.stored_for(counter).await?;
        let receipt = self.state.commit(change, preconditions, counter.loan()).await?;
        let seq = receipt.seq();
        let admin = self.signing.issuer.lend(receipt, &stored)?.deliver().pop();
        Ok((admin.ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?, seq))
    }

    /// A call of an upstream with its administering secret.
    pub(super) const fn lease_call<'a>(&'a self, admin: &'a SecretValue) -> LeaseCall<'a> {
        LeaseCall { with: &self.upstream.driver_context, admin }
    }

    pub(super) fn is_creating(&self, lease: LeaseId) -> bool {
        self.making().contains(&lease)
    }

    /// Records `change`, and wakes the job that revokes logins.
    pub(super) async fn record_of_leases(
        &self,
        change: Change<Effect>,
        preconditions: Preconditions,
    ) -> Result<(), CommitError> {
        self.state.commit(change, preconditions, ()).await?.redeem();
        self.notifications.leases_changed();
        Ok(())
    }

    fn making(&self) -> MutexGuard<'_, BTreeSet<LeaseId>> {
        self.upstream.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
