use crate::base::{OperatorId, OperatorName, Scope, Serial, code};
use crate::broker::failure::Failure;
use crate::broker::identity::facts::renewable;
use crate::broker::identity::operators::{deleted, is_deleted};
use crate::broker::reading::Reading;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::issuance::{Certify, ServerPlan, SignedCertificate};
use crate::keyring::Keyring;
use crate::operators::{self, OperatorCertificate, OperatorCertified, OperatorKind, OperatorRole};
use crate::pki::{CertificatePlan, PublicKey, ServerCertified};
use crate::policy::{CertifyOperator, Decision, DecisionContext, decide_host_operator};
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError};

/// Signs a certificate for the broker's listeners, after it was recorded.
///
/// # Errors
/// [`Failure`].
pub async fn certify_server(services: &Services, plan: ServerPlan) -> Result<Vec<u8>, Failure> {
    let event = ServerCertified { names: &plan.names, key: plan.key.digest().hex(), life_s: plan.life_s };
    let receipt = services.state.store.commit(Change::new(&event)?, plan).await?;
    Ok(services.signing.issuer.certify_server(receipt, &*services.state.entropy)?.deliver())
}

/// Gives the operator called `name` a certificate for `key`, on the word of the person who opened
/// `keyring` on the broker's host.
///
/// # Errors
/// [`Failure`].
pub async fn certify_operator(
    services: &Services,
    keyring: &Keyring,
    name: OperatorName,
    key: PublicKey,
) -> Result<SignedCertificate, Failure> {
    let admin = HostAdmin { name: &name, key: &key, life_s: services.settings.operator_life_s };
    let certified = |operator_id, plan: &CertificatePlan| {
        Change::new(&OperatorCertified {
            operator: &name,
            operator_id,
            serial: plan.serial.to_string(),
            key: plan.key.hex(),
            not_after: plan.not_after.to_string(),
            by: "the host",
        })
    };
    let decide = |context: &DecisionContext<'_>, plan: &CertificatePlan| {
        decide_host_operator(context, keyring, name.clone(), &plan.key)
    };
    retry_on_conflict!(certify_admin(services, &admin, &certified, &decide))
}

/// What else changes if the operator called `name` gets a certificate from the host; `None` if it is an unrestricted admin
/// that is not suspended, or if the host cannot give it one.
#[must_use]
pub fn effect_of_reissue(services: &Services, name: &OperatorName) -> Option<String> {
    let effect = |reading: &Reading<'_>| {
        let world = reading.unconditional();
        let Some(operator) = world.operators.named(name) else {
            let is_refused = is_deleted(world.registry.former(), name);
            let made = || {
                format!(
                    "there is no operator `{name}`: the command makes one, as an admin with the scope `all`"
                )
            };
            return (!is_refused).then(made);
        };
        if operator.profile.kind != OperatorKind::Human {
            return None;
        }
        if operator.role != OperatorRole::Admin || operator.scope != Scope::Everything {
            let owner = operator.scope.owner().map(|owner| format!(", owner {owner}")).unwrap_or_default();
            let role = operator.role;
            return Some(format!(
                "the operator `{name}` (role {role}{owner}) becomes an admin with the scope `all`"
            ));
        }
        let is_suspended = world.revocations.is_blocked(&Subject::Operator(operator.id));
        is_suspended.then(|| format!("the suspension of the operator `{name}` ends"))
    };
    services.state.read(effect).0
}

/// The serial numbers of the certificates of the operator called `name` that are valid or can be renewed, without the one
/// with the serial number `new`.
#[must_use]
pub fn other_certificates(services: &Services, name: &OperatorName, new: Serial) -> Vec<String> {
    let (grace_s, now) = (services.settings.operator_renewal_grace_s, services.state.clock.now());
    let others = |reading: &Reading<'_>| {
        let world = reading.unconditional();
        let operator = world.operators.named(name).into_iter();
        let all = operator.flat_map(|operator| renewable(operator, world, grace_s, now));
        let others = all.filter(|one| one.serial != *new.as_bytes());
        others.map(|one| Serial::from_bytes(one.serial).to_string()).collect()
    };
    services.state.read(others).0
}

/// The change that records a certificate.
type CertificateChange = Result<Change<Effect>, CommitError>;

/// An operator that gets a certificate from the host.
pub(crate) struct HostAdmin<'a> {
    pub(crate) name: &'a OperatorName,
    pub(crate) key: &'a PublicKey,
    pub(crate) life_s: i64,
}

/// Issues a certificate to the operator, recorded by `certified`. The last resort if all operators are locked out: the
/// operator is an admin from here on, and not suspended.
pub(crate) async fn certify_admin(
    services: &Services,
    HostAdmin { name, key, life_s }: &HostAdmin<'_>,
    certified: &(dyn Fn(OperatorId, &CertificatePlan) -> CertificateChange + Sync),
    decide: &(dyn Fn(&DecisionContext<'_>, &CertificatePlan) -> Decision<CertifyOperator> + Sync),
) -> Result<SignedCertificate, AttemptError> {
    let issue = services.state.certifying(*life_s)?;
    let (time, deciding) = (issue.time, services.deciding(issue));
    let plan = services.plan_certificate(services.operator_spiffe(name), *life_s, key, time.earliest());
    let ((known, is_deleted, decision), preconditions) = services.state.read(|reading| {
        let known = reading.acting_operator(name).map(|operator| (operator.id, operator.profile.kind));
        let is_deleted = is_deleted(reading.declared().former(), name);
        (known, is_deleted, decide(&deciding.timed_on(reading), &plan))
    });
    if is_deleted {
        return Err(Failure::new(code::NAME_DELETED).because(deleted(name)).into());
    }
    let id = match known {
        None => OperatorId::mint(time.now(), &*services.state.entropy),
        Some((id, OperatorKind::Human)) => id,
        // The holder of the program's key would be an unrestricted admin, too.
        Some((_, kind @ (OperatorKind::Service | OperatorKind::Automation))) => {
            let why = format!(
                "the operator `{name}` is a program (kind: {kind}), and only a person becomes an admin"
            );
            return Err(Failure::new(code::OPERATOR_IS_PROGRAM).because(why).into());
        }
    };
    let grant = decision.grant().map_err(|denial| Failure::from(*denial))?;
    let certificate =
        OperatorCertificate { serial: *plan.serial.as_bytes(), key: plan.key, not_after: plan.not_after };
    let (role, scope) = (OperatorRole::Admin, Scope::Everything);
    let certify = operators::Effect::Certify { id, name: (*name).clone(), certificate };
    let place = operators::Effect::Place { id, name: (*name).clone(), role, scope };
    let resume = revocation::Effect::Unblock(Subject::Operator(id));
    let change = certified(id, &plan)?
        .effect(Effect::Operators(certify))
        .effect(Effect::Operators(place))
        .effect(Effect::Revocation(resume));
    let certify = Certify { grant, plan, key: (*key).clone() };
    let receipt = services.state.commit(change, preconditions, certify).await?;
    Ok(services.signing.issuer.certify(receipt)?.deliver())
}
