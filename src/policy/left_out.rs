use std::borrow::Cow;
use std::collections::BTreeSet;

use super::context::DecisionContext;
use super::granted::Granted;
use super::judged::Judged;
use super::mint_request::MintRequest;
use super::requester::Requester;
use super::sensitivity::CapabilityConstraints;
use crate::base::CapabilityName;
use crate::base::code::{self, Code};

/// A requested capability that a token does not have, and the code that a request for it alone would get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// The name, as it was requested.
    pub capability: CapabilityName,
    /// The code.
    pub code: Code,
    /// Whether a capability of this name is declared.
    pub is_declared: bool,
    /// The reason of the policy that denies it.
    pub policy: Option<String>,
}

impl LeftOut {
    /// The requested capabilities that are not among `given`. It says of an undeclared capability the same as of one that
    /// no role of the agent holds.
    pub(super) fn of<'a>(
        context: &DecisionContext<'_>,
        requester: &Requester<'_>,
        request: &MintRequest,
        judged: &Judged,
        given: impl IntoIterator<Item = &'a CapabilityName>,
    ) -> Vec<Self> {
        let requested = &request.scope;
        let given: BTreeSet<&CapabilityName> = given.into_iter().collect();
        if given.len() == requested.len() {
            return Vec::new();
        }
        let demands = CapabilityConstraints::of(context.records, Some(requester), requested);
        let held = Granted::of(context.declarations(), requester.roles, requested).capabilities;
        let code_of = |name: &CapabilityName| match held.iter().find(|one| one.name == *name) {
            Some(_) if demands.suspends(name) => code::CAPABILITY_SUSPENDED,
            Some(_) if !demands.permits(name) => code::SECRET_OWNER_MISMATCH,
            Some(one) if !request.permits(one) => code::CAPABILITY_ACTION_MISMATCH,
            Some(_) => judged.refusal(name).map_or(code::CAPABILITY_NOT_GRANTED, |refusal| refusal.code),
            None => code::CAPABILITY_NOT_GRANTED,
        };
        let left_out = requested.iter().filter(|name| !given.contains(name));
        left_out
            .map(|name| {
                let code = code_of(name);
                let policy = judged.refusal(name).filter(|refusal| refusal.code == code).map(|one| one.why);
                let is_declared = context.declarations().capability(name).is_some();
                Self { capability: name.clone(), code, is_declared, policy }
            })
            .collect()
    }

    /// Why it is left out.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        if let Some(policy) = &self.policy {
            return policy.clone().into();
        }
        if self.code == code::CAPABILITY_NOT_GRANTED {
            "no role of this agent holds a capability of this name".into()
        } else {
            self.code.meaning().into()
        }
    }
}
