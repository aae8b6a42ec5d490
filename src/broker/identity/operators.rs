use crate::base::code;
use crate::base::limits::CODE_LIFE_S;
use crate::base::{CodeId, OperatorId, OperatorName, OwnerName, Scope, Sensitive, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::world::Effect;
use crate::idempotency::{IdempotencyKey, Outcome};
use crate::operators::{self, OperatorInvited, OperatorPlaced, OperatorRole, is_of_host};
use crate::policy::{Authorised, PlaceOperators};
use crate::registry::DeletedName;

/// The content of an operator's invitation.
#[derive(Debug)]
pub struct OperatorInviteInput {
    /// The operator.
    pub name: OperatorName,
    /// The role of a new operator, or the required role of an existing one.
    pub role: Option<OperatorRole>,
    /// The owner of a new operator, or the required owner of an existing one.
    pub owner: Option<OwnerName>,
}

/// A new enrolment code for an operator.
#[derive(Debug)]
pub struct OperatorInvitation {
    /// The operator.
    pub operator: OperatorName,
    /// The code's id, which the ledger records.
    pub id: CodeId,
    /// The code itself.
    pub code: Sensitive<String>,
    /// The end of its life.
    pub expires_at: Timestamp,
}

impl AdminServices {
    /// Makes an enrolment code for an operator, one use. With a role, an operator that does not exist
    /// yet is created; one that exists must have it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn invite_operator(
        &self,
        by: &Authorised<PlaceOperators>,
        input: OperatorInviteInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<OperatorInvitation, Failure> {
        let services = &*self.0;
        let name = &input.name;
        let new_operator = OperatorId::mint(services.state.clock.now(), &*services.state.entropy);
        retry_on_conflict!(async {
            let made = services.make_code(by.operator(), CODE_LIFE_S)?;
            let decide = |reading: &Reading<'_>| {
                let InvitedOperator { known, role, scope } = invitee(reading, &input)?;
                let operator_id = known.unwrap_or(new_operator);
                let expires_at = made.expires_at(reading);
                let event = OperatorInvited {
                    by: by.operator().name(),
                    operator: name,
                    operator_id,
                    role: role.as_str(),
                    owner: scope.owner(),
                    code: made.id,
                    expires_at: expires_at.to_string(),
                };
                let mut draft = ChangeDraft::new(&event, expires_at)?.outcome(Outcome::Invited(made.id));
                if known.is_none() {
                    let place = operators::Effect::Place { id: operator_id, name: name.clone(), role, scope };
                    draft = draft.effect(Effect::Operators(place));
                }
                let issue = operators::Effect::IssueCode {
                    id: made.id,
                    operator: name.clone(),
                    hash: made.hash,
                    digest: made.digest,
                    expires_at,
                };
                Ok(draft.effect(Effect::Operators(issue)).effect(made.recorded_maker(by.operator())))
            };
            let request = ChangeRequest::by(by.operator(), idempotency);
            let expires_at = services.state.change_once(request, &decide).await?.new_value()?;
            let (id, spiffe) = (made.id, services.operator_spiffe(name));
            let code = services.code_text(made, spiffe, &services.settings.admin_address);
            Ok::<_, AttemptError>(OperatorInvitation { operator: name.clone(), id, code, expires_at })
        })
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
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<u64, Failure> {
        let changed = self.0.state.change(ChangeRequest::by(by.operator(), idempotency), |reading| {
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
            Ok(ChangeDraft::new(&event, ())?.effect(Effect::Operators(place)))
        });
        Ok(changed.await?.seq())
    }
}

/// The records of the invited operator.
struct InvitedOperator {
    known: Option<OperatorId>,
    role: OperatorRole,
    scope: Scope,
}

fn invitee(reading: &Reading<'_>, input: &OperatorInviteInput) -> Result<InvitedOperator, Failure> {
    if is_of_host(&input.name) {
        return Err(Failure::new(code::OPERATOR_IS_BREAK_GLASS));
    }
    if let Some(known) = reading.operator(&input.name) {
        let other_owner = input.owner.as_ref().is_some_and(|owner| known.scope.owner() != Some(owner));
        if input.role.is_some_and(|role| role != known.role) || other_owner {
            return Err(Failure::new(code::OPERATOR_ROLE_MISMATCH));
        }
        return Ok(InvitedOperator { known: Some(known.id), role: known.role, scope: known.scope.clone() });
    }
    let role = input.role.ok_or_else(operator_unknown)?;
    if reading.declared().former().is_deleted(&DeletedName::Operator(input.name.clone())) {
        let why = format!("the operator `{}` was deleted; its name stays reserved", input.name);
        return Err(Failure::new(code::NAME_DELETED).because(why));
    }
    Ok(InvitedOperator { known: None, role, scope: Scope::of(input.owner.clone()) })
}

pub(crate) fn operator_unknown() -> Failure {
    Failure::new(code::OPERATOR_UNKNOWN)
}
