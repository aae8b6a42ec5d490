use crate::base::code;
use crate::base::limits::CODE_LIFE_S;
use crate::base::{
    BindingNetwork, CodeId, Network, OperatorId, OperatorName, OwnerName, Person, Scope, Sensitive, Timestamp,
};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::incidents::resume::check_not_contained;
use crate::broker::reading::Reading;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::{Services, Settings};
use crate::broker::world::{Effect, World};
use crate::idempotency::{IdempotencyKey, Outcome};
use crate::operators::{
    self, Operator, OperatorInvited, OperatorKind, OperatorPlaced, OperatorProfile, OperatorRole, PlaceText,
    ProfileText, is_of_host,
};
use crate::policy::{Authorised, PlaceOperators};
use crate::registry::{DeletedName, FormerNames};
use crate::revocation::Subject;

/// The content of an operator's invitation.
#[derive(Debug)]
pub struct OperatorInviteInput {
    /// The operator.
    pub name: OperatorName,
    /// The role of a new operator, or the required role of an existing one.
    pub role: Option<OperatorRole>,
    /// The owner of a new operator, or the required owner of an existing one.
    pub owner: Option<OwnerName>,
    /// The kind of a new operator (a human by default), or the required kind of an existing one.
    pub kind: Option<OperatorKind>,
    /// The networks of a new operator, or the required ones of an existing one; empty for any.
    pub networks: Vec<BindingNetwork>,
    /// The life of a new operator's certificates in seconds, or the required one of an existing operator.
    pub life_s: Option<u32>,
    /// The person of a new operator, or the required one of an existing operator.
    pub person: Option<Person>,
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
    /// The life of the operator's certificates in seconds, by the present settings.
    pub certificate_life_s: i64,
}

/// The role and the scope of an operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OperatorPlace {
    /// The role.
    pub role: OperatorRole,
    /// The scope.
    pub scope: Scope,
}

/// A change of an operator's role and scope.
#[derive(Debug)]
pub struct OperatorPlaceInput {
    /// The role and scope from here on.
    pub place: OperatorPlace,
    /// The present role and scope, if the change depends on them.
    pub expected: Option<OperatorPlace>,
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
                let InvitedOperator { known, role, scope, profile } = services.invitee(reading, &input)?;
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
                    profile: ProfileText::of(&profile),
                };
                let life_s = services.operator_life_s(&profile);
                let mut draft =
                    ChangeDraft::new(&event, (expires_at, life_s))?.outcome(Outcome::Invited(made.id));
                if known.is_none() {
                    let place = operators::Effect::Place { id: operator_id, name: name.clone(), role, scope };
                    draft = draft.effect(Effect::Operators(place));
                    let described = described(name, profile, by.operator().id());
                    draft = described.into_iter().map(Effect::Operators).fold(draft, ChangeDraft::effect);
                }
                let issue = operators::Effect::IssueCode {
                    id: made.id,
                    operator: name.clone(),
                    hash: made.hash,
                    digest: made.digest,
                    expires_at,
                };
                Ok(made.with_maker(draft.effect(Effect::Operators(issue)), by.operator()))
            };
            let request = ChangeRequest::by(by.operator(), idempotency);
            let (expires_at, certificate_life_s) =
                services.state.change_once(request, &decide).await?.new_value()?;
            let (id, spiffe) = (made.id, services.operator_spiffe(name));
            let code = services.code_text(made, spiffe, &services.settings.admin_address);
            let operator = name.clone();
            Ok::<_, AttemptError>(OperatorInvitation { operator, id, code, expires_at, certificate_life_s })
        })
    }

    /// Gives the operator called `name` another role and reach, from its next request on. One
    /// unrestricted admin can always act. Gives the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`]; also if its role or reach is not the expected one.
    pub async fn place_operator(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        input: OperatorPlaceInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<u64, Failure> {
        let OperatorPlaceInput { place: OperatorPlace { role, scope }, expected } = &input;
        let grace_s = self.0.settings.operator_renewal_grace_s;
        let changed = self.0.state.change(ChangeRequest::by(by.operator(), idempotency), |reading| {
            let operator = reading.operator(name).ok_or_else(|| unknown_in(reading, name))?;
            let is_as_read =
                |read: &OperatorPlace| read.role == operator.role && read.scope == operator.scope;
            if !expected.as_ref().is_none_or(is_as_read) {
                return Err(changed_since(code::OPERATOR_ROLE_MISMATCH, "role or owner", name));
            }
            if *role != OperatorRole::Admin || *scope != Scope::Everything {
                reading.another_admin_than(operator, grace_s)?;
            }
            Settings::check_place(operator.profile.kind, *role, scope)?;
            let event = OperatorPlaced {
                by: by.operator().name(),
                operator: name,
                from: PlaceText::of(operator.role, &operator.scope),
                place: PlaceText::of(*role, scope),
            };
            let (id, name) = (operator.id, name.clone());
            let place = operators::Effect::Place { id, name, role: *role, scope: scope.clone() };
            Ok(ChangeDraft::new(&event, ())?.effect(Effect::Operators(place)))
        });
        Ok(changed.await?.seq())
    }
}

/// The effects of the profile of a new operator, which `by` invites.
fn described(name: &OperatorName, profile: OperatorProfile, by: OperatorId) -> Vec<operators::Effect> {
    let mut effects = Vec::new();
    if profile.person.is_some() {
        effects.push(operators::Effect::RecordNamer { operator: name.clone(), by });
    }
    if profile != OperatorProfile::default() {
        effects.push(operators::Effect::Describe { operator: name.clone(), profile });
    }
    effects
}

/// The refusal of a change that depends on a fact of the operator `name`, which has changed since the caller read it.
pub(crate) fn changed_since(code: code::Code, fact: &str, name: &OperatorName) -> Failure {
    Failure::new(code)
        .because(format!("the {fact} of the operator `{name}` was changed since the caller read it"))
        .mended_by(format!(
            "read it (`keyward operator show {name}`), then decide again and repeat the command"
        ))
}

/// The records of the invited operator.
struct InvitedOperator {
    known: Option<OperatorId>,
    role: OperatorRole,
    scope: Scope,
    profile: OperatorProfile,
}

impl Services {
    fn invitee(
        &self,
        reading: &Reading<'_>,
        input: &OperatorInviteInput,
    ) -> Result<InvitedOperator, Failure> {
        if is_of_host(&input.name) {
            return Err(Failure::new(code::OPERATOR_IS_BREAK_GLASS));
        }
        if let Some(known) = reading.operator(&input.name) {
            input.check_known(known)?;
            let subject = Subject::Operator(known.id);
            check_not_contained(reading, &subject)?;
            if reading.subject(&subject).revocations.is_blocked(&subject) {
                let (name, code) = (&known.name, code::OPERATOR_SUSPENDED);
                return Err(Failure::new(code)
                    .because(format!(
                        "the operator `{name}` is suspended: its enrolment codes would be refused"
                    ))
                    .mended_by(format!(
                        "resume it first: `keyward operator resume {name}`, then invite it again"
                    )));
            }
            return Ok(InvitedOperator {
                known: Some(known.id),
                role: known.role,
                scope: known.scope.clone(),
                profile: known.profile.clone(),
            });
        }
        let kind = input.kind.unwrap_or_default();
        let usual = if kind == OperatorKind::Human { None } else { kind.roles().first().copied() };
        if is_deleted(reading.declared().former(), &input.name) {
            return Err(Failure::new(code::NAME_DELETED).because(deleted(&input.name)));
        }
        let role = input.role.or(usual).ok_or_else(|| Failure::new(code::OPERATOR_UNKNOWN))?;
        let scope = Scope::of(input.owner.clone());
        let profile = OperatorProfile {
            kind,
            networks: input.networks(),
            life_s: input.life_s,
            person: input.person.clone(),
        };
        self.settings.check_profile(&profile, role, &scope)?;
        Ok(InvitedOperator { known: None, role, scope, profile })
    }
}

impl OperatorInviteInput {
    fn networks(&self) -> Vec<Network> {
        self.networks.iter().map(|one| one.network()).collect()
    }

    /// Checks that `known` is what the invitation says, as far as it says it.
    fn check_known(&self, known: &Operator) -> Result<(), Failure> {
        let other_owner = self.owner.as_ref().is_some_and(|owner| known.scope.owner() != Some(owner));
        if self.role.is_some_and(|role| role != known.role) || other_owner {
            let scope = known
                .scope
                .owner()
                .map_or_else(|| "the scope `all`".to_owned(), |owner| format!("the owner `{owner}`"));
            let why = format!("the operator `{}` has the role `{}` and {scope}", known.name, known.role);
            return Err(Failure::new(code::OPERATOR_ROLE_MISMATCH).because(why));
        }
        let profile = &known.profile;
        let differs = self.kind.is_some_and(|kind| kind != profile.kind)
            || (!self.networks.is_empty() && self.networks() != profile.networks)
            || (self.life_s.is_some() && self.life_s != profile.life_s)
            || (self.person.is_some() && self.person != profile.person);
        if differs { Err(Failure::new(code::OPERATOR_PROFILE_MISMATCH)) } else { Ok(()) }
    }
}

/// The refusal of a request about an operator that does not exist. The name of a deleted one cannot be invited.
pub(crate) fn operator_unknown(world: &World, name: &OperatorName) -> Failure {
    let unknown = Failure::new(code::OPERATOR_UNKNOWN);
    if !is_deleted(world.registry.former(), name) {
        return unknown;
    }
    unknown.because(deleted(name)).mended_by(format!(
        "check the name (`keyward operator list`), or invite the person under another name; `keyward audit list --operator \
         {name}` shows the entries about the deleted operator"
    ))
}

pub(crate) fn unknown_in(reading: &Reading<'_>, name: &OperatorName) -> Failure {
    operator_unknown(reading.unconditional(), name)
}

pub(crate) fn is_deleted(former: &FormerNames, name: &OperatorName) -> bool {
    former.is_deleted(&DeletedName::Operator(name.clone()))
}

/// The sentence about a deleted operator.
pub(crate) fn deleted(name: &OperatorName) -> String {
    format!("the operator `{name}` was deleted; its name stays reserved")
}
