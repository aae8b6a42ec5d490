use std::collections::BTreeSet;

use super::approval::{GrantedRequest, approved_again, judge_approval};
use super::approval_refusal::{ApprovalRefusal, Unapproved};
use super::context::{DecisionContext, LifeLimits};
use super::decision::{Act, AgentAct, Basis, Decision};
use super::granted::Granted;
use super::judged::{Judged, JudgedRequest, LifeLimit};
use super::left_out::LeftOut;
use super::mint_request::{AskedGrant, MintRequest};
use super::sensitivity::CapabilityConstraints;
use crate::authn::AgentPrincipal;
use crate::base::code;
use crate::base::limits::TOKEN_LIFE_MIN_S;
use crate::base::{ApprovalId, Audience, CapabilityName, ClockReading};
use crate::idempotency::MintedBefore;
use crate::quota::Permit;
use crate::registry::{Access, Capability, Delivery};
use crate::rules::Action;

/// Minting one token.
#[derive(Debug)]
pub struct Mint {
    principal: AgentPrincipal,
    capabilities: Vec<(CapabilityName, Access)>,
    audience: Audience,
    life_s: u32,
    reading: ClockReading,
    left_out: Vec<LeftOut>,
    is_detailed: bool,
    approval: Option<ApprovalId>,
}

impl Mint {
    /// The names of the granted capabilities.
    #[must_use]
    pub fn capabilities(&self) -> &[(CapabilityName, Access)] {
        &self.capabilities
    }

    /// The token's audience.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The token's life in seconds.
    #[must_use]
    pub const fn life_s(&self) -> u32 {
        self.life_s
    }

    /// The requested capabilities that are not granted.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether the request has `authorization_details`, so that the response has them, too.
    #[must_use]
    pub const fn is_detailed(&self) -> bool {
        self.is_detailed
    }

    /// The approval that is used.
    #[must_use]
    pub const fn approval(&self) -> Option<ApprovalId> {
        self.approval
    }

    /// The reading of the clocks of the decision.
    #[must_use]
    pub const fn reading(&self) -> ClockReading {
        self.reading
    }
}

impl Act for Mint {
    const HANDS_OUT: bool = true;
}

impl AgentAct for Mint {
    fn principal(&self) -> &AgentPrincipal {
        &self.principal
    }

    fn capability_names(&self) -> impl Iterator<Item = &CapabilityName> {
        self.capabilities.iter().map(|(name, _)| name)
    }
}

/// Decides on a token.
///
/// The token gets the requested capabilities that are declared and held by the agent's roles. Others are left out, with a
/// remark, unless none remains. The sensitivity of secrets and policies restrict the token further.
pub fn decide_mint(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    request: &MintRequest,
) -> Decision<Mint> {
    let limits = context.limits;
    let demands = CapabilityConstraints::of(context.records, Some(&principal), &request.scope);
    let Granted { capabilities: mut granted, mut rules } =
        Granted::of(context.declarations(), principal.roles(), &request.scope);
    let is_held = !granted.is_empty();
    granted.retain(|capability| !demands.suspends(&capability.name));
    let is_suspended = is_held && granted.is_empty();
    granted.retain(|capability| demands.permits(&capability.name));
    let is_permitted = !granted.is_empty();
    granted.retain(|capability| request.permits(capability));
    let asked = JudgedRequest::by(&principal, Action::Token, request.life_s);
    let judged = Judged::of(context, &asked, granted.iter().copied());
    judged.name_in(&mut rules);
    granted.retain(|capability| judged.permits(&capability.name));
    let basis = request.basis(context, &principal, rules);
    let Some(first) = granted.first() else {
        if let Some(refusal) = judged.first_refusal() {
            return Decision::deny_by_policy(basis, refusal, &request.scope);
        }
        let code = match (is_held, is_suspended, is_permitted) {
            (true, true, _) => code::CAPABILITY_SUSPENDED,
            (true, false, true) => code::CAPABILITY_ACTION_MISMATCH,
            (true, false, false) => code::SECRET_OWNER_MISMATCH,
            (false, _, _) => code::CAPABILITY_NOT_GRANTED,
        };
        return Decision::deny_capabilities(basis, code, &request.scope);
    };
    let leased = granted.iter().filter(|one| one.delivery == Delivery::Lease).map(|one| &one.name);
    let mut leased = leased.peekable();
    if leased.peek().is_some() {
        return Decision::deny_capabilities(basis, code::CAPABILITY_DELIVERED_AS_LEASE, leased);
    }
    let audience = audience_of(first, limits);
    let agreed = granted.iter().all(|capability| audience_of(capability, limits) == audience)
        && request.resource.as_ref().is_none_or(|resource| resource == audience);
    if !agreed {
        let named = granted.iter().map(|one| &one.name);
        return Decision::deny_capabilities(basis, code::AUDIENCE_MISMATCH, named);
    }
    let mut constrained = Vec::new();
    let (requested, given) = (request.scope.len(), granted.len());
    if given < requested {
        // Without names, which are input: the response has them, and the ledger keeps only their number.
        let left_out = requested.saturating_sub(given);
        constrained.push(format!("{left_out} of {requested} capabilities are not granted, and are left out"));
    }
    let ruled = judged.life_limit(granted.iter().map(|one| &one.name));
    let longest = LongestLife { ruled, ..LongestLife::of(context, &granted, &demands, &principal) };
    if longest.for_request(request, limits, &mut Vec::new()).is_none() {
        return Decision::deny_capabilities(basis, code::CERTIFICATE_EXPIRES_TOO_SOON, &request.scope);
    }
    if basis.is_frozen {
        return Decision::deny(basis, code::BROKER_FROZEN);
    }
    let asked_s = longest.asked_by(request, limits);
    let asked = GrantedRequest { capabilities: &granted, audience, life_s: asked_s };
    let used = match judge_approval(context, &principal, request, &judged, asked) {
        Ok(used) => used,
        Err(unapproved) => return Decision::deny_unapproved(basis, unapproved, &request.scope),
    };
    let approval = used.map(|used| used.id);
    let longest = LongestLife { approved: used.and_then(|used| used.life_max_s), ..longest };
    let Some(life_s) = longest.for_request(request, limits, &mut constrained) else {
        // Only the time of the approval is too short.
        let refusal = approval.map(|id| ApprovalRefusal::Named(id, None));
        let unapproved = Unapproved { code: code::APPROVAL_EXPIRED, refusal };
        return Decision::deny_unapproved(basis, unapproved, &request.scope);
    };
    let reading = context.reading;
    let life_s = counted_from_earliest(life_s, reading, &mut constrained);
    let capabilities = granted.iter().map(|one| (one.name.clone(), one.access)).collect();
    let audience = audience.clone();
    let given = granted.iter().map(|one| &one.name);
    let left_out = LeftOut::of(context, &principal, request, &judged, given);
    let is_detailed = request.details.is_some();
    let mint = Mint { principal, capabilities, audience, life_s, reading, left_out, is_detailed, approval };
    Decision::allow_constrained(basis, mint, constrained)
}

/// A token that is to be signed again.
#[derive(Clone, Copy, Debug)]
pub struct ReplayedMint<'a> {
    /// What was issued.
    pub minted: &'a MintedBefore,
    /// The approval with which it was issued.
    pub approval: Option<ApprovalId>,
}

/// Decides on signing an issued token again for the certificate that it is bound to: all its capabilities must still be
/// granted, with the same life and for the same audience. `requested` is the request, which is the same as the first one.
pub fn decide_again(
    context: &DecisionContext<'_>,
    principal: AgentPrincipal,
    _permit: Permit,
    ReplayedMint { minted, approval }: ReplayedMint<'_>,
    requested: &MintRequest,
) -> Decision<Mint> {
    let scope: BTreeSet<_> = minted.capabilities.iter().map(|(name, _)| name.clone()).collect();
    let demands = CapabilityConstraints::of(context.records, Some(&principal), &scope);
    let mut granted = Granted::of(context.declarations(), principal.roles(), &scope);
    let asked = JudgedRequest::by(&principal, Action::Token, requested.life_s);
    let judged = Judged::of(context, &asked, granted.capabilities.iter().copied());
    judged.name_in(&mut granted.rules);
    let resource = Some(minted.audience.clone());
    let (life_s, asked) = (Some(minted.life_s), AskedGrant::default());
    let request = MintRequest { scope, resource, life_s, details: None, approval, asked };
    let basis = request.basis(context, &principal, granted.rules);
    if let Some(refusal) = judged.first_refusal() {
        return Decision::deny_by_policy(basis, refusal, &requested.scope);
    }
    let limit = judged.life_limit(minted.capabilities.iter().map(|(name, _)| name));
    if let Some(limit) = limit.filter(|limit| minted.life_s > limit.max_s) {
        let refusal = limit.refusal("the first token of this Idempotency-Key lives longer");
        return Decision::deny_by_policy(basis, refusal, &requested.scope);
    }
    let approved = approved_again(context, &principal, approval, &judged, &granted.capabilities);
    if let Err(code) = approved {
        let unapproved = approval.map_or(Unapproved::new(code), |id| Unapproved::named(code, id));
        return Decision::deny_unapproved(basis, unapproved, &requested.scope);
    }
    let is_as_it_was = |one: &&&Capability| {
        let demanded = demands.life_max_s(&one.name).unwrap_or(one.max_life_s);
        !demands.suspends(&one.name)
            && demands.permits(&one.name)
            && minted.life_s <= demanded.min(one.max_life_s)
            && one.delivery != Delivery::Lease
            && *audience_of(one, context.limits) == minted.audience
    };
    let granted = granted.capabilities.iter().filter(is_as_it_was);
    let capabilities: Vec<_> = granted.map(|one| (one.name.clone(), one.access)).collect();
    let now = capabilities.iter().map(|(name, access)| (name, access.as_str()));
    if !now.eq(minted.capabilities.iter().map(|(name, access)| (name, access.as_str()))) {
        return Decision::deny_capabilities(basis, code::CAPABILITY_NOT_GRANTED, &requested.scope);
    }
    // The token names the earlier decision.
    let basis = Basis { decision: minted.decision, ..basis };
    let (audience, life_s, reading) = (minted.audience.clone(), minted.life_s, context.reading);
    let given = capabilities.iter().map(|(name, _)| name);
    let left_out = LeftOut::of(context, &principal, requested, &judged, given);
    let is_detailed = requested.details.is_some();
    let mint = Mint { principal, capabilities, audience, life_s, reading, left_out, is_detailed, approval };
    Decision::allow_constrained(basis, mint, minted.constrained.clone())
}

fn audience_of<'a>(capability: &'a Capability, limits: &'a LifeLimits) -> &'a Audience {
    match &capability.delivery {
        Delivery::Mint { audience } => audience,
        Delivery::Reveal { .. } | Delivery::Lease => &limits.broker,
    }
}

/// The longest life of a token by each limit, in seconds.
struct LongestLife {
    declared: u32,
    demanded: Option<u32>,
    certificate: u32,
    /// By policies.
    ruled: Option<LifeLimit>,
    /// By the time of an approval.
    approved: Option<u32>,
}

impl LongestLife {
    fn of(
        context: &DecisionContext<'_>,
        granted: &[&Capability],
        demands: &CapabilityConstraints,
        principal: &AgentPrincipal,
    ) -> Self {
        Self {
            declared: granted.iter().map(|capability| capability.max_life_s).min().unwrap_or(0),
            demanded: granted.iter().filter_map(|capability| demands.life_max_s(&capability.name)).min(),
            certificate: u32::try_from(principal.not_after().seconds_since(context.now())).unwrap_or(0),
            ruled: None,
            approved: None,
        }
    }

    /// The life that the request asks for, in seconds, as far as it is declared: the life that is approved.
    fn asked_by(&self, request: &MintRequest, limits: &LifeLimits) -> u32 {
        request.life_s.unwrap_or(limits.default_s).min(self.declared)
    }

    /// The life of the token in seconds; `None` if the certificate expires too soon.
    fn for_request(
        &self,
        request: &MintRequest,
        limits: &LifeLimits,
        constrained: &mut Vec<String>,
    ) -> Option<u32> {
        let Self { declared, demanded, certificate, approved, .. } = *self;
        let ruled = self.ruled.as_ref();
        let requested = request.life_s.unwrap_or_else(|| limits.default_s.min(declared));
        let allowed = demanded.map_or(declared, |demanded| demanded.min(declared));
        let unruled = allowed.min(certificate);
        let ruled_s = ruled.map_or(unruled, |limit| limit.max_s.min(unruled));
        let life_s = requested.min(approved.map_or(ruled_s, |approved| approved.min(ruled_s)));
        if i64::from(life_s) < TOKEN_LIFE_MIN_S {
            return None;
        }
        if life_s < requested {
            let by = match ruled.filter(|limit| limit.max_s < unruled) {
                None | Some(_) if approved.is_some_and(|approved| approved < ruled_s) => {
                    "the time of the approval".to_owned()
                }
                Some(limit) => limit.cause(),
                None if certificate < allowed => "the agent's certificate".to_owned(),
                None if allowed < declared => "the sensitivity `high` of a secret".to_owned(),
                None => "the capability".to_owned(),
            };
            constrained.push(format!("life shortened from {requested} s to {life_s} s by {by}"));
        }
        Some(life_s)
    }
}

/// Lives count from the time of the ledger entry. If the clocks disagree, they are shortened by the difference.
fn counted_from_earliest(life_s: u32, reading: ClockReading, constrained: &mut Vec<String>) -> u32 {
    let lag_ms = reading.now().ms().saturating_sub(reading.earliest().ms());
    if lag_ms == 0 {
        return life_s;
    }
    let lag_s = u32::try_from(lag_ms.saturating_add(999).div_euclid(1000)).unwrap_or(u32::MAX);
    let left_s = life_s.saturating_sub(lag_s);
    constrained.push(format!("life shortened from {life_s} s to {left_s} s: the broker's clocks disagree"));
    left_s
}
