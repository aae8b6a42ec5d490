use cedar_policy::Policy;

use super::fault::RuleFault;
use crate::base::limits::{APPROVAL_QUORUM_MAX, LEASE_LIFE_MAX_S, POLICY_REASON_CHARS_MAX, TOKEN_LIFE_MIN_S};
use crate::base::{ApprovalDemand, ApproverGroupName, DemandKind, NameError, is_invisible, length_s};

/// The effect of a rule that matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Obligation {
    /// The request is denied.
    Deny,
    /// The life is at most this long.
    LimitLife {
        /// In seconds.
        max_s: u32,
    },
    /// The request needs approval.
    Approve {
        demand: ApprovalDemand,
        /// The longest life with the approval, in seconds.
        max_s: Option<u32>,
    },
}

const KNOWN: &str = "`@approvers`, `@decision`, `@max_ttl`, `@quorum` and `@reason`";

/// The annotations of a rule, as they are written.
#[derive(Default)]
struct Annotations {
    max_s: Option<u32>,
    reason: Option<String>,
    decision: Option<DemandKind>,
    group: Option<ApproverGroupName>,
    quorum: Option<u32>,
}

/// The obligation and the reason that the annotations say.
pub(super) fn annotations(policy: &Policy) -> Result<(Obligation, Option<String>), Vec<RuleFault>> {
    let (mut read, mut faults) = (Annotations::default(), Vec::new());
    for (name, value) in policy.annotations() {
        let done = match name {
            "max_ttl" => life(value).map(|max_s| read.max_s = Some(max_s)),
            "reason" => text(value).map(|text| read.reason = Some(text)),
            "decision" => decision(value).map(|decision| read.decision = Some(decision)),
            "approvers" => group(value).map(|group| read.group = Some(group)),
            "quorum" => quorum(value).map(|quorum| read.quorum = Some(quorum)),
            _ => Err(format!("the annotation `@{name}` does not exist: the annotations are {KNOWN}")),
        };
        faults.extend(done.err().map(RuleFault::whole));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let reason = read.reason.take();
    Ok((read.obligation().map_err(|fault| vec![RuleFault::whole(fault)])?, reason))
}

impl Annotations {
    fn obligation(self) -> Result<Obligation, String> {
        let Self { max_s, decision, group, quorum, .. } = self;
        match decision {
            None if group.is_some() || quorum.is_some() => Err(
                "`@approvers` and `@quorum` have an effect only beside `@decision(\"require_approval\")`: add it, or remove them"
                    .to_owned(),
            ),
            None => Ok(max_s.map_or(Obligation::Deny, |max_s| Obligation::LimitLife { max_s })),
            Some(DemandKind::Confirmation) if group.is_some() || quorum.is_some() => Err(
                "the person for whom the agent acts confirms a request alone: remove `@approvers` and `@quorum`, or write \
                 `@decision(\"require_approval\")`"
                    .to_owned(),
            ),
            Some(kind) => {
                let demand = ApprovalDemand { kind, group, quorum: quorum.unwrap_or(1) };
                Ok(Obligation::Approve { demand, max_s })
            }
        }
    }
}

fn life(value: &str) -> Result<u32, String> {
    let is_allowed =
        |life_s: &u32| (TOKEN_LIFE_MIN_S..=i64::from(LEASE_LIFE_MAX_S)).contains(&i64::from(*life_s));
    length_s(value).filter(is_allowed).ok_or_else(|| {
        format!(
            "`@max_ttl` is not a length of time of {TOKEN_LIFE_MIN_S} seconds to {} days: write e.g. `@max_ttl(\"5m\")`",
            LEASE_LIFE_MAX_S / 86_400
        )
    })
}

fn text(value: &str) -> Result<String, String> {
    let is_line = !value.trim().is_empty() && !value.chars().any(|c| c.is_control() || is_invisible(c));
    if is_line && value.chars().count() <= POLICY_REASON_CHARS_MAX {
        Ok(value.to_owned())
    } else {
        Err(format!("`@reason` is not one line of 1 to {POLICY_REASON_CHARS_MAX} printable characters"))
    }
}

fn decision(value: &str) -> Result<DemandKind, String> {
    match value {
        "require_approval" => Ok(DemandKind::Approval),
        "require_confirmation" => Ok(DemandKind::Confirmation),
        _ => Err(
            "`@decision` is neither `require_approval` (second persons) nor `require_confirmation` (the person for whom the \
             agent acts); a rule without `@decision` denies"
                .to_owned(),
        ),
    }
}

fn group(value: &str) -> Result<ApproverGroupName, String> {
    value.parse().map_err(|error: NameError| {
        format!("`@approvers` is not the name of a group of approvers: use {}", error.rule())
    })
}

fn quorum(value: &str) -> Result<u32, String> {
    let number = value.parse::<u32>().ok().filter(|number| (1..=APPROVAL_QUORUM_MAX).contains(number));
    number.ok_or_else(|| {
        format!("`@quorum` is not a number of persons from 1 to {APPROVAL_QUORUM_MAX}: write e.g. `@quorum(\"2\")`")
    })
}
