//! Records with declared agents, roles, capabilities and policies. Some of the agents are enrolled, and ask.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use keyward::approvals::Approvals;
use keyward::authn::{AgentPrincipal, Records, agent};
use keyward::base::{
    AgentId, CapabilityName, ClockReading, CodeId, Entropy, InstanceId, RoleName, SystemClock, SystemEntropy,
};
use keyward::crypto::{EcdsaKey, SignatureForm};
use keyward::operators::Operators;
use keyward::pki::{Authority, CertificatePlan, PeerCertificate, Record, new_key_and_request, read_request};
use keyward::quota::{Admitted, Limiter, Rate};
use keyward::registry::{Access, AgentSpec, Capability, Delivery, Registry, Role};
use keyward::revocation::Revocations;
use keyward::rules::{Policy, Rule, Rules, RulesChange};
use keyward::secrets::Catalogue;
use keyward::store::At;
use keyward::{pki, registry, rules};

use crate::{Failed, NOW};

const DAY_S: i64 = 86_400;
/// Agents that have the same roles.
const TEAM: usize = 10;

/// What is declared.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) agents: usize,
    pub(crate) roles_per_agent: usize,
    pub(crate) capabilities_per_role: usize,
    /// Agents that are enrolled, from all over.
    pub(crate) askers: usize,
    /// Of these, three concern the requests of the first agent for its first capability, and the others no request.
    pub(crate) policies: usize,
}

impl Shape {
    /// One agent with one capability.
    pub(crate) const LEAST: Self =
        Self { agents: 1, roles_per_agent: 1, capabilities_per_role: 1, askers: 1, policies: 0 };

    /// So many grants, ten of each agent: two roles with five capabilities each.
    pub(crate) const fn with_grants(grants: usize) -> Self {
        Self { agents: grants.div_ceil(10), roles_per_agent: 2, capabilities_per_role: 5, ..Self::LEAST }
    }

    /// The number of capabilities that agents hold through a role, agent by agent and role by role.
    pub(crate) const fn grants(self) -> usize {
        self.agents * self.roles_per_agent * self.capabilities_per_role
    }
}

/// An enrolled agent, and the capability for which it asks.
struct Asker {
    peer: PeerCertificate,
    scope: BTreeSet<CapabilityName>,
}

/// The records that a decision reads.
pub(crate) struct People {
    registry: Registry,
    secrets: Catalogue,
    operators: Operators,
    authorities: Record,
    revocations: Revocations,
    rules: Rules,
    approvals: Approvals,
    askers: Vec<Asker>,
}

impl People {
    pub(crate) fn new(shape: Shape) -> Result<Self, Failed> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let pkcs8 = EcdsaKey::generate()?;
        let key = || EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1);
        let certificate = Authority::found(&"bench.internal".parse()?, &key()?, NOW, entropy)?;
        let authority = Authority::new(certificate.clone(), key()?)?;
        let mut people = Self {
            registry: Registry::default(),
            secrets: Catalogue::default(),
            operators: Operators::default(),
            authorities: Record::default(),
            revocations: Revocations::default(),
            rules: Rules::default(),
            approvals: Approvals::default(),
            askers: Vec::with_capacity(shape.askers),
        };
        people.authorities.apply(AT, &pki::Effect::Found(certificate));
        people.registry.apply(AT, &declared(shape)?);
        let step = shape.agents.div_ceil(shape.askers);
        for number in 0..shape.agents {
            let id = AgentId::mint(NOW, entropy);
            let roles = roles_of(shape, number / TEAM)?;
            let spec = AgentSpec { name: name(number).parse()?, roles, max_instances: 1 };
            people.registry.apply(AT, &registry::Effect::PutAgent { id, spec });
            if number.is_multiple_of(step) {
                people.enrol(&authority, number, id)?;
            }
        }
        let policies = (0..shape.policies).map(policy).collect::<Result<_, _>>()?;
        let change = RulesChange { policies, ..RulesChange::default() };
        people.rules.apply(&rules::Effect::Declare(change));
        Ok(people)
    }

    fn enrol(&mut self, authority: &Authority, number: usize, agent: AgentId) -> Result<(), Failed> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let (_, request) = new_key_and_request()?;
        let key = read_request(&request)?;
        let spiffe = format!("spiffe://bench.internal/agent/{}", name(number)).parse()?;
        let end = authority.public().not_after();
        let plan = CertificatePlan::draw(spiffe, &key, NOW, DAY_S, end, entropy);
        let peer = PeerCertificate::parse(&authority.sign(&plan, &key)?)?;
        let enrol = registry::Effect::Enrol {
            code: CodeId::mint(NOW, entropy),
            agent,
            instance: InstanceId::mint(NOW, entropy),
            serial: *plan.serial.as_bytes(),
            key: key.digest(),
            not_before: plan.not_before,
            not_after: plan.not_after,
        };
        self.registry.apply(AT, &enrol);
        let scope = [capability_name(number / TEAM, 0, 0)?].into();
        self.askers.push(Asker { peer, scope });
        Ok(())
    }

    pub(crate) fn records(&self) -> Records<'_> {
        let Self { registry, secrets, operators, authorities, revocations, rules, approvals, .. } = self;
        Records { registry, operators, secrets, rules, approvals, revocations, authorities, is_frozen: false }
    }

    /// Who asks in this turn.
    pub(crate) fn principal(&self, turn: usize) -> Result<AgentPrincipal, Failed> {
        let asker = &self.askers[turn % self.askers.len()];
        Ok(agent(&asker.peer, self.records(), 1, ClockReading::at(NOW))?)
    }

    /// What is asked for in this turn.
    pub(crate) fn scope(&self, turn: usize) -> &BTreeSet<CapabilityName> {
        &self.askers[turn % self.askers.len()].scope
    }

    pub(crate) fn admitted(&self) -> Result<Admitted, Failed> {
        let one = NonZeroU32::MIN;
        let limiter = Limiter::new(Rate { per_s: one, burst: one }, Arc::new(SystemClock::new()));
        Ok(limiter.admit(&0)?)
    }
}

const AT: At = At { seq: 1, time: NOW };

fn name(number: usize) -> String {
    format!("agent-{number}")
}

fn role_name(team: usize, role: usize) -> Result<RoleName, Failed> {
    Ok(format!("team-{team}-{role}").parse()?)
}

fn capability_name(team: usize, role: usize, capability: usize) -> Result<CapabilityName, Failed> {
    Ok(format!("bench.service-{team}-{role}-{capability}.write").parse()?)
}

fn roles_of(shape: Shape, team: usize) -> Result<BTreeSet<RoleName>, Failed> {
    (0..shape.roles_per_agent).map(|role| role_name(team, role)).collect()
}

/// The roles of all teams, with capabilities of their own.
fn declared(shape: Shape) -> Result<registry::Effect, Failed> {
    let (mut capabilities, mut roles) = (Vec::new(), Vec::new());
    for team in 0..shape.agents.div_ceil(TEAM) {
        for role in 0..shape.roles_per_agent {
            let names = (0..shape.capabilities_per_role).map(|one| capability_name(team, role, one));
            let held = names.collect::<Result<BTreeSet<_>, _>>()?;
            for name in &held {
                capabilities.push(Capability {
                    name: name.clone(),
                    access: Access::Write,
                    delivery: Delivery::Mint { audience: "https://service.bench.internal".parse()? },
                    max_life_s: 300,
                });
            }
            roles.push(Role { name: role_name(team, role)?, capabilities: held });
        }
    }
    let (removed_capabilities, removed_roles) = (Vec::new(), Vec::new());
    Ok(registry::Effect::Declare { capabilities, removed_capabilities, roles, removed_roles })
}

/// The first three concern the first agent, each by another part of the head; each of the others names another agent.
fn policy(number: usize) -> Result<Policy, Failed> {
    let head = match number {
        0 => format!("principal == Keyward::Agent::\"{}\", action, resource", name(0)),
        1 => format!("principal in Keyward::Role::\"{}\", action, resource", role_name(0, 0)?),
        2 => {
            let capability = capability_name(0, 0, 0)?;
            format!("principal, action, resource == Keyward::Capability::\"{capability}\"")
        }
        _ => format!("principal == Keyward::Agent::\"other-{number}\", action, resource"),
    };
    let rule = Rule::declared(&format!("forbid ({head}) when {{ context.time.hour > 23 }};"));
    let rule = rule.map_err(|faults| format!("{faults:?}"))?;
    Ok(Policy { name: format!("p-{number}").parse()?, rule, owner: None })
}
