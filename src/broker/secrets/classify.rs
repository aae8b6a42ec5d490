use super::second_operator::{SensitivityApproval, unapproved};
use crate::base::{CapabilityName, OwnerName, Scope, SecretName, Sensitivity, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::policy::{Authorised, StoreSecrets};
use crate::registry::{self, Owned};
use crate::secrets::{self, Secret, SensitivityLowered, SensitivityRaised};
use crate::store::Change;

/// The result of a change of sensitivity.
#[derive(Clone, Debug)]
pub struct Classified {
    /// The ledger entry; `None` if the sensitivity was the same before.
    pub seq: Option<u64>,
    /// The capabilities that do not deliver the secret, because they have another owner.
    pub cut_off: Vec<CapabilityName>,
}

/// A new sensitivity.
#[derive(Clone, Debug)]
pub struct Classification {
    /// The sensitivity.
    pub to: Sensitivity,
    /// Whether the request confirms that capabilities deliver the secret under fewer restrictions.
    pub widen: bool,
    /// The approval of a second operator.
    pub approval: Option<SensitivityApproval>,
}

impl AdminServices {
    /// Sets the sensitivity of the secret `name`. Declarations never prevent a higher sensitivity: capabilities of
    /// another owner no longer deliver the secret, and are returned. A lower one has to be confirmed if a capability delivers
    /// the secret: policies test it, lives become longer, and capabilities of other owners deliver the secret again.
    /// Where the broker demands a second operator, each lower one needs its approval: a capability that is taken away before and
    /// comes back afterwards would deliver the secret, and its approval would not name the sensitivity.
    ///
    /// # Errors
    /// [`Failure`] when there is no such secret within reach.
    pub async fn classify(
        &self,
        by: &Authorised<StoreSecrets>,
        name: &SecretName,
        Classification { to, widen, approval }: Classification,
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
        let approval = approval.as_ref().map(|one| self.0.verified_sensitivity(by.operator(), name, to, one));
        let approval = approval.transpose()?;
        let demands = self.0.settings.widening_second_operator;
        let changed = self.0.state.change(ChangeRequest::by(by.operator(), idempotency), |reading| {
            let (from, cut_off) = read(reading)?;
            if to < from && !widen {
                check_unreached(reading, scope, name)?;
            }
            let (operator, secret) = (by.operator().name(), name);
            let change = if to < from {
                let approved = if demands {
                    let approval = approval.as_ref().ok_or_else(|| unapproved(name))?;
                    Some(approval.check(reading, by.operator(), reading.secret_within(scope, name)?)?)
                } else {
                    None
                };
                Change::new(&SensitivityLowered { operator, secret, from, to, approved })?
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

/// Checks that no capability delivers the secret, so that a lower sensitivity gives no access. The failure names the
/// capabilities within `scope`.
fn check_unreached(reading: &Reading<'_>, scope: &Scope, name: &SecretName) -> Result<(), Failure> {
    let reaching = reading.reaching(name);
    if reaching.is_empty() {
        return Ok(());
    }
    let named = named_within(reading, scope, &reaching);
    let why = format!(
        "a lower sensitivity of secret `{name}` restricts less what delivers it: {named}; nothing was changed"
    );
    let fix = "if that is intended, confirm it: `keyward secret classify NAME ordinary --widen`";
    Err(Failure::new(code::WIDENING_NOT_CONFIRMED).because(why).mended_by(fix))
}

/// The first of these capabilities that are within `scope`, and the number of the others.
fn named_within(reading: &Reading<'_>, scope: &Scope, capabilities: &[CapabilityName]) -> String {
    const SHOWN: usize = 5;
    let is_within =
        |one: &&CapabilityName| scope.covers(reading.owner_of(&Owned::Capability((*one).clone())));
    let within = capabilities.iter().filter(is_within).take(SHOWN);
    let mut named: Vec<String> = within.map(|one| format!("capability `{one}`")).collect();
    let more = capabilities.len().saturating_sub(named.len());
    named.extend((more > 0).then(|| format!("{more} more")));
    named.join(", ")
}

/// Checks that another owner of the secret `known` gives no access: capabilities of the owner did not deliver the secret
/// before if its sensitivity is `high`.
pub(crate) fn check_cut_off(
    reading: &Reading<'_>,
    scope: &Scope,
    known: &Secret,
    owner: &OwnerName,
) -> Result<(), Failure> {
    if known.sensitivity != Sensitivity::High {
        return Ok(());
    }
    let name = &known.name;
    let mut gaining = reading.reaching(name);
    gaining.retain(|one| reading.owner_of(&Owned::Capability(one.clone())) == Some(owner));
    if gaining.is_empty() {
        return Ok(());
    }
    let named = named_within(reading, scope, &gaining);
    let why = format!(
        "with the owner `{owner}`, capabilities deliver secret `{name}` of the sensitivity `high` that do not deliver it now: \
         {named}; nothing was stored"
    );
    let fix = "if that is intended, confirm it: `keyward secret put NAME --owner OWNER --widen`";
    Err(Failure::new(code::WIDENING_NOT_CONFIRMED).because(why).mended_by(fix))
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
