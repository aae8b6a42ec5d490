use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{CapabilityName, OwnerName, SecretName, Sensitivity};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::once::{done_before, remembering};
use crate::broker::retry::deciding_again;
use crate::broker::secrets::versions::within;
use crate::broker::world::{Effect, World};
use crate::idempotency::{Once, Outcome};
use crate::policy::{Authorised, StoreSecrets};
use crate::registry::{self, Delivery, Owned};
use crate::secrets::{self, SensitivityLowered, SensitivityRaised, keys};
use crate::store::Change;

/// What became of a secret's sensitivity.
#[derive(Clone, Debug)]
pub struct Classified {
    /// The entry that says so; none when it was that before.
    pub seq: Option<u64>,
    /// The capabilities that do not reach the secret, because they are somebody else's.
    pub cut_off: Vec<CapabilityName>,
}

impl AdminDesk {
    /// Says how sensitive the secret called `name` is. Raising it never fails for what is declared: a
    /// capability of another owner does not reach the secret any more, and is named.
    ///
    /// # Errors
    /// [`Failure`] when there is no such secret within reach.
    pub async fn classify(
        &self,
        by: &Authorised<StoreSecrets>,
        (name, to): (&SecretName, Sensitivity),
        once: Option<&Once>,
    ) -> Result<Classified, Failure> {
        let core = &*self.0;
        deciding_again!(async {
            let scope = by.operator().scope();
            let (before, found, as_of) = core.state.store.read(|world, as_of| {
                let found = within(world, scope, name).map(|secret| {
                    let cut_off = foreign(world, (name, to), secret.owner.as_ref());
                    (secret.sensitivity, Reached::by(world, name), cut_off)
                });
                (done_before(world, once, core.state.clock.now()), found, as_of)
            });
            let (from, reached, cut_off) = found?;
            if let Some(before) = before? {
                return Ok(Classified { seq: Some(before.seq), cut_off });
            }
            if from == to && once.is_none() {
                return Ok(Classified { seq: None, cut_off });
            }
            let (operator, secret) = (by.operator().name(), name);
            let change = if to < from {
                Change::new(&SensitivityLowered { operator, secret, from, to })?
            } else {
                Change::new(&SensitivityRaised { operator, secret, from, to, cut_off: &cut_off })?
            };
            let effect = secrets::Effect::Classify { name: name.clone(), sensitivity: to };
            let change = reached.judged_anew(change.effect(Effect::Secrets(effect)), name, as_of);
            let change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
            let receipt = core.state.store.commit(core.while_allowed(change, by.operator())?, ()).await?;
            Ok(Classified { seq: Some(receipt.seq()), cut_off: cut_off.clone() })
        })
    }
}

/// The capabilities that reach one secret.
pub(in crate::broker) struct Reached(Vec<CapabilityName>);

impl Reached {
    /// Those that reach the secret called `name`.
    pub(in crate::broker) fn by(world: &World, name: &SecretName) -> Self {
        Self(reaching(world, name).collect())
    }

    /// `change`, after which nothing counts that was decided on whose the secret is, or on how sensitive:
    /// what relies on the secret or on a capability that reaches it is decided again.
    pub(in crate::broker) fn judged_anew(
        self,
        change: Change<Effect>,
        name: &SecretName,
        as_of: u64,
    ) -> Change<Effect> {
        let change = change.rely(registry::keys::declarations(), as_of).rely(keys::existence(name), as_of);
        self.0.iter().fold(change, |change, name| change.advance(registry::keys::capability(name)))
    }
}

fn reaching(world: &World, name: &SecretName) -> impl Iterator<Item = CapabilityName> {
    let declared = world.registry.declarations().capabilities();
    let reaching =
        declared.filter(move |one| matches!(&one.delivery, Delivery::Reveal { secret } if secret == name));
    reaching.map(|one| one.name.clone())
}

/// The capabilities that a secret of this sensitivity and owner is not for.
pub(in crate::broker) fn foreign(
    world: &World,
    (name, sensitivity): (&SecretName, Sensitivity),
    owner: Option<&OwnerName>,
) -> Vec<CapabilityName> {
    if sensitivity != Sensitivity::High {
        return Vec::new();
    }
    let owners = world.registry.owners();
    reaching(world, name).filter(|one| owners.of(&Owned::Capability(one.clone())) != owner).collect()
}
