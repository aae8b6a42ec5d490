use crate::base::PolicyName;
use crate::base::code::{self, Code};
use crate::rules::{MatchedPolicy, PolicyOutcome};

/// A denial by a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyRefusal {
    /// The policy.
    pub policy: PolicyName,
    /// The code.
    pub code: Code,
    /// The reason in words, with the policy's name.
    pub why: String,
}

impl PolicyRefusal {
    pub(super) fn new(code: Code, policy: &PolicyName, problem: &str, reason: Option<&str>) -> Self {
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        Self { policy: policy.clone(), code, why: format!("policy `{policy}` {problem}{reason}") }
    }

    pub(super) fn of(matched: &MatchedPolicy) -> Self {
        match matched.outcome {
            // It is not known whether the reason of the rule applies.
            PolicyOutcome::Failed => Self::new(
                code::POLICY_FAILED,
                &matched.name,
                "cannot be evaluated for this request, so the request is denied",
                None,
            ),
            PolicyOutcome::Denied | PolicyOutcome::Limited { .. } | PolicyOutcome::NeedsApproval { .. } => {
                Self::new(code::POLICY_DENIED, &matched.name, "denies the request", matched.reason.as_deref())
            }
        }
    }
}
