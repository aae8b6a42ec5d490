use super::certificates::read_key;
use super::introducers::{check_key_of_second_person, check_not_introducer};
use super::operators::unknown_in;
use crate::authn::{HostPrincipal, OperatorPrincipal};
use crate::base::code::{self, Code};
use crate::base::encoding::base64url;
use crate::base::{OperatorName, Person, Scope};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::host::host_services::HostServices;
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::broker::world::{Effect, World};
use crate::crypto::{Digest, p256_der};
use crate::operators::{
    self, ApprovalKeyAccepted, ApprovalKeyChange, ApprovalKeyProposed, ApprovalKeys, ApprovalKeysRemoved,
    Operator, OperatorKind, is_of_host,
};
use crate::pki::PublicKey;
use crate::policy::{Authorised, BeOneself, ContainOperators, PlaceOperators, Right as _};
use crate::wire::{ApprovalKeyAcceptance, ApprovalKeysAnswer};

impl AdminServices {
    /// Proposes the key of `request` (PKCS#10 in DER, which proves that its sender holds the key) as the caller's approval
    /// key. It counts only after another admin or the host has accepted it: a program on the operator's machine that uses the
    /// operator's certificate can propose a key too. A repeated proposal changes nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn propose_approval_key(
        &self,
        by: &Authorised<BeOneself>,
        request: &[u8],
    ) -> Result<ApprovalKeysAnswer, Failure> {
        let (key, operator) = (read_key(request)?, by.operator());
        let digest = key.digest();
        let known = self.0.approval_keys(operator.name())?;
        if !known.keys.iter().any(|one| one.fingerprint == digest.hex()) {
            let request = ChangeRequest::by(operator, None);
            self.0.state.change(request, |reading| proposal(reading, operator, &key)).await?;
        }
        self.0.approval_keys(operator.name())
    }

    /// The caller's approval keys.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn own_approval_keys(&self, by: &Authorised<BeOneself>) -> Result<ApprovalKeysAnswer, Failure> {
        self.0.approval_keys(by.operator().name())
    }

    /// Accepts the proposed approval key of the operator `name` with this fingerprint, in the place of the one before. The
    /// caller is another operator of another person, and `signature` is one of the acceptance by its own accepted approval key:
    /// so a program with the certificate of an admin accepts nothing. A repeated acceptance changes nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn accept_approval_key(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        key: Digest,
        signature: &[u8],
    ) -> Result<ApprovalKeysAnswer, Failure> {
        let operator = by.operator();
        let signed = self.0.signed_acceptance(operator, name, key, signature)?;
        let accepting = Accepting::Operator(operator, &signed);
        self.0.accept_approval_key(ChangeRequest::by(by.operator(), None), accepting, name, key).await
    }

    /// Removes the approval keys of the operator `name`, proposed and accepted. A repeated removal changes nothing.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn remove_approval_keys(
        &self,
        by: &Authorised<ContainOperators>,
        name: &OperatorName,
    ) -> Result<ApprovalKeysAnswer, Failure> {
        if !self.0.approval_keys(name)?.keys.is_empty() {
            let changed = self.0.state.change(ChangeRequest::by(by.operator(), None), |reading| {
                let (operator, keys) = keys_of(reading, name)?;
                let keys = keys.fingerprints().map(|key| key.hex()).collect();
                let event = ApprovalKeysRemoved { by: by.operator().name(), operator: &operator.name, keys };
                Ok(ChangeDraft::new(&event, ())?.effect(changing(name, ApprovalKeyChange::Remove)))
            });
            changed.await?;
        }
        self.0.approval_keys(name)
    }
}

impl HostServices {
    /// Accepts the proposed approval key of the operator `name` with this fingerprint: for a broker with one admin.
    ///
    /// # Errors
    /// [`Failure`]; also if the broker is sealed.
    pub async fn accept_approval_key(
        &self,
        by: HostPrincipal,
        name: &OperatorName,
        key: Digest,
    ) -> Result<ApprovalKeysAnswer, Failure> {
        let services = self.services().ok_or_else(|| Failure::new(code::SEALED))?;
        let by = by.to_string();
        services.accept_approval_key(ChangeRequest::by_host(&by, None), Accepting::Host, name, key).await
    }
}

/// The actor of an acceptance.
#[derive(Clone, Copy)]
enum Accepting<'a> {
    Operator(&'a OperatorPrincipal, &'a SignedAcceptance),
    Host,
}

/// An acceptance whose signature is verified.
struct SignedAcceptance {
    /// The person of the operator whose key it is, as the accepter signed it.
    person: Person,
    /// The key that verified it.
    by: Digest,
}

impl SignedAcceptance {
    /// Checks that the key that verified the acceptance still counts, and that the operator is the person whom it names.
    fn check(
        &self,
        reading: &Reading<'_>,
        by: &OperatorPrincipal,
        operator: &Operator,
    ) -> Result<(), Failure> {
        let (_, own) = keys_of(reading, by.name())?;
        let is_same_key = own.accepted().is_some_and(|key| key.fingerprint() == self.by);
        if is_same_key && operator.profile.person.as_ref() == Some(&self.person) {
            return Ok(());
        }
        Err(Failure::new(code::MODIFIED_CONCURRENTLY))
    }
}

impl Services {
    /// The refusal that the operator `by` would get if it accepted the proposed approval key of `name`, so that nobody signs in
    /// vain; `None` also without a proposed key. The signature is not a part of it.
    pub(super) fn refused_acceptance(&self, by: &OperatorPrincipal, name: &OperatorName) -> Option<Code> {
        let (checked, _) = self.state.read(|reading| {
            let (operator, keys) = keys_of(reading, name)?;
            let Some(proposed) = keys.proposed() else { return Ok(()) };
            if !PlaceOperators::NEED.roles.contains(&by.role()) {
                return Err(Failure::new(code::OPERATOR_ROLE_INSUFFICIENT));
            }
            if *by.scope() != Scope::Everything {
                return Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT));
            }
            check_signing(operator)?;
            self.check_accepter(reading, by, operator)?;
            if keys_of(reading, by.name())?.1.accepted().is_none() {
                return Err(Failure::new(code::APPROVAL_KEY_MISSING));
            }
            check_unused(reading.unconditional(), operator, &proposed.key)
        });
        checked.err().map(|failure| failure.code)
    }

    /// Verifies the signature of an acceptance, outside of the state's lock.
    fn signed_acceptance(
        &self,
        by: &OperatorPrincipal,
        name: &OperatorName,
        key: Digest,
        signature: &[u8],
    ) -> Result<SignedAcceptance, Failure> {
        let (found, _) = self.state.read(|reading| {
            let (operator, _) = keys_of(reading, name)?;
            check_signing(operator)?;
            self.check_accepter(reading, by, operator)?;
            let (_, own) = keys_of(reading, by.name())?;
            Ok::<_, Failure>((operator.profile.person.clone(), own.accepted().cloned()))
        });
        let (Some(person), own) = found? else { return Err(Failure::new(code::OPERATOR_WITHOUT_PERSON)) };
        let own = own.ok_or_else(|| {
            Failure::new(code::APPROVAL_KEY_MISSING).mended_by(
                "make a key (`keyward approval key create`), and have it accepted first; the first key of a broker is accepted on \
                 its host: `keyward approval key accept NAME --fingerprint HEX --on-host`",
            )
        })?;
        let fingerprint = key.hex();
        let signed = ApprovalKeyAcceptance::new(name, person.as_str(), &fingerprint).canonical();
        let signed = signed.map_err(|error| Failure::internal(code::INTERNAL, &error))?;
        if own.verify(&signed, signature) {
            Ok(SignedAcceptance { person, by: own.fingerprint() })
        } else {
            Err(Failure::new(code::APPROVAL_SIGNATURE_INVALID))
        }
    }

    /// Checks that `by` is another person than `operator`, and where a second operator is demanded, that it did not introduce
    /// `operator`, and has a key that shows a second person.
    fn check_accepter(
        &self,
        reading: &Reading<'_>,
        by: &OperatorPrincipal,
        operator: &Operator,
    ) -> Result<(), Failure> {
        check_other_person(reading, by, operator)?;
        if self.settings.widening_second_operator {
            check_not_introducer(reading, by, operator)?;
            check_key_of_second_person(keys_of(reading, by.name())?.0)?;
        }
        Ok(())
    }

    async fn accept_approval_key(
        &self,
        request: ChangeRequest<'_>,
        accepting: Accepting<'_>,
        name: &OperatorName,
        key: Digest,
    ) -> Result<ApprovalKeysAnswer, Failure> {
        let known = self.approval_keys(name)?;
        if !known.keys.iter().any(|one| one.state == "accepted" && one.fingerprint == key.hex()) {
            let changed = self.state.change(request, |reading| {
                let (operator, keys) = keys_of(reading, name)?;
                check_signing(operator)?;
                if let Accepting::Operator(by, signed) = accepting {
                    self.check_accepter(reading, by, operator)?;
                    signed.check(reading, by, operator)?;
                }
                let proposed = keys.proposed().filter(|proposed| proposed.key == key);
                let proposed = proposed.ok_or_else(|| not_proposed(name, keys))?;
                check_unused(reading.unconditional(), operator, &key)?;
                let by = request.by.name();
                let previous = keys.accepted().map(|one| one.fingerprint().hex());
                let public_key = base64url(&p256_der(&proposed.point));
                let event = ApprovalKeyAccepted { by, operator: name, key: key.hex(), public_key, previous };
                let change = ApprovalKeyChange::Accept { key, by: by.to_owned() };
                Ok(ChangeDraft::new(&event, ())?.effect(changing(name, change)))
            });
            changed.await?;
        }
        self.approval_keys(name)
    }
}

fn changing(name: &OperatorName, change: ApprovalKeyChange) -> Effect {
    Effect::Operators(operators::Effect::ChangeApprovalKeys { operator: name.clone(), change })
}

/// The operator `name` and its approval keys.
fn keys_of<'w>(
    reading: &Reading<'w>,
    name: &OperatorName,
) -> Result<(&'w Operator, &'w ApprovalKeys), Failure> {
    let operator = reading.operator(name).ok_or_else(|| unknown_in(reading, name))?;
    Ok((operator, reading.approval_keys(operator)))
}

fn proposal(
    reading: &Reading<'_>,
    by: &OperatorPrincipal,
    key: &PublicKey,
) -> Result<ChangeDraft<()>, Failure> {
    let name = by.name();
    let (operator, _) = keys_of(reading, name)?;
    check_signing(operator)?;
    let digest = key.digest();
    check_unused(reading.unconditional(), operator, &digest)?;
    let peer = by.from().map(|from| from.to_canonical().to_string());
    let public_key = base64url(&p256_der(key.point()));
    let event = ApprovalKeyProposed { operator: name, key: digest.hex(), public_key, peer };
    let (point, enrolled_seq) = (key.point().to_vec(), by.enrolled_seq());
    let change = ApprovalKeyChange::Propose { key: digest, point, enrolled_seq };
    Ok(ChangeDraft::new(&event, ())?.effect(changing(name, change)))
}

/// Checks that the operator can have an approval key: a person signs approvals, and nobody else.
fn check_signing(operator: &Operator) -> Result<(), Failure> {
    let name = &operator.name;
    if is_of_host(name) {
        return Err(not_by_break_glass());
    }
    let is_person = operator.profile.kind == OperatorKind::Human && operator.profile.person.is_some();
    if is_person {
        return Ok(());
    }
    let why = match operator.profile.kind {
        OperatorKind::Human => format!("the records do not say which person the operator `{name}` is"),
        kind @ (OperatorKind::Service | OperatorKind::Automation) => {
            format!("the operator `{name}` has the kind {}, and is no person", kind.as_str())
        }
    };
    Err(Failure::new(code::OPERATOR_WITHOUT_PERSON).because(why))
}

fn not_by_break_glass() -> Failure {
    Failure::new(code::NOT_BY_BREAK_GLASS)
        .because("break-glass access has no approval key, and accepts none")
        .mended_by(
            "on the broker's host, as root: `keyward approval key accept NAME --fingerprint HEX --on-host`",
        )
}

/// Checks that `by` is another person than the operator whose key it accepts.
fn check_other_person(
    reading: &Reading<'_>,
    by: &OperatorPrincipal,
    operator: &Operator,
) -> Result<(), Failure> {
    let own = Failure::new(code::APPROVAL_KEY_OF_ACCEPTER);
    if *by.name() == operator.name {
        return Err(own);
    }
    let accepting = reading.operator(by.name()).ok_or_else(|| unknown_in(reading, by.name()))?;
    check_signing(accepting)?;
    match (&accepting.profile.person, &operator.profile.person) {
        (Some(one), Some(other)) if !one.is_same_as(other) => Ok(()),
        _ => Err(own.because(format!(
            "the operators `{}` and `{}` are the same person",
            accepting.name, operator.name
        ))),
    }
}

/// Checks that no certificate and no other operator has the key: what holds such a key could sign approvals too.
fn check_unused(world: &World, operator: &Operator, key: &Digest) -> Result<(), Failure> {
    let is_used = world.operators.all().any(|one| {
        let is_of_another =
            one.name != operator.name && one.approval_keys.fingerprints().any(|used| used == *key);
        is_of_another || one.certificates.iter().any(|certificate| certificate.key == *key)
    });
    if is_used || world.registry.is_key_of_an_agent(key) {
        return Err(Failure::new(code::APPROVAL_KEY_IN_USE));
    }
    Ok(())
}

fn not_proposed(name: &OperatorName, keys: &ApprovalKeys) -> Failure {
    let why = match keys.proposed() {
        Some(_) => format!("the operator `{name}` proposed an approval key with another fingerprint"),
        None => format!("the operator `{name}` proposed no approval key"),
    };
    Failure::new(code::APPROVAL_KEY_UNKNOWN).because(why)
}
