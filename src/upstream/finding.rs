use super::fault::{Explanation, UpstreamFault};

/// Whether a value works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Upstream let it in.
    Works,
    /// Upstream knows another one.
    Refused,
}

/// One thing that was looked at when a declared upstream was tried. Nothing is changed for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What was looked at: `connection`, `role`, `privilege`, `sessions`, `value`, and for leases `login` or `grants`.
    pub what: &'static str,
    /// Whether a rotation or a lease can do with it as it is.
    pub ok: bool,
    /// What was found, in a sentence.
    pub says: String,
    /// What mends it, also for a finding that prevents nothing.
    pub fix: Option<String>,
}

impl Finding {
    /// It is as it should be.
    pub(super) const fn good(what: &'static str, says: String) -> Self {
        Self { what, ok: true, says, fix: None }
    }

    /// It was not looked at, or matters little now; `fix` says what to do about it.
    pub(super) fn warn(what: &'static str, says: String, fix: &str) -> Self {
        Self { what, ok: true, says, fix: Some(fix.to_owned()) }
    }

    /// It is not.
    pub(super) fn bad(what: &'static str, says: String, fix: &str) -> Self {
        Self { what, ok: false, says, fix: Some(fix.to_owned()) }
    }

    /// A call came to nothing.
    pub(super) fn fault(what: &'static str, fault: &UpstreamFault) -> Self {
        let explained = fault.explained();
        let cause = Explanation::before_retry(&explained.fix).unwrap_or(&explained.fix);
        let fix = format!("{cause}, then repeat the check");
        Self::bad(what, explained.why.into_owned(), &fix)
    }

    /// Whether the upstream accepts the current value. The first rotation of a secret replaces a wrong value where another
    /// login sets it; later, agents get a value that does not work.
    pub(super) fn of_value(
        verdict: Result<Verdict, UpstreamFault>,
        sets_itself: bool,
        is_established: bool,
    ) -> Self {
        match verdict {
            Ok(Verdict::Works) => Self::good("value", "the upstream accepts the current value".to_owned()),
            Ok(Verdict::Refused) if is_established => Self::bad(
                "value",
                "the upstream does not accept the current value, which agents get: another program has changed it there"
                    .to_owned(),
                if sets_itself {
                    "find a version that works: `keyward rotation adopt NAME`; or store the password that works: \
                     `keyward secret put NAME`"
                } else {
                    "find a version that works: `keyward rotation adopt NAME`; or set a new value: `keyward secret \
                     rotate NAME`"
                },
            ),
            Ok(Verdict::Refused) if !sets_itself => Self::warn(
                "value",
                "the upstream does not accept the current value: the first rotation replaces it".to_owned(),
                "rotate it now: `keyward secret rotate NAME`",
            ),
            Ok(Verdict::Refused) => Self::bad(
                "value",
                "the upstream does not accept the current value, and the login sets its own password"
                    .to_owned(),
                "store the password that works: `keyward secret put NAME`",
            ),
            Err(fault) => Self::fault("value", &fault),
        }
    }
}
