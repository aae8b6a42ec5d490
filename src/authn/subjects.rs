//! The subjects of a credential: whom and what it was issued under, and whom and what it belongs to now.

use std::net::IpAddr;

use super::records::Records;
use crate::base::{CapabilityName, InstanceId, OperatorEnrolment, OwnerName, RoleName, SecretName, TokenId};
use crate::leases::Lease;
use crate::operators::{self, Operator, is_of_host};
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

    fn with_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
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
    let mut subjects = of_holder(records, agent, instance.id);
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
    let form = CredentialForm::OperatorCertificate { enrolment, is_of_host: is_of_host(&operator.name) };
    Basis { issued: enrolled_seq, subjects, addresses: from.into_iter().collect(), form }
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
    let mut subjects = of_holder(records, agent, instance.id);
    subjects.extend([Subject::Token(token), Subject::Lineage(instance.id)]);
    // What is bound to a certificate goes with it.
    subjects.extend(instance.holdings().map(|holding| Subject::Certificate(holding.serial)));
    for name in capabilities {
        of_capability(records, &*agent.roles, name, &mut subjects);
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
    subjects.extend(owner.cloned().map(Subject::Owner));
    Some(Basis::issued(code.issued_seq, subjects).with_addresses(from))
}

/// None if there is no such operator.
pub(super) fn operator_code_basis(
    records: Records<'_>,
    code: &operators::OperatorCode,
    from: Option<IpAddr>,
) -> Option<Basis> {
    let operator = records.operators.named(&code.operator)?;
    let mut subjects = vec![Subject::Operator(operator.id)];
    subjects.extend(operator.scope.owner().cloned().map(Subject::Owner));
    Some(Basis::issued(code.issued_seq, subjects).with_addresses(from))
}

/// None if there is no such agent.
pub(super) fn lease_basis(
    records: Records<'_>,
    lease: &Lease,
    administering: Option<&SecretName>,
) -> Option<Basis> {
    let agent = records.registry.agent(lease.holder.agent)?;
    let mut subjects = of_holder(records, agent, lease.holder.instance);
    subjects.push(Subject::Lineage(lease.holder.instance));
    subjects.extend(administering.cloned().map(Subject::Secret));
    of_capability(records, &*agent.roles, &lease.capability, &mut subjects);
    let instance = agent.instances.get(lease.holder.instance);
    let holdings = instance.into_iter().flat_map(Instance::holdings);
    subjects.extend(holdings.map(|holding| Subject::Certificate(holding.serial)));
    let addresses = instance.and_then(|one| one.enrolled_from);
    Some(Basis::issued(lease.issued.seq, subjects).with_addresses(addresses))
}

fn of_holder(records: Records<'_>, agent: &Agent, instance: InstanceId) -> Vec<Subject> {
    let mut subjects = vec![Subject::Everything, Subject::Agent(agent.id), Subject::Instance(instance)];
    let owner: Option<&OwnerName> = records.registry.owners().of(&Owned::Agent(agent.name.clone()));
    subjects.extend(owner.cloned().map(Subject::Owner));
    subjects
}

/// The subjects of a credential for a capability of an agent with these roles.
pub(super) fn of_capability<'a>(
    Records { registry, secrets, .. }: Records<'_>,
    roles: impl IntoIterator<Item = &'a RoleName>,
    name: &CapabilityName,
    subjects: &mut Vec<Subject>,
) {
    let (declarations, owners) = (registry.declarations(), registry.owners());
    subjects.push(Subject::Capability(name.clone()));
    subjects.extend(owners.of(&Owned::Capability(name.clone())).cloned().map(Subject::Owner));
    if let Some(Delivery::Reveal { secret }) = declarations.capability(name).map(|one| &one.delivery)
        && let Some(secret) = secrets.named(secret)
    {
        subjects.push(Subject::Secret(secret.name.clone()));
        subjects.extend(secret.owner.clone().map(Subject::Owner));
    }
    let holds = |role: &&RoleName| declarations.role(role).is_some_and(|one| one.capabilities.contains(name));
    subjects.extend(roles.into_iter().filter(holds).cloned().map(Subject::Role));
}
