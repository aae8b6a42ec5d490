use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use super::agent_spec::AgentSpec;
use super::declared::{Access, Capability, Delivery, Role};
use super::owners::Owned;
use super::parameter_declaration::{RawParameters, parameters};
use super::parameters::CapabilityParameters;
use crate::base::limits::{
    LEASE_LIFE_MAX_S, LEASE_LIFE_MIN_S, ROLE_CAPABILITIES_MAX, ROLES_MAX, TOKEN_LIFE_MAX_S, TOKEN_LIFE_MIN_S,
};
use crate::base::{
    AgentName, Audience, CapabilityName, EnvironmentName, NameError, OwnerName, Person, PersonError,
    RoleName, Scope, SecretName,
};
use crate::config::{FaultList, FaultMessage, Faults, SourcePosition, Tables};

/// All that a set of files declares, each with its place.
#[derive(Debug, Default)]
pub struct Declaration {
    pub(super) capabilities: BTreeMap<CapabilityName, (Capability, SourcePosition)>,
    pub(super) roles: BTreeMap<RoleName, (Role, SourcePosition)>,
    /// Resource servers too: those that serve something.
    pub(super) agents: BTreeMap<AgentName, (AgentSpec, SourcePosition)>,
    pub(super) serving: BTreeMap<AgentName, Audience>,
    pub(super) persons: BTreeMap<AgentName, Person>,
    pub(super) owners: BTreeMap<Owned, OwnerName>,
    pub(super) environments: BTreeMap<CapabilityName, (EnvironmentName, SourcePosition)>,
    /// The capabilities to ask for if one of these is denied.
    pub(super) instead: BTreeMap<CapabilityName, (CapabilityName, SourcePosition)>,
    /// What could not be read. Nothing is planned then, but the rest is judged, so that all faults are told at once.
    unread: Unread,
    /// The parameters of the capabilities that have some.
    parameters: BTreeMap<CapabilityName, CapabilityParameters>,
}

/// The parts of the files that could not be read.
#[derive(Clone, Debug, Default)]
struct Unread {
    faults: Option<FaultList>,
    capabilities: bool,
    roles: bool,
}

impl Declaration {
    /// The parameters of this capability, if it has some.
    pub(super) fn parameters_of(&self, capability: &CapabilityName) -> Option<&CapabilityParameters> {
        self.parameters.get(capability)
    }

    /// The faults of what could not be read.
    #[must_use]
    pub const fn faults(&self) -> Option<&FaultList> {
        self.unread.faults.as_ref()
    }

    /// Whether a capability may be missing, because not all could be read: the name of an unknown one is no fault then.
    pub(super) const fn may_lack_capabilities(&self) -> bool {
        self.unread.capabilities
    }

    /// The same for roles.
    pub(super) const fn may_lack_roles(&self) -> bool {
        self.unread.roles
    }
}

/// The tables of declaration files that this room reads.
pub const TABLES: &[&str] = &["capability", "role", "agent", "resource_server"];

/// Reads the room's `tables` into one declaration, for an operator of this `scope`: what
/// names no owner belongs to the owner of the scope.
///
/// Its [`Declaration::faults`] are unknown or mistyped keys, names that are not canonical, values
/// out of range, the same thing declared twice, another owner. References are judged later, by the
/// plan.
pub fn parse(tables: &mut Tables<'_>, scope: &Scope) -> Declaration {
    let mut reader = Reader { scope, declaration: Declaration::default(), faults: tables.faults() };
    for (place, capability) in tables.take("capability", &mut reader.faults) {
        reader.capability(place, capability);
    }
    let of_capabilities = reader.faults.found();
    for (place, role) in tables.take("role", &mut reader.faults) {
        reader.role(place, role);
    }
    let of_roles = reader.faults.found();
    for (place, agent) in tables.take("agent", &mut reader.faults) {
        reader.agent(place, agent);
    }
    for (place, server) in tables.take("resource_server", &mut reader.faults) {
        reader.resource_server(place, server);
    }
    let (mut declaration, faults) = (reader.declaration, reader.faults.or(()).err());
    declaration.unread =
        Unread { faults, capabilities: of_capabilities > 0, roles: of_roles > of_capabilities };
    declaration
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCapability {
    /// The name, which is also the OAuth scope.
    #[schemars(with = "CapabilityName")]
    name: Spanned<String>,
    /// The effect at the upstream.
    access: Access,
    /// How an agent gets it.
    #[schemars(with = "RawDelivery")]
    delivery: Spanned<RawDelivery>,
    /// The service that accepts the token; only for `mint`.
    #[schemars(with = "Option<Audience>")]
    audience: Option<Spanned<String>>,
    /// The secret that the token reads; only for `reveal`.
    #[schemars(with = "Option<SecretName>")]
    secret: Option<Spanned<String>>,
    /// The longest life in seconds: of a token 10 to 3,600, of a lease 60 to 604,800.
    #[schemars(with = "u32", range(min = 10, max = 604_800))]
    max_life_s: Spanned<u32>,
    /// The environment, which has to be declared.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Spanned<String>>,
    /// The capability that an agent is told to ask for if this one is denied.
    #[schemars(with = "Option<CapabilityName>")]
    instead: Option<Spanned<String>>,
    /// The owner.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
    /// The parameters of a token request, by name; only for `mint`.
    #[schemars(with = "Option<RawParameters>")]
    parameters: Option<Spanned<RawParameters>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawDelivery {
    Mint,
    Reveal,
    Lease,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRole {
    /// The name.
    #[schemars(with = "RoleName")]
    name: Spanned<String>,
    /// The capabilities, each once.
    #[schemars(with = "Vec<CapabilityName>", length(max = 256))]
    capabilities: Spanned<Vec<Spanned<String>>>,
    /// The owner.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawAgent {
    /// The name.
    #[schemars(with = "AgentName")]
    name: Spanned<String>,
    /// The roles, each once.
    #[schemars(with = "Vec<RoleName>", length(max = 32))]
    roles: Spanned<Vec<Spanned<String>>>,
    /// The number of machines that can be enrolled at a time; 1 by default.
    #[schemars(with = "Option<u32>", range(min = 1, max = 10_000))]
    max_instances: Option<Spanned<u32>>,
    /// The person for whom the agent acts, e.g. an email address.
    #[schemars(with = "Option<String>", length(min = 1, max = 128))]
    person: Option<Spanned<String>>,
    /// The owner.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawResourceServer {
    /// The name.
    #[schemars(with = "AgentName")]
    name: Spanned<String>,
    /// The audience that the service serves.
    #[schemars(with = "Audience")]
    audience: Spanned<String>,
    /// The number of machines that can be enrolled at a time; 1 by default.
    #[schemars(with = "Option<u32>", range(min = 1, max = 10_000))]
    max_instances: Option<Spanned<u32>>,
    /// The owner.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
}

/// Most instances that may be declared of one agent.
const INSTANCES_MAX: u32 = 10_000;

/// The schemas of the tables that this room reads, by name.
pub fn table_schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
    vec![
        ("capability", RawCapability::json_schema(generator)),
        ("role", RawRole::json_schema(generator)),
        ("agent", RawAgent::json_schema(generator)),
        ("resource_server", RawResourceServer::json_schema(generator)),
    ]
}

struct Reader<'a> {
    scope: &'a Scope,
    declaration: Declaration,
    faults: Faults<'a>,
}

impl Reader<'_> {
    fn fault(&mut self, place: SourcePosition, message: impl Into<FaultMessage>) {
        self.faults.tell(place, message);
    }

    /// Notes whose `thing` is to be.
    fn owner(&mut self, place: SourcePosition, thing: Owned, text: Option<&Spanned<String>>) {
        if let Some(owner) = self.faults.owner(place, text, self.scope) {
            self.declaration.owners.insert(thing, owner);
        }
    }

    fn capability(&mut self, place: SourcePosition, raw: RawCapability) {
        let name = self.faults.name::<CapabilityName>(place, &raw.name);
        let life = *raw.max_life_s.get_ref();
        let (least, most) = match raw.delivery.get_ref() {
            RawDelivery::Mint | RawDelivery::Reveal => (TOKEN_LIFE_MIN_S, TOKEN_LIFE_MAX_S),
            RawDelivery::Lease => (i64::from(LEASE_LIFE_MIN_S), i64::from(LEASE_LIFE_MAX_S)),
        };
        if !(least..=most).contains(&i64::from(life)) {
            let at = place.of(&raw.max_life_s);
            self.fault(at, format!("`max_life_s` must be {least} to {most}"));
        }
        let delivery = self.delivery(place, &raw);
        let environment = raw.environment.as_ref();
        let environment = environment.and_then(|text| Some((self.faults.name(place, text)?, place.of(text))));
        let instead = raw.instead.as_ref();
        let instead = instead.and_then(|text| Some((self.faults.name(place, text)?, place.of(text))));
        let declared = self.parameters(place, &raw);
        let (Some(name), Some(delivery)) = (name, delivery) else { return };
        if !declared.is_empty() {
            self.declaration.parameters.insert(name.clone(), declared);
        }
        if let Some(instead) = instead {
            if instead.0 == name {
                self.fault(instead.1, "`instead` names the capability itself: name another one");
            }
            self.declaration.instead.insert(name.clone(), instead);
        }
        if let Some(environment) = environment {
            self.declaration.environments.insert(name.clone(), environment);
        }
        self.owner(place, Owned::Capability(name.clone()), raw.owner.as_ref());
        let at = place.of(&raw.name);
        let capability = Capability { name: name.clone(), access: raw.access, delivery, max_life_s: life };
        if self.declaration.capabilities.insert(name, (capability, place)).is_some() {
            self.fault(at, "this capability is declared twice");
        }
    }

    fn delivery(&mut self, place: SourcePosition, raw: &RawCapability) -> Option<Delivery> {
        let at = place.of(&raw.delivery);
        match (raw.delivery.get_ref(), &raw.audience, &raw.secret) {
            (RawDelivery::Mint, Some(audience), None) => {
                self.faults.name(place, audience).map(|audience| Delivery::Mint { audience })
            }
            (RawDelivery::Reveal, None, Some(secret)) => {
                self.faults.name(place, secret).map(|secret| Delivery::Reveal { secret })
            }
            (RawDelivery::Lease, None, None) => Some(Delivery::Lease),
            (RawDelivery::Lease, _, _) => {
                self.fault(
                    at,
                    "delivery `lease` has neither `audience` nor `secret`: the `[[lease]]` names the upstream",
                );
                None
            }
            (RawDelivery::Mint, _, Some(_)) => {
                self.fault(at, "delivery `mint` contradicts `secret`: the upstream accepts the token itself");
                None
            }
            (RawDelivery::Mint, None, None) => {
                self.fault(at, "delivery `mint` needs an `audience`: the service that accepts the token");
                None
            }
            (RawDelivery::Reveal, Some(_), _) => {
                self.fault(
                    at,
                    "delivery `reveal` contradicts `audience`: only the broker accepts these tokens",
                );
                None
            }
            (RawDelivery::Reveal, None, None) => {
                self.fault(at, "delivery `reveal` needs a `secret`: the one that its tokens read");
                None
            }
        }
    }

    fn parameters(&mut self, place: SourcePosition, raw: &RawCapability) -> CapabilityParameters {
        let Some(raw_parameters) = &raw.parameters else { return CapabilityParameters::default() };
        let at = place.of(raw_parameters);
        if !matches!(raw.delivery.get_ref(), RawDelivery::Mint) {
            self.fault(
                at,
                "only a capability with the delivery `mint` has `parameters`: the service checks them",
            );
        }
        parameters(raw_parameters.get_ref(), at, &mut self.faults)
    }

    /// The names in a list, none of them twice, at most `max`.
    fn list<N: FromStr<Err = NameError> + Ord>(
        &mut self,
        place: SourcePosition,
        texts: &Spanned<Vec<Spanned<String>>>,
        max: usize,
    ) -> Option<BTreeSet<N>> {
        let before = self.faults.found();
        if texts.get_ref().len() > max {
            self.fault(place.of(texts), format!("more than {max} names"));
        }
        let mut names = BTreeSet::new();
        for text in texts.get_ref() {
            if let Some(name) = self.faults.name(place, text)
                && !names.insert(name)
            {
                self.fault(place.of(text), "this name is in the list twice");
            }
        }
        (self.faults.found() == before).then_some(names)
    }

    fn role(&mut self, place: SourcePosition, raw: RawRole) {
        let name = self.faults.name::<RoleName>(place, &raw.name);
        let capabilities = self.list(place, &raw.capabilities, ROLE_CAPABILITIES_MAX);
        let (Some(name), Some(capabilities)) = (name, capabilities) else { return };
        self.owner(place, Owned::Role(name.clone()), raw.owner.as_ref());
        let at = place.of(&raw.name);
        let role = Role { name: name.clone(), capabilities };
        if self.declaration.roles.insert(name, (role, place)).is_some() {
            self.fault(at, "this role is declared twice");
        }
    }

    fn agent(&mut self, place: SourcePosition, raw: RawAgent) {
        let name = self.faults.name::<AgentName>(place, &raw.name);
        let roles = self.list(place, &raw.roles, ROLES_MAX);
        let max_instances = self.max_instances(place, raw.max_instances.as_ref());
        let person = raw.person.as_ref().and_then(|text| self.person(place, text));
        let (Some(name), Some(roles)) = (name, roles) else { return };
        self.owner(place, Owned::Agent(name.clone()), raw.owner.as_ref());
        if let Some(person) = person {
            self.declaration.persons.insert(name.clone(), person);
        }
        let at = place.of(&raw.name);
        let spec = AgentSpec { name: name.clone(), roles, max_instances };
        if self.declaration.agents.insert(name, (spec, place)).is_some() {
            self.fault(at, "this agent, or a resource server of this name, is declared twice");
        }
    }

    fn person(&mut self, place: SourcePosition, text: &Spanned<String>) -> Option<Person> {
        match text.get_ref().parse() {
            Ok(person) => Some(person),
            Err(error) => {
                let error: PersonError = error;
                self.fault(place.of(text), error.to_string());
                None
            }
        }
    }

    fn resource_server(&mut self, place: SourcePosition, raw: RawResourceServer) {
        let name = self.faults.name::<AgentName>(place, &raw.name);
        let audience = self.faults.name::<Audience>(place, &raw.audience);
        let max_instances = self.max_instances(place, raw.max_instances.as_ref());
        let (Some(name), Some(audience)) = (name, audience) else { return };
        self.owner(place, Owned::Agent(name.clone()), raw.owner.as_ref());
        let at = place.of(&raw.name);
        let spec = AgentSpec { name: name.clone(), roles: BTreeSet::new(), max_instances };
        self.declaration.serving.insert(name.clone(), audience);
        if self.declaration.agents.insert(name, (spec, place)).is_some() {
            self.fault(at, "this resource server, or an agent of this name, is declared twice");
        }
    }

    fn max_instances(&mut self, place: SourcePosition, given: Option<&Spanned<u32>>) -> u32 {
        let Some(max) = given else { return 1 };
        if !(1..=INSTANCES_MAX).contains(max.get_ref()) {
            let at = place.of(max);
            self.fault(at, format!("`max_instances` must be 1 to {INSTANCES_MAX}"));
        }
        *max.get_ref()
    }
}
