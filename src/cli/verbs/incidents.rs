use clap::Args;
use serde_json::Value;

use super::broken_containment::ContainmentCommand;
use super::contained_admins::{check_admins_left, said_of_admins};
use super::incident_effects::follow;
use super::incident_subject::{body_of, resolve};
use super::touched_secrets::TouchedRotation;
use crate::base::limits::REASON_CHARS_MAX;
use crate::base::{IncidentId, Reason, Stopwatch, code};
use crate::cli::client::{Client, Received};
use crate::cli::own_access::{AccessLoss, OwnAccessArgs, say_way_back};
use crate::cli::session::{VerbSession, check_durable, said, sent_reason};
use crate::console::{CommandFailure, Console};
use crate::wire::{
    CONTAIN, ContainBody, ContainedAnswer, ContainmentProgress, FREEZE, FreezeBody, GET_INCIDENT, LIFT,
    LiftBody, LiftedAnswer, NamesAnswer, Nothing, PREVIEW_CONTAINMENT, PreviewAnswer, PreviewBody,
    ReachAnswer, SubjectAnswer, THAW,
};

/// `keyward contain`
#[derive(Args, Debug)]
#[command(
    override_usage = "keyward contain [OPTIONS] --reason <TEXT> <SUBJECT>\n       keyward contain --dry-run <SUBJECT>"
)]
pub struct ContainArgs {
    /// agent/NAME, instance/ID, operator/NAME, role/NAME, capability/NAME, owner/NAME, secret/NAME, certificate/SERIAL, token/ID (token/-: read the token from standard input), network/CIDR, everything; or the name of an agent or operator
    pub subject: String,
    /// Reason, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub reason: Option<Reason>,
    /// Add the subject to this open incident [default: a new incident, or the open one that contains the subject]
    #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
    pub incident: Option<String>,
    /// Show what the containment would concern, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub touched: TouchedArgs,
    /// Do not ask before you take away your own access, or that of every unrestricted admin; required for that where there is no terminal
    #[arg(long)]
    pub yes: bool,
}

/// What `keyward contain` does with the secrets that agents under the subject have read.
#[derive(Args, Debug)]
pub struct TouchedArgs {
    /// Then rotate the secrets that agents under the subject have read, the most sensitive first, and name those that have no rotation
    #[arg(long, conflicts_with = "dry_run")]
    pub rotate_touched: bool,
    /// Give the versions that the subject has read no grace period, and wait until their upstreams have revoked them
    #[arg(long, requires = "rotate_touched")]
    pub revoke_previous: bool,
}

/// `keyward lift`
#[derive(Args, Debug)]
pub struct LiftArgs {
    /// The incident's id
    pub incident: String,
    /// Reason, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

/// `keyward freeze` and `keyward thaw`
#[derive(Args, Debug)]
pub struct FreezeArgs {
    /// Reason, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

impl ContainArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let client = session.revoking_operator().await?;
        let subject = resolve(&client, &self.subject, session.console).await?;
        let Some(reason) = self.reason.as_ref().filter(|_| !self.dry_run) else {
            let preview = PreviewBody { subject: body_of(&subject) };
            let preview = client.call(PREVIEW_CONTAINMENT, &Nothing, &preview).await?;
            session.console.record_lines(&preview.sent, || previewed(&preview));
            return Ok(());
        };
        let lost = OwnAccessArgs::confirmed(self.yes).check(session, &subject, AccessLoss::Contained)?;
        if lost.is_none() && !self.yes {
            check_admins_left(&client, &subject, session.console).await?;
        }
        let since = Stopwatch::start();
        let incident = self.incident.as_deref().map(str::parse::<IncidentId>).transpose()?;
        let body = ContainBody {
            subject: body_of(&subject),
            reason: sent_reason(reason, session.console),
            incident,
        };
        let command = ContainmentCommand {
            subject: &subject,
            incident,
            rotates_touched: self.touched.rotate_touched,
            revokes_previous: self.touched.revoke_previous,
        };
        let ordered = client.call(CONTAIN, &Nothing, &body).await;
        let contained = ordered.map_err(|failure| command.without_answer(failure))?;
        if !session.console.is_json() {
            self.containment(&contained).iter().for_each(|line| session.console.line(line));
        }
        let Received { answer: ContainedAnswer { incident, ended, spares_caller, .. }, sent } = contained;
        let mut progress = ContainmentProgress::default();
        if lost.is_some() {
            if session.console.is_json() {
                session.console.json(&with_progress(sent, &progress));
            }
            say_way_back(lost, session.console);
            return check_durable(&ended);
        }
        // After the answer: counting takes time, and changes nothing.
        let seen = &mut progress.reach;
        let probed = probe(&client, incident, &command, seen, &since, session.console).await;
        let followed = follow(&client, incident, &mut progress.effects, session.console).await;
        let rotated = if self.touched.rotate_touched {
            let (client, subject, revokes_previous) = (&client, &subject, self.touched.revoke_previous);
            let reason = of_incident(incident, &body.reason);
            let rotation = TouchedRotation { client, incident, subject, reason: &reason, revokes_previous };
            rotation.run(&mut progress, session).await
        } else {
            Ok(())
        };
        if session.console.is_json() {
            session.console.json(&with_progress(sent, &progress));
        }
        session.console.say(&format!("to end the containment: `keyward lift {incident} --reason TEXT`"));
        check_durable(&ended)?;
        if !spares_caller {
            probed?;
        }
        rotated.and(followed).map_err(|failure| command.after_answer(incident, failure))
    }
}

impl ContainArgs {
    fn containment(&self, contained: &ContainedAnswer) -> Vec<String> {
        let ContainedAnswer { incident, subject, new, ended, spares_caller, .. } = contained;
        // A subject that joins an incident may not have been contained before.
        let again = if *new || self.incident.is_some() { "" } else { " again" };
        let mut lines = vec![
            format!("incident {incident}"),
            format!("{} is {}", named(subject), said(ended.seq, &format!("contained{again}"))),
        ];
        if *spares_caller {
            lines.push("your own certificate is still accepted, and so are its renewals".to_owned());
        }
        let unknown = contained.admins_of_unknown_address.as_ref();
        lines.extend(said_of_admins(contained.leaves_no_admin, unknown, "while this is contained"));
        if subject.kind == "token" && self.subject != "token/-" {
            lines.push(
                "the broker keeps no list of tokens and does not check the id: compare it with the leaked token, or send the \
                 token itself to `keyward contain token/-`"
                    .to_owned(),
            );
        }
        lines
    }
}

/// The reason of the rotations that follow the containment: the one of the containment, with the incident.
fn of_incident(incident: IncidentId, reason: &str) -> String {
    format!("incident {incident}: {reason}").chars().take(REASON_CHARS_MAX).collect()
}

/// The response of the broker, and what followed.
fn with_progress(mut sent: Value, progress: &ContainmentProgress) -> Value {
    if let (Some(fields), Ok(Value::Object(more))) = (sent.as_object_mut(), serde_json::to_value(progress)) {
        fields.extend(more);
    }
    sent
}

/// Prints the credentials under the subject, and how many of them the broker still accepts, and stores them in `seen`.
///
/// # Errors
/// [`CommandFailure`] if the broker accepts one, or if it did not count them.
async fn probe(
    client: &Client,
    incident: IncidentId,
    command: &ContainmentCommand<'_>,
    seen: &mut Option<ReachAnswer>,
    since: &Stopwatch,
    console: &Console,
) -> Result<(), CommandFailure> {
    let shown = client.call(GET_INCIDENT, &incident, &Nothing).await.map_err(|failure| {
        let why = format!(
            "incident {incident} contains `{}`; its credentials were not counted: {}",
            command.subject,
            failure.why()
        );
        CommandFailure::new(code::CONTAINMENT_NOT_PROVED).because(why).mended_by(command.checked(incident))
    })?;
    let Some(reach) = &shown.reach else {
        let why = "the credentials of the subject were not counted: the incident has been lifted since";
        return Err(CommandFailure::new(code::CONTAINMENT_NOT_PROVED).because(why));
    };
    *seen = Some(reach.clone());
    if !console.is_json() {
        counted(reach, shown.subjects.len() <= 1 && is_token(&shown.subject))
            .iter()
            .for_each(|line| console.line(line));
        console.line(&format!("checked {} ms after the command", since.elapsed().as_millis()));
    }
    if reach.accepted == 0 {
        return Ok(());
    }
    let why = format!("the broker still accepts {} credentials of the subject", reach.accepted);
    Err(CommandFailure::new(code::CONTAINMENT_NOT_PROVED).because(why))
}

impl LiftArgs {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let incident: IncidentId = self.incident.parse()?;
        let body = LiftBody { reason: sent_reason(&self.reason, session.console) };
        let lifted = session.operator().await?.call(LIFT, &incident, &body).await?;
        session.console.record_lines(&lifted.sent, || lift(&lifted));
        Ok(())
    }
}

impl FreezeArgs {
    pub(crate) async fn freeze(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let frozen =
            session.revoking_operator().await?.call(FREEZE, &Nothing, &self.body(session.console)).await?;
        session.print(&frozen, |frozen| said(frozen.seq, "the broker is frozen"));
        session.console.say("to end the freeze: `keyward thaw --reason TEXT`");
        check_durable(&frozen)
    }

    pub(crate) async fn thaw(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let thawed = session.operator().await?.call(THAW, &Nothing, &self.body(session.console)).await?;
        session.print(&thawed, |thawed| said(Some(thawed.seq), "the broker is thawed"));
        Ok(())
    }

    pub(super) fn body(&self, console: &Console) -> FreezeBody {
        FreezeBody { reason: sent_reason(&self.reason, console) }
    }
}

fn previewed(preview: &PreviewAnswer) -> Vec<String> {
    let effect = if preview.revokes_certificates { "revoked for good" } else { "refused until the lift" };
    let mut lines = vec![format!(
        "dry run: nothing was changed; a containment of {} would concern:",
        named(&preview.subject)
    )];
    lines.extend(counted(&preview.reach, is_token(&preview.subject)));
    lines.push(format!(
        "its certificates would be {effect}; tokens, enrolment codes and leases would be revoked for good"
    ));
    if preview.spares_caller {
        lines.push(format!(
            "you belong to this {}: your own certificate and its renewals would still be accepted, and those of the other \
             operators would not",
            preview.subject.kind
        ));
    }
    let unknown = preview.admins_of_unknown_address.as_ref();
    lines.extend(said_of_admins(preview.leaves_no_admin, unknown, "after this containment"));
    lines
}

fn is_token(subject: &SubjectAnswer) -> bool {
    subject.kind == "token"
}

/// The counts of credentials, one kind a line.
fn counted(reach: &ReachAnswer, of_token: bool) -> Vec<String> {
    if of_token {
        return vec!["the token alone: no other credential is under it".to_owned()];
    }
    vec![
        format!("agents: {}", names(&reach.agents)),
        format!("operators: {}", names(&reach.operators)),
        format!(
            "certificates: {} of agents, {} of operators; enrolment codes: {}; leases: {}",
            reach.certificates, reach.operator_certificates, reach.enrolment_codes, reach.leases
        ),
        format!("accepted now: {}", reach.accepted),
        format!("tokens are not counted: every token of this time expires by {}", reach.tokens_expire_by),
    ]
}

fn names(NamesAnswer { count, names }: &NamesAnswer) -> String {
    let more = count.saturating_sub(names.len());
    match (names.is_empty(), more) {
        (true, _) => count.to_string(),
        (false, 0) => format!("{count} ({})", names.join(", ")),
        (false, more) => format!("{count} ({}, and {more} more)", names.join(", ")),
    }
}

fn lift(lifted: &LiftedAnswer) -> Vec<String> {
    let LiftedAnswer {
        subject,
        subjects,
        seq,
        revoked_before,
        revoked_certificates,
        contained_by,
        unchanged,
        ..
    } = lifted;
    let all: Vec<String> = std::iter::once(subject).chain(subjects).map(named).collect();
    let (all, are) = (all.join(", "), if subjects.is_empty() { "is" } else { "are" });
    let still = if is_token(subject) && subjects.iter().all(is_token) {
        "still revoked: the contained tokens, for good; nothing else was revoked".to_owned()
    } else {
        let kinds = if *revoked_certificates {
            "certificates, tokens, enrolment codes and leases"
        } else {
            "tokens, enrolment codes and leases"
        };
        format!("still revoked: the {kinds} from before ledger entry {revoked_before}")
    };
    let mut lines = vec![
        if *unchanged {
            format!(
                "nothing has changed: {all} {are} not contained by this incident since ledger entry {seq}"
            )
        } else {
            format!("lifted in ledger entry {seq}: {all} {are} no longer contained by this incident")
        },
        still,
    ];
    if *revoked_certificates {
        lines.push(
            "invite the agent or operator again: `keyward agent invite`, `keyward operator invite`"
                .to_owned(),
        );
    }
    lines.extend(contained_by.iter().map(|other| format!("still contained by incident {other}")));
    lines
}

/// The subject as people name it.
pub(super) fn named(subject: &SubjectAnswer) -> String {
    match subject.name.as_ref().or(subject.id.as_ref()) {
        Some(which) => format!("{} `{which}`", subject.kind),
        None => subject.kind.clone(),
    }
}
