use std::ops::RangeInclusive;

use crate::base::limits::{OPERATOR_LIFE_MAX_S, OPERATOR_LIFE_MIN_S, OPERATOR_NETWORKS_MAX, SERVICE_LIFE_S};
use crate::base::{Network, OperatorName, Person, Scope, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::changes::{ChangeDraft, ChangeRequest};
use crate::broker::failure::Failure;
use crate::broker::identity::operators::operator_unknown;
use crate::broker::services::{Services, Settings};
use crate::broker::world::Effect;
use crate::idempotency::IdempotencyKey;
use crate::operators::{
    self, Operator, OperatorKind, OperatorProfile, OperatorProfileChanged, OperatorRole, ProfileText,
};
use crate::policy::{Authorised, PlaceOperators};

/// The changeable part of an operator's profile.
#[derive(Debug)]
pub struct OperatorProfileInput {
    /// The networks from which its certificates can be used.
    pub networks: Vec<Network>,
    /// The life of its certificates in seconds, if it has one of its own.
    pub life_s: Option<u32>,
    /// The person.
    pub person: Option<Person>,
}

impl AdminServices {
    /// Changes networks, life of certificates and person of the operator called `name`. The networks take effect at its
    /// next request, the life at its next renewal. Gives the sequence of the entry.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn change_operator_profile(
        &self,
        by: &Authorised<PlaceOperators>,
        name: &OperatorName,
        input: OperatorProfileInput,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<u64, Failure> {
        let services = &*self.0;
        let changed = services.state.change(ChangeRequest::by(by.operator(), idempotency), |reading| {
            let operator = reading.operator(name).ok_or_else(operator_unknown)?;
            let OperatorProfileInput { networks, life_s, person } = &input;
            let profile = OperatorProfile {
                kind: operator.profile.kind,
                networks: networks.clone(),
                life_s: *life_s,
                person: person.clone(),
            };
            services.settings.check_profile(&profile, operator.role, &operator.scope)?;
            let event = OperatorProfileChanged {
                by: by.operator().name(),
                operator: name,
                profile: ProfileText::of(&profile),
            };
            let draft = ChangeDraft::new(&event, ())?;
            let describe = operators::Effect::Describe { operator: name.clone(), profile };
            Ok(draft.effect(Effect::Operators(describe)))
        });
        Ok(changed.await?.seq())
    }
}

impl Services {
    /// The life of the next certificate of `operator`, in seconds.
    pub(crate) fn operator_life_s(&self, operator: &Operator) -> i64 {
        let OperatorProfile { kind, life_s, .. } = &operator.profile;
        let (own, settings) = (life_s.map(i64::from), &self.settings);
        match kind {
            OperatorKind::Human => settings.operator_life_s,
            OperatorKind::Service => own.unwrap_or(SERVICE_LIFE_S).min(settings.service_life_s),
            OperatorKind::Automation => own.unwrap_or(OPERATOR_LIFE_MAX_S).min(OPERATOR_LIFE_MAX_S),
        }
    }
}

impl Settings {
    /// Checks that `profile` fits an operator with this role and scope.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn check_profile(
        &self,
        profile: &OperatorProfile,
        role: OperatorRole,
        scope: &Scope,
    ) -> Result<(), Failure> {
        let OperatorProfile { kind, networks, life_s, .. } = profile;
        if !kind.roles().contains(&role) {
            let roles: Vec<&str> = kind.roles().iter().map(|role| role.as_str()).collect();
            return Err(invalid(
                format!("the role `{role}` is not for an operator of the kind {kind}"),
                format!("name a role for this kind: {}", roles.join(", ")),
            ));
        }
        if networks.len() > OPERATOR_NETWORKS_MAX {
            let why = format!("{} networks are more than {OPERATOR_NETWORKS_MAX}", networks.len());
            return Err(invalid(why, "name fewer and larger networks".to_owned()));
        }
        match kind {
            OperatorKind::Human if !networks.is_empty() || life_s.is_some() => Err(invalid(
                "a human has neither networks nor a life of certificates of its own".to_owned(),
                "leave them out, or invite a service (`--service`) or an automation (`--automation`)"
                    .to_owned(),
            )),
            OperatorKind::Service if networks.is_empty() => Err(invalid(
                "a service is bound to networks, and no network is named".to_owned(),
                "name the network from which the service calls: `--network 10.0.0.0/8`".to_owned(),
            )),
            OperatorKind::Automation if *scope == Scope::Everything => Err(invalid(
                "an automation is bound to an owner, and no owner is named".to_owned(),
                "name the owner whose declarations it applies: `--owner OWNER`".to_owned(),
            )),
            OperatorKind::Human => Ok(()),
            OperatorKind::Service => check_life(*life_s, OPERATOR_LIFE_MIN_S..=self.service_life_s),
            OperatorKind::Automation => check_life(*life_s, OPERATOR_LIFE_MIN_S..=OPERATOR_LIFE_MAX_S),
        }
    }
}

fn check_life(life_s: Option<u32>, allowed: RangeInclusive<i64>) -> Result<(), Failure> {
    if life_s.is_none_or(|life_s| allowed.contains(&i64::from(life_s))) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    Err(invalid(
        format!("the life of its certificates is not {least} to {most} seconds"),
        format!(
            "name a life between {least} and {most} seconds; `certificates.service_life_s` limits that of services"
        ),
    ))
}

fn invalid(why: String, fix: String) -> Failure {
    Failure::new(code::OPERATOR_PROFILE_INVALID).because(why).mended_by(fix)
}
