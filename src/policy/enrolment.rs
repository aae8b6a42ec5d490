use std::net::IpAddr;

use super::context::DecisionContext;
use super::decision::{Act, Basis, Certifying, Decision};
use crate::authn::{Credential, CredentialFault, Records, has_certificate, live};
use crate::base::code::{self, Code};
use crate::base::{AgentId, CodeId, InstanceId, OperatorId, OperatorName};
use crate::crypto::{Digest, matches, sha256};
use crate::operators::Operators;
use crate::quota::Permit;
use crate::registry::{Agent, AgentCode, Instance, InstanceState};

/// A caller without a certificate redeems an enrolment code.
#[derive(Debug)]
pub struct EnrolmentRequest<'a> {
    /// The code's id.
    pub code: CodeId,
    /// The code's secret.
    pub secret: &'a [u8; 32],
    /// SHA-256 of the public key in the request.
    pub key: Digest,
    /// The address of the caller.
    pub source: IpAddr,
}

impl EnrolmentRequest<'_> {
    /// Whether the caller has the secret of the code with this hash.
    #[must_use]
    pub fn has_secret_of(&self, hash: &Digest) -> bool {
        matches(hash.as_bytes(), sha256(self.secret).as_bytes())
    }

    pub(super) fn basis(&self, context: &DecisionContext<'_>) -> Basis {
        let canonical = [&self.code.as_bytes()[..], self.key.as_bytes()].concat();
        context.basis(vec![format!("enrolment code {}", self.code)], &canonical)
    }

    /// The refusal of a code that cannot be redeemed, which says nothing of the code.
    pub(super) fn invalid(&self, context: &DecisionContext<'_>) -> Code {
        if context.records.revocations.is_network_contained(self.source) {
            code::NETWORK_CONTAINED
        } else {
            code::ENROLMENT_CODE_INVALID
        }
    }
}

/// The operator who made an enrolment code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Maker {
    /// The operator.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
}

impl Maker {
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

impl Act for Enrol {
    const HANDS_OUT: bool = false;
}

impl Certifying for Enrol {}

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

    /// The maker of the code: the code is valid while its maker has the right to make it.
    #[must_use]
    pub const fn maker(&self) -> Option<&Maker> {
        self.maker.as_ref()
    }

    /// For a repeated request: the instance that this key was enrolled as before. The response was lost, and the same
    /// certificate is issued.
    #[must_use]
    pub const fn repeats(&self) -> Option<InstanceId> {
        self.repeats
    }
}

/// The instance that redeemed the code and was revoked: its revocation ended the code.
#[must_use]
pub fn revoked_user(records: Records<'_>, agent: &Agent, code: &AgentCode) -> Option<InstanceId> {
    let is_revoked = |instance: &&Instance| {
        instance.holdings().any(|holding| {
            let certificate = Credential::Certificate { agent, instance, holding, from: None };
            live(certificate, records) == Err(CredentialFault::Revoked)
        })
    };
    let mut users = code.instances().filter_map(|id| agent.instances.get(id));
    users.find(is_revoked).map(|instance| instance.id)
}

/// Decides on an enrolment. A code that is unknown, wrong, expired, used from another network, of a removed agent, or of
/// an operator without the right gets the same refusal, so that the caller learns nothing. The caller that has the secret
/// of a code learns that an instance that had used it was revoked.
pub fn decide_enrolment(
    context: &DecisionContext<'_>,
    request: &EnrolmentRequest<'_>,
    _permit: Permit,
) -> Decision<Enrol> {
    let Records { registry, operators, .. } = context.records;
    let now = context.reading.latest();
    let basis = request.basis(context);
    // Hashed before the code is looked up, and compared in constant time.
    let hash = sha256(request.secret);
    let code = registry.code(request.code).filter(|code| matches(code.hash.as_bytes(), hash.as_bytes()));
    let Some((code, agent)) = code.and_then(|code| Some((code, registry.agent(code.agent)?))) else {
        return Decision::deny(basis, request.invalid(context));
    };
    // Before any other check: a late second use is an alarm too.
    let repeats = code.redeemed_with(&request.key);
    if repeats.is_none() && code.is_used_up() {
        return Decision::deny(basis, code::ENROLMENT_CODE_USED);
    }
    let elsewhere = code.network.is_some_and(|network| !network.contains(request.source));
    let counts = match repeats {
        None => live(Credential::Code { code, from: Some(request.source) }, context.records).is_ok(),
        // After a renewal the code is used up: its certificate is no longer the instance's.
        Some(id) => agent.instances.get(id).is_some_and(|instance| {
            let (holding, from) = (&instance.current, Some(request.source));
            let certificate = Credential::Certificate { agent, instance, holding, from };
            holding.key == request.key && live(certificate, context.records).is_ok()
        }),
    };
    if now >= code.expires_at || elsewhere || !counts {
        let refusal = request.invalid(context);
        let is_revoked = refusal == code::ENROLMENT_CODE_INVALID
            && !elsewhere
            && revoked_user(context.records, agent, code).is_some();
        return Decision::deny(basis, if is_revoked { code::ENROLMENT_CODE_REVOKED } else { refusal });
    }
    // The same rule as for a renewal: one key proves one agent.
    if repeats.is_none() && registry.is_key_of_another(agent.id, &request.key) {
        return Decision::deny(basis, code::ENROLMENT_KEY_IN_USE);
    }
    let is_live = |one: &&Instance| {
        one.state(now) == InstanceState::Live && has_certificate(context.records, agent, one)
    };
    let live = agent.instances.iter().filter(is_live).count();
    if repeats.is_none() && live >= usize::try_from(agent.max_instances).unwrap_or(usize::MAX) {
        return Decision::deny(basis, code::TOO_MANY_INSTANCES);
    }
    let maker = Maker::of(operators, code.id);
    Decision::allow(basis, Enrol { agent: agent.id, code: code.id, maker, repeats })
}
