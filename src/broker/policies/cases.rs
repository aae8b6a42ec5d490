use std::collections::{BTreeMap, BTreeSet};

use super::case_file::{CaseFile, CaseRequest, CaseSecret, PolicyCase};
use super::trial_world::{AssumedSecret, broker_audience, named_secrets, trial_world};
use crate::base::limits::{LEASE_LIFE_MIN_S, TOKEN_LIFE_MIN_S};
use crate::base::{
    Cancellation, CapabilityName, ClockReading, DecisionId, Entropy, GivenParameters, InstanceId, PolicyName,
    RequestOutcome, SecretName, Sensitive, SystemEntropy, Timestamp, code, did_you_mean,
};
use crate::broker::failure::Failure;
use crate::broker::world::{World, records};
use crate::config::{Faults, SourceFile};
use crate::crypto::MacKey;
use crate::policy::{
    DecisionContext, LifeLimits, MintRequest, Past, Requester, Trial, TrialOutcome, TrialRequest, try_request,
};
use crate::registry::{AgentKind, CapabilityParameters, Delivery, ParameterFault};
use crate::rules::Action;

/// Declaration files, and files with cases.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// Declarations.
    pub declarations: Vec<SourceFile>,
    /// Files with `[[case]]` tables.
    pub cases: Vec<SourceFile>,
}

/// The result of one case.
#[derive(Clone, Debug)]
pub struct PolicyCaseResult {
    /// The case.
    pub name: String,
    /// The outcome that it expects.
    pub expected: &'static str,
    /// The outcome.
    pub outcome: &'static str,
    /// The reason for the outcome.
    pub why: String,
    /// The life in seconds of the token or the lease that the request gets.
    pub life_s: Option<u32>,
    /// The life in seconds that the case expects.
    pub expected_life_s: Option<u32>,
    /// The policies that match.
    pub policies: BTreeSet<PolicyName>,
    /// The policy that the case expects to match.
    pub expected_policy: Option<PolicyName>,
}

impl PolicyCaseResult {
    /// Whether the outcome and the life are the expected ones, and the expected policy matches.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        let matches = self.expected_policy.as_ref().is_none_or(|policy| self.policies.contains(policy));
        let lives = self.expected_life_s.is_none_or(|expected| self.life_s == Some(expected));
        self.expected == self.outcome && lives && matches
    }
}

/// Default life of a token, in seconds, as in the settings.
const DEFAULT_LIFE_S: u32 = 300;

/// Decides each case on the declarations alone, with the decisions of the broker. The agent has a certificate that does not
/// shorten a life, and asks for nothing else.
///
/// # Errors
/// [`Failure`] with the faults of the files.
pub fn run_policy_test(test: &PolicyTest) -> Result<Vec<PolicyCaseResult>, Failure> {
    let work = Cancellation::new();
    let CaseFile { cases, secrets } = CaseFile::read(&test.cases, &work)?;
    if cases.is_empty() {
        let why = "the case files have no `[[case]]`";
        return Err(Failure::new(code::FILE_COUNT_INVALID).because(why).mended_by("write a case"));
    }
    let declared_at = cases.iter().map(|case| case.request.time).min().unwrap_or(Timestamp::from_s(0));
    let mut faults = Faults::of(&test.cases, &work);
    let assumed = stated_secrets(test, secrets, &mut faults)?;
    let world = trial_world(&test.declarations, assumed, declared_at)?;
    let entropy: &dyn Entropy = &SystemEntropy;
    let trials = Trials {
        world: &world,
        limits: LifeLimits { default_s: DEFAULT_LIFE_S, broker: broker_audience()? },
        digests: MacKey::new(&Sensitive::new(entropy.bytes::<32>())),
    };
    let mut results = Vec::new();
    for case in cases {
        let place = case.place;
        match trials.decided(case) {
            Ok(result) => results.push(result),
            Err(message) => faults.tell(place, message),
        }
    }
    Ok(faults.or(results)?)
}

/// The secrets that the case files state. One that no declaration names is a fault: its name is misspelt, and the secret that is
/// meant would have other properties in the cases.
fn stated_secrets(
    test: &PolicyTest,
    secrets: BTreeMap<SecretName, CaseSecret>,
    faults: &mut Faults<'_>,
) -> Result<BTreeMap<SecretName, AssumedSecret>, Failure> {
    let named: BTreeSet<SecretName> =
        named_secrets(&test.declarations)?.into_iter().map(|(name, _)| name).collect();
    for (name, stated) in secrets.iter().filter(|(name, _)| !named.contains(*name)) {
        let near = did_you_mean(name.as_str(), named.iter().map(SecretName::as_str));
        faults.tell(stated.place, format!("no declaration names the secret `{name}`{near}"));
    }
    Ok(secrets.into_iter().map(|(name, stated)| (name, stated.assumed)).collect())
}

/// What the cases are decided with.
struct Trials<'w> {
    world: &'w World,
    limits: LifeLimits,
    digests: MacKey,
}

impl Trials<'_> {
    /// The result of a case; the fault of the case if it names what is not declared.
    fn decided(&self, case: PolicyCase) -> Result<PolicyCaseResult, String> {
        let PolicyCase { name, request, expect, expect_life_s, policy, place: _ } = case;
        let CaseRequest {
            agent,
            capability,
            action,
            time,
            source,
            life_s,
            since_sensitive_read_s,
            parameters,
        } = request;
        let found = self.world.registry.agent_named(&agent).filter(|one| one.kind() == AgentKind::Agent);
        let found = found.ok_or_else(|| format!("case `{name}`: agent `{agent}` is not declared"))?;
        let action = self.action(&capability, action).map_err(|fault| format!("case `{name}`: {fault}"))?;
        if let Some(policy) = policy.as_ref().filter(|policy| self.world.rules().policy(policy).is_none()) {
            return Err(format!("case `{name}`: policy `{policy}` is not declared"));
        }
        let lives = Lives { asked_s: life_s, expected_s: expect_life_s };
        lives.check(action).map_err(|fault| format!("case `{name}`: {fault}"))?;
        self.check_parameters(&capability, action, &parameters)
            .map_err(|fault| format!("case `{name}`: {fault}"))?;
        let entropy = SystemEntropy;
        let context = DecisionContext {
            decision: DecisionId::mint(time, &entropy),
            records: records(self.world),
            reading: ClockReading::at(time),
            limits: &self.limits,
            digests: &self.digests,
            past: Past::Stated { since_sensitive_read_s },
            disregarded: None,
        };
        let by = Requester {
            agent: found.id,
            instance: InstanceId::mint(time, &entropy),
            name: &found.name,
            roles: &found.roles,
            source,
            not_after: time.plus_s(CERTIFICATE_LIFE_S),
        };
        let parameters = if parameters.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([(capability.clone(), parameters)])
        };
        let request = MintRequest { parameters, ..MintRequest::plain([capability].into(), life_s) };
        let trial = try_request(&context, &by, &TrialRequest { action, request });
        let expected = Expected { outcome: expect, life_s: expect_life_s, policy };
        Ok(result(name, expected, trial))
    }

    /// Checks the parameters of a case against the declaration of its capability: a mistake of the case would otherwise pass as
    /// the denial that the case expects.
    fn check_parameters(
        &self,
        capability: &CapabilityName,
        action: Action,
        given: &GivenParameters,
    ) -> Result<(), String> {
        if action != Action::Token {
            let fault = format!("`parameters`: a request of the action `{}` has none", action.as_str());
            return if given.is_empty() { Ok(()) } else { Err(fault) };
        }
        let none = CapabilityParameters::default();
        let declared = self.world.registry.declarations().parameters_of(capability).unwrap_or(&none);
        let checked = declared.check(capability, given);
        checked.map(drop).map_err(|ParameterFault { code, why, fix }| match code == code::PARAMETER_MISSING {
            true => format!("`parameters`: {why}"),
            false => format!("`parameters`: {why}; {fix}"),
        })
    }

    /// The action of a case, by default the one that the delivery of its capability has.
    fn action(&self, capability: &CapabilityName, named: Option<Action>) -> Result<Action, String> {
        let declared = self.world.registry.declarations().capability(capability);
        let declared = declared.ok_or_else(|| format!("capability `{capability}` is not declared"))?;
        let is_lease = declared.delivery == Delivery::Lease;
        let action = named.unwrap_or(if is_lease { Action::Lease } else { Action::Token });
        let fits = match action {
            Action::Token => !is_lease,
            Action::Lease => is_lease,
            Action::ReadSecret => declared.delivery.secret().is_some(),
        };
        if fits {
            return Ok(action);
        }
        let (action, delivery) = (action.as_str(), declared.delivery.as_str());
        Err(format!("capability `{capability}` is delivered by `{delivery}`, and has no action `{action}`"))
    }
}

/// The life of the certificate of an agent in a trial: longer than any token or lease.
const CERTIFICATE_LIFE_S: i64 = 366 * 86_400;

/// The lives of a case, in seconds.
struct Lives {
    asked_s: Option<u32>,
    expected_s: Option<u32>,
}

impl Lives {
    /// Checks that a request with this action can have them: the broker refuses a shorter life before any policy is asked.
    fn check(&self, action: Action) -> Result<(), String> {
        let least_s = match action {
            Action::Token => TOKEN_LIFE_MIN_S,
            Action::Lease => i64::from(LEASE_LIFE_MIN_S),
            Action::ReadSecret => i64::MAX,
        };
        for (field, life_s) in [("life", self.asked_s), ("expect_life", self.expected_s)] {
            if life_s.is_none_or(|life_s| i64::from(life_s) >= least_s) {
                continue;
            }
            return Err(match action {
                Action::ReadSecret => {
                    format!("`{field}`: a request of the action `{}` has none", action.as_str())
                }
                Action::Token | Action::Lease => {
                    format!("`{field}`: a {} lives at least {least_s} s", action.as_str())
                }
            });
        }
        Ok(())
    }
}

/// What a case expects.
struct Expected {
    outcome: RequestOutcome,
    life_s: Option<u32>,
    policy: Option<PolicyName>,
}

fn result(name: String, expect: Expected, trial: Trial) -> PolicyCaseResult {
    let Trial { outcome, rules, policies, .. } = trial;
    let why = match &outcome {
        TrialOutcome::Allowed { .. } => rules.join(", "),
        TrialOutcome::Constrained { reasons, .. } => reasons.join("; "),
        TrialOutcome::NeedsApproval(policies) => {
            let policies: Vec<String> = policies.iter().map(|policy| format!("`{policy}`")).collect();
            format!("approval is demanded by {}", policies.join(", "))
        }
        TrialOutcome::Denied(refusal) => match (&refusal.policy, &refusal.parameter) {
            (Some(policy), _) => policy.why.clone(),
            (None, Some(fault)) => format!("{}: {}", fault.code, fault.why),
            (None, None) => format!("{}: {}", refusal.code, refusal.code.meaning()),
        },
    };
    PolicyCaseResult {
        name,
        expected: expect.outcome.as_str(),
        outcome: outcome.kind().as_str(),
        why,
        life_s: outcome.life_s(),
        expected_life_s: expect.life_s,
        policies,
        expected_policy: expect.policy,
    }
}
