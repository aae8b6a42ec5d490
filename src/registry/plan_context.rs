use std::collections::BTreeSet;
use std::fmt;

use super::agent::{Agent, AgentKind};
use super::declaration::Declaration;
use super::declared::{Capability, Delivery, Role};
use super::former_names::NameRefusal;
use super::owners::Owned;
use super::state::Registry;
use crate::base::{
    AgentName, Audience, Cancellation, CapabilityName, EnvironmentName, NearNames, OwnerName, RoleName,
    Scope, SecretName, Sensitivity, refusal_within,
};
use crate::config::{FaultMessage, SourcePosition};

/// The context of a plan: the present objects in an operator's scope.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    /// Agents, roles and capabilities.
    pub registry: &'a Registry,
    /// The scope of the operator.
    pub scope: &'a Scope,
    /// Whether the plan says that a name belongs to another owner.
    pub foreign_names: ForeignNames,
    /// The secret of this name, when there is one within reach, or a declared rotation makes it.
    pub secret: &'a dyn Fn(&SecretName) -> Option<SecretFacts>,
    /// The environments that capabilities can name.
    pub environments: &'a BTreeSet<EnvironmentName>,
    /// The broker itself as an audience.
    pub broker: &'a Audience,
    /// Asked at every step of the plan.
    pub work: &'a Cancellation,
}

/// The properties of a secret for a plan.
#[derive(Clone, Debug)]
pub struct SecretFacts {
    /// The owner of the secret.
    pub owner: Option<OwnerName>,
    /// The sensitivity.
    pub sensitivity: Sensitivity,
}

/// The treatment of objects that the files do not name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Undeclared {
    /// Leaves them alone.
    Keep,
    /// Remove them.
    Prune,
}

/// Whether a plan says that a name belongs to another owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForeignNames {
    /// It does: an operator that declares cannot be kept from it.
    Told,
    /// It does not: the plan is as if the objects of other owners did not exist.
    Hidden,
}

impl PlanContext<'_> {
    fn reaches(&self, thing: &Owned) -> bool {
        self.scope.covers(self.registry.owners().of(thing))
    }

    pub(super) fn capability(&self, name: &CapabilityName) -> Option<&Capability> {
        let found = self.registry.declarations().capability(name);
        found.filter(|_| self.reaches(&Owned::Capability(name.clone())))
    }

    pub(super) fn role(&self, name: &RoleName) -> Option<&Role> {
        let found = self.registry.declarations().role(name);
        found.filter(|_| self.reaches(&Owned::Role(name.clone())))
    }

    pub(super) fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.registry.agent_named(name).filter(|_| self.reaches(&Owned::Agent(name.clone())))
    }

    /// The audiences of capabilities and resource servers that are out of reach: collected once for all that is
    /// declared, which would otherwise be compared with all that there is.
    fn foreign_audiences(&self) -> BTreeSet<&Audience> {
        if *self.scope == Scope::Everything {
            return BTreeSet::new();
        }
        let minted = self.registry.declarations().capabilities().take_while(|_| self.work.step().is_ok());
        let minted = minted.filter_map(|one| match &one.delivery {
            Delivery::Mint { audience } if self.capability(&one.name).is_none() => Some(audience),
            Delivery::Mint { .. } | Delivery::Reveal { .. } | Delivery::Lease => None,
        });
        let served = self.registry.agents().take_while(|_| self.work.step().is_ok());
        let served = served.filter_map(|one| one.serves.as_ref().map(|serves| (one, serves)));
        let served = served.filter(|(one, _)| self.agent(&one.name).is_none()).map(|(_, serves)| serves);
        minted.chain(served).collect()
    }
}

impl fmt::Debug for PlanContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("scope", self.scope).finish_non_exhaustive()
    }
}

/// Names and audiences of other owners. That they are taken cannot be hidden from an operator who
/// wants them.
pub(super) fn out_of_reach(
    ground: &PlanContext<'_>,
    declaration: &Declaration,
    report: &mut dyn FnMut(SourcePosition, FaultMessage),
) {
    if ground.foreign_names == ForeignNames::Hidden {
        return;
    }
    let declared = ground.registry.declarations();
    let former = ground.registry.former();
    let mut live = ground.scope.owner().map_or(0, |owner| ground.registry.live(owner));
    let mut judge = |thing: Owned, place: SourcePosition, is_there: bool| {
        let message = match (is_there, ground.reaches(&thing)) {
            (true, true) => return,
            (true, false) => FaultMessage::foreign("an object of another owner has this name"),
            (false, _) => match former.keeps(ground.scope, &thing, live) {
                None => {
                    live = live.saturating_add(usize::from(!former.knows(&thing)));
                    return;
                }
                Some(NameRefusal::Deleted) => NAME_DELETED.into(),
                Some(NameRefusal::OfAnother) => FaultMessage::foreign(NAME_LEFT),
                Some(NameRefusal::NoRoom) => NAME_TOO_MANY.into(),
                Some(NameRefusal::Full) => NAME_FULL.into(),
            },
        };
        report(place, message);
    };
    for (name, (_, place)) in &declaration.capabilities {
        judge(Owned::Capability(name.clone()), *place, declared.capability(name).is_some());
    }
    for (name, (_, place)) in &declaration.roles {
        judge(Owned::Role(name.clone()), *place, declared.role(name).is_some());
    }
    for (name, (_, place)) in &declaration.agents {
        judge(Owned::Agent(name.clone()), *place, ground.registry.agent_named(name).is_some());
    }
    audiences_out_of_reach(ground, declaration, live, report);
}

/// Audiences that are another owner's. One that stays what it was is not judged: it was moved or shared by an operator
/// who reaches further.
fn audiences_out_of_reach(
    ground: &PlanContext<'_>,
    declaration: &Declaration,
    mut live: usize,
    report: &mut dyn FnMut(SourcePosition, FaultMessage),
) {
    let wanted = declaration.capabilities.values().filter_map(|(capability, place)| {
        let Delivery::Mint { audience } = &capability.delivery else { return None };
        let before = ground.capability(&capability.name).map(|one| &one.delivery);
        (before != Some(&capability.delivery)).then_some((audience, place))
    });
    let served = declaration.serving.iter().filter_map(|(name, audience)| {
        let before = ground.agent(name).and_then(|one| one.serves.as_ref());
        let (_, place) = declaration.agents.get(name).filter(|_| before != Some(audience))?;
        Some((audience, place))
    });
    let foreign = ground.foreign_audiences();
    let former = ground.registry.former();
    let mut seen = BTreeSet::new();
    for (audience, place) in wanted.chain(served) {
        let message = if foreign.contains(audience) {
            FaultMessage::foreign(
                "the `audience` belongs to a capability or a resource server of another owner",
            )
        } else if *ground.scope != Scope::Everything && *audience == *ground.broker {
            BROKER_AUDIENCE.into()
        } else {
            if seen.contains(audience) {
                continue;
            }
            match former.keeps_audience(ground.scope, audience, live) {
                None => {
                    seen.insert(audience);
                    live = live.saturating_add(usize::from(!former.knows_audience(audience)));
                    continue;
                }
                Some(NameRefusal::Deleted | NameRefusal::OfAnother) => FaultMessage::foreign(AUDIENCE_LEFT),
                Some(NameRefusal::NoRoom) => AUDIENCE_TOO_MANY.into(),
                Some(NameRefusal::Full) => AUDIENCE_FULL.into(),
            }
        };
        report(*place, message);
    }
}

const NAME_DELETED: &str = "an agent or a resource server of this name was deleted, and the name stays reserved: choose another name";
const NAME_LEFT: &str = "this name belonged to another owner: choose another name, or ask an operator with the scope `all` to declare it";
const AUDIENCE_LEFT: &str = "the `audience` belonged to a capability or a resource server of another owner: choose another one, or ask an operator with the scope `all` to declare it";
const NAME_TOO_MANY: &str = "the owner has used as many names and audiences as the broker remembers for one owner: use a former name of the owner again, or ask an operator with the scope `all` to declare this one";
const AUDIENCE_TOO_MANY: &str = "the owner has used as many names and audiences as the broker remembers for one owner: use a former `audience` of the owner again, or ask an operator with the scope `all` to declare this one";
const NAME_FULL: &str = "all owners together have used as many names as the broker remembers: use a former name of the owner again, or ask an operator with the scope `all` to declare this one";
const AUDIENCE_FULL: &str = "all owners together have used as many names and audiences as the broker remembers: use a former `audience` of the owner again, or ask an operator with the scope `all` to declare this one";

const BROKER_AUDIENCE: &str = "the `audience` is the broker itself: name the audience of your service";

/// What a plan takes away although something that stays names it, of an owner out of reach: it would mean the object that
/// bears the name next.
pub(super) fn still_named(
    ground: &PlanContext<'_>,
    removed_capabilities: &[CapabilityName],
    removed_roles: &[RoleName],
    report: &mut dyn FnMut(SourcePosition, FaultMessage),
) {
    let at = SourcePosition::UPLOAD;
    let mut refuse = |noun: &str, name: &str, by: &str| {
        let message = format!(
            "{noun} `{name}` cannot be removed: {by} of another owner names it; ask an operator with the scope `all` to change that {by} first"
        );
        report(at, FaultMessage::foreign(message));
    };
    if *ground.scope == Scope::Everything {
        return;
    }
    let roles = ground.registry.declarations().roles().take_while(|_| ground.work.step().is_ok());
    let foreign = roles.filter(|role| ground.role(&role.name).is_none());
    let named: BTreeSet<&CapabilityName> = foreign.flat_map(|role| &role.capabilities).collect();
    for name in removed_capabilities.iter().filter(|name| named.contains(name)) {
        refuse("capability", name.as_str(), "a role");
    }
    if removed_roles.is_empty() {
        return;
    }
    let agents = ground.registry.agents().take_while(|_| ground.work.step().is_ok());
    let foreign = agents.filter(|agent| ground.agent(&agent.name).is_none());
    let held: BTreeSet<&RoleName> = foreign.flat_map(|agent| agent.roles.iter()).collect();
    for name in removed_roles.iter().filter(|name| held.contains(name)) {
        refuse("role", name.as_str(), "an agent");
    }
}

/// A name is an agent's or a resource server's for good: it stands in certificates as the one or the other.
pub(super) fn turned(
    ground: &PlanContext<'_>,
    declaration: &Declaration,
    report: &mut dyn FnMut(SourcePosition, FaultMessage),
) {
    for (name, (_, place)) in &declaration.agents {
        let there = ground.agent(name).map(Agent::kind);
        let noun = match (there, declaration.serving.contains_key(name)) {
            (Some(AgentKind::Agent), true) => "an agent",
            (Some(AgentKind::ResourceServer), false) => "a resource server",
            (Some(AgentKind::Agent), false) | (Some(AgentKind::ResourceServer), true) | (None, _) => continue,
        };
        report(*place, format!("{noun} of this name exists: remove it first, or choose another name").into());
    }
}

/// Whether this capability of this owner is there.
fn is_unchanged(ground: &PlanContext<'_>, capability: &Capability, owner: Option<&OwnerName>) -> bool {
    let before = ground.registry.owners().of(&Owned::Capability(capability.name.clone()));
    ground.capability(&capability.name) == Some(capability) && before == owner
}

const OTHER_OWNER: &str = "the `secret` has the sensitivity `high`, so only capabilities of its owner deliver it: declare this capability with the secret's `owner`";

/// The fault of a declaration whose secret is not among the objects of `scope`. To an operator with an owner it does not say
/// whether another owner has the secret.
pub(crate) fn absent_secret(secret: &SecretName, scope: &Scope) -> FaultMessage {
    match scope {
        Scope::Everything => {
            format!("secret `{secret}` does not exist: store it first (`keyward secret put {secret}`)").into()
        }
        Scope::Owner(owner) => {
            let absent = refusal_within(owner.as_str(), &format!("there is no secret `{secret}`"));
            FaultMessage::foreign(format!(
                "{absent}: an operator with the scope `all` sees whether it exists with another owner or with none \
                 (`keyward secret show {secret}`); a new one is stored with `keyward secret put {secret} --owner {owner}`"
            ))
        }
    }
}

/// The capabilities and roles that declarations can name.
struct KnownNames<'a> {
    ground: &'a PlanContext<'a>,
    declaration: &'a Declaration,
    /// Whether objects that the files do not name stay.
    kept: bool,
}

impl<'a> KnownNames<'a> {
    fn has_capability(&self, name: &CapabilityName) -> bool {
        self.declaration.may_lack_capabilities()
            || self.declaration.capabilities.contains_key(name)
            || (self.kept && self.ground.capability(name).is_some())
    }

    fn has_role(&self, name: &RoleName) -> bool {
        self.declaration.may_lack_roles()
            || self.declaration.roles.contains_key(name)
            || (self.kept && self.ground.role(name).is_some())
    }

    fn capabilities(&self) -> impl Iterator<Item = &'a str> {
        let (ground, kept) = (self.ground, self.kept);
        let present = ground.registry.declarations().capabilities().map(|one| &one.name);
        let present = present.filter(move |name| kept && ground.capability(name).is_some());
        self.declaration.capabilities.keys().chain(present).map(CapabilityName::as_str)
    }

    fn roles(&self) -> impl Iterator<Item = &'a str> {
        let (ground, kept) = (self.ground, self.kept);
        let present = ground.registry.declarations().roles().map(|one| &one.name);
        let present = present.filter(move |name| kept && ground.role(name).is_some());
        self.declaration.roles.keys().chain(present).map(RoleName::as_str)
    }
}

/// What of the declarations that there would be names something that is not there, or may not be reached.
pub(super) fn dangling(
    ground: &PlanContext<'_>,
    declaration: &Declaration,
    unnamed: Undeclared,
    report: &mut dyn FnMut(SourcePosition, FaultMessage),
) {
    let kept = unnamed == Undeclared::Keep;
    let known = KnownNames { ground, declaration, kept };
    let mut near = NearNames::default();
    for (capability, place) in declaration.capabilities.values() {
        let Delivery::Reveal { secret } = &capability.delivery else { continue };
        if ground.work.step().is_err() {
            return;
        }
        let owner = declaration.owners.get(&Owned::Capability(capability.name.clone()));
        match (ground.secret)(secret) {
            None => report(
                *place,
                absent_secret(secret, ground.scope).map(|absent| {
                    format!("{absent}; or declare a `[[rotation]]` that makes its first value")
                }),
            ),
            // Its secret may have become so later: a capability that stays as it is can be declared again.
            Some(_) if is_unchanged(ground, capability, owner) => {}
            Some(secret) if secret.sensitivity == Sensitivity::High && secret.owner.as_ref() != owner => {
                report(*place, OTHER_OWNER.into());
            }
            Some(_) => {}
        }
    }
    for (environment, place) in declaration.environments.values() {
        if !ground.environments.contains(environment) {
            let known = ground.environments.iter().map(EnvironmentName::as_str);
            let near = near.of(environment.as_str(), known);
            let message = format!(
                "environment `{environment}` is not declared: declare it with an `[[environment]]`, or correct the name{near}"
            );
            report(*place, message.into());
        }
    }
    for (instead, place) in declaration.instead.values() {
        if !known.has_capability(instead) {
            let near = near.of(instead.as_str(), known.capabilities());
            report(
                *place,
                format!("`instead` names capability `{instead}`, which is not declared{near}").into(),
            );
        }
    }
    for (role, place) in declaration.roles.values() {
        if ground.work.step().is_err() {
            return;
        }
        for name in &role.capabilities {
            if !known.has_capability(name) {
                let near = near.of(name.as_str(), known.capabilities());
                report(
                    *place,
                    format!("this role names capability `{name}`, which is not declared{near}").into(),
                );
            }
        }
    }
    for (agent, place) in declaration.agents.values() {
        if ground.work.step().is_err() {
            return;
        }
        for name in &agent.roles {
            if !known.has_role(name) {
                let near = near.of(name.as_str(), known.roles());
                report(*place, format!("this agent names role `{name}`, which is not declared{near}").into());
            }
        }
    }
}
