use std::path::Path;

use crate::base::{Clock, SystemClock, Timestamp, code};
use crate::cli::client::{AddressOrigin, Client};
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::session::{VerbSession, joined, text};
use crate::console::{CommandFailure, Console};
use crate::operators::CONTAIN_ON_HOST;
use crate::rotation::spoken;
use crate::wire::{
    AGENT_WHOAMI, FixedText, IdentityStatus, LIVENESS, Nothing, OPERATOR_WHOAMI, ProblemOutput, READINESS,
    StatusOutput,
};

/// `keyward status`: the identities of this machine and their brokers. Changes nothing and renews nothing.
pub(crate) async fn status(session: VerbSession<'_>) -> Result<(), CommandFailure> {
    let VerbSession { home, console } = session;
    let mut identities = Vec::new();
    for kind in [IdentityKind::Agent, IdentityKind::Operator] {
        if let Some(dir) = Identity::existing(home, kind)? {
            identities.push(examine(home, kind, &dir).await);
        }
    }
    let ok = !identities.is_empty() && identities.iter().all(|one| one.problems.is_empty());
    let status = StatusOutput { ok, home: home.display().to_string(), identities };
    if console.is_json() {
        console.json(&status);
    } else if console.is_csv() {
        let rows: Vec<Vec<String>> = status.identities.iter().map(row).collect();
        console.table("identities", &HEAD, &rows);
    } else {
        status.identities.iter().for_each(|one| tell(one, console));
    }
    conclude(&status)
}

async fn examine(home: &Path, kind: IdentityKind, dir: &Path) -> IdentityStatus {
    let mut status = IdentityStatus {
        kind: kind.directory().into(),
        spiffe_id: None,
        roles: Vec::new(),
        owner: None,
        not_after: None,
        key: None,
        address: None,
        address_file: dir.join("address").display().to_string(),
        reachable: false,
        ready: false,
        warnings: Vec::new(),
        accepted: false,
        problems: Vec::new(),
    };
    if let Err(failure) = ask(home, kind, &mut status).await {
        let failure = with_clock(failure, kind, &status.warnings);
        status.problems.push(ProblemOutput {
            code: failure.code().to_owned(),
            detail: failure.why().to_owned(),
            fix: failure.fix().to_owned(),
        });
    }
    status
}

/// A certificate that counts as expired or not yet valid can be valid, if the clock of the broker is wrong.
fn with_clock(failure: CommandFailure, kind: IdentityKind, warnings: &[FixedText]) -> CommandFailure {
    let by_time = [code::CERTIFICATE_EXPIRED, code::CLOCK_MISMATCH];
    let disagrees = warnings.iter().any(|warning| warning == CLOCK_DISAGREES);
    if !disagrees || !by_time.iter().any(|code| code.as_str() == failure.code()) {
        return failure;
    }
    let first = format!(
        "the broker reports `{CLOCK_DISAGREES}`: first set the system clock of its host right; if it is right, run \
         `keyward clock accept` there; then run `keyward status` again"
    );
    failure.mended_by(match kind {
        IdentityKind::Operator => format!("{first}; {CONTAIN_ON_HOST}"),
        IdentityKind::Agent => first,
    })
}

/// The broker's warning that its clocks disagree.
pub(crate) const CLOCK_DISAGREES: &str = "clock_disagrees";

/// Completes `status` up to the first problem.
async fn ask(home: &Path, kind: IdentityKind, status: &mut IdentityStatus) -> Result<(), CommandFailure> {
    let identity = Identity::load(home, kind)?;
    status.address = Some(identity.address.clone());
    let certificate = identity.certificate()?;
    let is_sealed = identity.sealed_key()?.is_some();
    status.key = Some(if is_sealed { "sealed" } else { "clear" }.into());
    status.spiffe_id = Some(certificate.spiffe().to_string());
    status.not_after = Some(certificate.not_after().to_string());
    // Without the certificate, which may be the problem.
    let anonymous = Client::without_certificate(&identity, AddressOrigin::of(home, kind))?;
    anonymous.call(LIVENESS, &Nothing, &Nothing).await?;
    status.reachable = true;
    status.warnings = anonymous.call(READINESS, &Nothing, &Nothing).await?.answer.warnings;
    status.ready = true;
    let client = Client::with(&identity, home, kind)?;
    match kind {
        IdentityKind::Agent => {
            status.roles = client.call(AGENT_WHOAMI, &Nothing, &Nothing).await?.answer.roles;
        }
        IdentityKind::Operator => {
            let me = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?.answer;
            (status.roles, status.owner) = (vec![me.role.into_owned()], me.owner);
        }
    }
    status.accepted = true;
    Ok(())
}

const HEAD: [&str; 9] =
    ["KIND", "SPIFFE ID", "NOT AFTER", "PRIVATE KEY", "ROLES", "OWNER", "BROKER", "STATE", "PROBLEMS"];

/// The identity in a line, for a spreadsheet.
fn row(status: &IdentityStatus) -> Vec<String> {
    let problem = |one: &ProblemOutput| format!("{}: {}", one.code, one.detail);
    let problems: Vec<String> = status.problems.iter().map(problem).collect();
    vec![
        status.kind.to_string(),
        text(status.spiffe_id.as_ref()),
        text(status.not_after.as_ref()),
        text(status.key.as_ref()),
        joined(&status.roles),
        text(status.owner.as_ref()),
        text(status.address.as_ref()),
        state(status),
        problems.join("; "),
    ]
}

fn tell(status: &IdentityStatus, console: &Console) {
    let unknown = "unknown";
    console.line(&format!("{}  {}", status.kind, status.spiffe_id.as_deref().unwrap_or(unknown)));
    if let Some(end) = &status.not_after {
        console.line(&format!("  certificate  {}", validity(end, SystemClock::new().now())));
    }
    if status.key.as_deref() == Some("sealed") {
        console.line("  private key  sealed with a passphrase");
    }
    if status.accepted {
        let owner = status.owner.as_ref().map_or_else(String::new, |owner| format!(", owner {owner}"));
        console.line(&format!("  roles        {}{owner}", joined(&status.roles)));
    }
    let address = status.address.as_deref().unwrap_or(unknown);
    console.line(&format!("  broker       {address}, from {}", status.address_file));
    console.line(&format!("  state        {}", state(status)));
    for problem in &status.problems {
        console.line(&format!("  problem      {}: {}", problem.code, problem.detail));
        console.line(&format!("  fix          {}", problem.fix));
    }
}

fn validity(end: &str, now: Timestamp) -> String {
    let left = Timestamp::parse(end).map_or(0, |end| end.seconds_since(now));
    match u32::try_from(left) {
        Ok(left) if left > 0 => format!("valid until {end} ({} left)", spoken(left)),
        Ok(_) | Err(_) => format!("expired at {end}"),
    }
}

fn state(status: &IdentityStatus) -> String {
    let unusable = [code::IDENTITY_DAMAGED, code::ADDRESS_INVALID, code::FILE_UNUSABLE];
    let is_unusable = |problem: &ProblemOutput| unusable.iter().any(|code| code.as_str() == problem.code);
    let state = match (status.reachable, status.ready, status.accepted) {
        (false, ..) if status.problems.iter().any(is_unusable) => {
            "the broker was not asked: this identity cannot be used"
        }
        (false, ..) => "the broker is not reachable",
        (true, false, _) => "the broker is not ready",
        (true, true, false) => "the broker is ready, and refuses this identity",
        (true, true, true) => "ready",
    };
    if status.warnings.is_empty() {
        return state.to_owned();
    }
    format!("{state}; warnings: {}", joined(&status.warnings))
}

fn conclude(status: &StatusOutput) -> Result<(), CommandFailure> {
    if status.ok {
        return Ok(());
    }
    let failure = CommandFailure::new(code::CHECKS_FAILED);
    if status.identities.is_empty() {
        let why = format!("there is no identity in `{}`", status.home);
        let fix = "ask an operator for an enrolment code, then `keyward join`; or name another directory: `--home DIR`";
        return Err(failure.because(why).mended_by(fix));
    }
    let unusable: Vec<&str> = status
        .identities
        .iter()
        .filter(|one| !one.problems.is_empty())
        .map(|one| one.kind.as_ref())
        .collect();
    Err(failure
        .because(format!("identities with a problem: {}", joined(&unusable)))
        .mended_by("each identity in the output has its problem and its fix; `keyward doctor` checks more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_says_what_is_left_or_when_it_ended() {
        let end = "2026-11-29T12:00:00.000Z";
        let at = |text: &str| validity(end, Timestamp::parse(text).unwrap());
        assert_eq!(at("2026-11-29T10:30:00Z"), format!("valid until {end} (1h 30m left)"));
        assert_eq!(at("2026-11-29T12:00:00Z"), format!("expired at {end}"));
        assert_eq!(at("2026-11-30T12:00:00Z"), format!("expired at {end}"));
    }
}
