use serde::Deserialize;

use crate::base::limits::{OPERATOR_LIFE_MAX_S, OPERATOR_LIFE_MIN_S, OPERATOR_NETWORKS_MAX, SERVICE_LIFE_S};
use crate::base::{BindingNetwork, Network, OperatorName, Person, Scope, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest, Changed};
use crate::broker::failure::Failure;
use crate::broker::identity::operators::{changed_since, unknown_in};
use crate::broker::services::{Services, Settings};
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::operators::{
    self, ApprovalKeyChange, OperatorKind, OperatorProfile, OperatorProfileChanged, OperatorRole, ProfileText,
};
use crate::policy::{Authorised, PlaceOperators};
use crate::wire::OperatorProfileAnswer;

/// The changeable part of an operator's profile.
#[derive(Debug)]
pub struct OperatorProfileInput {
    /// The networks from which its certificates can be used.
    pub networks: Vec<BindingNetwork>,
    /// The life of its certificates in seconds, if it has one of its own.
    pub life_s: Option<u32>,
    /// The person.
    pub person: Option<Person>,
    /// The present profile, if the change depends on it.
    pub expected: Option<ExpectedProfile>,
}

/// The profile of an operator as a caller read it.
#[derive(Debug)]
pub struct ExpectedProfile {
    /// The networks from which its certificates can be used.
    pub networks: Vec<Network>,
    /// The life of its certificates in seconds, if it has one of its own.
    pub life_s: Option<u32>,
    /// The person.
    pub person: Option<Person>,
}

impl ExpectedProfile {
    fn is_of(&self, profile: &OperatorProfile) -> bool {
        let Self { networks, life_s, person } = self;
        *networks == profile.networks && *life_s == profile.life_s && *person == profile.person
    }
}

impl AdminServices {
    /// Changes networks, life of certificates and person of the operator called `name`. The networks take effect at its
    /// next request, the life at its next renewal. Approval keys end if the person becomes another one.
    ///
    /// # Errors
    /// [`Failure`]; also if its profile is not the expected one.
    pub async fn change_operator_profile(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        input: OperatorProfileInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<OperatorProfileAnswer, Failure> {
        let services = &*self.0;
        let changed = services.state.change(ChangeRequest::by(by.operator(), idempotency), |reading| {
            let operator = reading.operator(name).ok_or_else(|| unknown_in(reading, name))?;
            let known = &operator.profile;
            if input.expected.as_ref().is_some_and(|expected| !expected.is_of(known)) {
                return Err(changed_since(code::OPERATOR_PROFILE_MISMATCH, "profile", name));
            }
            let profile = OperatorProfile {
                kind: known.kind,
                networks: input.networks.iter().map(|one| one.network()).collect(),
                life_s: input.life_s,
                person: input.person.clone(),
            };
            check_networks(profile.kind, &profile.networks)?;
            // The limit may be lower than before: it bounds each certificate, and hinders no other change.
            if profile.life_s != known.life_s {
                services.settings.check_life(profile.kind, profile.life_s)?;
            }
            // A key was accepted for a person: it does not count for another one.
            let is_same = Person::are_same(known.person.as_ref(), profile.person.as_ref());
            let keys = if is_same { None } else { Some(reading.approval_keys(operator)) };
            let ended: Vec<String> =
                keys.into_iter().flat_map(|keys| keys.fingerprints()).map(|key| key.hex()).collect();
            let (by, by_id, has_ended) = (by.operator().name(), by.operator().id(), !ended.is_empty());
            let event = OperatorProfileChanged {
                by,
                operator: name,
                ended_approval_keys: ended.clone(),
                from: ProfileText::of(known),
                profile: ProfileText::of(&profile),
            };
            let draft = ChangeDraft::new(&event, EndedKeys { ended_approval_keys: ended })?;
            let describe = operators::Effect::Describe { operator: name.clone(), profile };
            let namer = operators::Effect::RecordNamer { operator: name.clone(), by: by_id };
            let draft = draft.effect(Effect::Operators(describe));
            let is_introduced = !is_same && operator.id != by_id;
            let draft = if is_introduced { draft.effect(Effect::Operators(namer)) } else { draft };
            let change = ApprovalKeyChange::Remove;
            let end = operators::Effect::ChangeApprovalKeys { operator: name.clone(), change };
            Ok(if has_ended { draft.effect(Effect::Operators(end)) } else { draft })
        });
        let (seq, EndedKeys { ended_approval_keys }) = match changed.await? {
            Changed::Recorded { seq, value } => (seq, value),
            Changed::Before(before) => (before.seq, services.state.said(&before)?),
        };
        Ok(OperatorProfileAnswer { seq, ended_approval_keys })
    }
}

/// The approval keys that a change of a profile ends, as its event says it.
#[derive(Debug, Deserialize)]
struct EndedKeys {
    #[serde(default)]
    ended_approval_keys: Vec<String>,
}

impl Services {
    /// The life of the next certificate of an operator with this profile, in seconds.
    pub(crate) fn operator_life_s(&self, OperatorProfile { kind, life_s, .. }: &OperatorProfile) -> i64 {
        let (own, settings) = (life_s.map(i64::from), &self.settings);
        match kind {
            OperatorKind::Human => settings.operator_life_s,
            OperatorKind::Service => own.unwrap_or(SERVICE_LIFE_S).min(settings.service_life_s),
            OperatorKind::Automation => own.unwrap_or(OPERATOR_LIFE_MAX_S).min(OPERATOR_LIFE_MAX_S),
        }
    }
}

impl Settings {
    /// Checks that `profile` fits a new operator with this role and scope.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn check_profile(
        &self,
        profile: &OperatorProfile,
        role: OperatorRole,
        scope: &Scope,
    ) -> Result<(), Failure> {
        let kind = profile.kind;
        check_role(kind, role)?;
        check_networks(kind, &profile.networks)?;
        check_scope(kind, scope)?;
        self.check_life(kind, profile.life_s)
    }

    /// Checks that the role and the scope are for operators of this kind.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn check_place(kind: OperatorKind, role: OperatorRole, scope: &Scope) -> Result<(), Failure> {
        check_role(kind, role)?;
        check_scope(kind, scope)
    }

    fn check_life(&self, kind: OperatorKind, life_s: Option<u32>) -> Result<(), Failure> {
        let most = match kind {
            OperatorKind::Human if life_s.is_some() => return Err(not_of_humans()),
            OperatorKind::Human => return Ok(()),
            OperatorKind::Service => self.service_life_s,
            OperatorKind::Automation => OPERATOR_LIFE_MAX_S,
        };
        let least = OPERATOR_LIFE_MIN_S;
        if life_s.is_none_or(|life_s| (least..=most).contains(&i64::from(life_s))) {
            return Ok(());
        }
        Err(invalid(
            format!("the life of its certificates is not {least} to {most} seconds"),
            format!(
                "name a life between {least} and {most} seconds; `certificates.service_life_s` limits that of services"
            ),
        ))
    }
}

fn check_role(kind: OperatorKind, role: OperatorRole) -> Result<(), Failure> {
    if kind.roles().contains(&role) {
        return Ok(());
    }
    let roles: Vec<&str> = kind.roles().iter().map(|role| role.as_str()).collect();
    let programs = [OperatorKind::Service, OperatorKind::Automation];
    let others = programs.iter().filter(|other| **other != kind && other.roles().contains(&role));
    let others: String = others
        .map(|other| format!("; for this role invite an operator of the kind {other}: `--{other}`"))
        .collect();
    Err(invalid(
        format!("the role `{role}` is not for an operator of the kind {kind}"),
        format!("name a role for this kind: {}{others}", roles.join(", ")),
    ))
}

fn check_scope(kind: OperatorKind, scope: &Scope) -> Result<(), Failure> {
    if kind != OperatorKind::Automation || *scope != Scope::Everything {
        return Ok(());
    }
    Err(invalid(
        "an automation is bound to an owner, and no owner is named".to_owned(),
        "name the owner whose declarations it applies: `--owner OWNER`".to_owned(),
    ))
}

fn check_networks(kind: OperatorKind, networks: &[Network]) -> Result<(), Failure> {
    if networks.len() > OPERATOR_NETWORKS_MAX {
        let why = format!("{} networks are more than {OPERATOR_NETWORKS_MAX}", networks.len());
        return Err(invalid(why, "name fewer and larger networks".to_owned()));
    }
    match kind {
        OperatorKind::Human if !networks.is_empty() => Err(not_of_humans()),
        OperatorKind::Service if networks.is_empty() => Err(invalid(
            "a service is bound to networks, and no network is named".to_owned(),
            "name the network from which the service calls: `--network 10.0.0.0/8`".to_owned(),
        )),
        OperatorKind::Human | OperatorKind::Service | OperatorKind::Automation => Ok(()),
    }
}

fn not_of_humans() -> Failure {
    invalid(
        "a human has neither networks nor a life of certificates of its own".to_owned(),
        "leave them out, or invite a service (`--service`) or an automation (`--automation`)".to_owned(),
    )
}

fn invalid(why: String, fix: String) -> Failure {
    Failure::new(code::OPERATOR_PROFILE_INVALID).because(why).mended_by(fix)
}
