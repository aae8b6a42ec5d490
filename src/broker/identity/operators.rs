use crate::base::Reason;
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::limits::CODE_LIFE_S;
use crate::base::{CodeId, OperatorId, OperatorName, OwnerName, Scope, Sensitive, Timestamp};
use crate::broker::changes::{ChangeRequest, Draft};
use crate::broker::desk::AdminDesk;
use crate::broker::failure::Failure;
use crate::broker::page::{Page, Paged};
use crate::broker::reading::{Reading, counting};
use crate::broker::world::{Effect, World};
use crate::idempotency::{Once, Outcome};
use crate::operators::{self, Operator, OperatorInvited, OperatorPlaced, OperatorRole, is_of_host};
use crate::policy::{Authorised, PlaceOperators, ReadOperators};
use crate::revocation::Subject;

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
    /// Why it was revoked or suspended last, as an operator said.
    pub reason: Option<Reason>,
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
        let made = core.make_code(by.operator(), CODE_LIFE_S)?;
        let new_operator = OperatorId::mint(core.state.clock.now(), &*core.state.entropy);
        let changed = core.state.change(ChangeRequest::by(by.operator(), once), |reading| {
            let Invitee { known, role, scope } = invitee(reading, &input)?;
            let operator_id = known.unwrap_or(new_operator);
            let event = OperatorInvited {
                by: by.operator().name(),
                operator: name,
                operator_id,
                role: role.as_str(),
                owner: scope.owner(),
                code: made.id,
                expires_at: made.expires_at.to_string(),
            };
            let mut draft = Draft::new(&event, ())?.outcome(Outcome::Invited(made.id));
            if known.is_none() {
                let place = operators::Effect::Place { id: operator_id, name: name.clone(), role, scope };
                draft = draft.effect(Effect::Operators(place));
            }
            let issue = operators::Effect::IssueCode {
                id: made.id,
                operator: name.clone(),
                hash: made.hash,
                digest: made.digest,
                expires_at: made.expires_at,
            };
            Ok(draft.effect(Effect::Operators(issue)).effect(made.recorded_maker(by.operator())))
        });
        changed.await?.new_value()?;
        let (id, expires_at) = (made.id, made.expires_at);
        let code = core.code_text(made, core.operator_spiffe(name), &core.settings.admin_address);
        Ok(OperatorInvitation { operator: input.name, id, code, expires_at })
    }

    /// Gives the operator called `name` this role and reach, from its next request on. One
    /// unrestricted admin can always act. Gives the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn place_operator(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        role: OperatorRole,
        scope: Scope,
        once: Option<&Once>,
    ) -> Result<u64, Failure> {
        let changed = self.0.state.change(ChangeRequest::by(by.operator(), once), |reading| {
            let operator = reading.operator(name).ok_or_else(operator_unknown)?;
            if role != OperatorRole::Admin || scope != Scope::Everything {
                reading.another_admin_than(operator)?;
            }
            let event = OperatorPlaced {
                by: by.operator().name(),
                operator: name,
                role: role.as_str(),
                owner: scope.owner(),
            };
            let place =
                operators::Effect::Place { id: operator.id, name: name.clone(), role, scope: scope.clone() };
            Ok(Draft::new(&event, ())?.effect(Effect::Operators(place)))
        });
        Ok(changed.await?.seq())
    }
}

/// What is known of the operator that is invited.
struct Invitee {
    known: Option<OperatorId>,
    role: OperatorRole,
    scope: Scope,
}

fn invitee(reading: &Reading<'_>, input: &OperatorInviteInput) -> Result<Invitee, Failure> {
    if is_of_host(&input.name) {
        return Err(Failure::new(code::OPERATOR_IS_BREAK_GLASS));
    }
    if let Some(known) = reading.operator(&input.name) {
        let other_owner = input.owner.as_ref().is_some_and(|owner| known.scope.owner() != Some(owner));
        if input.role.is_some_and(|role| role != known.role) || other_owner {
            return Err(Failure::new(code::OPERATOR_ROLE_MISMATCH));
        }
        return Ok(Invitee { known: Some(known.id), role: known.role, scope: known.scope.clone() });
    }
    let role = input.role.ok_or_else(operator_unknown)?;
    Ok(Invitee { known: None, role, scope: Scope::of(input.owner.clone()) })
}

pub(crate) fn operator_unknown() -> Failure {
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
        reason: world.revocations.reason(&Subject::Operator(operator.id)).cloned(),
        certificates,
    }
}
