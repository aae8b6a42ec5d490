use std::collections::BTreeSet;
use std::net::IpAddr;

use super::context::DecisionContext;
use super::policy_refusal::PolicyRefusal;
use super::request_parameters::RequestParameters;
use super::requester::Requester;
use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::base::limits::NAMED_POLICIES_MAX;
use crate::base::{AgentId, AgentName, CapabilityName, ParameterFacts, PolicyName, RoleName, Sensitivity};
use crate::registry::{Capability, Owned};
use crate::rules::{
    Action, AgentFacts, CapabilityFacts, Facts, MatchedPolicy, PolicyOutcome, Rules, Verdict,
};

/// A request as policies judge it: an action of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct JudgedRequest<'a> {
    pub(super) action: Action,
    pub(super) agent: AgentId,
    pub(super) name: &'a AgentName,
    pub(super) roles: &'a BTreeSet<RoleName>,
    pub(super) source: Option<IpAddr>,
    pub(super) life_s: Option<u32>,
    /// Only requests for tokens have parameters.
    pub(super) parameters: Option<&'a RequestParameters>,
}

impl<'a> JudgedRequest<'a> {
    pub(super) fn by(principal: &'a AgentPrincipal, action: Action, life_s: Option<u32>) -> Self {
        Self::of(&Requester::of(principal), action, life_s)
    }

    pub(super) const fn of(requester: &Requester<'a>, action: Action, life_s: Option<u32>) -> Self {
        let Requester { agent, name, roles, source, .. } = *requester;
        Self { action, agent, name, roles, source, life_s, parameters: None }
    }

    /// A request for a token with these parameters.
    pub(super) const fn of_token(
        requester: &Requester<'a>,
        life_s: Option<u32>,
        parameters: &'a RequestParameters,
    ) -> Self {
        Self { parameters: Some(parameters), ..Self::of(requester, Action::Token, life_s) }
    }
}

/// The verdicts of the policies on the capabilities of a request. Capabilities without a verdict are not restricted.
#[derive(Debug, Default)]
pub(super) struct Judged(Vec<(CapabilityName, Verdict)>);

/// The longest life that the policies allow.
#[derive(Clone, Debug)]
pub(super) struct LifeLimit {
    pub(super) max_s: u32,
    matched: MatchedPolicy,
}

impl Judged {
    /// The verdicts on `capabilities`, which the agent is granted. Without policies this costs nothing.
    pub(super) fn of<'c>(
        context: &DecisionContext<'_>,
        request: &JudgedRequest<'_>,
        capabilities: impl IntoIterator<Item = &'c Capability>,
    ) -> Self {
        let rules = context.records.rules;
        if rules.is_empty() {
            return Self::default();
        }
        let judge = |one: &Capability| (one.name.clone(), verdict(context, rules, request, one));
        Self(
            capabilities
                .into_iter()
                .map(judge)
                .filter(|(_, verdict)| !verdict.matched().is_empty() || verdict.is_untested())
                .collect(),
        )
    }

    pub(super) fn verdict(&self, capability: &CapabilityName) -> Option<&Verdict> {
        self.0.iter().find(|(name, _)| name == capability).map(|(_, verdict)| verdict)
    }

    /// Whether a policy was not evaluated because it tests a value that the entry of the request does not have.
    pub(super) fn is_untested(&self) -> bool {
        self.0.iter().any(|(_, verdict)| verdict.is_untested())
    }

    /// The denial of this capability, if a policy denies it.
    pub(super) fn refusal(&self, capability: &CapabilityName) -> Option<PolicyRefusal> {
        self.verdict(capability)?.refusal().map(PolicyRefusal::of)
    }

    /// The denial of the first capability that a policy denies.
    pub(super) fn first_refusal(&self) -> Option<PolicyRefusal> {
        self.0.iter().find_map(|(_, verdict)| verdict.refusal()).map(PolicyRefusal::of)
    }

    /// Whether no policy denies this capability.
    pub(super) fn permits(&self, capability: &CapabilityName) -> bool {
        self.verdict(capability).is_none_or(|verdict| verdict.refusal().is_none())
    }

    /// The strictest limit of the life of these capabilities together.
    pub(super) fn life_limit<'c>(
        &self,
        capabilities: impl IntoIterator<Item = &'c CapabilityName>,
    ) -> Option<LifeLimit> {
        let limits = capabilities.into_iter().filter_map(|name| self.verdict(name)?.limit());
        let (max_s, matched) = limits.min_by_key(|(max_s, _)| *max_s)?;
        Some(LifeLimit { max_s, matched: matched.clone() })
    }

    /// The policies that match a capability, or fail for it.
    pub(super) fn policies(&self) -> BTreeSet<PolicyName> {
        let matched = self.0.iter().flat_map(|(_, verdict)| verdict.matched());
        matched.map(|one| one.name.clone()).collect()
    }

    /// Adds the policies that match or fail to the `rules` of a decision's basis.
    pub(super) fn name_in(&self, rules: &mut Vec<String>) {
        let matched = self.0.iter().flat_map(|(_, verdict)| verdict.matched());
        // Those that deny come first.
        let matched: BTreeSet<(u8, &PolicyName)> =
            matched.map(|one| (rank(&one.outcome), &one.name)).collect();
        let further = matched.len().saturating_sub(NAMED_POLICIES_MAX);
        rules.extend(matched.into_iter().take(NAMED_POLICIES_MAX).map(|(rank, name)| match rank {
            FAILED => format!("policy {name}: cannot be evaluated"),
            _ => format!("policy {name}"),
        }));
        if further > 0 {
            rules.push(format!("{further} further policies"));
        }
    }
}

const FAILED: u8 = 1;

/// The place of a policy among those that an entry names.
const fn rank(outcome: &PolicyOutcome) -> u8 {
    match outcome {
        PolicyOutcome::Denied => 0,
        PolicyOutcome::Failed => FAILED,
        PolicyOutcome::NeedsApproval { .. } => 2,
        PolicyOutcome::Limited { .. } => 3,
    }
}

fn verdict(
    context: &DecisionContext<'_>,
    rules: &Rules,
    request: &JudgedRequest<'_>,
    capability: &Capability,
) -> Verdict {
    rules.judge_without(&facts(context, request, capability), context.disregarded)
}

/// The facts of a request for `capability`, which policies can test.
pub(super) fn facts<'f>(
    context: &DecisionContext<'f>,
    request: &JudgedRequest<'f>,
    capability: &'f Capability,
) -> Facts<'f> {
    let registry = context.records.registry;
    let owner = |thing: Owned| registry.owners().of(&thing);
    let secret = capability.delivery.secret().and_then(|secret| context.records.secrets.named(secret));
    Facts {
        action: request.action,
        agent: AgentFacts {
            name: request.name,
            roles: request.roles,
            owner: owner(Owned::Agent(request.name.clone())),
            person: registry.agent(request.agent).and_then(|agent| agent.person.as_ref()),
        },
        capability: CapabilityFacts {
            name: &capability.name,
            access: capability.access.as_str(),
            delivery: capability.delivery.as_str(),
            owner: owner(Owned::Capability(capability.name.clone())),
            environment: registry.declarations().environment_of(&capability.name),
            sensitivity: secret.map_or(Sensitivity::default(), |secret| secret.sensitivity),
        },
        time: context.now(),
        source: request.source,
        requested_life_s: request.life_s,
        since_sensitive_read_s: context.since_sensitive_read_s(request.agent),
        parameters: match request.parameters {
            Some(parameters) => parameters.facts(&capability.name),
            None => ParameterFacts::none(),
        },
    }
}

impl LifeLimit {
    /// The denial because the limit contradicts the request: `problem` follows the limit.
    pub(super) fn refusal(&self, problem: &str) -> PolicyRefusal {
        let MatchedPolicy { name, reason, .. } = &self.matched;
        let problem = format!("limits the life to {} s, and {problem}", self.max_s);
        PolicyRefusal::new(code::POLICY_DENIED, name, &problem, reason.as_deref())
    }

    /// The policy, as the cause of a shorter life.
    pub(super) fn cause(&self) -> String {
        let MatchedPolicy { name, reason, .. } = &self.matched;
        let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("policy `{name}`{reason}")
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{SecretName, Sensitivity};
    use crate::registry::{Access, Delivery};
    use crate::rules::Rule;

    #[test]
    fn a_rule_can_name_each_value_of_a_capability() {
        let secret: SecretName = "a/b".parse().unwrap();
        let audience = "https://a".parse().unwrap();
        let deliveries = [Delivery::Mint { audience }, Delivery::Reveal { secret }, Delivery::Lease];
        let accesses = [Access::Read, Access::Write].map(|one| ("access", one.as_str()));
        let deliveries = deliveries.each_ref().map(|one| ("delivery", one.as_str()));
        let sensitivities =
            [Sensitivity::Ordinary, Sensitivity::High].map(|one| ("sensitivity", one.as_str()));
        for (field, value) in accesses.into_iter().chain(deliveries).chain(sensitivities) {
            let text =
                format!("forbid (principal, action, resource) when {{ resource.{field} == \"{value}\" }};");
            assert!(Rule::declared(&text).is_ok(), "{text}");
        }
    }
}
