use crate::authn::{Credential, live};
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::limits::{CODE_LIFE_S, OUTCOME_LIFE_S};
use crate::base::{CodeId, OperatorId, OperatorName, OwnerName, Scope, Sensitive, Timestamp};
use crate::broker::administration::authorise::{code_expiry, record_maker};
use crate::broker::desk::{AdminDesk, records};
use crate::broker::failure::Failure;
use crate::broker::once::{done_before, remembering, told_once};
use crate::broker::page::{Page, Paged};
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::{Effect, World};
use crate::crypto::sha256;
use crate::idempotency::{Once, Outcome};
use crate::operators::{
    self, Certificate, Operator, OperatorInvited, OperatorPlaced, OperatorRole, Operators, is_of_host, keys,
};
use crate::policy::{Authorised, PlaceOperators, ReadOperators};
use crate::revocation::Subject;
use crate::store::Change;

/// An operator as operators see it.
#[derive(Clone, Debug)]
pub struct OperatorView {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
    /// Its role.
    pub role: OperatorRole,
    /// The owner that its reach ends at, if it ends at one.
    pub owner: Option<OwnerName>,
    /// Whether it can act.
    pub state: OperatorState,
    /// The certificates that count, by serial in hex, with their ends.
    pub certificates: Vec<(String, Timestamp)>,
}

/// Whether an operator can act.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OperatorState {
    /// It can.
    Active,
    /// Not until it is resumed.
    Suspended,
    /// Not until it is invited: it has no certificate that counts.
    Inactive,
}

/// What an operator's invitation is to be good for.
#[derive(Debug)]
pub struct OperatorInviteInput {
    /// The operator.
    pub name: OperatorName,
    /// The role to create it with, or that it must have.
    pub role: Option<OperatorRole>,
    /// The owner to bind it to, or that it must be bound to.
    pub owner: Option<OwnerName>,
}

/// A code to hand to an operator.
#[derive(Debug)]
pub struct OperatorInvitation {
    /// The operator.
    pub operator: OperatorName,
    /// The code's id, by which the ledger knows it.
    pub id: CodeId,
    /// The code itself.
    pub code: Sensitive<String>,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
}

impl OperatorState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Inactive => "inactive",
        }
    }
}

impl AdminDesk {
    /// All operators, by name.
    #[must_use]
    pub fn operators(&self, _by: &Authorised<ReadOperators>, page: &Page) -> Paged<OperatorView> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| {
            let seen = |one: &Operator| view(one, world, now);
            page.of(world.operators.all(), |one| one.name.as_str(), seen)
        })
    }

    /// The operator called `name`.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub fn operator(
        &self,
        _by: &Authorised<ReadOperators>,
        name: &OperatorName,
    ) -> Result<OperatorView, Failure> {
        let now = self.0.state.clock.now();
        let found =
            self.0.state.store.read(|world, _| world.operators.named(name).map(|one| view(one, world, now)));
        found.ok_or_else(operator_unknown)
    }

    /// Makes an enrolment code for an operator, one use. With a role, an operator that does not exist
    /// yet is created; one that exists must have it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn invite_operator(
        &self,
        by: &Authorised<PlaceOperators>,
        input: OperatorInviteInput,
        once: Option<&Once>,
    ) -> Result<OperatorInvitation, Failure> {
        let core = &*self.0;
        let name = &input.name;
        deciding_again!(async {
            let reading = core.certifying(CODE_LIFE_S)?;
            let now = reading.now();
            let (invitee, before, as_of) = core.state.store.read(|world, as_of| {
                let invitee = core.operator_to_be(&world.operators, &input, now);
                (invitee, done_before(world, once, now), as_of)
            });
            told_once(before?.as_ref())?;
            let Invitee { id: operator_id, role, scope, is_new } = invitee?;
            let code = core.enrolment_code(core.operator_spiffe(name), &core.settings.admin_address, now);
            let (id, expires_at) =
                (code.id, code_expiry(by.operator(), reading.earliest().plus_s(CODE_LIFE_S)));
            let event = OperatorInvited {
                by: by.operator().name(),
                operator: name,
                operator_id,
                role: role.as_str(),
                owner: scope.owner(),
                code: id,
                expires_at: expires_at.to_string(),
            };
            let hash = sha256(code.secret.expose());
            let digest = core.values.digests.digest(code.secret.expose());
            let mut change = Change::new(&event)?.rely(keys::operator(name), as_of);
            if is_new {
                let name = name.clone();
                change = change.effect(Effect::Operators(operators::Effect::Place {
                    id: operator_id,
                    name,
                    role,
                    scope,
                }));
            }
            let issue = operators::Effect::IssueCode { id, operator: name.clone(), hash, digest, expires_at };
            let maker = record_maker(by.operator(), id, expires_at);
            change = change.effect(Effect::Operators(issue)).effect(maker);
            change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Invited(id));
            let change = core.while_allowed(change, by.operator())?;
            let receipt = core.state.store.commit(change, code).await?;
            let code = receipt.redeem().to_text();
            Ok(OperatorInvitation { operator: name.clone(), id, code, expires_at })
        })
    }

    /// Gives the operator called `name` this role and reach, from its next request on. Somebody who
    /// can act always administers everything. Gives the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn place_operator(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        (role, scope): (OperatorRole, Scope),
        once: Option<&Once>,
    ) -> Result<u64, Failure> {
        let core = &*self.0;
        deciding_again!(async {
            let now = core.state.clock.now();
            let (id, before, as_of) = core.state.store.read(|world, as_of| {
                let id = placeable(world, name, (role, &scope), now);
                (id, done_before(world, once, now), as_of)
            });
            if let Some(before) = before? {
                return Ok(before.seq);
            }
            let id = id?;
            let event = OperatorPlaced {
                by: by.operator().name(),
                operator: name,
                role: role.as_str(),
                owner: scope.owner(),
            };
            let place = operators::Effect::Place { id, name: name.clone(), role, scope: scope.clone() };
            let change = Change::new(&event)?
                .effect(Effect::Operators(place))
                .rely(keys::operator(name), as_of)
                .rely(keys::admins(), as_of);
            let change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
            let change = core.while_allowed(change, by.operator())?;
            Ok(core.state.store.commit(change, ()).await?.seq())
        })
    }
}

/// What is known of the operator that is invited.
struct Invitee {
    id: OperatorId,
    role: OperatorRole,
    scope: Scope,
    is_new: bool,
}

impl Core {
    fn operator_to_be(
        &self,
        operators: &Operators,
        input: &OperatorInviteInput,
        now: Timestamp,
    ) -> Result<Invitee, Again> {
        if is_of_host(&input.name) {
            return Err(Again::Stop(Failure::new(code::OPERATOR_IS_BREAK_GLASS)));
        }
        if let Some(known) = operators.named(&input.name) {
            let other_owner = input.owner.as_ref().is_some_and(|owner| known.scope.owner() != Some(owner));
            if input.role.is_some_and(|role| role != known.role) || other_owner {
                return Err(Again::Stop(Failure::new(code::OPERATOR_ROLE_MISMATCH)));
            }
            let (role, scope) = (known.role, known.scope.clone());
            return Ok(Invitee { id: known.id, role, scope, is_new: false });
        }
        let role = input.role.ok_or_else(|| Again::Stop(operator_unknown()))?;
        let id = OperatorId::mint(now, &*self.state.entropy);
        Ok(Invitee { id, role, scope: Scope::of(input.owner.clone()), is_new: true })
    }
}

/// The operator called `name`, when it may have this place.
fn placeable(
    world: &World,
    name: &OperatorName,
    (role, scope): (OperatorRole, &Scope),
    now: Timestamp,
) -> Result<OperatorId, Failure> {
    let operator = world.operators.named(name).ok_or_else(operator_unknown)?;
    if role != OperatorRole::Admin || *scope != Scope::Everything {
        somebody_else_administers(world, operator, now)?;
    }
    Ok(operator.id)
}

/// The certificates of `operator` that count at `now`.
pub(in crate::broker) fn counting<'o>(
    operator: &'o Operator,
    world: &'o World,
    now: Timestamp,
) -> impl Iterator<Item = &'o Certificate> {
    let counts = move |one: &&Certificate| {
        let certificate = Credential::OperatorCertificate { operator, certificate: one, from: None };
        now < one.not_after && live(certificate, records(world)).is_ok()
    };
    operator.certificates.iter().filter(counts)
}

/// Nobody takes the last one away who administers everything and can act: the way back would lead to
/// the broker's host.
pub(in crate::broker) fn somebody_else_administers(
    world: &World,
    leaving: &Operator,
    now: Timestamp,
) -> Result<(), Failure> {
    let can_act = |one: &&Operator| counting(one, world, now).next().is_some();
    let mut others = world.operators.all().filter(|one| one.id != leaving.id && one.is_full_admin());
    if !leaving.is_full_admin() || others.any(|one| can_act(&one)) {
        return Ok(());
    }
    Err(Failure::new(code::LAST_ADMIN))
}

pub(in crate::broker) fn operator_unknown() -> Failure {
    Failure::new(code::OPERATOR_UNKNOWN)
}

fn view(operator: &Operator, world: &World, now: Timestamp) -> OperatorView {
    let certificates: Vec<_> =
        counting(operator, world, now).map(|one| (hex(&one.serial), one.not_after)).collect();
    let state = if world.revocations.is_blocked(&Subject::Operator(operator.id)) {
        OperatorState::Suspended
    } else if certificates.is_empty() {
        OperatorState::Inactive
    } else {
        OperatorState::Active
    };
    OperatorView {
        id: operator.id,
        name: operator.name.clone(),
        role: operator.role,
        owner: operator.scope.owner().cloned(),
        state,
        certificates,
    }
}
