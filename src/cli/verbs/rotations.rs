use std::time::Duration;

use clap::Subcommand;

use super::rotation_calendar::print_calendar;
use super::upstream_checks::conclude;
use crate::base::SecretName;
use crate::base::code::{self, Code};
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, joined, text};
use crate::cli::table::columns;
use crate::console::{Console, Failure};
use crate::upstream::Explained;
use crate::wire::{
    ADOPT_VERSION, AdoptBody, CHECK_ROTATION, ConsumerAnswer, GET_ROTATION, LIST_ROTATIONS, Nothing,
    PLAN_ROTATION, RotationAction, RotationAnswer, RunAnswer, STEER_ROTATION, SteerRotationBody,
    SteeredRotationAnswer,
};

/// `keyward rotation …`
#[derive(Debug, Subcommand)]
pub enum RotationCommand {
    /// List rotations, when each is due and how it stands
    List,
    /// Show one
    Show {
        /// The secret
        name: String,
    },
    /// Let none begin by itself until it is resumed; the one under way goes on
    Pause {
        /// The secret
        name: String,
    },
    /// End a pause; what fell due meanwhile comes once
    Resume {
        /// The secret
        name: String,
    },
    /// Try a step that failed again now, a dead letter too
    Retry {
        /// The secret
        name: String,
    },
    /// Try the upstream: connect, verify its certificate, log in, look for what is missing; nothing is changed
    Check {
        /// The secret
        name: String,
    },
    /// Hand out a version that works upstream, and end the rotation under way; no version is lost
    Adopt {
        /// The secret
        name: String,
        /// This version [default: the first of the newest four that the upstream lets in]
        #[arg(value_name = "VERSION")]
        number: Option<u32>,
        /// Do not ask the upstream: it is gone for good, or you know that the version works
        #[arg(long)]
        unverified: bool,
    },
    /// Revoke the previous version now, before its grace period ends
    RevokePrevious {
        /// The secret
        name: String,
    },
    /// Say that the values which `show` lists as orphans were deleted upstream, by hand
    ClearOrphans {
        /// The secret
        name: String,
    },
    /// Show what is to come
    Calendar {
        /// How far ahead
        #[arg(long, default_value = "30d", value_name = "LENGTH")]
        next: String,
        /// As iCalendar
        #[arg(long)]
        ical: bool,
    },
}

impl RotationCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), Failure> {
        match self {
            Self::List => session.list(LIST_ROTATIONS).await,
            Self::Show { name } => session.show(GET_ROTATION, &name.parse()?).await,
            Self::Calendar { next, ical } => print_calendar(session, next, *ical).await,
            Self::Pause { name } => steer(session, name, RotationAction::Pause).await,
            Self::Resume { name } => steer(session, name, RotationAction::Resume).await,
            Self::Retry { name } => steer(session, name, RotationAction::Retry).await,
            Self::RevokePrevious { name } => steer(session, name, RotationAction::RevokePrevious).await,
            Self::ClearOrphans { name } => steer(session, name, RotationAction::ClearOrphans).await,
            Self::Check { name } => {
                let client = session.operator().await?;
                let checked = client.call(CHECK_ROTATION, &name.parse()?, &Nothing).await?;
                if session.console.is_json() {
                    session.console.json(&checked.sent);
                }
                conclude(&[checked], session.console)
            }
            Self::Adopt { name, number, unverified } => {
                let body = AdoptBody { version: *number, unverified: *unverified };
                let adopted = session.operator().await?.call(ADOPT_VERSION, &name.parse()?, &body).await?;
                session.print(&adopted, |adopted| {
                    format!("{name}: version {} is handed out (entry {})", adopted.version, adopted.seq)
                });
                Ok(())
            }
        }
    }
}

async fn steer(session: VerbSession<'_>, name: &str, action: RotationAction) -> Result<(), Failure> {
    let steered = send(&session.operator().await?, &name.parse()?, action).await?;
    let done = match action {
        RotationAction::Pause => "paused",
        RotationAction::Resume => "resumed",
        RotationAction::Retry => "tried again",
        RotationAction::RevokePrevious => "the old value ends now",
        RotationAction::ClearOrphans => "no orphans any more",
        RotationAction::Rotate => "rotated",
    };
    session.print(&steered, |_| format!("{name}: {done}"));
    Ok(())
}

async fn send(
    client: &Client,
    name: &SecretName,
    action: RotationAction,
) -> Result<Received<SteeredRotationAnswer>, Failure> {
    client.call(STEER_ROTATION, name, &SteerRotationBody { action }).await
}

columns!(RotationAnswer: secret, upstream, ("SCHEDULE", schedule), next, ("STATE", state));

fn schedule(rotation: &RotationAnswer) -> String {
    rotation.schedule.clone().unwrap_or_else(|| "by hand".to_owned())
}

/// The state of a rotation for a table.
fn state(rotation: &RotationAnswer) -> String {
    let state = match &rotation.run {
        Some(run) => state_of_run(run),
        None if rotation.paused_at.is_some() => "paused".to_owned(),
        None if rotation.overdue => "overdue".to_owned(),
        None => "idle".to_owned(),
    };
    match rotation.orphans.len() {
        0 => state,
        orphans => format!("{state}; orphans: {orphans}"),
    }
}

fn state_of_run(run: &RunAnswer) -> String {
    match &run.trouble {
        None => run.stage.to_string(),
        Some(trouble) if trouble.retry_at.is_some() => {
            format!("{}, tried again: {}", run.stage, trouble.code)
        }
        Some(trouble) => format!("dead letter at {}: {}", run.stage, trouble.code),
    }
}

/// How often a rotation is looked at while it is waited for, a second apart.
const LOOKS: u32 = 120;

/// A rotation that an operator began, or found under way.
pub(super) struct BegunRotation {
    client: Client,
    name: SecretName,
    begun: Received<SteeredRotationAnswer>,
}

/// `keyward secret rotate`: begins it.
pub(super) async fn rotate_secret(
    session: VerbSession<'_>,
    name: &SecretName,
) -> Result<BegunRotation, Failure> {
    let client = session.operator().await?;
    let begun = send(&client, name, RotationAction::Rotate).await?;
    if begun.begun == Some(false) {
        session.console.say("a rotation is under way already: this is that one");
    }
    Ok(BegunRotation { client, name: name.clone(), begun })
}

impl BegunRotation {
    /// Says what was begun.
    pub(super) fn report(&self, session: VerbSession<'_>) -> Result<(), Failure> {
        session.print(&self.begun, |begun| text(begun.rotation.as_ref()));
        Ok(())
    }

    /// Waits until the new value is handed out.
    pub(super) async fn wait(&self, session: VerbSession<'_>) -> Result<(), Failure> {
        let Self { client, name, begun } = self;
        for _ in 0..LOOKS {
            let shown = client.call(GET_ROTATION, name, &Nothing).await?;
            let run = shown.run.as_ref().filter(|run| Some(run.id) == begun.rotation);
            let Some(run) = run.filter(|run| run.stage != "grace") else {
                session.print(&shown, |_| format!("{name} rotated: {}", text(begun.rotation.as_ref())));
                return Ok(());
            };
            if let Some(failure) = failure_of(run) {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let say = "it is still under way: `keyward rotation show` says how far it has come";
        session.console.say(say);
        Ok(())
    }
}

fn failure_of(run: &RunAnswer) -> Option<Failure> {
    let trouble = run.trouble.as_ref()?;
    let code = trouble.code.parse::<Code>().unwrap_or(code::INTERNAL);
    let again = trouble
        .retry_at
        .as_ref()
        .map_or_else(|| "it is a dead letter now".to_owned(), |at| format!("it is tried again at {at}"));
    let reason = trouble.reason.as_deref().unwrap_or(code.meaning());
    let why = format!("{reason}; the rotation stays at `{}`, {again}", run.stage);
    let fix = Explained::of(code, trouble.detail.as_deref()).fix;
    Some(Failure::new(code).because(why).mended_by(fix))
}

/// `keyward secret rotate --plan`
pub(super) async fn plan_rotation(session: VerbSession<'_>, name: &SecretName) -> Result<(), Failure> {
    let console = session.console;
    let plan = session.operator().await?.call(PLAN_ROTATION, name, &Nothing).await?;
    if console.is_json() {
        console.json(&plan.sent);
        return Ok(());
    }
    console.line(&format!("{name}: what a rotation would do; nothing was touched"));
    console.line(&format!("  sensitivity: {}", plan.sensitivity.as_str()));
    plan.calls.iter().for_each(|call| console.line(&format!("  {call}")));
    console.line(&match plan.overlap_s {
        0 => "  the old value ends when upstream takes the new one".to_owned(),
        overlap => format!("  old and new work side by side for {overlap} s"),
    });
    plan.consumers.iter().for_each(|consumer| tell_consumer(consumer, console));
    Ok(())
}

fn tell_consumer(consumer: &ConsumerAnswer, console: &Console) {
    let ConsumerAnswer { capability, agents, live_instances, token_life_s, cut_off } = consumer;
    console.line(&if *cut_off {
        format!("  {capability} does not reach it: it is another owner's")
    } else {
        format!(
            "  {capability} is read by {}: {live_instances} live instances, tokens of up to {token_life_s} s",
            joined(agents)
        )
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state_with(change: serde_json::Value) -> String {
        let mut rotation = json!({
            "secret": "a/b", "upstream": "u", "schedule": null, "overlap": false, "grace_s": 0,
            "paused_at": null, "next": null, "overdue": false, "run": null, "last_at": null,
            "checked_at": null, "orphans": [],
        });
        rotation.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        state(&serde_json::from_value(rotation).unwrap())
    }

    #[test]
    fn a_rotation_s_state_is_one_phrase() {
        assert_eq!(state_with(json!({})), "idle");
        assert_eq!(state_with(json!({ "overdue": true })), "overdue");
        assert_eq!(state_with(json!({ "overdue": true, "paused_at": "x" })), "paused");
        let id = "rot_00000000000000000000000000";
        let orphan = json!({ "rotation": id, "at": "x", "version": null, "slot": null });
        assert_eq!(state_with(json!({ "orphans": [orphan, orphan] })), "idle; orphans: 2");
        let trouble = json!({ "code": "c", "detail": null, "reason": null, "at": "x", "retry_at": null });
        let run = json!({
            "id": id, "trigger": "manual", "begun_at": "x", "stage": "prepared", "version": null,
            "touched": false, "failures": 1, "trouble": trouble, "grace_until": null,
        });
        assert_eq!(state_with(json!({ "run": run })), "dead letter at prepared: c");
    }
}
