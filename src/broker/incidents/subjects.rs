use std::borrow::Cow;

use crate::base::{
    CapabilityName, OperatorEnrolment, OwnerName, RoleName, Scope, SecretName, Serial, SubjectName, code,
};
use crate::broker::administration::near_names::{NamedKind, near_within};
use crate::broker::failure::Failure;
use crate::broker::identity::operators::{is_deleted, operator_unknown};
use crate::broker::identity::revoke::agent_with;
use crate::broker::identity::revoke_certificate::{holder_of, operator_of};
use crate::broker::owners::has_owner;
use crate::broker::requested_object::RequestedObject;
use crate::broker::world::World;
use crate::incidents::{AffectedSubject, Incident, IncidentSubject};
use crate::operators::Operator;
use crate::registry::{Agent, Owned};
use crate::revocation::Subject;

/// A subject of the records.
pub(super) struct FoundSubject<'w> {
    pub(super) subject: Subject,
    /// The subject, as entries name it.
    pub(super) named: IncidentSubject,
    pub(super) owner: Option<OwnerName>,
    /// The contained operator, or the operator of a certificate.
    pub(super) operator: Option<&'w Operator>,
    /// The enrolment of an operator's certificate, which the containment revokes too: the other certificates of the
    /// enrolment are renewals of this one.
    pub(super) enrolment: Option<OperatorEnrolment>,
}

impl<'w> FoundSubject<'w> {
    /// The subject of this name, if it exists and is within `scope`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn find(world: &'w World, scope: &Scope, name: &SubjectName) -> Result<Self, Failure> {
        let about = |failure: Failure| failure.about(RequestedObject::Subject(name.clone()));
        check_scope(scope, name).map_err(about)?;
        let found = Self::named(world, name).filter(|found| scope.covers(found.owner.as_ref()));
        found.ok_or_else(|| about(unknown(world, scope, name)))
    }

    fn named(world: &'w World, name: &SubjectName) -> Option<Self> {
        match name {
            SubjectName::Agent(agent) => Self::of_agent(world, world.registry.agent_named(agent)?),
            SubjectName::Instance(id) => {
                Self::of_holder(world, name, Subject::Instance(*id), agent_with(world, *id)?)
            }
            SubjectName::Operator(operator) => {
                world.operators.named(operator).map(|one| Self::of_operator(name, one))
            }
            SubjectName::Role(role) => Self::of_role(world, name, role),
            SubjectName::Capability(capability) => Self::of_capability(world, name, capability),
            SubjectName::Owner(owner) => Self::of_owner(world, name, owner),
            SubjectName::Secret(secret) => Self::of_secret(world, name, secret),
            SubjectName::Certificate(serial) => Self::of_certificate(world, name, *serial),
            SubjectName::Token(id) => Some(Self::shared(name, Subject::Token(*id))),
            SubjectName::Network(network) => Some(Self::shared(name, Subject::Network(*network))),
            SubjectName::Everything => Some(Self::shared(name, Subject::Everything)),
        }
    }

    fn of_agent(world: &World, agent: &Agent) -> Option<Self> {
        let subject = Subject::Agent(agent.id);
        let found = Self::shared(&SubjectName::Agent(agent.name.clone()), subject);
        let named = IncidentSubject { id: Some(agent.id.to_string()), ..found.named };
        Some(Self { named, owner: owner_of(world, agent), ..found })
    }

    /// One of the credentials of an agent.
    fn of_holder(world: &World, name: &SubjectName, subject: Subject, agent: &Agent) -> Option<Self> {
        let found = Self::shared(name, subject);
        let named = IncidentSubject { agent: Some(agent.name.to_string()), ..found.named };
        Some(Self { named, owner: owner_of(world, agent), ..found })
    }

    fn of_operator(name: &SubjectName, operator: &'w Operator) -> Self {
        let found = Self::shared(name, Subject::Operator(operator.id));
        let named = IncidentSubject { id: Some(operator.id.to_string()), ..found.named };
        Self { named, operator: Some(operator), ..found }
    }

    fn of_role(world: &World, name: &SubjectName, role: &RoleName) -> Option<Self> {
        world.registry.declarations().role(role)?;
        let owner = world.registry.owners().of(&Owned::Role(role.clone())).cloned();
        Some(Self { owner, ..Self::shared(name, Subject::Role(role.clone())) })
    }

    fn of_capability(world: &World, name: &SubjectName, capability: &CapabilityName) -> Option<Self> {
        world.registry.declarations().capability(capability)?;
        let owner = world.registry.owners().of(&Owned::Capability(capability.clone())).cloned();
        Some(Self { owner, ..Self::shared(name, Subject::Capability(capability.clone())) })
    }

    fn of_owner(world: &World, name: &SubjectName, owner: &OwnerName) -> Option<Self> {
        let found = Self::shared(name, Subject::Owner(owner.clone()));
        has_owner(world, owner).then(|| Self { owner: Some(owner.clone()), ..found })
    }

    fn of_secret(world: &World, name: &SubjectName, secret: &SecretName) -> Option<Self> {
        let owner = world.secrets.existing(secret)?.owner.clone();
        Some(Self { owner, ..Self::shared(name, Subject::Secret(secret.clone())) })
    }

    fn of_certificate(world: &'w World, name: &SubjectName, serial: Serial) -> Option<Self> {
        let subject = Subject::Certificate(*serial.as_bytes());
        if let Some((_, agent)) = holder_of(world, serial) {
            return Self::of_holder(world, name, subject, agent);
        }
        let operator = operator_of(world, serial)?;
        let found = Self::shared(name, subject);
        let named = IncidentSubject { operator: Some(operator.name.to_string()), ..found.named };
        let enrolment = operator.enrolment_of(serial.as_bytes());
        Some(Self { named, operator: Some(operator), enrolment, ..found })
    }

    /// A subject without an owner.
    fn shared(name: &SubjectName, subject: Subject) -> Self {
        Self { subject, named: named_as(name), owner: None, operator: None, enrolment: None }
    }
}

/// Whether there is a subject of this name. Tokens and networks are in no list.
pub(crate) fn has_subject(world: &World, name: &SubjectName) -> bool {
    FoundSubject::named(world, name).is_some()
}

/// The subject that `named` was when it was contained, also if it is gone.
pub(super) fn subject_of(named: &IncidentSubject) -> Option<Subject> {
    let IncidentSubject { kind, id, name, .. } = named;
    let (id, name) = (id.as_deref(), name.as_deref());
    match kind.as_str() {
        "agent" => id?.parse().ok().map(Subject::Agent),
        "operator" => id?.parse().ok().map(Subject::Operator),
        _ => match SubjectName::of(kind, id.or(name)).ok()? {
            SubjectName::Instance(id) => Some(Subject::Instance(id)),
            SubjectName::Role(name) => Some(Subject::Role(name)),
            SubjectName::Capability(name) => Some(Subject::Capability(name)),
            SubjectName::Owner(name) => Some(Subject::Owner(name)),
            SubjectName::Secret(name) => Some(Subject::Secret(name)),
            SubjectName::Certificate(serial) => Some(Subject::Certificate(*serial.as_bytes())),
            SubjectName::Token(id) => Some(Subject::Token(id)),
            SubjectName::Network(network) => Some(Subject::Network(network)),
            SubjectName::Everything => Some(Subject::Everything),
            SubjectName::Agent(_) | SubjectName::Operator(_) => None,
        },
    }
}

/// Whether a containment of the subject can refuse unrestricted admins.
pub(super) const fn is_of_operators(subject: &Subject) -> bool {
    matches!(
        subject,
        Subject::Operator(_) | Subject::OperatorEnrolment(_) | Subject::Certificate(_) | Subject::Network(_)
    )
}

/// Whether every affected subject is within the scope now; one that is gone, by its last known owner.
pub(super) fn is_within(world: &World, scope: &Scope, incident: &Incident) -> bool {
    incident.affected.iter().all(|one| scope.covers(owner_now(world, one)))
}

/// The present owner of the subject, or the one of then if the subject is gone.
pub(super) fn owner_now<'w>(world: &'w World, affected: &'w AffectedSubject) -> Option<&'w OwnerName> {
    let owners = world.registry.owners();
    let of_agent = |agent: &Agent| owners.of(&Owned::Agent(agent.name.clone()));
    let AffectedSubject { subject, owner } = affected;
    let present = match subject_of(subject)? {
        Subject::Agent(id) => world.registry.agent(id).map(of_agent),
        Subject::Instance(_) | Subject::Certificate(_) => {
            let name = subject.agent.as_ref().and_then(|name| name.parse().ok());
            name.and_then(|name| world.registry.agent_named(&name)).map(of_agent)
        }
        Subject::Role(name) => {
            world.registry.declarations().role(&name).map(|_| owners.of(&Owned::Role(name.clone())))
        }
        Subject::Capability(name) => {
            let declared = world.registry.declarations().capability(&name);
            declared.map(|_| owners.of(&Owned::Capability(name.clone())))
        }
        Subject::Secret(name) => world.secrets.named(&name).map(|secret| secret.owner.as_ref()),
        Subject::Owner(_)
        | Subject::Lineage(_)
        | Subject::Token(_)
        | Subject::Operator(_)
        | Subject::OperatorEnrolment(_)
        | Subject::Network(_)
        | Subject::Everything => None,
    };
    present.unwrap_or(owner.as_ref())
}

/// The subject as its name alone says it.
pub(super) fn named_as(name: &SubjectName) -> IncidentSubject {
    let kind = name.kind().to_owned();
    IncidentSubject { kind, id: name.id(), name: name.name(), agent: None, operator: None }
}

fn owner_of(world: &World, agent: &Agent) -> Option<OwnerName> {
    world.registry.owners().of(&Owned::Agent(agent.name.clone())).cloned()
}

/// Subjects that no owner has need the scope `all`, and so does another owner: before any look at the records, so that
/// the refusal tells nothing about them.
fn check_scope(scope: &Scope, name: &SubjectName) -> Result<(), Failure> {
    let Some(own) = scope.owner() else { return Ok(()) };
    let is_beyond = match name {
        SubjectName::Operator(_)
        | SubjectName::Token(_)
        | SubjectName::Network(_)
        | SubjectName::Everything => true,
        SubjectName::Owner(owner) => owner != own,
        SubjectName::Agent(_)
        | SubjectName::Instance(_)
        | SubjectName::Role(_)
        | SubjectName::Capability(_)
        | SubjectName::Secret(_)
        | SubjectName::Certificate(_) => false,
    };
    if !is_beyond {
        return Ok(());
    }
    let why = format!("your scope is the owner `{own}`, and `{name}` is not limited to this owner");
    Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT).because(why))
}

fn unknown(world: &World, scope: &Scope, name: &SubjectName) -> Failure {
    let near = |kind, text: &str| near_within(world, scope, kind, text);
    let (why, fix): (String, Cow<'static, str>) = match name {
        SubjectName::Operator(operator) => {
            if *scope == Scope::Everything && is_deleted(world.registry.former(), operator) {
                return operator_unknown(world, operator);
            }
            let near = near(NamedKind::Operator, operator.as_str());
            let why = format!("there is no operator `{operator}`{near}");
            return Failure::new(code::OPERATOR_UNKNOWN).because(why);
        }
        SubjectName::Agent(agent) => {
            let near = near(NamedKind::Agent, agent.as_str());
            (format!("there is no agent `{agent}`{near}"), "`keyward agent list` shows the agents".into())
        }
        SubjectName::Role(role) => {
            let near = near(NamedKind::Role, role.as_str());
            (format!("no role `{role}` is declared{near}"), "`keyward role list` shows the roles".into())
        }
        SubjectName::Capability(capability) => (
            format!(
                "no capability `{capability}` is declared{}",
                near(NamedKind::Capability, capability.as_str())
            ),
            "`keyward capability list` shows the capabilities".into(),
        ),
        SubjectName::Secret(secret) => {
            let near = near(NamedKind::Secret, secret.as_str());
            (format!("there is no secret `{secret}`{near}"), "`keyward secret list` shows the secrets".into())
        }
        SubjectName::Owner(owner) => (
            format!(
                "no agent, capability, role, secret or operator has the owner `{owner}`{}",
                near(NamedKind::Owner, owner.as_str())
            ),
            "`keyward agent list` and `keyward secret list` show the owners".into(),
        ),
        SubjectName::Instance(_)
        | SubjectName::Certificate(_)
        | SubjectName::Token(_)
        | SubjectName::Network(_)
        | SubjectName::Everything => (
            format!("there is no {}", name.to_string().replacen('/', " ", 1)),
            code::SUBJECT_UNKNOWN.fix().into(),
        ),
    };
    Failure::new(code::SUBJECT_UNKNOWN).because(why).mended_by(fix)
}
