use super::live::{Credential, basis_of};
use super::records::Records;
use super::subjects::{Basis, agent_basis, certificate_basis, issue_basis, operator_certificate_basis};
use crate::base::{CapabilityName, IncidentId};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::registry::Agent;
use crate::revocation::Subject;

/// The incidents that contain the holder of `peer`, in ascending order. Only a certificate that an authority of the broker
/// signed may be asked about: the name in any other one is a claim.
#[must_use]
pub fn incidents_against(peer: &PeerCertificate, records: Records<'_>) -> Vec<IncidentId> {
    let basis = match peer.spiffe() {
        SpiffeId::Agent { name, .. } | SpiffeId::ResourceServer { name, .. } => {
            records.registry.agent_named(name).map(|agent| {
                let held = agent.instance_of(peer.serial().as_bytes(), &peer.key());
                let holding = held.and_then(|(instance, slot)| Some((instance, instance.holding(slot)?)));
                match holding {
                    Some((instance, holding)) => {
                        certificate_basis(records, agent, instance, holding, peer.from())
                    }
                    // A certificate that was replaced: its instance is not known any more.
                    None => Basis::issued(0, vec![Subject::Everything, Subject::Agent(agent.id)]),
                }
            })
        }
        SpiffeId::Operator { name, .. } => records.operators.named(name).map(|operator| {
            match operator.certificate(peer.serial().as_bytes()) {
                Some(held) => operator_certificate_basis(operator, held, peer.from()),
                None => Basis::issued(0, vec![Subject::Operator(operator.id)]),
            }
        }),
    };
    basis.map(|basis| records.revocations.incidents_against(&basis.judged())).unwrap_or_default()
}

/// The subjects whose suspension or containment refuses the credential.
#[must_use]
pub fn blocking(credential: Credential<'_>, records: Records<'_>) -> Vec<Subject> {
    basis_of(credential, records).map_or_else(Vec::new, |basis| blocking_basis(&basis, records))
}

/// The subjects whose suspension or containment refuses all that the agent has or could enrol: the agent, its owner,
/// everything.
#[must_use]
pub fn blocking_agent(agent: &Agent, records: Records<'_>) -> Vec<Subject> {
    blocking_basis(&agent_basis(records, agent), records)
}

/// The subjects whose suspension or containment refuses new tokens and leases of `capability` to the agent, beside those
/// that refuse the agent itself.
#[must_use]
pub fn blocking_issue(agent: &Agent, capability: &CapabilityName, records: Records<'_>) -> Vec<Subject> {
    blocking_basis(&issue_basis(records, agent, capability), records)
}

fn blocking_basis(basis: &Basis, records: Records<'_>) -> Vec<Subject> {
    records.revocations.blocking(&basis.judged())
}
