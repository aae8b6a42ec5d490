use clap::Args;

use super::rotation_retry::{Attempt, attempt, settled, untried};
use crate::base::{SecretName, code};
use crate::cli::session::VerbSession;
use crate::console::CommandFailure;
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
        let body = SteerRotationBody { action: RotationAction::RevokePrevious };
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
        match attempt(&before, &after) {
            Attempt::Succeeded | Attempt::Ended => {}
            Attempt::Failed(failure) => {
                let why = format!("the previous version may still work: {}", failure.why());
                return Err(failure.because(why));
            }
            Attempt::Untried(until) => return Err(untried(&after, &until)),
            Attempt::InProgress => {
                let why = "the upstream has not revoked the previous version yet, which may still work";
                return Err(CommandFailure::new(code::ROTATION_UNFINISHED).because(why));
            }
        }
        let is_orphan = after.orphans.len() > before.orphans.len();
        let result = if is_orphan { "orphan" } else { "revoked" };
        (output.result, output.rotation) = (Some(result.into()), Some(after.sent.clone()));
        session.console.record(&output, || revoked(&name, is_orphan));
        Ok(())
    }
}

fn revoked(name: &SecretName, is_orphan: bool) -> String {
    if is_orphan {
        format!(
            "{name}: the broker cannot revoke the previous version, which may still work: delete it at the upstream \
             (`keyward rotation show {name}` lists it as an orphan), then `keyward rotation clear-orphans {name}`"
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
