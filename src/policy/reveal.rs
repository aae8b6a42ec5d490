use std::collections::BTreeSet;

use super::canonical::Canonical;
use super::context::DecisionContext;
use super::decision::{Act, AgentAct, Decision};
use super::granted::Granted;
use super::judged::{Judged, JudgedRequest};
use super::requester::Requester;
use super::sensitivity::CapabilityConstraints;
use crate::authn::{AgentPrincipal, BoundToken};
use crate::base::code;
use crate::base::limits::LEEWAY_S;
use crate::base::{CapabilityName, SecretId, SecretName, TokenId};
use crate::quota::Permit;
use crate::registry::Capability;
use crate::rules::Action;

/// Revealing one version of one secret once.
#[derive(Debug)]
pub struct Reveal {
    token: BoundToken,
    capability: CapabilityName,
    secret: SecretName,
    current: (SecretId, u32),
}

impl Reveal {
    /// The token.
    #[must_use]
    pub const fn token(&self) -> TokenId {
        self.token.token()
    }

    /// The capability of the token that delivers the secret.
    #[must_use]
    pub const fn capability(&self) -> &CapabilityName {
        &self.capability
    }

    /// The secret.
    #[must_use]
    pub const fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// The secret's id and its current version.
    #[must_use]
    pub const fn current(&self) -> (SecretId, u32) {
        self.current
    }
}

impl Act for Reveal {
    const HANDS_OUT: bool = true;
}

impl AgentAct for Reveal {
    fn principal(&self) -> &AgentPrincipal {
        self.token.holder()
    }

    fn capability_names(&self) -> impl Iterator<Item = &CapabilityName> {
        std::iter::once(&self.capability)
    }
}

/// The judgement of a request for a secret with a token for `requested` capabilities: of a decision, and of a trial.
#[derive(Debug)]
pub(super) struct JudgedReveal<'a> {
    pub(super) rules: Vec<String>,
    pub(super) demands: CapabilityConstraints,
    pub(super) judged: Judged,
    /// The capability that delivers the secret.
    pub(super) capability: Option<&'a Capability>,
}

impl<'a> JudgedReveal<'a> {
    pub(super) fn of(
        context: &DecisionContext<'a>,
        requester: &Requester<'_>,
        requested: &BTreeSet<CapabilityName>,
        secret: &SecretName,
    ) -> Self {
        let demands = CapabilityConstraints::of(context.records, Some(requester), requested);
        let Granted { capabilities, mut rules } =
            Granted::of(context.declarations(), requester.roles, requested);
        let capability = capabilities.into_iter().find(|one| one.delivery.secret() == Some(secret));
        let asked = JudgedRequest::of(requester, Action::ReadSecret, None);
        let judged = Judged::of(context, &asked, capability.filter(|one| demands.permits(&one.name)));
        judged.name_in(&mut rules);
        Self { rules, demands, judged, capability }
    }
}

/// Decides on revealing a secret: the token's capabilities are judged again by the present records.
pub fn decide_reveal(
    context: &DecisionContext<'_>,
    token: BoundToken,
    _permit: Permit,
    secret: &SecretName,
) -> Decision<Reveal> {
    let requested: BTreeSet<CapabilityName> = token.capabilities().iter().cloned().collect();
    let JudgedReveal { rules, demands, judged, capability } =
        JudgedReveal::of(context, &Requester::of(token.holder()), &requested, secret);
    let canonical = Canonical::new("reveal", token.holder(), context.decision);
    let canonical = canonical.field(&token.token().to_string()).field(secret.as_str());
    let current =
        context.records.secrets.named(secret).and_then(|found| Some((found.id, found.current?.number)));
    let basis = context.basis_of(token.holder().agent(), None, rules, canonical.as_bytes());
    // A missing secret and one that the caller may not see get the same refusal.
    let Some(capability) = capability else {
        return Decision::deny_secret(basis, code::SECRET_NOT_GRANTED, secret);
    };
    let capability = capability.name.clone();
    if !demands.permits(&capability) {
        return Decision::deny_secret(basis, code::SECRET_OWNER_MISMATCH, secret);
    }
    if let Some(refusal) = judged.refusal(&capability) {
        return Decision::deny_secret_by_policy(basis, refusal, secret);
    }
    let Some(current) = current else {
        return Decision::deny_secret(basis, code::SECRET_WITHOUT_VALUE, secret);
    };
    // A token that was issued before the secret's sensitivity was raised may live longer.
    let age_s = context.now().seconds_since(token.issued_at());
    if demands
        .life_max_s(&capability)
        .is_some_and(|longest| age_s > i64::from(longest).saturating_add(LEEWAY_S))
    {
        return Decision::deny_secret(basis, code::TOKEN_TOO_OLD, secret);
    }
    let limit = judged.life_limit([&capability]);
    if let Some(limit) = limit.filter(|limit| age_s > i64::from(limit.max_s).saturating_add(LEEWAY_S)) {
        return Decision::deny_secret_by_policy(basis, limit.refusal("the token is older"), secret);
    }
    Decision::allow(basis, Reveal { token, capability, secret: secret.clone(), current })
}
