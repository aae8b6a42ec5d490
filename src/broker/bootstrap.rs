use super::desk::Core;
use super::failure::Failure;
use super::world::Effect;
use crate::base::code;
use crate::base::{Clock, Entropy, OperatorId, OperatorName, TrustDomain};
use crate::issuance::{Certificate, Certify, ServerPlan};
use crate::keyring::Keyring;
use crate::operators::{self, OperatorCertificate, OperatorCertified};
use crate::pki::{CertificatePlan, PublicKey, ServerCertified, SpiffeId};
use crate::policy::decide_host_operator;
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
    let receipt = core.store.commit(Change::new(&event)?, plan).await?;
    Ok(core.issuer.certify_server(receipt, &*core.entropy)?.deliver())
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
    let now = core.clock.now();
    let (known, declarations, as_of) = core.store.read(|world, as_of| {
        let id = world.operators.named(&name).map(|operator| operator.id);
        (id, std::sync::Arc::clone(world.registry.declarations()), as_of)
    });
    let id = known.unwrap_or_else(|| OperatorId::mint(now, &*core.entropy));
    let settings = &core.settings;
    let spiffe = SpiffeId::Operator { trust_domain: settings.trust_domain.clone(), name: name.clone() };
    let plan = CertificatePlan::draw(
        spiffe,
        &key,
        now,
        settings.operator_life_s,
        core.issuer.authority().not_after(),
        &*core.entropy,
    );
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
    let effect = operators::Effect::Certify { id, name: name.clone(), certificate };
    let change = Change::new(&event)?
        .effect(Effect::Operators(effect))
        .rely(operators::keys::operator(&name), as_of)
        .advance(operators::keys::operator(&name));
    let decision = (core.decision(now), &core.digests);
    let grant = decide_host_operator(keyring, &declarations, name, &plan.key, decision);
    let receipt = core.store.commit(change, Certify { grant, plan, key }).await?;
    Ok(core.issuer.certify(receipt)?.deliver())
}

pub(super) fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::internal(code::AUTHORITY_FAILED, error)
}
