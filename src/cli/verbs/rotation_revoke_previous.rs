use clap::Args;

use super::rotation_retry::{Attempt, attempt, settled, untried};
use crate::base::{SecretName, code};
use crate::cli::session::VerbSession;
use crate::console::CommandFailure;
use crate::upstream::WITHOUT_UPSTREAM;
use crate::wire::{
    GET_ROTATION, Nothing, RotationAction, RotationAnswer, STEER_ROTATION, SteerRotationBody,
    TriedRotationOutput,
};

/// `keyward rotation revoke-previous`
#[derive(Args, Debug)]
pub struct RotationRevokePreviousArgs {
    /// The secret's name
    name: String,
    /// Do not wait until the upstream has revoked the version
    #[arg(long)]
    no_wait: bool,
}

impl RotationRevokePreviousArgs {
    pub(super) async fn revoke(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: SecretName = self.name.parse()?;
        let client = session.operator().await?;
        let before = client.call(GET_ROTATION, &name, &Nothing).await?;
        let body = SteerRotationBody::from(RotationAction::RevokePrevious);
        let steered = client.call(STEER_ROTATION, &name, &body).await;
        let steered = steered.map_err(|failure| without_previous(failure, &name, &before))?;
        let mut output = TriedRotationOutput { seq: steered.seq, result: None, rotation: None };
        if self.no_wait {
            session
                .console
                .record(&output, || format!("{name}: the revocation of the previous version has begun"));
            return Ok(());
        }
        let after = settled(&client, &name, &before).await?;
        check_revoked(&name, &before, &after)?;
        let is_orphan = after.orphans.len() > before.orphans.len();
        let result = if is_orphan { "orphan" } else { "revoked" };
        (output.result, output.rotation) = (Some(result.into()), Some(after.sent.clone()));
        session.console.record(&output, || revoked(&name, is_orphan, &before.upstream));
        Ok(())
    }
}

/// Checks that the rotation has ended with its last step, which revokes the previous version or makes it an orphan.
fn check_revoked(
    name: &SecretName,
    before: &RotationAnswer,
    after: &RotationAnswer,
) -> Result<(), CommandFailure> {
    match attempt(before, after) {
        Attempt::Succeeded => Ok(()),
        Attempt::Ended => {
            let why = format!(
                "another command ended the rotation of {name}: it adopted a version, stored a value or changed the \
                 declaration; the upstream may still accept the previous version"
            );
            let fix = format!(
                "`keyward audit list --secret {name}` shows the command; if the upstream must not accept the previous \
                 version, delete it there, or rotate again: `keyward secret rotate {name}`"
            );
            Err(CommandFailure::new(code::ROTATION_INVALID_STATE).because(why).mended_by(fix))
        }
        Attempt::Failed(failure) => {
            let why = format!("the previous version may still work: {}", failure.why());
            Err(failure.because(why))
        }
        Attempt::Untried(until) => Err(untried(after, &until)),
        Attempt::InProgress => {
            let why = "the upstream has not revoked the previous version yet, which may still work";
            Err(CommandFailure::new(code::ROTATION_UNFINISHED).because(why))
        }
    }
}

fn revoked(name: &SecretName, is_orphan: bool, upstream: &str) -> String {
    if is_orphan {
        format!(
            "{name}: the broker cannot revoke the previous version, which may still work: delete it at the upstream \
             (`keyward rotation show {name}` lists it as an orphan), then `keyward rotation clear-orphans {name}`"
        )
    } else if upstream == WITHOUT_UPSTREAM {
        format!(
            "{name}: the grace period of the previous version has ended; no upstream has the value, so each program that \
             still accepts it has to stop that itself"
        )
    } else {
        format!("{name}: the upstream has revoked the previous version")
    }
}

/// The refusal when no previous version is in its grace period.
fn without_previous(failure: CommandFailure, name: &SecretName, rotation: &RotationAnswer) -> CommandFailure {
    if failure.code() != code::ROTATION_INVALID_STATE.as_str() {
        return failure;
    }
    let (why, fix) = match &rotation.run {
        Some(run) => (
            format!(
                "the rotation of {name} is at `{}`, and no previous version is in its grace period",
                run.stage
            ),
            format!("wait; `keyward rotation show {name}` shows the next step"),
        ),
        None => (
            format!(
                "no previous version of {name} is in its grace period: the earlier versions were revoked before"
            ),
            format!("`keyward rotation show {name}` shows the last rotation and its orphans"),
        ),
    };
    failure.because(why).mended_by(fix)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "rot_00000000000000000000000010";

    fn rotation(run: Value, last: Value) -> RotationAnswer {
        serde_json::from_value(json!({
            "secret": "a/b", "upstream": "u", "schedule": null, "overlap": true, "grace_s": 60, "paused_at": null,
            "next": null, "overdue": false, "run": run, "last_at": null, "state": "grace", "last": last,
            "checked_at": null, "orphans": [],
        }))
        .unwrap()
    }

    #[test]
    fn no_upstream_is_said_to_have_revoked_a_generated_value() {
        let name = "a/b".parse().unwrap();
        let said = revoked(&name, false, WITHOUT_UPSTREAM);
        assert!(said.contains("no upstream has the value") && !said.contains("has revoked"), "{said}");
        assert!(revoked(&name, false, "http").contains("the upstream has revoked"));
    }

    #[test]
    fn a_rotation_that_another_command_ended_is_no_revocation() {
        let run = json!({
            "id": ID, "trigger": "manual", "begun_at": "x", "stage": "grace", "version": 2, "touched": true,
            "failures": 0, "trouble": null, "grace_until": "then",
        });
        let (name, before) = ("a/b".parse().unwrap(), rotation(run, Value::Null));
        let checked = |version: Option<u32>, ending: &str| {
            let last = json!({ "rotation": ID, "version": version, "ending": ending });
            check_revoked(&name, &before, &rotation(Value::Null, last))
        };
        assert!(checked(Some(2), "finished").is_ok());
        // The new version may have been adopted as well as the previous one.
        for (version, ending) in [(Some(1), "adopted"), (Some(2), "adopted"), (None, "abandoned")] {
            let refused = checked(version, ending).unwrap_err();
            assert_eq!(refused.code(), code::ROTATION_INVALID_STATE.as_str(), "{ending}");
            assert!(refused.why().contains("may still accept the previous version"), "{}", refused.why());
        }
    }
}
