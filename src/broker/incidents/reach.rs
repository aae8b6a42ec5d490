use std::net::IpAddr;

use super::used_from::UsedFrom;
use crate::authn::{Credential, is_under, live};
use crate::base::limits::{INCIDENT_NAMES_MAX, LEEWAY_S, TOKEN_LIFE_MAX_S};
use crate::base::{AgentName, Cancellation, CapabilityName, LeaseId, Timestamp, TokenId};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::leases::{Lease, LeaseStage};
use crate::operators::Operator;
use crate::registry::{Agent, Instance};
use crate::revocation::Subject;
use crate::wire::{NamesAnswer, ReachAnswer};

/// The time after which every token of before has expired.
const TOKENS_END_S: i64 = TOKEN_LIFE_MAX_S + LEEWAY_S;

/// Objects that are read at a time, so that no request waits.
const PART: usize = 1000;

/// The credentials under a subject.
#[derive(Default)]
struct Reach {
    agents: Names,
    certificates: usize,
    operators: Names,
    operator_certificates: usize,
    enrolment_codes: usize,
    leases: usize,
    accepted: usize,
}

#[derive(Default)]
struct Names {
    count: usize,
    names: Vec<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        self.count = self.count.saturating_add(1);
        if self.names.len() < INCIDENT_NAMES_MAX {
            self.names.push(name.to_owned());
        }
    }

    fn answer(self) -> NamesAnswer {
        NamesAnswer { count: self.count, names: self.names }
    }
}

/// A look at the records for these subjects.
pub(super) struct Look<'w> {
    pub(super) world: &'w World,
    pub(super) subjects: &'w [Subject],
    pub(super) now: Timestamp,
}

impl Services {
    /// Counts the credentials under one of `subjects` that have not expired; their tokens of before `contained` have expired
    /// by the time that the answer names. The records are read in parts.
    pub(super) fn count_credentials(
        &self,
        subjects: &[Subject],
        contained: Timestamp,
        work: &Cancellation,
    ) -> Result<ReachAnswer, Failure> {
        let (mut reach, now) = (Reach::default(), self.state.clock.now());
        let used = self.used_from(subjects);
        let store = &self.state.store;
        let mut agents_after: Option<AgentName> = None;
        loop {
            work.step()?;
            agents_after = store.read(|world, _| {
                Look { world, subjects, now }.count_agents(agents_after.as_ref(), &used, &mut reach)
            });
            if agents_after.is_none() {
                break;
            }
        }
        let mut leases_after: Option<LeaseId> = None;
        loop {
            work.step()?;
            leases_after =
                store.read(|world, _| Look { world, subjects, now }.count_leases(leases_after, &mut reach));
            if leases_after.is_none() {
                break;
            }
        }
        work.step()?;
        store.read(|world, _| {
            let look = Look { world, subjects, now };
            world.operators.all().for_each(|operator| look.count_operator(operator, &used, &mut reach));
            look.count_codes(&mut reach);
        });
        Ok(ReachAnswer {
            agents: reach.agents.answer(),
            certificates: reach.certificates,
            operators: reach.operators.answer(),
            operator_certificates: reach.operator_certificates,
            enrolment_codes: reach.enrolment_codes,
            leases: reach.leases,
            accepted: reach.accepted,
            tokens_expire_by: contained.plus_s(TOKENS_END_S).to_string(),
        })
    }
}

impl Look<'_> {
    /// Whether the credential is under one of the subjects.
    pub(super) fn is_under(&self, credential: Credential<'_>) -> bool {
        self.subjects.iter().any(|subject| is_under(credential, records(self.world), subject))
    }

    /// A certificate, presented from the address of `used_from` by which it is under one of the subjects.
    fn presented<'c>(
        &self,
        certificate: impl Fn(Option<IpAddr>) -> Credential<'c>,
        used_from: &[IpAddr],
    ) -> Credential<'c> {
        let mut under = used_from.iter().map(|from| certificate(Some(*from)));
        under.find(|one| self.is_under(*one)).unwrap_or_else(|| certificate(None))
    }

    /// Counts `credential` in `count` if it is under the subject.
    fn count(&self, credential: Credential<'_>, count: &mut usize, accepted: &mut usize) -> bool {
        let records = records(self.world);
        if !self.is_under(credential) {
            return false;
        }
        *count = count.saturating_add(1);
        if live(credential, records).is_ok() {
            *accepted = accepted.saturating_add(1);
        }
        true
    }

    /// Counts some agents after `after`; the last of them if there may be more.
    fn count_agents(
        &self,
        after: Option<&AgentName>,
        used: &UsedFrom,
        reach: &mut Reach,
    ) -> Option<AgentName> {
        let mut agents = self.world.registry.agents_after(after);
        let mut last = None;
        for agent in agents.by_ref().take(PART) {
            self.count_agent(agent, used, reach);
            last = Some(agent.name.clone());
        }
        agents.next().and(last)
    }

    fn count_agent(&self, agent: &Agent, used: &UsedFrom, reach: &mut Reach) {
        let mut is_concerned = self.concerns(agent);
        for instance in agent.instances.iter() {
            for holding in instance.holdings().filter(|holding| self.now < holding.not_after) {
                let presented = |from| Credential::Certificate { agent, instance, holding, from };
                let certificate = self.presented(presented, used.of(&holding.serial));
                is_concerned |= self.count(certificate, &mut reach.certificates, &mut reach.accepted);
            }
        }
        if is_concerned {
            reach.agents.add(agent.name.as_str());
        }
    }

    /// Whether the agent itself, or a token that one of its instances can have, is under the subject.
    pub(super) fn concerns(&self, agent: &Agent) -> bool {
        let capabilities = self.capabilities_of(agent);
        let is_under_subject = |instance: &Instance| {
            let (token, seq) = (TokenId::from_bytes([0; 16]), u64::MAX);
            let tokens =
                Credential::MintedBefore { token, seq, agent, instance, capabilities: &capabilities };
            self.now < instance.not_after() && self.is_under(tokens)
        };
        self.subjects.contains(&Subject::Agent(agent.id)) || agent.instances.iter().any(is_under_subject)
    }

    fn capabilities_of(&self, agent: &Agent) -> Vec<(CapabilityName, String)> {
        let declarations = self.world.registry.declarations();
        declarations.capabilities_of(&*agent.roles).map(|name| (name.clone(), String::new())).collect()
    }

    /// Counts some leases after `after`; the last of them if there may be more.
    fn count_leases(&self, after: Option<LeaseId>, reach: &mut Reach) -> Option<LeaseId> {
        let mut leases = self.world.leases.after(after);
        let mut last = None;
        for lease in leases.by_ref().take(PART) {
            self.count_lease(lease, reach);
            last = Some(lease.id);
        }
        leases.next().and(last)
    }

    fn count_lease(&self, lease: &Lease, reach: &mut Reach) {
        let administering = crate::broker::leases::administering(self.world, lease);
        let lent = Credential::Lease { lease, administering: administering.as_ref() };
        // One that is being revoked can still be used, and is not accepted any more.
        let mut accepted = 0;
        self.count(lent, &mut reach.leases, &mut accepted);
        if !matches!(lease.stage, LeaseStage::Ending(_)) {
            reach.accepted = reach.accepted.saturating_add(accepted);
        }
    }

    fn count_operator(&self, operator: &Operator, used: &UsedFrom, reach: &mut Reach) {
        let mut is_concerned = self.subjects.contains(&Subject::Operator(operator.id));
        for certificate in operator.certificates.iter().filter(|one| self.now < one.not_after) {
            let presented = |from| Credential::OperatorCertificate { operator, certificate, from };
            let from: Vec<IpAddr> =
                used.of(&certificate.serial).iter().copied().chain(used.of_operator(operator)).collect();
            let held = self.presented(presented, &from);
            is_concerned |= self.count(held, &mut reach.operator_certificates, &mut reach.accepted);
        }
        if is_concerned {
            reach.operators.add(operator.name.as_str());
        }
    }

    fn count_codes(&self, reach: &mut Reach) {
        let (registry, operators) = (&self.world.registry, &self.world.operators);
        for code in registry.codes().filter(|code| self.now < code.expires_at && !code.is_used_up()) {
            let code = Credential::Code { code, from: None };
            self.count(code, &mut reach.enrolment_codes, &mut reach.accepted);
        }
        let open = operators.codes().filter(|code| self.now < code.expires_at && code.redeemed.is_none());
        for code in open {
            let code = Credential::OperatorCode { code, from: None };
            self.count(code, &mut reach.enrolment_codes, &mut reach.accepted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_names_are_listed_and_all_are_counted() {
        let mut names = Names::default();
        (0..=INCIDENT_NAMES_MAX).for_each(|number| names.add(&format!("agent-{number}")));
        let NamesAnswer { count, names } = names.answer();
        assert_eq!((count, names.len()), (INCIDENT_NAMES_MAX + 1, INCIDENT_NAMES_MAX));
    }
}
