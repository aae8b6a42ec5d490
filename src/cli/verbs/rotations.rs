use std::time::Duration;

use clap::Subcommand;

use super::rotation_calendar::print_calendar;
use super::rotation_retry::RotationRetryArgs;
use super::rotation_revoke_previous::RotationRevokePreviousArgs;
use super::rotation_state::{failure_of, schedule, state, with_sentences};
use super::upstream_checks::{UpstreamCheck, conclude};
use crate::base::SecretName;
use crate::base::code;
use crate::cli::client::{Client, Received};
use crate::cli::listing::NamedListArgs;
use crate::cli::session::{ReasonArgs, VerbSession, joined, text};
use crate::cli::table::columns;
use crate::console::{CommandFailure, Console, duration_s};
use crate::wire::{
    ADOPT_VERSION, AdoptBody, CHECK_ROTATION, ConsumerAnswer, GET_ROTATION, GET_SECRET, LIST_ROTATIONS,
    Nothing, PLAN_ROTATION, RotationAction, RotationAnswer, STEER_ROTATION, SteerRotationBody,
    SteeredRotationAnswer,
};

/// `keyward rotation …`
#[derive(Debug, Subcommand)]
pub enum RotationCommand {
    /// List rotations with next date and state
    List(NamedListArgs),
    /// Show a rotation: its state, the next attempt, the circuit of the upstream, the last error, the previous version
    Show {
        /// The secret's name
        name: String,
    },
    /// Pause scheduled rotations of a secret; a rotation in progress continues
    Pause {
        /// The secret's name
        name: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Resume scheduled rotations; if one or more were due meanwhile, one rotation begins
    Resume {
        /// The secret's name
        name: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Retry a failed step now, also one that needs attention (dead letter), and report the result
    Retry(RotationRetryArgs),
    /// Check the upstream: connect, verify its certificate, log in, check permissions; nothing is changed
    Check {
        /// The secret's name
        name: String,
    },
    /// Adopt a version that the upstream accepts as the current one, and end the rotation in progress; no version is lost
    Adopt {
        /// The secret's name
        name: String,
        /// The version [default: of the newest four versions, the first that the upstream accepts]
        #[arg(value_name = "VERSION")]
        number: Option<u32>,
        /// Do not check the version at the upstream, e.g. because the upstream no longer exists
        #[arg(long)]
        unverified: bool,
    },
    /// Revoke the previous version now, before its grace period ends
    RevokePrevious(RotationRevokePreviousArgs),
    /// Confirm that you deleted the orphans, which `rotation show` lists, at the upstream
    ClearOrphans {
        /// The secret's name
        name: String,
    },
    /// List the next rotations by date
    Calendar {
        /// Period ahead, e.g. 12h or 30d
        #[arg(long, value_parser = duration_s, default_value = "30d", value_name = "DURATION")]
        next: u32,
        /// Print iCalendar (RFC 5545)
        #[arg(long)]
        ical: bool,
    },
}

impl RotationCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(args) => session.list(LIST_ROTATIONS, &args.selection("secret")).await,
            Self::Show { name } => {
                let shown = session.operator().await?.call(GET_ROTATION, &name.parse()?, &Nothing).await?;
                session.print_object_as(&shown.sent, || with_sentences(&shown));
                Ok(())
            }
            Self::Calendar { next, ical } => print_calendar(session, *next, *ical).await,
            Self::Pause { name, reason } => {
                let reason = reason.text(session.console);
                let body = SteerRotationBody { reason, ..RotationAction::Pause.into() };
                steer(session, name, &body, "paused").await
            }
            Self::Resume { name, reason } => {
                let reason = reason.text(session.console);
                let body = SteerRotationBody { reason, ..RotationAction::Resume.into() };
                steer(session, name, &body, "resumed").await
            }
            Self::Retry(args) => args.retry(session).await,
            Self::RevokePrevious(args) => args.revoke(session).await,
            Self::ClearOrphans { name } => {
                steer(session, name, &RotationAction::ClearOrphans.into(), "orphans cleared").await
            }
            Self::Check { name } => {
                let client = session.operator().await?;
                let checked = client.call(CHECK_ROTATION, &name.parse()?, &Nothing).await?;
                if session.console.is_json() {
                    session.console.json(&checked.sent);
                }
                let check = UpstreamCheck { of: checked.secret.as_str(), findings: &checked.findings };
                conclude(std::iter::once(check), session.console)
            }
            Self::Adopt { name, number, unverified } => {
                let body = AdoptBody { version: *number, unverified: *unverified };
                let adopted = session.operator().await?.call(ADOPT_VERSION, &name.parse()?, &body).await?;
                session.print(&adopted, |adopted| {
                    format!(
                        "{name}: version {} is the current one (ledger entry {})",
                        adopted.version, adopted.seq
                    )
                });
                Ok(())
            }
        }
    }
}

/// Sends an action that is complete with its answer, and prints `done`.
async fn steer(
    session: VerbSession<'_>,
    name: &str,
    body: &SteerRotationBody,
    done: &str,
) -> Result<(), CommandFailure> {
    let steered = session.operator().await?.call(STEER_ROTATION, &name.parse()?, body).await?;
    session.print(&steered, |_| format!("{name}: {done}"));
    Ok(())
}

columns!(RotationAnswer "rotations": secret, upstream, ("SCHEDULE", schedule), next, ("STATE", state));

/// Most checks of a rotation in progress, one second apart.
const LOOKS: u32 = 120;

/// A rotation that an operator has begun, or that was in progress already.
pub(super) struct BegunRotation {
    client: Client,
    name: SecretName,
    begun: Received<SteeredRotationAnswer>,
    /// The current version before.
    before: Option<u32>,
}

/// The current version of a secret; `None` also before a rotation has made the first one.
async fn current_version(client: &Client, name: &SecretName) -> Result<Option<u32>, CommandFailure> {
    match client.call(GET_SECRET, name, &Nothing).await {
        Ok(secret) => Ok(secret.current),
        Err(failure) if failure.code() == code::SECRET_UNKNOWN.as_str() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Begins the rotation of `keyward secret rotate`.
pub(super) async fn rotate_secret(
    session: VerbSession<'_>,
    name: &SecretName,
) -> Result<BegunRotation, CommandFailure> {
    let client = session.operator().await?;
    let before = current_version(&client, name).await?;
    let begun = client.call(STEER_ROTATION, name, &RotationAction::Rotate.into()).await?;
    if begun.begun == Some(false) {
        session.console.say("a rotation is in progress already; this command follows it");
    }
    Ok(BegunRotation { client, name: name.clone(), begun, before })
}

impl BegunRotation {
    /// Prints the id of the rotation.
    pub(super) fn report(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        session.print(&self.begun, |begun| text(begun.rotation.as_ref()));
        Ok(())
    }

    /// Waits until the new version is the current one.
    pub(super) async fn wait(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self { client, name, begun, before } = self;
        let progress = session.console.progress("waiting for the new version");
        for _ in 0..LOOKS {
            let shown = client.call(GET_ROTATION, name, &Nothing).await?;
            let ours = shown.run.as_ref().filter(|run| Some(run.id) == begun.rotation);
            let Some(run) = ours.filter(|run| run.stage != "grace") else {
                // Another command can end a rotation, e.g. `rotation adopt`, and begin the next one.
                if ours.is_none() && current_version(client, name).await? <= *before {
                    let why = "the rotation ended without a new version: another command ended it";
                    return Err(CommandFailure::new(code::ROTATION_INVALID_STATE).because(why));
                }
                drop(progress);
                session.print(&shown, |_| format!("{name} rotated: {}", text(begun.rotation.as_ref())));
                return Ok(());
            };
            if let Some(failure) = failure_of(&shown, run) {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let why = format!("the rotation is still in progress after {LOOKS} seconds");
        Err(CommandFailure::new(code::ROTATION_UNFINISHED).because(why))
    }
}

/// `keyward secret rotate --plan`
pub(super) async fn plan_rotation(session: VerbSession<'_>, name: &SecretName) -> Result<(), CommandFailure> {
    let console = session.console;
    let plan = session.operator().await?.call(PLAN_ROTATION, name, &Nothing).await?;
    if console.is_json() {
        console.json(&plan.sent);
        return Ok(());
    }
    console.line(&format!("{name}: dry run of a rotation; nothing was changed"));
    console.line(&format!("  sensitivity: {}", plan.sensitivity));
    plan.calls.iter().for_each(|call| console.line(&format!("  {call}")));
    console.line(&match plan.overlap_s {
        0 => "  the previous version stops working when the upstream accepts the new one".to_owned(),
        overlap => format!("  the previous and the new version both work for {overlap} s"),
    });
    plan.consumers.iter().for_each(|consumer| tell_consumer(consumer, console));
    Ok(())
}

fn tell_consumer(consumer: &ConsumerAnswer, console: &Console) {
    let ConsumerAnswer { capability, agents, live_instances, token_life_s, cut_off } = consumer;
    console.line(&if *cut_off {
        format!("  capability {capability} does not deliver the secret: it has another owner")
    } else if agents.is_empty() {
        format!("  capability {capability} is used by no agent")
    } else {
        format!(
            "  capability {capability} is used by {}: {live_instances} live instances, tokens of up to {token_life_s} s",
            joined(agents)
        )
    });
}
