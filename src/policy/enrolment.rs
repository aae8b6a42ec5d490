use std::net::IpAddr;

use super::grant::{Basis, Grant};
use crate::authn::{Credential, Records, has_certificate, live};
use crate::base::{AgentId, CodeId, DecisionId, InstanceId, OperatorId, OperatorName, Timestamp};
use crate::crypto::{Digest, MacKey, matches, sha256};
use crate::operators::Operators;
use crate::quota::Permit;
use crate::registry::InstanceState;

/// Somebody without a certificate redeems a code.
#[derive(Debug)]
pub struct EnrolmentRequest<'a> {
    /// The code's id.
    pub code: CodeId,
    /// The code's secret.
    pub secret: &'a [u8; 32],
    /// SHA-256 of the public key that asks for a certificate.
    pub key: Digest,
    /// Where the request comes from.
    pub source: IpAddr,
}

/// Who made an enrolment code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Maker {
    /// The operator.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
}

impl Maker {
    /// Who made this code, an operator's or an agent's.
    pub(super) fn of(operators: &Operators, code: CodeId) -> Option<Self> {
        let maker = operators.with(operators.maker_of(code)?.by)?;
        Some(Self { id: maker.id, name: maker.name.clone() })
    }
}

/// Enrolling one instance of one agent.
#[derive(Debug)]
pub struct Enrol {
    agent: AgentId,
    code: CodeId,
    maker: Option<Maker>,
    repeats: Option<InstanceId>,
}

impl Enrol {
    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> CodeId {
        self.code
    }

    /// Who made the code: it counts while its maker could make it.
    #[must_use]
    pub const fn maker(&self) -> Option<&Maker> {
        self.maker.as_ref()
    }

    /// The instance that this very key was enrolled as before, when the code comes again: its answer
    /// was lost, and the same certificate is due.
    #[must_use]
    pub const fn repeats(&self) -> Option<InstanceId> {
        self.repeats
    }
}

/// Why a code gives no new certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EnrolmentRefused {
    /// Unknown, wrong, ended, used from elsewhere, of an agent that is gone, or made by somebody who
    /// was taken away: one answer, so that nobody learns which.
    BadCode,
    /// Redeemed before with as many other keys as it is for: somebody else has the code. An alarm.
    Reused,
    /// The agent has as many live instances as it may have.
    TooManyInstances,
}

/// Decides on an enrolment.
///
/// # Errors
/// [`EnrolmentRefused`].
pub fn decide_enrolment(
    records: Records<'_>,
    request: &EnrolmentRequest<'_>,
    _permit: &Permit,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Result<Grant<Enrol>, EnrolmentRefused> {
    let Records { registry, operators, .. } = records;
    // Hashed before it is known whether the code exists, and compared in constant time.
    let hash = sha256(request.secret);
    let code = registry.code(request.code).filter(|code| matches(code.hash.as_bytes(), hash.as_bytes()));
    let code = code.ok_or(EnrolmentRefused::BadCode)?;
    let agent = registry.agent(code.agent).ok_or(EnrolmentRefused::BadCode)?;
    // Before anything else is asked of the code: a late second use is an alarm too.
    let repeats = code.redeemed.get(&request.key).copied();
    if repeats.is_none() && code.redeemed.len() >= usize::try_from(code.uses).unwrap_or(usize::MAX) {
        return Err(EnrolmentRefused::Reused);
    }
    let elsewhere = code.network.is_some_and(|network| !network.contains(request.source));
    if now >= code.expires_at || elsewhere {
        return Err(EnrolmentRefused::BadCode);
    }
    let counts = match repeats {
        None => live(Credential::Code { code, from: request.source }, records).is_ok(),
        // Once it was renewed, the code is spent: its certificate is not the instance's any more.
        Some(id) => agent.instances.get(id).is_some_and(|instance| {
            let (holding, from) = (&instance.current, Some(request.source));
            let certificate = Credential::Certificate { agent, instance, holding, from };
            holding.key == request.key && live(certificate, records).is_ok()
        }),
    };
    if !counts {
        return Err(EnrolmentRefused::BadCode);
    }
    let live = agent
        .instances
        .iter()
        .filter(|one| one.state(now) == InstanceState::Live && has_certificate(records, agent, one));
    if repeats.is_none() && live.count() >= usize::try_from(agent.max_instances).unwrap_or(usize::MAX) {
        return Err(EnrolmentRefused::TooManyInstances);
    }
    let maker = Maker::of(operators, code.id);
    let canonical = [&code.id.as_bytes()[..], request.key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: registry.declarations().snapshot(),
        rules: vec![format!("enrolment code {}", code.id)],
        request: digests.tag(&canonical),
    };
    Ok(Grant::assertion(basis, Enrol { agent: agent.id, code: code.id, maker, repeats }))
}
