//! Requests as they would be decided now: the judgements of decisions, without a proof. A trial hands out nothing.

use std::collections::BTreeSet;

use super::approval::demanded;
use super::context::DecisionContext;
use super::judged::{Judged, JudgedRequest, facts};
use super::judged_mint::{JudgedMint, MintDraft, judge_mint};
use super::lease::{LeaseRequest, judge_lease};
use super::mint_request::MintRequest;
use super::refusal::Refusal;
use super::request_parameters::RequestParameters;
use super::requester::Requester;
use super::reveal::JudgedReveal;
use crate::base::code;
use crate::base::{CapabilityName, PolicyName, RequestOutcome, RoleName};
use crate::registry::Role;
use crate::rules::{Action, TracedPolicy};

/// A request to try.
#[derive(Debug)]
pub struct TrialRequest {
    /// The action.
    pub action: Action,
    /// Tokens, leases and readings name capabilities; a lease and a reading have one.
    pub request: MintRequest,
}

/// The result of a request that is tried.
#[derive(Debug)]
pub struct Trial {
    /// The outcome.
    pub outcome: TrialOutcome,
    /// The rules that determine it, e.g. `role repo-reader`.
    pub rules: Vec<String>,
    /// The policies that match, or that cannot be evaluated.
    pub policies: BTreeSet<PolicyName>,
    /// The capabilities that the request gets, if need be with an approval.
    pub granted: BTreeSet<CapabilityName>,
    /// Whether a policy was not evaluated: it tests a sensitive parameter, of which the entry of the request has only a digest.
    pub is_untested: bool,
}

/// The outcome of a trial.
#[derive(Debug, Eq, PartialEq)]
pub enum TrialOutcome {
    /// As requested, with this life in seconds.
    Allowed {
        /// The life in seconds; a reading has none.
        life_s: Option<u32>,
    },
    /// Less than requested.
    Constrained {
        /// The life in seconds.
        life_s: u32,
        /// The parts of the request that are not granted, in words.
        reasons: Vec<String>,
    },
    /// Only with an approval, which these policies demand.
    NeedsApproval(Vec<PolicyName>),
    /// Not at all.
    Denied(Refusal),
}

impl TrialOutcome {
    /// The kind of the outcome.
    #[must_use]
    pub const fn kind(&self) -> RequestOutcome {
        match self {
            Self::Allowed { .. } => RequestOutcome::Allow,
            Self::Constrained { .. } => RequestOutcome::Constrain,
            Self::NeedsApproval(_) => RequestOutcome::Approval,
            Self::Denied(_) => RequestOutcome::Deny,
        }
    }

    /// The life that the request gets, in seconds.
    #[must_use]
    pub const fn life_s(&self) -> Option<u32> {
        match self {
            Self::Allowed { life_s } => *life_s,
            Self::Constrained { life_s, .. } => Some(*life_s),
            Self::NeedsApproval(_) | Self::Denied(_) => None,
        }
    }

    fn of(terms: Result<(u32, Vec<String>), Refusal>) -> Self {
        match terms {
            Ok((life_s, reasons)) if reasons.is_empty() => Self::Allowed { life_s: Some(life_s) },
            Ok((life_s, reasons)) => Self::Constrained { life_s, reasons },
            Err(refusal) => Self::Denied(refusal),
        }
    }
}

/// Judges a request as a decision does, apart from quotas, the number of leases, and whether the broker is frozen. A reading
/// is judged as with a new token.
#[must_use]
pub fn try_request(context: &DecisionContext<'_>, by: &Requester<'_>, asked: &TrialRequest) -> Trial {
    match asked.action {
        Action::Token => {
            let JudgedMint { rules, judged, draft, .. } = judge_mint(context, by, &asked.request);
            let (policies, is_untested) = (judged.policies(), judged.is_untested());
            let (outcome, granted) = match draft {
                Ok(draft) => try_draft(context, asked, &judged, &draft),
                Err(refusal) => (TrialOutcome::Denied(refusal), BTreeSet::new()),
            };
            Trial { outcome, rules, policies, granted, is_untested }
        }
        Action::Lease => try_lease(context, by, &asked.request),
        Action::ReadSecret => try_reading(context, by, &asked.request),
    }
}

/// The outcome of a request for a token without an approval, and the capabilities that it gets.
fn try_draft(
    context: &DecisionContext<'_>,
    asked: &TrialRequest,
    judged: &Judged,
    draft: &MintDraft<'_>,
) -> (TrialOutcome, BTreeSet<CapabilityName>) {
    let (_, demands) = demanded(judged, &draft.granted);
    if !demands.is_empty() {
        let policies = demands.into_iter().map(|demand| demand.policy).collect();
        let granted = draft.granted.iter().map(|one| one.name.clone()).collect();
        return (TrialOutcome::NeedsApproval(policies), granted);
    }
    let terms = draft.terms(context, &asked.request, None);
    let terms = terms.ok_or_else(|| Refusal::of(code::CERTIFICATE_EXPIRES_TOO_SOON, &asked.request.scope));
    let names = terms.iter().flat_map(|terms| &terms.capabilities);
    let granted = names.map(|(name, _)| name.clone()).collect();
    (TrialOutcome::of(terms.map(|terms| (terms.life_s, terms.constrained))), granted)
}

fn try_lease(context: &DecisionContext<'_>, by: &Requester<'_>, asked: &MintRequest) -> Trial {
    let Some(capability) = only(&asked.scope) else { return unfit(asked) };
    let request = LeaseRequest { capability: capability.clone(), life_s: asked.life_s };
    let judged = judge_lease(context, by, &request);
    let granted = judged.terms.iter().map(|_| capability.clone()).collect();
    let outcome = TrialOutcome::of(judged.terms);
    Trial { outcome, rules: judged.rules, policies: judged.policies, granted, is_untested: false }
}

fn try_reading(context: &DecisionContext<'_>, by: &Requester<'_>, asked: &MintRequest) -> Trial {
    let declared = only(&asked.scope).and_then(|name| context.declarations().capability(name));
    let Some(secret) = declared.and_then(|capability| capability.delivery.secret()) else {
        return unfit(asked);
    };
    let JudgedReveal { rules, demands, judged, capability } =
        JudgedReveal::of(context, by, &asked.scope, secret);
    let refusal = match capability {
        None => Some(Refusal::of(code::SECRET_NOT_GRANTED, &asked.scope)),
        Some(one) if !demands.permits(&one.name) => {
            Some(Refusal::of(code::SECRET_OWNER_MISMATCH, &asked.scope))
        }
        Some(one) => judged.refusal(&one.name).map(|refusal| Refusal::by_policy(refusal, &asked.scope)),
    };
    let granted = if refusal.is_none() { asked.scope.clone() } else { BTreeSet::new() };
    let outcome = refusal.map_or(TrialOutcome::Allowed { life_s: None }, TrialOutcome::Denied);
    Trial { outcome, rules, policies: judged.policies(), granted, is_untested: false }
}

fn only(scope: &BTreeSet<CapabilityName>) -> Option<&CapabilityName> {
    scope.first().filter(|_| scope.len() == 1)
}

/// A request that the action does not have.
fn unfit(asked: &MintRequest) -> Trial {
    let refusal = Refusal::of(code::CAPABILITY_NOT_GRANTED, &asked.scope);
    let (rules, policies, granted) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    Trial { outcome: TrialOutcome::Denied(refusal), rules, policies, granted, is_untested: false }
}

/// What decides on one capability of a request.
#[derive(Debug)]
pub struct Traced<'a> {
    /// Whether the agent may hold it.
    pub holding: Holding,
    /// What each policy says of the request, by name; empty for a capability that is not declared.
    pub policies: Vec<TracedPolicy<'a>>,
}

/// Whether the roles of an agent hold a capability.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holding {
    /// These roles of the agent hold it.
    Held(Vec<RoleName>),
    /// None of the agent's roles holds it. These roles do.
    NotHeld(Vec<RoleName>),
    /// It is not declared.
    Undeclared,
}

/// Says of each requested capability which roles hold it and what each policy says of it.
#[must_use]
pub fn trace_request<'a>(
    context: &DecisionContext<'a>,
    by: &Requester<'a>,
    asked: &'a TrialRequest,
) -> Vec<(&'a CapabilityName, Traced<'a>)> {
    let parameters = match asked.action {
        Action::Token => RequestParameters::of(context.declarations(), &asked.request),
        Action::ReadSecret | Action::Lease => RequestParameters::default(),
    };
    let asking = JudgedRequest {
        parameters: Some(&parameters),
        ..JudgedRequest::of(by, asked.action, asked.request.life_s)
    };
    let traced = |name: &'a CapabilityName| {
        let Some(capability) = context.declarations().capability(name) else {
            return (name, Traced { holding: Holding::Undeclared, policies: Vec::new() });
        };
        let holding = Holding::of(context, by, name);
        let policies = context.records.rules.trace(&facts(context, &asking, capability));
        (name, Traced { holding, policies })
    };
    asked.request.scope.iter().map(traced).collect()
}

impl Holding {
    fn of(context: &DecisionContext<'_>, by: &Requester<'_>, name: &CapabilityName) -> Self {
        let holds = |role: &&Role| role.capabilities.contains(name);
        let holding: Vec<RoleName> =
            context.declarations().roles().filter(holds).map(|role| role.name.clone()).collect();
        let own: Vec<RoleName> = holding.iter().filter(|role| by.roles.contains(role)).cloned().collect();
        if own.is_empty() { Self::NotHeld(holding) } else { Self::Held(own) }
    }
}
