use std::collections::BTreeSet;

use super::approval::GrantedRequest;
use super::context::{DecisionContext, LifeLimits};
use super::granted::Granted;
use super::judged::{Judged, JudgedRequest, LifeLimit};
use super::left_out::LeftOut;
use super::mint_request::MintRequest;
use super::refusal::Refusal;
use super::request_parameters::RequestParameters;
use super::requester::Requester;
use super::sensitivity::CapabilityConstraints;
use crate::base::code;
use crate::base::limits::TOKEN_LIFE_MIN_S;
use crate::base::{Audience, CapabilityName, ClockReading, ParametersByCapability};
use crate::registry::{Access, Capability, Delivery};

/// A token that a request may get.
#[derive(Debug)]
pub(super) struct MintTerms {
    pub(super) capabilities: Vec<(CapabilityName, Access)>,
    pub(super) audience: Audience,
    pub(super) life_s: u32,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) constrained: Vec<String>,
}

/// The judgement of a request for a token: of a decision, and of a trial.
#[derive(Debug)]
pub(super) struct JudgedMint<'a> {
    /// The rules that determine it.
    pub(super) rules: Vec<String>,
    pub(super) judged: Judged,
    pub(super) parameters: RequestParameters,
    /// The token, apart from approvals.
    pub(super) draft: Result<MintDraft<'a>, Refusal>,
}

/// A token that a request may get if no policy demands an approval, or with one.
#[derive(Debug)]
pub(super) struct MintDraft<'a> {
    pub(super) granted: Vec<&'a Capability>,
    audience: &'a Audience,
    longest: LongestLife,
    left_out: Vec<LeftOut>,
    constrained: Vec<String>,
}

/// Judges a request for a token.
pub(super) fn judge_mint<'a>(
    context: &DecisionContext<'a>,
    requester: &Requester<'_>,
    request: &MintRequest,
) -> JudgedMint<'a> {
    let demands = CapabilityConstraints::of(context.records, Some(requester), &request.scope);
    let Granted { capabilities: mut granted, mut rules } =
        Granted::of(context.declarations(), requester.roles, &request.scope);
    let is_held = !granted.is_empty();
    granted.retain(|capability| !demands.suspends(&capability.name));
    let is_suspended = is_held && granted.is_empty();
    granted.retain(|capability| demands.permits(&capability.name));
    let is_permitted = !granted.is_empty();
    granted.retain(|capability| request.permits(capability));
    let parameters = RequestParameters::of(context.declarations(), request);
    // Only of capabilities that the agent holds: the answer says what they have.
    if let Some(fault) = granted.iter().find_map(|capability| parameters.fault(&capability.name)) {
        let draft = Err(Refusal::by_parameter(fault, &request.scope));
        return JudgedMint { rules, judged: Judged::default(), parameters, draft };
    }
    let asked = JudgedRequest::of_token(requester, request.life_s, &parameters);
    let judged = Judged::of(context, &asked, granted.iter().copied());
    judged.name_in(&mut rules);
    granted.retain(|capability| judged.permits(&capability.name));
    let draft = if granted.is_empty() {
        let code = match (is_held, is_suspended, is_permitted) {
            (true, true, _) => code::CAPABILITY_SUSPENDED,
            (true, false, true) => code::CAPABILITY_ACTION_MISMATCH,
            (true, false, false) => code::SECRET_OWNER_MISMATCH,
            (false, _, _) => code::CAPABILITY_NOT_GRANTED,
        };
        Err(match judged.first_refusal() {
            Some(refusal) => Refusal::by_policy(refusal, &request.scope),
            None => Refusal::of(code, &request.scope),
        })
    } else {
        drafted(context, requester, request, granted, &demands, &judged)
    };
    JudgedMint { rules, judged, parameters, draft }
}

/// The token for the `granted` capabilities, of which there is one, within the limits of sensitivities and policies.
fn drafted<'a>(
    context: &DecisionContext<'a>,
    requester: &Requester<'_>,
    request: &MintRequest,
    granted: Vec<&'a Capability>,
    demands: &CapabilityConstraints,
    judged: &Judged,
) -> Result<MintDraft<'a>, Refusal> {
    let limits = context.limits;
    let leased = granted.iter().filter(|one| one.delivery == Delivery::Lease).map(|one| &one.name);
    let mut leased = leased.peekable();
    if leased.peek().is_some() {
        return Err(Refusal::of(code::CAPABILITY_DELIVERED_AS_LEASE, leased));
    }
    let mut audiences = granted.iter().map(|capability| audience_of(capability, limits));
    let audience = audiences.next().filter(|first| {
        audiences.all(|one| one == *first) && request.resource.as_ref().is_none_or(|one| one == *first)
    });
    let Some(audience) = audience else {
        let refusal = Refusal::of(code::AUDIENCE_MISMATCH, granted.iter().map(|one| &one.name));
        return Err(refusal.because(audience_problem(&granted, request.resource.as_ref(), limits)));
    };
    let mut constrained = Vec::new();
    let (requested, given) = (request.scope.len(), granted.len());
    if given < requested {
        // Without names, which are input: the response has them, and the ledger keeps only their number.
        let left_out = requested.saturating_sub(given);
        constrained.push(format!("{left_out} of {requested} capabilities are not granted, and are left out"));
    }
    let ruled = judged.life_limit(granted.iter().map(|one| &one.name));
    let longest = LongestLife { ruled, ..LongestLife::of(context, &granted, demands, requester) };
    if longest.for_request(request, limits, &mut Vec::new()).is_none() {
        return Err(Refusal::of(code::CERTIFICATE_EXPIRES_TOO_SOON, &request.scope));
    }
    let given = granted.iter().map(|one| &one.name);
    let left_out = LeftOut::of(context, requester, request, judged, given);
    Ok(MintDraft { granted, audience, longest, left_out, constrained })
}

impl MintDraft<'_> {
    /// What an approval is asked for.
    pub(super) fn asked<'b>(
        &'b self,
        request: &MintRequest,
        limits: &LifeLimits,
        parameters: &'b ParametersByCapability,
    ) -> GrantedRequest<'b> {
        let life_s = self.longest.asked_by(request, limits);
        GrantedRequest { capabilities: &self.granted, audience: self.audience, life_s, parameters }
    }

    /// The token, with an approval for at most `approved` seconds; `None` if these are too few.
    pub(super) fn terms(
        &self,
        context: &DecisionContext<'_>,
        request: &MintRequest,
        approved: Option<u32>,
    ) -> Option<MintTerms> {
        let mut constrained = self.constrained.clone();
        let longest = LongestLife { approved, ..self.longest.clone() };
        let life_s = longest.for_request(request, context.limits, &mut constrained)?;
        let life_s = counted_from_earliest(life_s, context.reading, &mut constrained);
        let capabilities = self.granted.iter().map(|one| (one.name.clone(), one.access)).collect();
        let (audience, left_out) = (self.audience.clone(), self.left_out.clone());
        Some(MintTerms { capabilities, audience, life_s, left_out, constrained })
    }
}

/// How many audiences a message names.
const AUDIENCES_NAMED_MAX: usize = 5;

/// Why the `granted` capabilities have no common audience for a token: they have several, or the request names another one.
fn audience_problem(granted: &[&Capability], named: Option<&Audience>, limits: &LifeLimits) -> String {
    let audiences: BTreeSet<&Audience> = granted.iter().map(|one| audience_of(one, limits)).collect();
    let shown: Vec<String> =
        audiences.iter().take(AUDIENCES_NAMED_MAX).map(|one| format!("`{one}`")).collect();
    let shown = shown.join(", ");
    if let (Some(named), 1) = (named, audiences.len()) {
        return format!("the audience is {shown}, and the request names the audience `{named}`");
    }
    let more = match audiences.len().saturating_sub(AUDIENCES_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the capabilities have several audiences, and a token has one: {shown}{more}")
}

pub(super) fn audience_of<'a>(capability: &'a Capability, limits: &'a LifeLimits) -> &'a Audience {
    match &capability.delivery {
        Delivery::Mint { audience } => audience,
        Delivery::Reveal { .. } | Delivery::Lease => &limits.broker,
    }
}

/// The longest life of a token by each limit, in seconds.
#[derive(Clone, Debug)]
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
        requester: &Requester<'_>,
    ) -> Self {
        Self {
            declared: granted.iter().map(|capability| capability.max_life_s).min().unwrap_or(0),
            demanded: granted.iter().filter_map(|capability| demands.life_max_s(&capability.name)).min(),
            certificate: u32::try_from(requester.not_after.seconds_since(context.now())).unwrap_or(0),
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
