use crate::base::code;
use crate::base::{Clock, Entropy, OperatorId, OperatorName, Scope, TrustDomain};
use crate::broker::failure::Failure;
use crate::broker::services::Core;
use crate::broker::world::Effect;
use crate::issuance::{Certificate, Certify, ServerPlan};
use crate::keyring::{Keyring, KeyringError};
use crate::operators::{self, OperatorCertificate, OperatorCertified, OperatorRole};
use crate::pki::{self, PublicKey, ServerCertified};
use crate::policy::decide_host_operator;
use crate::revocation::{self, Subject};
use crate::store::Change;

/// What founding an authority takes.
#[derive(Debug)]
pub struct Founding<'a> {
    /// Whose identities it will sign.
    pub trust_domain: &'a TrustDomain,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Chance.
    pub entropy: &'a dyn Entropy,
}

/// Signs a certificate for the broker's own listeners, after recording that it will.
///
/// # Errors
/// [`Failure`].
pub async fn certify_server(core: &Core, plan: ServerPlan) -> Result<Vec<u8>, Failure> {
    let event = ServerCertified { names: &plan.names, key: plan.key.digest().hex(), life_s: plan.life_s };
    let receipt = core.state.store.commit(Change::new(&event)?, plan).await?;
    Ok(core.signing.issuer.certify_server(receipt, &*core.state.entropy)?.deliver())
}

/// Gives the operator called `name` a certificate for `key`, on the word of whoever opened
/// `keyring` on the broker's host.
///
/// # Errors
/// [`Failure`].
pub async fn certify_operator(
    core: &Core,
    keyring: &Keyring,
    name: OperatorName,
    key: PublicKey,
) -> Result<Certificate, Failure> {
    let reading = core.certifying(core.settings.operator_life_s)?;
    let now = reading.now();
    let (known, as_of) = core
        .state
        .store
        .read(|world, as_of| (world.operators.named(&name).map(|operator| operator.id), as_of));
    let id = known.unwrap_or_else(|| OperatorId::mint(now, &*core.state.entropy));
    let spiffe = core.operator_spiffe(&name);
    let plan = core.plan_certificate(spiffe, core.settings.operator_life_s, &key, reading.earliest());
    let event = OperatorCertified {
        operator: &name,
        operator_id: id,
        serial: plan.serial.to_string(),
        key: plan.key.hex(),
        not_after: plan.not_after.to_string(),
        by: "host",
    };
    let certificate =
        OperatorCertificate { serial: *plan.serial.as_bytes(), key: plan.key, not_after: plan.not_after };
    // The way back for whoever has locked everybody out: whatever this operator was before, it is an
    // admin now, and suspended no more.
    let change = Change::new(&event)?.effect(Effect::Operators(operators::Effect::Certify {
        id,
        name: name.clone(),
        certificate,
    }));
    let change = as_admin(change, (id, &name), as_of);
    let decision = core
        .state
        .store
        .read(|world, _| decide_host_operator(&core.deciding(world, reading), keyring, name, &plan.key));
    let grant = decision.grant().map_err(|denial| Failure::from(*denial))?;
    let receipt = core.state.store.commit(change, Certify { grant, plan, key }).await?;
    Ok(core.signing.issuer.certify(receipt)?.deliver())
}

/// Has `change` make the operator one that administers everything, and end its suspension.
pub(in crate::broker) fn as_admin(
    change: Change<Effect>,
    (id, name): (OperatorId, &OperatorName),
    as_of: u64,
) -> Change<Effect> {
    let subject = Subject::Operator(id);
    let (role, scope) = (OperatorRole::Admin, Scope::Everything);
    change
        .effect(Effect::Operators(operators::Effect::Place { id, name: name.clone(), role, scope }))
        .effect(Effect::Revocation(revocation::Effect::Unblock(subject.clone())))
        .rely(pki::keys::authority(), as_of)
        .rely(revocation::keys::wide(), as_of)
        .rely(operators::keys::operator(name), as_of)
}

pub(in crate::broker) fn broken(error: &(dyn std::error::Error + 'static)) -> Failure {
    match error.downcast_ref() {
        Some(exhausted @ KeyringError::Exhausted) => Failure::new(code::KEY_EXHAUSTED)
            .because(exhausted.to_string())
            .mended_by("set up a new broker: this keyring takes no change any more"),
        Some(_) | None => Failure::internal(code::AUTHORITY_FAILED, error),
    }
}
