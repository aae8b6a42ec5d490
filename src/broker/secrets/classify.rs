use crate::base::{CapabilityName, OwnerName, SecretName, Sensitivity};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::policy::{Authorised, StoreSecrets};
use crate::registry::{self, Owned};
use crate::secrets::{self, SensitivityLowered, SensitivityRaised};
use crate::store::Change;

/// The result of a change of sensitivity.
#[derive(Clone, Debug)]
pub struct Classified {
    /// The ledger entry; `None` if the sensitivity was the same before.
    pub seq: Option<u64>,
    /// The capabilities that do not deliver the secret, because they have another owner.
    pub cut_off: Vec<CapabilityName>,
}

impl AdminServices {
    /// Sets the sensitivity of the secret `name`. Declarations never prevent a higher sensitivity: capabilities of
    /// another owner no longer deliver the secret, and are returned.
    ///
    /// # Errors
    /// [`Failure`] when there is no such secret within reach.
    pub async fn classify(
        &self,
        by: &Authorised<StoreSecrets>,
        name: &SecretName,
        to: Sensitivity,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Classified, Failure> {
        let scope = by.operator().scope();
        let read = |reading: &Reading<'_>| {
            let secret = reading.secret_within(scope, name)?;
            Ok::<_, Failure>((secret.sensitivity, foreign(reading, name, to, secret.owner.as_ref())))
        };
        let (before, cut_off) = self.0.state.read(read).0?;
        if before == to && idempotency.is_none() {
            return Ok(Classified { seq: None, cut_off });
        }
        let changed = self.0.state.change(ChangeRequest::by(by.operator(), idempotency), |reading| {
            let (from, cut_off) = read(reading)?;
            let (operator, secret) = (by.operator().name(), name);
            let change = if to < from {
                Change::new(&SensitivityLowered { operator, secret, from, to })?
            } else {
                Change::new(&SensitivityRaised { operator, secret, from, to, cut_off: &cut_off })?
            };
            let effect = secrets::Effect::Classify { name: name.clone(), sensitivity: to };
            let change = judged_anew(reading, change.effect(Effect::Secrets(effect)), name);
            Ok(ChangeDraft::of(change, cut_off))
        });
        Ok(match changed.await? {
            Changed::Recorded { seq, value } => Classified { seq: Some(seq), cut_off: value },
            Changed::Before(before) => Classified { seq: Some(before.seq), cut_off },
        })
    }
}

/// `change`, which also advances the secret and the capabilities that deliver it: decisions on its owner or
/// sensitivity are made again.
pub(crate) fn judged_anew(
    reading: &Reading<'_>,
    change: Change<Effect>,
    name: &SecretName,
) -> Change<Effect> {
    let reaching = reading.reaching(name);
    reaching.iter().fold(change, |change, one| change.advance(registry::keys::capability(one)))
}

/// The capabilities that do not deliver a secret of this sensitivity and owner.
pub(crate) fn foreign(
    reading: &Reading<'_>,
    name: &SecretName,
    sensitivity: Sensitivity,
    owner: Option<&OwnerName>,
) -> Vec<CapabilityName> {
    if sensitivity != Sensitivity::High {
        return Vec::new();
    }
    let mut reaching = reading.reaching(name);
    reaching.retain(|one| reading.owner_of(&Owned::Capability(one.clone())) != owner);
    reaching
}
