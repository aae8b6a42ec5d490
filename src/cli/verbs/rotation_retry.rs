use std::time::Duration;

use clap::Args;

use super::rotation_state::failure_of;
use crate::base::{SecretName, code};
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, text};
use crate::console::CommandFailure;
use crate::wire::{
    GET_ROTATION, GET_SECRET, Nothing, RotationAction, RotationAnswer, STEER_ROTATION, SteerRotationBody,
    TriedRotationOutput,
};

/// `keyward rotation retry`
#[derive(Args, Debug)]
pub struct RotationRetryArgs {
    /// The secret's name
    name: String,
    /// Do not wait for the result of the attempt
    #[arg(long)]
    no_wait: bool,
}

/// The interval of looks at the rotation, and the longest wait for a result.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 120;
/// So many looks have to find an open circuit: a failed attempt opens it before the ledger has the failure.
const UNTRIED_LOOKS: u32 = 8;

/// The result of an attempt that a command ordered, as far as it is known.
pub(super) enum Attempt {
    /// The step and those after it succeeded.
    Succeeded,
    /// The rotation has ended, and not by the attempt: another command adopted a version, stored a value or changed the
    /// declaration.
    Ended,
    Failed(CommandFailure),
    /// The circuit of the upstream is open: nothing was tried.
    Untried(String),
    InProgress,
}

impl RotationRetryArgs {
    pub(super) async fn retry(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: SecretName = self.name.parse()?;
        let client = session.operator().await?;
        let before = client.call(GET_ROTATION, &name, &Nothing).await?;
        let body = SteerRotationBody::from(RotationAction::Retry);
        let retried = client.call(STEER_ROTATION, &name, &body).await;
        let retried = retried.map_err(|failure| without_failed_step(failure, &name, &before))?;
        let mut output = TriedRotationOutput { seq: retried.seq, result: None, rotation: None };
        if self.no_wait {
            session.console.record(&output, || ordered(&name, &before));
            return Ok(());
        }
        let after = settled(&client, &name, &before).await?;
        match attempt(&before, &after) {
            Attempt::Succeeded => {}
            Attempt::Ended => {
                let why = "another command ended the rotation: it adopted a version, stored a value or changed the declaration";
                return Err(CommandFailure::new(code::ROTATION_INVALID_STATE).because(why));
            }
            Attempt::Failed(failure) => return Err(failure),
            Attempt::Untried(until) => return Err(untried(&after, &until)),
            Attempt::InProgress => {
                let wait_s = LOOK.saturating_mul(LOOKS).as_secs();
                let why = format!("tried now; the step is still in progress after {wait_s} seconds");
                return Err(CommandFailure::new(code::ROTATION_UNFINISHED).because(why));
            }
        }
        let current = client.call(GET_SECRET, &name, &Nothing).await?.current;
        (output.result, output.rotation) = (Some("succeeded".into()), Some(after.sent.clone()));
        session.console.record(&output, || succeeded(&name, current, &after));
        Ok(())
    }
}

/// The rotation when the result is known, or after the longest wait.
pub(super) async fn settled(
    client: &Client,
    name: &SecretName,
    before: &RotationAnswer,
) -> Result<Received<RotationAnswer>, CommandFailure> {
    let (mut looks, mut untried) = (0..LOOKS, 0..UNTRIED_LOOKS);
    loop {
        let now = client.call(GET_ROTATION, name, &Nothing).await?;
        let is_settled = match attempt(before, &now) {
            Attempt::InProgress => false,
            Attempt::Untried(_) => untried.next().is_none(),
            Attempt::Succeeded | Attempt::Ended | Attempt::Failed(_) => true,
        };
        if is_settled || looks.next().is_none() {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A retry removes the error of the attempt before, so an error is of a new attempt.
pub(super) fn attempt(before: &RotationAnswer, now: &RotationAnswer) -> Attempt {
    let same = now.run.as_ref().filter(|run| before.run.as_ref().is_some_and(|before| before.id == run.id));
    let Some(run) = same else { return ended(before, now) };
    if let Some(failure) = failure_of(now, run) {
        let why = format!("tried now and failed: {}", failure.why());
        return Attempt::Failed(failure.because(why));
    }
    let was_in_grace = before.run.as_ref().is_some_and(|before| before.stage == "grace");
    if run.stage == "grace" && !was_in_grace {
        return Attempt::Succeeded;
    }
    match &now.circuit_open_until {
        Some(until) if now.state == "circuit-open" => Attempt::Untried(until.clone()),
        Some(_) | None => Attempt::InProgress,
    }
}

/// The result of a rotation that has ended. An older broker does not tell the last one, only its time.
fn ended(before: &RotationAnswer, now: &RotationAnswer) -> Attempt {
    let id = before.run.as_ref().map(|run| run.id);
    let is_finished = match &now.last {
        Some(last) if Some(last.rotation) != id => false,
        Some(last) => match &last.ending {
            Some(ending) => ending == "finished",
            None => last.version.is_some(),
        },
        None => now.last_at != before.last_at,
    };
    if is_finished { Attempt::Succeeded } else { Attempt::Ended }
}

pub(super) fn untried(rotation: &RotationAnswer, until: &str) -> CommandFailure {
    let cause = rotation.circuit_cause.as_ref();
    let cause = cause.map_or_else(String::new, |cause| format!("; last cause: {cause}"));
    let why = format!(
        "not tried: the circuit of {} is open until {until}, because its last calls failed{cause}; the broker \
         tries then by itself",
        rotation.upstream
    );
    let secret = &rotation.secret;
    let fix = format!("`keyward rotation check {secret}` shows the problem of the upstream now");
    CommandFailure::new(code::ROTATION_UNFINISHED).because(why).mended_by(fix)
}

/// What happens after the order of a retry.
fn ordered(name: &SecretName, before: &RotationAnswer) -> String {
    let step = before.run.as_ref().map_or_else(
        || "the failed step".to_owned(),
        |run| format!("the failed step, at the stage `{}`,", run.stage),
    );
    format!(
        "{name}: the broker tries {step} again within {RETRY_WITHIN_S} seconds, also if the circuit of the upstream is open; \
         `keyward rotation show {name}` shows the result"
    )
}

/// The broker begins a step that is due within this time, in seconds, unless too many others are in progress.
const RETRY_WITHIN_S: u32 = 5;

fn succeeded(name: &SecretName, current: Option<u32>, rotation: &RotationAnswer) -> String {
    let mut line = format!("{name}: tried now and succeeded; version {} is current", text(current.as_ref()));
    if let Some(until) = rotation.run.as_ref().and_then(|run| run.grace_until.as_ref()) {
        line.push_str(&format!(", the previous version works until {until}"));
    }
    if let Some(at) = &rotation.paused_at {
        line.push_str(&format!("; scheduled rotations are paused since {at}"));
    }
    line
}

/// The refusal of a retry when no step has failed, with the state of the rotation.
fn without_failed_step(
    failure: CommandFailure,
    name: &SecretName,
    rotation: &RotationAnswer,
) -> CommandFailure {
    if failure.code() != code::ROTATION_INVALID_STATE.as_str() {
        return failure;
    }
    let (why, fix) = match (&rotation.run, &rotation.paused_at) {
        (Some(run), _) => (
            format!("no step of the rotation of {name} has failed: it is at `{}`", run.stage),
            format!("wait; `keyward rotation show {name}` shows the next attempt"),
        ),
        (None, Some(at)) => (
            format!("no rotation of {name} is in progress, and scheduled rotations are paused since {at}"),
            format!(
                "`keyward rotation resume {name}` starts the schedule again, `keyward secret rotate {name}` rotates now"
            ),
        ),
        (None, None) => (
            format!("no rotation of {name} is in progress"),
            format!("`keyward secret rotate {name}` begins one"),
        ),
    };
    failure.because(why).mended_by(fix)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rotation(state: &str, run: Value) -> RotationAnswer {
        serde_json::from_value(json!({
            "secret": "a/b", "upstream": "u", "schedule": null, "overlap": false, "grace_s": 0,
            "paused_at": null, "next": null, "overdue": false, "run": run, "last_at": null, "state": state,
            "next_try": "then", "circuit_open_until": "then", "checked_at": null, "orphans": [], "logins": "login `app`",
        }))
        .unwrap()
    }

    fn run(id: char, stage: &str, failed: bool) -> Value {
        let trouble = json!({ "code": "upstream_refused", "detail": "42501", "reason": "r", "at": "x", "retry_at": "y" });
        json!({
            "id": format!("rot_{}{id}0", "0".repeat(24)), "trigger": "manual", "begun_at": "x", "stage": stage,
            "version": 2, "touched": true, "failures": 1, "trouble": failed.then_some(trouble), "grace_until": null,
        })
    }

    #[test]
    fn a_retry_has_one_of_five_results() {
        let before = rotation("retry-scheduled", run('1', "applied", true));
        let result = |state: &str, run: Value| match attempt(&before, &rotation(state, run)) {
            Attempt::Succeeded => "succeeded".to_owned(),
            Attempt::Ended => "ended".to_owned(),
            Attempt::Failed(failure) => failure.why().to_owned(),
            Attempt::Untried(until) => until,
            Attempt::InProgress => "in progress".to_owned(),
        };
        let after = |last: Value, run: Value| {
            let mut now = rotation("idle", run);
            now.last = serde_json::from_value(last).unwrap();
            matches!(attempt(&before, &now), Attempt::Succeeded)
        };
        let last = |id: char, version: Option<u32>| json!({ "rotation": run(id, "", false)["id"], "version": version });
        assert!(after(last('1', Some(2)), Value::Null));
        assert!(after(last('1', Some(2)), run('2', "begun", false)), "the next one has begun");
        assert!(!after(last('1', None), Value::Null), "it was given up");
        for (ending, is_success) in [("finished", true), ("adopted", false), ("abandoned", false)] {
            let mut ended = last('1', Some(2));
            ended["ending"] = json!(ending);
            assert_eq!(after(ended, Value::Null), is_success, "{ending}");
        }
        assert!(!after(last('0', Some(1)), Value::Null), "an earlier one");
        assert_eq!(result("grace", run('1', "grace", false)), "succeeded");
        assert_eq!(result("in-progress", run('1', "applied", false)), "in progress");
        assert_eq!(result("circuit-open", run('1', "applied", false)), "then");
        let failed = "tried now and failed: r (login `app`, at u); the rotation of `a/b` has stopped at `applied`: the broker tries again at y";
        assert_eq!(result("retry-scheduled", run('1', "applied", true)), failed);
        let before = rotation("retry-scheduled", run('1', "grace", true));
        let now = rotation("in-progress", run('1', "grace", false));
        assert!(matches!(attempt(&before, &now), Attempt::InProgress), "it is to end");
    }

    #[test]
    fn a_retry_without_a_wait_says_what_will_happen_when() {
        let said = ordered(&"a/b".parse().unwrap(), &rotation("retry-scheduled", run('1', "applied", true)));
        for part in ["at the stage `applied`", "within 5 seconds", "`keyward rotation show a/b`"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_retry_without_a_failed_step_is_told_the_state() {
        let refused = || CommandFailure::new(code::ROTATION_INVALID_STATE);
        let mut at_rest = rotation("idle", Value::Null);
        let name: SecretName = "a/b".parse().unwrap();
        let why =
            |rotation: &RotationAnswer| without_failed_step(refused(), &name, rotation).why().to_owned();
        assert_eq!(why(&at_rest), "no rotation of a/b is in progress");
        at_rest.paused_at = Some("then".to_owned());
        assert!(why(&at_rest).ends_with("scheduled rotations are paused since then"));
        assert!(why(&rotation("in-progress", run('1', "begun", false))).ends_with("it is at `begun`"));
    }
}
