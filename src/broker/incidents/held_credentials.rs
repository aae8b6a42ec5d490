//! The credentials of the subject of a report.

use super::activity::IssuedToken;
use crate::authn::{Credential, live};
use crate::base::{CapabilityName, Serial, Timestamp};
use crate::broker::world::{World, records};
use crate::leases::LeaseStage;
use crate::operators::{Operator, OperatorCode};
use crate::registry::{Agent, AgentCode};
use crate::wire::HeldCredentialAnswer;

/// The credentials of the agent that have not expired; of its tokens those that were issued in the time of the report.
pub(super) fn held_by_agent(
    world: &World,
    agent: &Agent,
    tokens: &[IssuedToken],
    now: Timestamp,
) -> Vec<HeldCredentialAnswer> {
    let records = records(world);
    let mut held = Vec::new();
    let mut add = |kind: &'static str, id: String, expires_at: String, accepted: bool| {
        held.push(HeldCredentialAnswer { kind: kind.into(), id, expires_at, accepted, made_for: None });
    };
    for instance in agent.instances.iter() {
        for holding in instance.holdings().filter(|holding| now < holding.not_after) {
            let certificate = Credential::Certificate { agent, instance, holding, from: None };
            let serial = Serial::from_bytes(holding.serial).to_string();
            add("certificate", serial, holding.not_after.to_string(), live(certificate, records).is_ok());
        }
    }
    let of_agent = world.registry.codes().filter(|code| code.agent == agent.id);
    for code in of_agent.filter(|code| now < code.expires_at && !code.is_used_up()) {
        let credential = Credential::Code { code, from: None };
        add(
            "enrolment-code",
            code.id.to_string(),
            code.expires_at.to_string(),
            live(credential, records).is_ok(),
        );
    }
    for lease in world.leases.of_agent(agent.id) {
        let administering = crate::broker::leases::administering(world, lease);
        let lent = Credential::Lease { lease, administering: administering.as_ref() };
        let is_live = matches!(lease.stage, LeaseStage::Live { .. }) && live(lent, records).is_ok();
        add("lease", lease.id.to_string(), lease.ends.expires_at.to_string(), is_live);
    }
    for token in tokens {
        let IssuedToken { token: id, seq, instance, capabilities, expires_at } = token;
        let Some(until) = Timestamp::parse(expires_at).filter(|until| now < *until) else { continue };
        let (Ok(token), Ok(instance)) = (id.parse(), instance.parse()) else { continue };
        let names: Vec<(CapabilityName, String)> =
            capabilities.iter().filter_map(|name| Some((name.parse().ok()?, String::new()))).collect();
        let minted = agent.instances.get(instance).map(|instance| Credential::MintedBefore {
            token,
            seq: *seq,
            agent,
            instance,
            capabilities: &names,
        });
        let accepted = minted.is_some_and(|minted| live(minted, records).is_ok());
        add("token", id.clone(), until.to_string(), accepted);
    }
    held
}

/// The certificates of the operator that have not expired, its open codes, and the open codes that it made.
pub(super) fn held_by_operator(
    world: &World,
    operator: &Operator,
    now: Timestamp,
) -> Vec<HeldCredentialAnswer> {
    let records = records(world);
    let valid = operator.certificates.iter().filter(|certificate| now < certificate.not_after);
    let certificates = valid.map(|certificate| {
        let credential = Credential::OperatorCertificate { operator, certificate, from: None };
        HeldCredentialAnswer {
            kind: "certificate".into(),
            id: Serial::from_bytes(certificate.serial).to_string(),
            expires_at: certificate.not_after.to_string(),
            accepted: live(credential, records).is_ok(),
            made_for: None,
        }
    });
    let is_maker = |code| world.operators.maker_of(code).is_some_and(|made| made.by == operator.id);
    let is_open = |code: &&OperatorCode| now < code.expires_at && code.redeemed.is_none();
    let for_operators = world.operators.codes().filter(is_open).filter_map(|code| {
        let is_own = code.operator == operator.name;
        (is_own || is_maker(code.id)).then(|| HeldCredentialAnswer {
            kind: "enrolment-code".into(),
            id: code.id.to_string(),
            expires_at: code.expires_at.to_string(),
            accepted: live(Credential::OperatorCode { code, from: None }, records).is_ok(),
            made_for: (!is_own).then(|| format!("operator/{}", code.operator)),
        })
    });
    let is_open = |code: &&AgentCode| now < code.expires_at && !code.is_used_up() && is_maker(code.id);
    let for_agents = world.registry.codes().filter(is_open).map(|code| HeldCredentialAnswer {
        kind: "enrolment-code".into(),
        id: code.id.to_string(),
        expires_at: code.expires_at.to_string(),
        accepted: live(Credential::Code { code, from: None }, records).is_ok(),
        made_for: world.registry.agent(code.agent).map(|agent| format!("agent/{}", agent.name)),
    });
    certificates.chain(for_operators).chain(for_agents).collect()
}
