use std::net::IpAddr;

use super::grant::{Basis, Grant};
use crate::base::{AgentId, CodeId, DecisionId, InstanceId, OperatorId, Timestamp};
use crate::crypto::{Digest, MacKey, matches, sha256};
use crate::operators::Operators;
use crate::quota::Permit;
use crate::registry::{InstanceState, Registry};
use crate::revocation::{Liveness, Revocations, Subject};

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

/// Enrolling one instance of one agent.
#[derive(Debug)]
pub struct Enrol {
    agent: AgentId,
    code: CodeId,
    maker: Option<OperatorId>,
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

    /// Who made the code: it counts while its maker does.
    #[must_use]
    pub const fn maker(&self) -> Option<OperatorId> {
        self.maker
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
    (registry, operators, revocations): (&Registry, &Operators, &Revocations),
    request: &EnrolmentRequest<'_>,
    _permit: &Permit,
    (decision, digests): (DecisionId, &MacKey),
    now: Timestamp,
) -> Result<Grant<Enrol>, EnrolmentRefused> {
    // Hashed before it is known whether the code exists, and compared in constant time.
    let hash = sha256(request.secret);
    let code = registry.code(request.code).filter(|code| matches(code.hash.as_bytes(), hash.as_bytes()));
    let code = code.ok_or(EnrolmentRefused::BadCode)?;
    // Before anything else is asked of the code: a late second use is an alarm too.
    let repeats = code.redeemed.get(&request.key).copied();
    if repeats.is_none() && code.redeemed.len() >= usize::try_from(code.uses).unwrap_or(usize::MAX) {
        return Err(EnrolmentRefused::Reused);
    }
    let elsewhere = code.network.is_some_and(|network| !network.contains(request.source));
    if now >= code.expires_at || elsewhere {
        return Err(EnrolmentRefused::BadCode);
    }
    let agent = registry.agent(code.agent).ok_or(EnrolmentRefused::BadCode)?;
    let of_agent = Subject::Agent(agent.id);
    let maker = operators.maker_of(code.id);
    let made = repeats.is_some() || is_vouched_for((code.issued_seq, maker), revocations);
    if !made || revocations.judge(code.issued_seq, &[of_agent]) == Liveness::Dead {
        return Err(EnrolmentRefused::BadCode);
    }
    let of_repeated = repeats.and_then(|id| agent.instances.get(id));
    if of_repeated.is_some_and(|one| {
        // Once it was renewed, the code is spent: its certificate is not the instance's any more.
        one.current.key != request.key
            || revocations.judge(one.enrolled_seq, &[of_agent, Subject::Instance(one.id)]) == Liveness::Dead
    }) {
        return Err(EnrolmentRefused::BadCode);
    }
    let live = agent.instances.iter().filter(|one| {
        one.state(now) == InstanceState::Live
            && revocations.judge(one.enrolled_seq, &[of_agent, Subject::Instance(one.id)]) == Liveness::Live
    });
    if repeats.is_none() && live.count() >= usize::try_from(agent.max_instances).unwrap_or(usize::MAX) {
        return Err(EnrolmentRefused::TooManyInstances);
    }
    let canonical = [&code.id.as_bytes()[..], request.key.as_bytes()].concat();
    let basis = Basis {
        decision,
        snapshot: registry.declarations().snapshot(),
        rules: vec![format!("enrolment code {}", code.id)],
        request: digests.tag(&canonical),
    };
    Ok(Grant::assertion(basis, Enrol { agent: agent.id, code: code.id, maker, repeats }))
}

/// Whether nobody has taken away who made a code since then.
pub(super) fn is_vouched_for((issued, maker): (u64, Option<OperatorId>), revocations: &Revocations) -> bool {
    maker.is_none_or(|maker| revocations.judge(issued, &[Subject::Operator(maker)]) == Liveness::Live)
}
