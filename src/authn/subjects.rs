//! The subjects of a credential: whom and what it was issued under, and whom and what it belongs to now. The declarations
//! may have changed in between.

use std::net::IpAddr;

use super::records::Records;
use crate::base::{CapabilityName, InstanceId, OperatorEnrolment, OwnerName, RoleName, SecretName, TokenId};
use crate::leases::Lease;
use crate::operators::{self, EnrolledFrom, Operator};
use crate::registry::{self, Agent, Delivery, Instance, InstanceCertificate, Owned};
use crate::revocation::{CredentialForm, Judged, Subject};

/// What the marks judge a credential by.
pub(super) struct Basis {
    issued: u64,
    subjects: Vec<Subject>,
    addresses: Vec<IpAddr>,
    form: CredentialForm,
}

impl Basis {
    /// Of what entry `issued` issued under `subjects`.
    pub(super) const fn issued(issued: u64, subjects: Vec<Subject>) -> Self {
        Self { issued, subjects, addresses: Vec::new(), form: CredentialForm::Issued }
    }

    pub(super) fn with_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    pub(super) fn judged(&self) -> Judged<'_> {
        let Self { issued, subjects, addresses, form } = self;
        Judged { issued: *issued, subjects, addresses, form: *form }
    }

    /// Whether a mark on `subject` concerns it.
    pub(super) fn is_under(&self, subject: &Subject) -> bool {
        if let Subject::Network(network) = subject {
            self.addresses.iter().any(|address| network.contains(*address))
        } else {
            self.subjects.contains(subject)
        }
    }
}

/// A mark on one certificate of an instance is on the other one too: the holder of the key may have renewed it.
pub(super) fn certificate_basis(
    records: Records<'_>,
    agent: &Agent,
    instance: &Instance,
    holding: &InstanceCertificate,
    from: Option<IpAddr>,
) -> Basis {
    // A certificate leaves an owner with its agent.
    let mut subjects = of_holder(records, agent, instance.id, u64::MAX);
    subjects.push(Subject::Certificate(holding.serial));
    let others = instance.holdings().filter(|other| other.serial != holding.serial);
    subjects.extend(others.map(|other| Subject::Certificate(other.serial)));
    Basis {
        issued: instance.enrolled_seq,
        subjects,
        addresses: instance.enrolled_from.into_iter().chain(from).collect(),
        form: CredentialForm::Certificate,
    }
}

/// The agent itself, with any instance or none.
pub(super) fn agent_basis(records: Records<'_>, agent: &Agent) -> Basis {
    let owner = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let mut subjects = vec![Subject::Everything, Subject::Agent(agent.id)];
    subjects.extend(owner.cloned().map(Subject::Owner));
    Basis { issued: u64::MAX, subjects, addresses: Vec::new(), form: CredentialForm::Certificate }
}

/// What an agent would be issued for `capability` now, beside the agent itself.
pub(super) fn issue_basis(records: Records<'_>, agent: &Agent, capability: &CapabilityName) -> Basis {
    let mut subjects = Vec::new();
    of_capability(records, agent.roles.iter(), capability, u64::MAX, &mut subjects);
    Basis::issued(u64::MAX, subjects)
}

/// A mark on one certificate of an enrolment is on its renewals too, likewise.
pub(super) fn operator_certificate_basis(
    operator: &Operator,
    certificate: &operators::Certificate,
    from: Option<IpAddr>,
) -> Basis {
    let enrolled_seq = certificate.enrolled_seq;
    let same = operator.certificates.iter().filter(|one| one.enrolled_seq == enrolled_seq);
    let mut subjects = vec![Subject::Operator(operator.id), Subject::Certificate(certificate.serial)];
    subjects.extend(
        same.filter(|one| one.serial != certificate.serial).map(|one| Subject::Certificate(one.serial)),
    );
    subjects.extend(operator.scope.owner().cloned().map(Subject::Owner));
    let enrolment = OperatorEnrolment { operator: operator.id, enrolled_seq };
    subjects.push(Subject::OperatorEnrolment(enrolment));
    let is_of_host = certificate.enrolled_from == EnrolledFrom::Host;
    let form = CredentialForm::OperatorCertificate { enrolment, is_of_host };
    let addresses = certificate.enrolled_from.address().into_iter().chain(from).collect();
    Basis { issued: enrolled_seq, subjects, addresses, form }
}

/// A token's record.
pub(super) fn issued_basis<'a>(
    records: Records<'_>,
    agent: &Agent,
    instance: &Instance,
    token: TokenId,
    seq: u64,
    capabilities: impl IntoIterator<Item = &'a CapabilityName>,
) -> Basis {
    let mut subjects = of_holder(records, agent, instance.id, seq);
    subjects.extend([Subject::Token(token), Subject::Lineage(instance.id)]);
    // What is bound to a certificate goes with it.
    subjects.extend(instance.holdings().map(|holding| Subject::Certificate(holding.serial)));
    let roles = roles_of(records, agent, seq);
    for name in capabilities {
        of_capability(records, roles.iter().copied(), name, seq, &mut subjects);
    }
    Basis::issued(seq, subjects).with_addresses(instance.enrolled_from)
}

/// None if there is no such agent.
pub(super) fn agent_code_basis(
    records: Records<'_>,
    code: &registry::AgentCode,
    from: Option<IpAddr>,
) -> Option<Basis> {
    let agent = records.registry.agent(code.agent)?;
    let owner = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let mut subjects = vec![Subject::Everything, Subject::Agent(agent.id)];
    let former = records.registry.former_owners(agent.id, code.issued_seq);
    subjects.extend(owner.into_iter().chain(former).cloned().map(Subject::Owner));
    Some(Basis::issued(code.issued_seq, subjects).with_addresses(from))
}

/// None if there is no such operator.
pub(super) fn operator_code_basis(
    records: Records<'_>,
    code: &operators::OperatorCode,
    from: Option<IpAddr>,
) -> Option<Basis> {
    let operator = records.operators.named(&code.operator)?;
    let subjects = of_operator(records, operator, code.issued_seq);
    Some(Basis::issued(code.issued_seq, subjects).with_addresses(from))
}

/// None if there is no such agent.
pub(super) fn lease_basis(
    records: Records<'_>,
    lease: &Lease,
    administering: Option<&SecretName>,
) -> Option<Basis> {
    let agent = records.registry.agent(lease.holder.agent)?;
    let issued = lease.issued.seq;
    let mut subjects = of_holder(records, agent, lease.holder.instance, issued);
    subjects.push(Subject::Lineage(lease.holder.instance));
    subjects.extend(administering.cloned().map(Subject::Secret));
    of_capability(records, roles_of(records, agent, issued), &lease.capability, issued, &mut subjects);
    let instance = agent.instances.get(lease.holder.instance);
    let holdings = instance.into_iter().flat_map(Instance::holdings);
    subjects.extend(holdings.map(|holding| Subject::Certificate(holding.serial)));
    let addresses = instance.and_then(|one| one.enrolled_from);
    Some(Basis::issued(issued, subjects).with_addresses(addresses))
}

/// The maker of a code that entry `issued` issued, without the addresses. A mark on one certificate of the maker's enrolment
/// is on the others too.
pub(super) fn maker_basis(
    records: Records<'_>,
    maker: &Operator,
    made: &operators::CodeMaker,
    issued: u64,
) -> Basis {
    let mut subjects = of_operator(records, maker, issued);
    subjects.push(Subject::Certificate(made.certificate));
    if let Some(enrolled_seq) = made.enrolled_seq {
        subjects.push(Subject::OperatorEnrolment(OperatorEnrolment { operator: maker.id, enrolled_seq }));
        let same = maker.certificates.iter().filter(|one| one.enrolled_seq == enrolled_seq);
        subjects.extend(same.map(|one| Subject::Certificate(one.serial)));
    }
    Basis::issued(issued, subjects)
}

/// The operator and its owners, now and when entry `issued` was written.
fn of_operator(records: Records<'_>, operator: &Operator, issued: u64) -> Vec<Subject> {
    let former = records.operators.former_owners(operator.id, issued);
    let owners = operator.scope.owner().into_iter().chain(former);
    std::iter::once(Subject::Operator(operator.id)).chain(owners.cloned().map(Subject::Owner)).collect()
}

fn of_holder(records: Records<'_>, agent: &Agent, instance: InstanceId, issued: u64) -> Vec<Subject> {
    let mut subjects = vec![Subject::Everything, Subject::Agent(agent.id), Subject::Instance(instance)];
    let owner: Option<&OwnerName> = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    let former = records.registry.former_owners(agent.id, issued);
    subjects.extend(owner.into_iter().chain(former).cloned().map(Subject::Owner));
    subjects
}

/// The roles of the agent, now and when entry `issued` was written.
fn roles_of<'r>(records: Records<'r>, agent: &'r Agent, issued: u64) -> Vec<&'r RoleName> {
    agent.roles.iter().chain(records.registry.former_roles(agent.id, issued)).collect()
}

/// The subjects of a credential of entry `issued` for a capability of an agent with these roles.
pub(super) fn of_capability<'a>(
    Records { registry, secrets, .. }: Records<'_>,
    roles: impl IntoIterator<Item = &'a RoleName>,
    name: &CapabilityName,
    issued: u64,
    subjects: &mut Vec<Subject>,
) {
    let (declarations, owners) = (registry.declarations(), registry.owners());
    subjects.push(Subject::Capability(name.clone()));
    let owner = owners.of(&Owned::Capability(name.clone()));
    let former = registry.former_owners_of(name, issued);
    subjects.extend(owner.into_iter().chain(former).cloned().map(Subject::Owner));
    let revealed = match declarations.capability(name).map(|one| &one.delivery) {
        Some(Delivery::Reveal { secret }) => Some(secret),
        Some(Delivery::Mint { .. } | Delivery::Lease) | None => None,
    };
    for name in revealed.into_iter().chain(registry.former_secrets_of(name, issued)) {
        let Some(secret) = secrets.named(name) else { continue };
        subjects.push(Subject::Secret(secret.name.clone()));
        let former = secrets.former_owners(name, issued);
        subjects.extend(secret.owner.iter().chain(former).cloned().map(Subject::Owner));
    }
    let former = registry.former_roles_with(name, issued);
    let holds = |role: &&RoleName| {
        former.contains(*role) || declarations.role(role).is_some_and(|one| one.capabilities.contains(name))
    };
    subjects.extend(roles.into_iter().filter(holds).cloned().map(Subject::Role));
}
