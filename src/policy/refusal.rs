use super::decision::{Basis, Decision};
use super::policy_refusal::PolicyRefusal;
use crate::base::CapabilityName;
use crate::base::code::Code;
use crate::registry::ParameterFault;

/// Why a request is refused, before anything is recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The refused capabilities, as the caller named them.
    pub capabilities: Vec<CapabilityName>,
    /// The policy that denies the request, if one does.
    pub policy: Option<PolicyRefusal>,
    /// Why the parameters of a capability do not fit, if they do not.
    pub parameter: Option<ParameterFault>,
    /// The problem, if the code alone does not say it.
    pub problem: Option<String>,
}

impl Refusal {
    /// Because of these capabilities.
    pub(super) fn of<'a>(code: Code, capabilities: impl IntoIterator<Item = &'a CapabilityName>) -> Self {
        Self {
            code,
            capabilities: capabilities.into_iter().cloned().collect(),
            policy: None,
            parameter: None,
            problem: None,
        }
    }

    /// The same, with a problem that says more than the code.
    pub(super) fn because(self, problem: String) -> Self {
        Self { problem: Some(problem), ..self }
    }

    /// Of these capabilities, because of a policy.
    pub(super) fn by_policy<'a>(
        policy: PolicyRefusal,
        capabilities: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let refusal = Self::of(policy.code, capabilities);
        Self { policy: Some(policy), ..refusal }
    }

    /// Of these capabilities, because of the parameters that the request gives.
    pub(super) fn by_parameter<'a>(
        fault: &ParameterFault,
        capabilities: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        Self { parameter: Some(fault.clone()), ..Self::of(fault.code, capabilities) }
    }

    /// The denial.
    pub(super) fn denied<A>(self, basis: Basis) -> Decision<A> {
        match (self.policy, self.parameter) {
            (Some(policy), _) => Decision::deny_by_policy(basis, policy, &self.capabilities),
            (None, Some(fault)) => Decision::deny_by_parameter(basis, fault, &self.capabilities),
            (None, None) => {
                Decision::deny_capabilities(basis, self.code, &self.capabilities).with_problem(self.problem)
            }
        }
    }
}
