//! Declarations of what the broker has, in the form of declaration files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::exported_parameters::{ParameterTable, parameter_tables};
use crate::base::limits::DECLARATION_BYTES_MAX;
use crate::base::{
    AgentName, ApproverGroupName, Audience, Cancellation, CapabilityName, EnvironmentName, OperatorName,
    OwnerName, ParameterName, Person, PolicyName, RoleName, Scope, SecretName, code, length_text,
};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::config::toml_table;
use crate::policy::{Authorised, ExportDeclarations};
use crate::registry::{Agent, Capability, Owned, Role};
use crate::rotation::{Rotation, ScheduleFields};
use crate::rules::{Environment, Policy, Rules};
use crate::upstream::{stored_driver, stored_lease_driver};
use crate::wire::{DeclaredKind, ExportAnswer};

/// Which objects are exported.
#[derive(Debug, Default)]
pub struct ExportFilter {
    /// Objects of these kinds; of all kinds if it is empty.
    pub kinds: Vec<DeclaredKind>,
    /// Objects of this owner; of all owners without one.
    pub owner: Option<OwnerName>,
}

impl AdminServices {
    /// Declarations of the objects within the operator's scope that `filter` accepts. A plan of them changes nothing.
    ///
    /// # Errors
    /// [`Failure`] if they are more than an upload holds.
    pub fn export(
        &self,
        by: &Authorised<ExportDeclarations>,
        filter: &ExportFilter,
        work: &Cancellation,
    ) -> Result<ExportAnswer, Failure> {
        let scope = by.operator().scope();
        self.0.state.store.read(|world, _| {
            let mut export = Export::new(world, scope, filter, work);
            export.rules(world.rules())?;
            export.capabilities()?;
            export.roles()?;
            export.agents()?;
            export.rotations()?;
            export.leases()?;
            Ok(export.answer())
        })
    }
}

/// Declarations of `rules`, e.g. of earlier ones.
///
/// # Errors
/// [`Failure`] if they are more than an upload holds.
pub(in crate::broker) fn exported_rules(
    world: &World,
    rules: &Rules,
    scope: &Scope,
    work: &Cancellation,
) -> Result<ExportAnswer, Failure> {
    let filter = ExportFilter::default();
    let mut export = Export::new(world, scope, &filter, work);
    export.rules(rules)?;
    Ok(export.answer())
}

const HEAD: &str = "# Written by `keyward export`. Secrets and operators are not declared.\n";

struct Export<'a> {
    world: &'a World,
    scope: &'a Scope,
    filter: &'a ExportFilter,
    work: &'a Cancellation,
    text: String,
    objects: usize,
    left_out: usize,
}

/// An object that is exported.
struct Exported<'a, T> {
    kind: DeclaredKind,
    /// The name of its table.
    table: &'static str,
    name: &'a str,
    owner: Option<&'a OwnerName>,
    /// Whether it names an object that is not within the scope: the operator could not declare it.
    is_beyond: bool,
    fields: T,
}

impl<'a> Export<'a> {
    fn new(world: &'a World, scope: &'a Scope, filter: &'a ExportFilter, work: &'a Cancellation) -> Self {
        Self { world, scope, filter, work, text: HEAD.to_owned(), objects: 0, left_out: 0 }
    }

    fn answer(self) -> ExportAnswer {
        let Self { text, objects, left_out, .. } = self;
        ExportAnswer { text, objects, left_out }
    }

    fn rules(&mut self, rules: &Rules) -> Result<(), Failure> {
        self.environments(rules)?;
        self.approver_groups(rules)?;
        self.policies(rules)
    }

    fn add<T: Serialize>(&mut self, object: &Exported<'_, T>) -> Result<(), Failure> {
        self.work.step()?;
        let Exported { kind, table, name, owner, is_beyond, fields } = object;
        let is_wanted = self.filter.kinds.is_empty() || self.filter.kinds.contains(kind);
        let is_owned = self.filter.owner.as_ref().is_none_or(|wanted| *owner == Some(wanted));
        if !self.scope.covers(*owner) || !is_wanted || !is_owned {
            return Ok(());
        }
        if *is_beyond {
            self.text.push_str(&format!(
                "\n# {} {name} is left out: it names an object of another owner, so only an operator with the scope `all` can \
                 declare it. Do not apply this file with `--prune`.\n",
                kind.as_str()
            ));
            self.left_out = self.left_out.saturating_add(1);
        } else {
            let written = toml_table(table, fields).ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))?;
            self.text.push('\n');
            self.text.push_str(&written);
            self.objects = self.objects.saturating_add(1);
        }
        if self.text.len() > DECLARATION_BYTES_MAX {
            return Err(Failure::new(code::EXPORT_TOO_LARGE));
        }
        Ok(())
    }

    fn owner(&self, thing: &Owned) -> Option<&OwnerName> {
        self.world.registry.owners().of(thing)
    }

    fn reaches(&self, thing: Owned) -> bool {
        self.scope.covers(self.owner(&thing))
    }

    fn reaches_secret(&self, name: &SecretName) -> bool {
        let secret = self.world.secrets.existing(name);
        secret.is_some_and(|secret| self.scope.covers(secret.owner.as_ref()))
    }

    fn environments(&mut self, rules: &Rules) -> Result<(), Failure> {
        for Environment { name, owner } in rules.environments() {
            self.add(&Exported {
                kind: DeclaredKind::Environment,
                table: "environment",
                name: name.as_str(),
                owner: owner.as_ref(),
                is_beyond: false,
                fields: EnvironmentTable { name, owner: owner.as_ref() },
            })?;
        }
        Ok(())
    }

    fn approver_groups(&mut self, rules: &Rules) -> Result<(), Failure> {
        for group in rules.groups() {
            let escalation = group.escalation.as_ref();
            self.add(&Exported {
                kind: DeclaredKind::ApproverGroup,
                table: "approver_group",
                name: group.name.as_str(),
                owner: group.owner.as_ref(),
                is_beyond: false,
                fields: ApproverGroupTable {
                    name: &group.name,
                    operators: &group.operators,
                    operators_of: group.operators_of.as_ref(),
                    escalate_after: escalation.map(|one| length_text(one.after_s)),
                    escalate_to: escalation.map(|one| &one.to),
                    owner: group.owner.as_ref(),
                },
            })?;
        }
        Ok(())
    }

    fn policies(&mut self, rules: &Rules) -> Result<(), Failure> {
        for Policy { name, rule, owner } in rules.policies() {
            self.add(&Exported {
                kind: DeclaredKind::Policy,
                table: "policy",
                name: name.as_str(),
                owner: owner.as_ref(),
                // A policy that stays as it is can be declared again, also if it names other objects.
                is_beyond: false,
                fields: PolicyTable { name, rule: rule.text(), owner: owner.as_ref() },
            })?;
        }
        Ok(())
    }

    fn capabilities(&mut self) -> Result<(), Failure> {
        let world = self.world;
        for one in world.registry.declarations().capabilities() {
            let owner = world.registry.owners().of(&Owned::Capability(one.name.clone()));
            let environment = world.registry.declarations().environment_of(&one.name);
            let instead = world.registry.declarations().instead_of(&one.name);
            self.add(&Exported {
                kind: DeclaredKind::Capability,
                table: "capability",
                name: one.name.as_str(),
                owner,
                is_beyond: one.delivery.secret().is_some_and(|secret| !self.reaches_secret(secret))
                    || instead.is_some_and(|instead| !self.reaches(Owned::Capability(instead.clone()))),
                fields: CapabilityTable {
                    environment,
                    instead,
                    owner,
                    parameters: world.registry.declarations().parameters_of(&one.name).map(parameter_tables),
                    ..CapabilityTable::of(one)
                },
            })?;
        }
        Ok(())
    }

    fn roles(&mut self) -> Result<(), Failure> {
        let world = self.world;
        for Role { name, capabilities } in world.registry.declarations().roles() {
            let owner = world.registry.owners().of(&Owned::Role(name.clone()));
            self.add(&Exported {
                kind: DeclaredKind::Role,
                table: "role",
                name: name.as_str(),
                owner,
                is_beyond: capabilities.iter().any(|one| !self.reaches(Owned::Capability(one.clone()))),
                fields: RoleTable { name, capabilities, owner },
            })?;
        }
        Ok(())
    }

    fn agents(&mut self) -> Result<(), Failure> {
        let world = self.world;
        for agent in world.registry.agents() {
            let Agent { name, roles, max_instances, serves, person, .. } = agent;
            let (owner, max_instances) =
                (world.registry.owners().of(&Owned::Agent(name.clone())), *max_instances);
            let is_beyond = roles.iter().any(|role| !self.reaches(Owned::Role(role.clone())));
            match serves {
                Some(audience) => self.add(&Exported {
                    kind: DeclaredKind::ResourceServer,
                    table: "resource_server",
                    name: name.as_str(),
                    owner,
                    is_beyond,
                    fields: ResourceServerTable { name, audience, max_instances, owner },
                })?,
                None => self.add(&Exported {
                    kind: DeclaredKind::Agent,
                    table: "agent",
                    name: name.as_str(),
                    owner,
                    is_beyond,
                    fields: AgentTable { name, roles, max_instances, person: person.as_ref(), owner },
                })?,
            }
        }
        Ok(())
    }

    fn rotations(&mut self) -> Result<(), Failure> {
        let world = self.world;
        for rotation in world.rotations.all() {
            let secret = &rotation.declared.secret;
            let owner = world.secrets.named(secret).and_then(|secret| secret.owner.as_ref());
            let driver = stored_driver(&rotation.declared.upstream);
            let admin = driver.ok().and_then(|driver| driver.admin_secret().cloned());
            self.add(&Exported {
                kind: DeclaredKind::Rotation,
                table: "rotation",
                name: secret.as_str(),
                owner,
                is_beyond: admin.is_some_and(|admin| !self.reaches_secret(&admin)),
                fields: RotationTable::of(rotation)?,
            })?;
        }
        Ok(())
    }

    fn leases(&mut self) -> Result<(), Failure> {
        let world = self.world;
        for offer in world.leases.offers() {
            let capability = &offer.capability;
            let driver = stored_lease_driver(&offer.upstream);
            self.add(&Exported {
                kind: DeclaredKind::Lease,
                table: "lease",
                name: capability.as_str(),
                owner: world.registry.owners().of(&Owned::Capability(capability.clone())),
                is_beyond: driver.is_ok_and(|driver| !self.reaches_secret(driver.admin_secret())),
                fields: LeaseTable {
                    capability,
                    per_agent: offer.per_agent,
                    upstream: upstream(&offer.upstream)?,
                },
            })?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct EnvironmentTable<'a> {
    name: &'a EnvironmentName,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
}

#[derive(Serialize)]
struct ApproverGroupTable<'a> {
    name: &'a ApproverGroupName,
    operators: &'a BTreeSet<OperatorName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operators_of: Option<&'a OwnerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalate_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalate_to: Option<&'a ApproverGroupName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
}

#[derive(Serialize)]
struct PolicyTable<'a> {
    name: &'a PolicyName,
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
}

#[derive(Serialize)]
struct CapabilityTable<'a> {
    name: &'a CapabilityName,
    access: &'static str,
    delivery: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'a Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a SecretName>,
    max_life_s: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a EnvironmentName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<&'a CapabilityName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
    // At the end, as TOML demands of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BTreeMap<&'a ParameterName, ParameterTable<'a>>>,
}

impl<'a> CapabilityTable<'a> {
    const fn of(one: &'a Capability) -> Self {
        Self {
            name: &one.name,
            access: one.access.as_str(),
            delivery: one.delivery.as_str(),
            audience: one.delivery.audience(),
            secret: one.delivery.secret(),
            max_life_s: one.max_life_s,
            environment: None,
            instead: None,
            owner: None,
            parameters: None,
        }
    }
}

#[derive(Serialize)]
struct RoleTable<'a> {
    name: &'a RoleName,
    capabilities: &'a BTreeSet<CapabilityName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
}

#[derive(Serialize)]
struct AgentTable<'a> {
    name: &'a AgentName,
    roles: &'a BTreeSet<RoleName>,
    max_instances: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<&'a Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
}

#[derive(Serialize)]
struct ResourceServerTable<'a> {
    name: &'a AgentName,
    audience: &'a Audience,
    max_instances: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a OwnerName>,
}

#[derive(Serialize)]
struct RotationTable<'a> {
    secret: &'a SecretName,
    #[serde(flatten)]
    schedule: Option<ScheduleFields>,
    grace: String,
    upstream: BTreeMap<String, Value>,
}

impl<'a> RotationTable<'a> {
    fn of(rotation: &'a Rotation) -> Result<Self, Failure> {
        let declared = &rotation.declared;
        Ok(Self {
            secret: &declared.secret,
            schedule: declared.schedule.as_ref().map(crate::rotation::Schedule::fields),
            grace: length_text(declared.grace_s),
            upstream: upstream(&declared.upstream)?,
        })
    }
}

#[derive(Serialize)]
struct LeaseTable<'a> {
    capability: &'a CapabilityName,
    per_agent: u32,
    upstream: BTreeMap<String, Value>,
}

/// A stored upstream as its declaration.
fn upstream(stored: &str) -> Result<BTreeMap<String, Value>, Failure> {
    serde_json::from_str(stored).map_err(|_| Failure::new(code::RECORD_UNREADABLE))
}
