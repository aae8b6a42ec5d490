use cedar_policy::Policy;

use super::fault::RuleFault;
use crate::base::limits::{LEASE_LIFE_MAX_S, POLICY_REASON_CHARS_MAX, TOKEN_LIFE_MIN_S};
use crate::base::{is_invisible, length_s};

/// The effect of a rule that matches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Obligation {
    /// The request is denied.
    Deny,
    /// The life is at most this long.
    LimitLife {
        /// In seconds.
        max_s: u32,
    },
}

const KNOWN: &str = "`@max_ttl` and `@reason`";

/// The obligation and the reason that the annotations say.
pub(super) fn annotations(policy: &Policy) -> Result<(Obligation, Option<String>), Vec<RuleFault>> {
    let (mut obligation, mut reason, mut faults) = (Obligation::Deny, None, Vec::new());
    for (name, value) in policy.annotations() {
        let read = match name {
            "max_ttl" => life(value).map(|max_s| obligation = Obligation::LimitLife { max_s }),
            "reason" => text(value).map(|text| reason = Some(text)),
            _ => Err(format!("the annotation `@{name}` does not exist: the annotations are {KNOWN}")),
        };
        faults.extend(read.err().map(RuleFault::whole));
    }
    if faults.is_empty() { Ok((obligation, reason)) } else { Err(faults) }
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
