use std::collections::BTreeSet;

use super::context::DecisionContext;
use super::granted::Granted;
use super::judged::{Judged, JudgedRequest, LifeLimit};
use super::policy_refusal::PolicyRefusal;
use crate::base::code::{self, Code};
use crate::base::limits::{LEASE_LIFE_MIN_S, LEASE_LIFE_S};
use crate::base::{CapabilityName, Timestamp};
use crate::leases::{Lease, LeaseStage};
use crate::registry::{Capability, Delivery};

/// When a lease ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) expires_at: Timestamp,
    pub(super) renewable_until: Timestamp,
}

/// Why a lease is refused.
pub(super) enum LeaseRefusal {
    Code(Code),
    Policy(PolicyRefusal),
}

/// A capability that a role of the agent holds and that is delivered as a lease, with the verdict of the policies.
pub(super) struct Offered<'a> {
    pub(super) capability: &'a Capability,
    pub(super) judged: Judged,
    limit: Option<LifeLimit>,
}

impl<'a> Offered<'a> {
    /// With the rules of the decision's basis.
    pub(super) fn of(
        context: &DecisionContext<'a>,
        request: &JudgedRequest<'_>,
        capability: &CapabilityName,
    ) -> (Option<Self>, Vec<String>) {
        let Granted { capabilities, mut rules } =
            Granted::of(context.declarations(), request.roles, &BTreeSet::from([capability.clone()]));
        let found = capabilities.into_iter().find(|one| one.delivery == Delivery::Lease);
        let judged = Judged::of(context, request, found);
        judged.name_in(&mut rules);
        let limit = judged.life_limit([capability]);
        (found.map(|capability| Self { capability, judged, limit }), rules)
    }

    /// The refusal of every lease.
    pub(super) fn refusal(&self) -> Option<PolicyRefusal> {
        let too_short = |limit: &&LifeLimit| limit.max_s < LEASE_LIFE_MIN_S;
        let problem = format!("a lease lives at least {LEASE_LIFE_MIN_S} s");
        let limited = || self.limit.as_ref().filter(too_short).map(|limit| limit.refusal(&problem));
        self.judged.refusal(&self.capability.name).or_else(limited)
    }

    /// The refusal to give a login again that lives longer than a new one would.
    pub(super) fn outlived_by(&self, lease: &Lease, now: Timestamp) -> Option<PolicyRefusal> {
        let left_s = lease.ends.expires_at.seconds_since(now);
        let limit = self.limit.as_ref().filter(|limit| left_s > i64::from(limit.max_s))?;
        Some(limit.refusal("the login of this request lives longer"))
    }

    /// The longest life, in seconds.
    fn max_life_s(&self) -> u32 {
        let declared = self.capability.max_life_s;
        self.limit.as_ref().map_or(declared, |limit| limit.max_s.min(declared))
    }

    /// What limits the life.
    fn limited_by(&self) -> String {
        match self.limit.as_ref().filter(|limit| limit.max_s < self.capability.max_life_s) {
            Some(limit) => limit.cause(),
            None => "the capability".to_owned(),
        }
    }
}

/// The limits of the end of a lease.
struct Bounds {
    renewable_until: Timestamp,
    certificate: Timestamp,
    earliest: Timestamp,
}

impl Bounds {
    /// The end of a lease with a requested life of `life_s` from now on, with the reasons for a shorter life.
    fn end(&self, offered: &Offered<'_>, life_s: Option<u32>, now: Timestamp) -> (Ends, Vec<String>) {
        let Self { renewable_until, certificate, earliest } = *self;
        let requested = life_s.unwrap_or_else(|| LEASE_LIFE_S.min(offered.capability.max_life_s));
        let wanted = now.plus_s(i64::from(requested));
        let expires_at = wanted.min(renewable_until.min(certificate)).max(earliest);
        let mut constrained = Vec::new();
        if expires_at < wanted {
            let by = if certificate < renewable_until {
                "the agent's certificate".to_owned()
            } else {
                offered.limited_by()
            };
            let given = expires_at.seconds_since(now);
            constrained.push(format!("life shortened from {requested} s to {given} s by {by}"));
        }
        (Ends { expires_at, renewable_until }, constrained)
    }
}

/// The end of a new lease, with the reasons for a shorter life; otherwise the reason for a refusal.
pub(super) fn first_end(
    context: &DecisionContext<'_>,
    offered: &Offered<'_>,
    certificate: Timestamp,
    life_s: Option<u32>,
) -> Result<(Ends, Vec<String>), Code> {
    let now = context.now();
    if certificate.seconds_since(now) < i64::from(LEASE_LIFE_MIN_S) {
        return Err(code::CERTIFICATE_EXPIRES_TOO_SOON);
    }
    let renewable_until = now.plus_s(i64::from(offered.max_life_s()));
    Ok(Bounds { renewable_until, certificate, earliest: now }.end(offered, life_s, now))
}

/// The life of a new lease in seconds; the requested one if the certificate is too short for a new lease.
pub(super) fn new_life_s(
    context: &DecisionContext<'_>,
    offered: &Offered<'_>,
    certificate: Timestamp,
    life_s: Option<u32>,
) -> i64 {
    match first_end(context, offered, certificate, life_s) {
        Ok((ends, _)) => ends.expires_at.seconds_since(context.now()),
        Err(_) => i64::from(life_s.unwrap_or(LEASE_LIFE_S).min(offered.max_life_s())),
    }
}

/// The new end of a live lease, with the reasons for a shorter life; otherwise the reason for a refusal.
pub(super) fn later_end(
    context: &DecisionContext<'_>,
    lease: &Lease,
    offered: &Offered<'_>,
    certificate: Timestamp,
    life_s: Option<u32>,
) -> Result<(Ends, Vec<String>), LeaseRefusal> {
    let now = context.now();
    if let Some(refusal) = offered.refusal() {
        return Err(LeaseRefusal::Policy(refusal));
    }
    if !matches!(lease.stage, LeaseStage::Live { .. }) || lease.ends.expires_at <= now {
        return Err(LeaseRefusal::Code(code::LEASE_NOT_ACTIVE));
    }
    // A shorter life of the capability shortens the renewal, never the granted life.
    let longest = |life_s: u32| lease.ends.renewable_until.min(lease.issued.at.plus_s(i64::from(life_s)));
    if lease.ends.expires_at >= longest(offered.capability.max_life_s) {
        return Err(LeaseRefusal::Code(code::LEASE_MAX_LIFE_REACHED));
    }
    let renewable_until = longest(offered.max_life_s());
    if let Some(limit) = offered.limit.as_ref().filter(|_| lease.ends.expires_at >= renewable_until) {
        return Err(LeaseRefusal::Policy(limit.refusal("the lease already lives so long")));
    }
    if lease.ends.expires_at >= certificate {
        return Err(LeaseRefusal::Code(code::CERTIFICATE_EXPIRES_TOO_SOON));
    }
    let bounds = Bounds { renewable_until, certificate, earliest: lease.ends.expires_at };
    Ok(bounds.end(offered, life_s, now))
}
