use std::collections::{BTreeMap, BTreeSet};

use super::context::DecisionContext;
use super::granted::Granted;
use super::mint_request::MintRequest;
use super::requester::Requester;
use super::smaller_request::SmallerRequest;
use super::trial::{TrialOutcome, TrialRequest, try_request};
use crate::base::{CapabilityName, GivenParameters};
use crate::registry::{Capability, Delivery};
use crate::rules::Action;

/// Lives that are tried in place of a longer one, in seconds.
const LIVES_S: [u32; 5] = [900, 300, 120, 60, 30];

/// The first smaller request that would be allowed: with a shorter life, with the capabilities of one audience, or with the
/// capabilities that are declared as `instead` of the denied ones.
pub(super) fn smaller_request(
    context: &DecisionContext<'_>,
    by: &Requester<'_>,
    request: &MintRequest,
    is_by_policy: bool,
) -> Option<SmallerRequest> {
    if context.records.is_frozen {
        return None;
    }
    let is_allowed = |smaller: &SmallerRequest| {
        let plain = MintRequest::plain(smaller.scope.clone(), smaller.life_s);
        let request = MintRequest { parameters: smaller.parameters.clone(), ..plain };
        let trial = try_request(context, by, &TrialRequest { action: Action::Token, request });
        let is_granted = trial.granted == smaller.scope;
        is_granted && matches!(trial.outcome, TrialOutcome::Allowed { .. } | TrialOutcome::Constrained { .. })
    };
    let asked = || SmallerRequest {
        scope: request.scope.clone(),
        life_s: request.life_s,
        parameters: request.parameters.clone(),
    };
    let asked_life = request.life_s.filter(|_| is_by_policy);
    let shorter = LIVES_S.into_iter().filter(|life_s| asked_life.is_some_and(|asked| *life_s < asked));
    let shorter = shorter.map(|life_s| SmallerRequest { life_s: Some(life_s), ..asked() });
    // Of other capabilities it must not show whether they are declared.
    let held = Granted::of(context.declarations(), by.roles, &request.scope).capabilities;
    let fewer = one_audience(context, request, &held).map(|scope| {
        let mut parameters = request.parameters.clone();
        parameters.retain(|name, _| scope.contains(name));
        SmallerRequest { scope, parameters, ..asked() }
    });
    let others = instead(context, request, &held);
    shorter.chain(fewer).chain(others).find(is_allowed)
}

/// The most `held` capabilities of the request that a token of one audience can have, if they are fewer than all.
fn one_audience(
    context: &DecisionContext<'_>,
    request: &MintRequest,
    held: &[&Capability],
) -> Option<BTreeSet<CapabilityName>> {
    let mut groups: BTreeMap<&str, BTreeSet<CapabilityName>> = BTreeMap::new();
    for capability in held {
        let audience = match &capability.delivery {
            Delivery::Mint { audience } => audience.as_str(),
            Delivery::Reveal { .. } => context.limits.broker.as_str(),
            Delivery::Lease => continue,
        };
        groups.entry(audience).or_default().insert(capability.name.clone());
    }
    let largest = groups.into_values().max_by_key(BTreeSet::len)?;
    (largest.len() < request.scope.len()).then_some(largest)
}

/// The request with the capabilities that are declared as `instead` of the `held` ones, if there are any. Such a capability
/// gets the parameters of the denied one that it has, too.
fn instead(
    context: &DecisionContext<'_>,
    request: &MintRequest,
    held: &[&Capability],
) -> Option<SmallerRequest> {
    let (mut scope, mut parameters) = (request.scope.clone(), request.parameters.clone());
    for capability in held {
        let Some(other) = context.declarations().instead_of(&capability.name) else { continue };
        scope.remove(&capability.name);
        scope.insert(other.clone());
        let Some(given) = parameters.remove(&capability.name) else { continue };
        let kept = shared(context, other, &given);
        if !kept.is_empty() {
            parameters.entry(other.clone()).or_insert(kept);
        }
    }
    (scope != request.scope).then_some(SmallerRequest { scope, life_s: request.life_s, parameters })
}

/// Those of the `given` parameters that `capability` has.
fn shared(
    context: &DecisionContext<'_>,
    capability: &CapabilityName,
    given: &GivenParameters,
) -> GivenParameters {
    let declared = context.declarations().parameters_of(capability);
    given.only(|name| declared.is_some_and(|all| all.iter().any(|(known, _)| known.as_str() == name)))
}
