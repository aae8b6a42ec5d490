use super::desk::Core;
use super::failure::{Failure, FailureKind};
use super::world::{Effect, World};
use crate::base::{Clock, Entropy, OperatorId, OperatorName, TrustDomain};
use crate::crypto::EcdsaKey;
use crate::issuance::{Certificate, Certify};
use crate::keyring::Keyring;
use crate::operators::{self, OperatorCertificate, OperatorCertified};
use crate::pki::{self, Authority, AuthorityFounded, CertificatePlan, PublicKey, ServerCertified, SpiffeId};
use crate::policy::decide_host_operator;
use crate::store::{Change, Store};

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

/// The broker's certificate authority: the one that the ledger knows, or, on an empty ledger, a new
/// one, recorded before it is used. `key` leaves for the authority and comes back no more.
///
/// # Errors
/// [`Failure`].
pub async fn found(
    store: &Store<World>,
    founding: &Founding<'_>,
    key: EcdsaKey,
) -> Result<Authority, Failure> {
    let (known, as_of) =
        store.read(|world, as_of| (world.authority.certificate().map(<[u8]>::to_vec), as_of));
    let is_new = known.is_none();
    let certificate = match known {
        Some(certificate) => certificate,
        None => {
            let now = founding.clock.now();
            Authority::found(founding.trust_domain, &key, now, founding.entropy).map_err(broken)?
        }
    };
    let authority = Authority::new(certificate.clone(), key).map_err(broken)?;
    if authority.trust_domain() != founding.trust_domain {
        return Err(Failure::new(
            FailureKind::Conflict,
            "trust_domain_changed",
            "the configured trust domain is not the one that this broker was initialised with",
            "set `trust_domain` back: every identity carries it",
        ));
    }
    if is_new {
        let event = AuthorityFounded {
            trust_domain: founding.trust_domain.as_str(),
            pin: authority.key_pin().hex(),
            not_after: authority.not_after().to_string(),
        };
        let change = Change::new(&event)?
            .effect(Effect::Pki(pki::Effect::Found(certificate)))
            .rely(pki::keys::authority(), as_of)
            .advance(pki::keys::authority());
        return Ok(store.commit(change, authority).await?.redeem());
    }
    Ok(authority)
}

/// Signs a certificate for the broker's own listeners, after recording that it will.
///
/// # Errors
/// [`Failure`].
pub async fn certify_server(
    store: &Store<World>,
    authority: &Authority,
    founding: &Founding<'_>,
    (names, life_s): (&[String], i64),
    key: &PublicKey,
) -> Result<Vec<u8>, Failure> {
    let event = ServerCertified { names, key: key.digest().hex(), life_s };
    let _recorded = store.commit(Change::new(&event)?, ()).await?;
    authority.sign_server(names, key, founding.clock.now(), life_s, founding.entropy).map_err(broken)
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

fn broken(error: pki::PkiError) -> Failure {
    Failure::internal("authority_failed", &error)
}
