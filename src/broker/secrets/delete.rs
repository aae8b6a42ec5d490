use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::authn::OperatorPrincipal;
use crate::base::{Cancellation, Scope, SecretName, code};
use crate::broker::administration::heavy::{HeavyRequest, Priority};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed, OperatorRequest, ReadOutcome};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::retry::retry_on_conflict;
use crate::broker::world::{Effect, World};
use crate::policy::{Authorised, StoreSecrets};
use crate::registry::{Owned, keys};
use crate::secrets::{self, SecretDeleted, VersionStage};
use crate::store::Change;
use crate::upstream::{stored_driver, stored_lease_driver};
use crate::wire::SecretDeletedAnswer;

impl AdminServices {
    /// Deletes the secret called `name`: destroys all its versions. Its name stays with its owner, and a value that is
    /// stored later gets the next version number.
    ///
    /// # Errors
    /// [`Failure`], also while a capability, a rotation or a lease needs the secret.
    pub async fn delete_secret(
        &self,
        by: &Authorised<StoreSecrets>,
        heavy: &HeavyRequest,
        name: &SecretName,
        request: OperatorRequest<'_>,
    ) -> Result<SecretDeletedAnswer, Failure> {
        let (services, change) = (&*self.0, ChangeRequest::of(by.operator(), request));
        let changed = retry_on_conflict!(async {
            let (reader, operator, name) = (Arc::clone(&self.0), by.operator().clone(), name.clone());
            let key = request.idempotency.cloned();
            let read = heavy.run(Priority::Ordinary, move |work| {
                let request = ChangeRequest::by(&operator, key.as_ref());
                reader.state.read_for(request, |reading| deletion(reading, &operator, &name, work))
            });
            match read.await? {
                ReadOutcome::Before(before) => Ok(Changed::Before(before)),
                ReadOutcome::Now(draft, preconditions) => {
                    services.state.commit_draft(change, draft, preconditions).await
                }
            }
        });
        let (seq, versions) = match changed? {
            Changed::Recorded { seq, value } => (seq, value),
            Changed::Before(before) => (before.seq, services.state.said::<Versions>(&before)?.versions),
        };
        services.forget_destroyed();
        Ok(SecretDeletedAnswer { seq, versions })
    }
}

/// The deletion of the secret `name`, if nothing needs it.
fn deletion(
    reading: &Reading<'_>,
    operator: &OperatorPrincipal,
    name: &SecretName,
    work: &Cancellation,
) -> Result<ChangeDraft<Vec<u32>>, Failure> {
    let scope = operator.scope();
    let secret = reading.secret_within(scope, name)?;
    let needed = needed_by(reading, scope, name, work);
    work.step()?;
    if !needed.is_empty() {
        let why = format!("the secret `{name}` is still needed by {}", needed.join(", "));
        return Err(Failure::new(code::SECRET_IN_USE).because(why));
    }
    let left = secret.versions().filter(|version| version.stage != VersionStage::Destroyed);
    let versions: Vec<u32> = left.map(|version| version.number).collect();
    let id = secret.id;
    let event = SecretDeleted { operator: operator.name(), secret: name, secret_id: id, versions: &versions };
    let delete = secrets::Effect::Delete { id, name: name.clone(), versions: versions.clone() };
    // An application that names the secret was decided before or is decided after.
    let change = Change::new(&event)?.advance(keys::declarations());
    Ok(ChangeDraft::of(change.effect(Effect::Secrets(delete)), versions))
}

/// The versions that a deletion destroyed, as its event says it.
#[derive(Deserialize)]
struct Versions {
    versions: Vec<u32>,
}

/// The declared objects and leases that need the secret `name`, [`NEEDED_LISTED_MAX`] of them at most; those outside of
/// `scope` without their names.
fn needed_by(reading: &Reading<'_>, scope: &Scope, name: &SecretName, work: &Cancellation) -> Vec<String> {
    let delivering = reading.reaching(name);
    let world = reading.unconditional();
    let owner = |thing: Owned| scope.covers(world.registry.owners().of(&thing));
    let capabilities = delivering.into_iter().map(|capability| {
        let is_within = owner(Owned::Capability(capability.clone()));
        said("capability", capability.as_str(), is_within)
    });
    let of_secret = |rotated: &SecretName| {
        let owner = world.secrets.named(rotated).and_then(|secret| secret.owner.as_ref());
        said("rotation", rotated.as_str(), scope.covers(owner))
    };
    let rotated = world.rotations.of(name).map(|_| of_secret(name));
    let rotations = world.rotations.all().take_while(|_| work.step().is_ok()).filter(|rotation| {
        let upstream = &rotation.declared.upstream;
        rotation.declared.secret != *name
            && may_name(upstream, name)
            && stored_driver(upstream).is_ok_and(|driver| driver.admin_secret() == Some(name))
    });
    let rotations = rotations.map(|rotation| of_secret(&rotation.declared.secret));
    let offers = world
        .leases
        .offers()
        .take_while(|_| work.step().is_ok())
        .filter(|offer| is_administered(&offer.upstream, name));
    let offers = offers.map(|offer| {
        let is_within = owner(Owned::Capability(offer.capability.clone()));
        said("lease", offer.capability.as_str(), is_within)
    });
    // Upstreams are parsed only until enough is found.
    let needed = capabilities.chain(rotated).chain(rotations).chain(offers).take(NEEDED_LISTED_MAX);
    let mut needed: Vec<String> = needed.collect();
    if needed.len() < NEEDED_LISTED_MAX {
        let logins = outstanding(world, name, work);
        if logins > 0 {
            needed.push(format!("{logins} logins that are not revoked yet"));
        }
    }
    needed.dedup();
    needed
}

/// Maximum number of objects that an answer lists because they need a secret.
const NEEDED_LISTED_MAX: usize = 20;

fn said(noun: &str, name: &str, is_within: bool) -> String {
    if is_within { format!("{noun} `{name}`") } else { format!("a {noun} of another owner") }
}

/// Whether a stored upstream has the name of a secret as a text. It is JSON, in which a name needs no escapes: only an
/// upstream that has it is parsed.
fn may_name(upstream: &str, name: &SecretName) -> bool {
    upstream.contains(&format!("\"{name}\""))
}

/// Whether the logins of this upstream are administered with the secret `name`.
fn is_administered(upstream: &str, name: &SecretName) -> bool {
    may_name(upstream, name)
        && stored_lease_driver(upstream).is_ok_and(|driver| driver.admin_secret() == name)
}

/// The number of leases whose logins are revoked with the secret `name`. Each upstream is parsed once.
fn outstanding(world: &World, name: &SecretName, work: &Cancellation) -> usize {
    let upstreams = world.leases.upstreams().take_while(|_| work.step().is_ok());
    let administered = upstreams.filter(|(_, upstream)| is_administered(upstream, name));
    let administered: BTreeSet<u64> = administered.map(|(declared, _)| declared).collect();
    if administered.is_empty() {
        return 0;
    }
    let leases = world.leases.all().take_while(|_| work.step().is_ok());
    leases.filter(|lease| administered.contains(&lease.login.upstream)).count()
}
