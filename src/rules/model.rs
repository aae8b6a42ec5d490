//! Requests in the form that Cedar evaluates. Entities are made from their type and their id, never from text that Cedar
//! parses, so that no name can change the meaning of a request.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};

use super::facts::{Action, AgentFacts, CapabilityFacts, Facts};
use crate::base::{GrantedParameters, ParameterValue, Timestamp};

/// The schema of policies, in Cedar's own form; `docs/reference/policy.md` explains it.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// Cedar accepts the schema of this room: a test of this file parses it.
static PARSED: LazyLock<Option<Schema>> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA).ok().map(|(schema, _)| schema));

pub(super) fn schema() -> Option<&'static Schema> {
    PARSED.as_ref()
}

/// The kinds of entities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntityKind {
    Agent,
    Role,
    Capability,
    Environment,
    Action,
}

impl EntityKind {
    const ALL: [Self; 5] = [Self::Agent, Self::Role, Self::Capability, Self::Environment, Self::Action];

    const fn type_name(self) -> &'static str {
        match self {
            Self::Agent => "Keyward::Agent",
            Self::Role => "Keyward::Role",
            Self::Capability => "Keyward::Capability",
            Self::Environment => "Keyward::Environment",
            Self::Action => "Keyward::Action",
        }
    }

    /// The kind of `uid`, if it is an entity of this model.
    pub(super) fn of(uid: &EntityUid) -> Option<Self> {
        let name = uid.type_name().to_string();
        Self::ALL.into_iter().find(|kind| kind.type_name() == name)
    }

    fn uid(self, id: &str) -> Option<EntityUid> {
        static TYPES: LazyLock<Vec<Option<EntityTypeName>>> =
            LazyLock::new(|| EntityKind::ALL.iter().map(|kind| kind.type_name().parse().ok()).collect());
        let at = Self::ALL.iter().position(|kind| *kind == self)?;
        let name = TYPES.get(at)?.clone()?;
        Some(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
    }
}

/// A request with the entities that it concerns.
pub(super) struct Question {
    pub(super) request: Request,
    pub(super) entities: Entities,
}

impl Question {
    /// `None` if Cedar does not accept the facts, which the types of the facts exclude.
    pub(super) fn of(facts: &Facts<'_>) -> Option<Self> {
        let (agent, capability) = (agent(&facts.agent)?, capability(&facts.capability)?);
        let action = EntityKind::Action.uid(facts.action.as_str())?;
        let context = context(facts)?;
        let request = Request::new(agent.uid(), action, capability.uid(), context, None).ok()?;
        let entities = Entities::from_entities([agent, capability], None).ok()?;
        Some(Self { request, entities })
    }
}

fn text(value: impl Into<String>) -> RestrictedExpression {
    RestrictedExpression::new_string(value.into())
}

fn agent(facts: &AgentFacts<'_>) -> Option<Entity> {
    let mut fields = HashMap::from([("name".to_owned(), text(facts.name.as_str()))]);
    fields.extend(facts.owner.map(|owner| ("owner".to_owned(), text(owner.as_str()))));
    fields.extend(facts.person.map(|person| ("person".to_owned(), text(person.as_str()))));
    let roles: Option<HashSet<EntityUid>> =
        facts.roles.iter().map(|role| EntityKind::Role.uid(role.as_str())).collect();
    Entity::new(EntityKind::Agent.uid(facts.name.as_str())?, fields, roles?).ok()
}

fn capability(facts: &CapabilityFacts<'_>) -> Option<Entity> {
    let mut fields = HashMap::from([
        ("name".to_owned(), text(facts.name.as_str())),
        ("access".to_owned(), text(facts.access)),
        ("delivery".to_owned(), text(facts.delivery)),
        ("sensitivity".to_owned(), text(facts.sensitivity.as_str())),
    ]);
    fields.extend(facts.owner.map(|owner| ("owner".to_owned(), text(owner.as_str()))));
    fields.extend(facts.environment.map(|one| ("environment".to_owned(), text(one.as_str()))));
    let parents: Option<HashSet<EntityUid>> =
        facts.environment.iter().map(|one| EntityKind::Environment.uid(one.as_str())).collect();
    Entity::new(EntityKind::Capability.uid(facts.name.as_str())?, fields, parents?).ok()
}

const DAY_S: i64 = 86_400;

/// Time in UTC; Monday is the weekday 1.
fn clock(time: Timestamp) -> Option<RestrictedExpression> {
    let unix_s = time.s();
    let (days, second) = (unix_s.div_euclid(DAY_S), unix_s.rem_euclid(DAY_S));
    // The first day of 1970 was a Thursday.
    let weekday = days.saturating_add(3).rem_euclid(7).saturating_add(1);
    let fields = [
        ("unix_s", unix_s),
        ("hour", second.div_euclid(3600)),
        ("minute", second.rem_euclid(3600).div_euclid(60)),
        ("weekday", weekday),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), RestrictedExpression::new_long(value)));
    RestrictedExpression::new_record(fields).ok()
}

/// The parameters of the request; each is an optional field.
fn parameters(given: &GrantedParameters) -> Option<RestrictedExpression> {
    let fields = given.iter().map(|(name, value)| {
        let value = match value {
            ParameterValue::Integer(number) => RestrictedExpression::new_long(*number),
            ParameterValue::Text(value) => text(value.as_str()),
            ParameterValue::Boolean(is_so) => RestrictedExpression::new_bool(*is_so),
        };
        (name.to_string(), value)
    });
    RestrictedExpression::new_record(fields).ok()
}

fn context(facts: &Facts<'_>) -> Option<Context> {
    let mut fields = vec![("time".to_owned(), clock(facts.time)?)];
    fields.push(("parameters".to_owned(), parameters(facts.parameters.given)?));
    fields.extend(facts.source.map(|source| {
        let source = source.to_canonical();
        ("source".to_owned(), RestrictedExpression::new_ip(source.to_string()))
    }));
    let seconds = [
        ("requested_life_s", facts.requested_life_s),
        ("since_sensitive_read_s", facts.since_sensitive_read_s),
    ];
    let number = |(name, value): (&str, Option<u32>)| {
        value.map(|value| (name.to_owned(), RestrictedExpression::new_long(i64::from(value))))
    };
    fields.extend(seconds.into_iter().filter_map(number));
    Context::from_pairs(fields).ok()
}

/// The action of a Cedar entity.
pub(super) fn action_of(uid: &EntityUid) -> Option<Action> {
    let id: &str = uid.id().unescaped();
    Action::ALL.into_iter().find(|action| action.as_str() == id)
}
