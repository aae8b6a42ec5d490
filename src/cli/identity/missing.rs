use std::path::Path;

use crate::base::code;
use crate::console::CommandFailure;
use crate::pki::SpiffeId;

/// There is no identity of `kind` in `home`. `other` is the identity of the other kind in the same directory: a person
/// who forgets `--operator` needs no new certificate.
pub(super) fn failure(home: &Path, kind: &str, other: Option<&SpiffeId>) -> CommandFailure {
    let home = home.display();
    let holds = match other {
        None => String::new(),
        Some(SpiffeId::Operator { name, .. }) => format!("; this directory holds the operator `{name}`"),
        Some(SpiffeId::Agent { name, .. }) => format!("; this directory holds the agent `{name}`"),
        Some(SpiffeId::ResourceServer { name, .. }) => {
            format!("; this directory holds the resource server `{name}`")
        }
    };
    let fix = match (kind, other) {
        ("operator", None) => {
            "enrol first: `keyward join`, with a code from `keyward operator invite NAME`; or, on the broker's host, `keyward init --reissue-operator`"
        }
        (_, None) => "enrol first: `keyward join`, with a code from `keyward agent invite NAME`",
        (_, Some(SpiffeId::Operator { .. })) => {
            "for the operator: add `--operator` (`whoami`, `renew` and `doctor` have it); for an agent: name its directory with `--home DIR`, or `keyward join` with a code from `keyward agent invite NAME`"
        }
        (_, Some(SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. })) => {
            "for the present identity: leave out `--operator`; for an operator: name its directory with `--home DIR`, or `keyward join` with a code from `keyward operator invite NAME`"
        }
    };
    CommandFailure::new(code::NO_IDENTITY)
        .because(format!("there is no {kind} identity in `{home}`{holds}"))
        .mended_by(fix)
}
