use super::decision::{Basis, Decision};
use super::policy_refusal::PolicyRefusal;
use crate::base::CapabilityName;
use crate::base::code::Code;

/// Why a request is refused, before anything is recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The refused capabilities, as the caller named them.
    pub capabilities: Vec<CapabilityName>,
    /// The policy that denies the request, if one does.
    pub policy: Option<PolicyRefusal>,
}

impl Refusal {
    /// Because of these capabilities.
    pub(super) fn of<'a>(code: Code, capabilities: impl IntoIterator<Item = &'a CapabilityName>) -> Self {
        Self { code, capabilities: capabilities.into_iter().cloned().collect(), policy: None }
    }

    /// Of these capabilities, because of a policy.
    pub(super) fn by_policy<'a>(
        policy: PolicyRefusal,
        capabilities: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Self {
        let capabilities = capabilities.into_iter().cloned().collect();
        Self { code: policy.code, capabilities, policy: Some(policy) }
    }

    /// The denial.
    pub(super) fn denied<A>(self, basis: Basis) -> Decision<A> {
        match self.policy {
            Some(policy) => Decision::deny_by_policy(basis, policy, &self.capabilities),
            None => Decision::deny_capabilities(basis, self.code, &self.capabilities),
        }
    }
}
