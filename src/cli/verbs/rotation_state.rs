use serde_json::Value;

use crate::base::code::{self, Code};
use crate::cli::client::Received;
use crate::console::CommandFailure;
use crate::upstream::Explanation;
use crate::wire::{RotationAnswer, RunAnswer, RunFailureAnswer};

/// The schedule of a rotation for a table.
pub(super) fn schedule(rotation: &RotationAnswer) -> String {
    rotation.schedule.clone().unwrap_or_else(|| "by hand".to_owned())
}

/// The state of a rotation for a table.
pub(super) fn state(rotation: &RotationAnswer) -> String {
    let mut parts = vec![match &rotation.run {
        Some(run) => state_of_run(run, rotation),
        None if rotation.paused_at.is_some() => "paused".to_owned(),
        None if rotation.overdue => "overdue".to_owned(),
        None => "idle".to_owned(),
    }];
    if rotation.run.is_some() && rotation.paused_at.is_some() {
        parts.push("schedule paused".to_owned());
    }
    if !rotation.orphans.is_empty() {
        parts.push(format!("orphans: {}", rotation.orphans.len()));
    }
    parts.join("; ")
}

fn state_of_run(run: &RunAnswer, rotation: &RotationAnswer) -> String {
    let stage = &run.stage;
    let circuit = rotation.circuit_open_until.as_ref().filter(|_| rotation.state == "circuit-open");
    let wait = match (circuit, rotation.state.as_ref(), &run.grace_until) {
        (Some(until), ..) => {
            // The failure of the rotation itself is shown anyway.
            let cause = rotation.circuit_cause.as_ref().filter(|_| run.trouble.is_none());
            let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
            format!("circuit open until {until}{cause}")
        }
        (None, "in-progress", _) => "in progress".to_owned(),
        (None, "grace", Some(until)) => return format!("{stage} until {until}"),
        (None, ..) => next_attempt(run, rotation),
    };
    match &run.trouble {
        None if wait.is_empty() => stage.to_string(),
        None => format!("{stage}, {wait}"),
        Some(trouble) if trouble.retry_at.is_some() => {
            format!("{stage}, failed: {}, {wait}", error_of(trouble))
        }
        Some(trouble) => format!("needs attention (dead letter at {stage}): {}", error_of(trouble)),
    }
}

/// An older broker sends the time of the retry alone.
fn next_attempt(run: &RunAnswer, rotation: &RotationAnswer) -> String {
    let retry_at = run.trouble.as_ref().and_then(|trouble| trouble.retry_at.as_ref());
    let at = rotation.next_try.as_ref().or(retry_at);
    at.map_or_else(String::new, |at| format!("next attempt at {at}"))
}

/// The code of a failure, with the upstream's own.
fn error_of(trouble: &RunFailureAnswer) -> String {
    match &trouble.detail {
        Some(detail) => format!("{} ({})", trouble.code, named(detail)),
        None => trouble.code.clone(),
    }
}

/// The upstream's own code with its kind: an SQLSTATE has five characters, an HTTP status three digits.
fn named(detail: &str) -> String {
    let is_all = |is: fn(&u8) -> bool| detail.as_bytes().iter().all(is);
    match detail.len() {
        5 if is_all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) => {
            format!("SQLSTATE {detail}")
        }
        3 if is_all(u8::is_ascii_digit) => format!("HTTP status {detail}"),
        _ => detail.to_owned(),
    }
}

/// The rotation as the broker sent it, with the last error and the previous version in a sentence each.
pub(super) fn with_sentences(shown: &Received<RotationAnswer>) -> Value {
    let mut sent = shown.sent.clone();
    let (Some(fields), Some(run)) = (sent.as_object_mut(), &shown.run) else { return sent };
    if let Some(trouble) = &run.trouble {
        let reason = trouble.reason.as_deref().unwrap_or("unknown to this version");
        let times =
            if run.failures == 1 { "1 failure".to_owned() } else { format!("{} failures", run.failures) };
        let error = format!("{}: {reason} (at {}, {times} of this step)", error_of(trouble), trouble.at);
        fields.insert("last_error".to_owned(), Value::from(error));
    }
    if let (Some(until), Some(version)) = (&run.grace_until, run.replaces) {
        let previous =
            format!("version {version} works until {until}; `keyward rotation revoke-previous` ends it now");
        fields.insert("previous_version".to_owned(), Value::from(previous));
    }
    sent
}

/// The failure of the last step of `run` of `rotation`, if it failed.
pub(super) fn failure_of(rotation: &RotationAnswer, run: &RunAnswer) -> Option<CommandFailure> {
    let trouble = run.trouble.as_ref()?;
    let code = trouble.code.parse::<Code>().unwrap_or(code::INTERNAL);
    let again = trouble
        .retry_at
        .as_ref()
        .map_or_else(|| "it needs attention".to_owned(), |at| format!("the broker tries again at {at}"));
    let reason = trouble.reason.as_deref().unwrap_or(code.meaning());
    let RotationAnswer { secret, upstream, logins, .. } = rotation;
    let logins = logins.as_ref().map_or_else(String::new, |logins| format!("{logins}, at "));
    let why = format!(
        "{reason} ({logins}{upstream}); the rotation of `{secret}` has stopped at `{}`: {again}",
        run.stage
    );
    let fix = Explanation::of(code, trouble.detail.as_deref()).fix;
    Some(CommandFailure::new(code).because(why).mended_by(fix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rotation(change: Value) -> Value {
        let mut rotation = json!({
            "secret": "a/b", "upstream": "u", "schedule": null, "overlap": false, "grace_s": 0,
            "paused_at": null, "next": null, "overdue": false, "run": null, "last_at": null,
            "checked_at": null, "orphans": [],
        });
        rotation.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        rotation
    }

    fn run(stage: &str, trouble: Value) -> Value {
        json!({
            "id": ID, "trigger": "manual", "begun_at": "x", "stage": stage, "version": null, "replaces": 1,
            "touched": false, "failures": 1, "trouble": trouble, "grace_until": null,
        })
    }

    fn trouble(retry_at: Option<&str>) -> Value {
        json!({ "code": "c", "detail": "28P01", "reason": "r", "at": "x", "retry_at": retry_at })
    }

    fn state_with(change: Value) -> String {
        state(&serde_json::from_value(rotation(change)).unwrap())
    }

    const ID: &str = "rot_00000000000000000000000000";

    #[test]
    fn a_rotation_s_state_is_one_phrase() {
        assert_eq!(state_with(json!({})), "idle");
        assert_eq!(state_with(json!({ "overdue": true })), "overdue");
        assert_eq!(state_with(json!({ "overdue": true, "paused_at": "x" })), "paused");
        let orphan = json!({ "rotation": ID, "at": "x", "version": null, "slot": null });
        assert_eq!(state_with(json!({ "orphans": [orphan, orphan] })), "idle; orphans: 2");
        let dead = run("prepared", trouble(None));
        let attention = "needs attention (dead letter at prepared): c (SQLSTATE 28P01)";
        assert_eq!(state_with(json!({ "run": dead })), attention);
        assert_eq!(
            state_with(json!({ "run": dead, "paused_at": "x" })),
            format!("{attention}; schedule paused")
        );
    }

    #[test]
    fn a_rotation_in_progress_says_when_the_next_attempt_is() {
        let failed = run("applied", trouble(Some("then")));
        let said = |state: &str| {
            state_with(json!({
                "run": failed, "state": state, "next_try": "then", "circuit_open_until": "then",
            }))
        };
        let error = "applied, failed: c (SQLSTATE 28P01)";
        assert_eq!(said("retry-scheduled"), format!("{error}, next attempt at then"));
        assert_eq!(said("circuit-open"), format!("{error}, circuit open until then"));
        assert_eq!(said("in-progress"), format!("{error}, in progress"));
        // An older broker
        assert_eq!(state_with(json!({ "run": failed })), format!("{error}, next attempt at then"));
        assert_eq!(state_with(json!({ "run": run("begun", Value::Null) })), "begun");
        let mut grace = run("grace", Value::Null);
        grace["grace_until"] = json!("then");
        assert_eq!(state_with(json!({ "run": grace, "state": "grace" })), "grace until then");
    }

    #[test]
    fn a_shown_rotation_has_its_error_and_its_previous_version_in_words() {
        let mut run = run("grace", trouble(Some("then")));
        run["grace_until"] = json!("later");
        let shown: Received<RotationAnswer> =
            serde_json::from_value(rotation(json!({ "run": run }))).unwrap();
        let output = with_sentences(&shown);
        assert_eq!(output["last_error"], "c (SQLSTATE 28P01): r (at x, 1 failure of this step)");
        let previous = "version 1 works until later; `keyward rotation revoke-previous` ends it now";
        assert_eq!(output["previous_version"], previous);
        assert_eq!((named("503").as_str(), named("1045").as_str()), ("HTTP status 503", "1045"));
    }
}
