use clap::{Args, Subcommand};

use super::incident_report::IncidentShowArgs;
use super::incident_subject::{body_of, resolve};
use super::incident_value::IncidentValueArgs;
use crate::base::{Clock, IncidentId, Moment, Person, Reason, SystemClock};
use crate::cli::client::Client;
use crate::cli::listing::LimitArgs;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::{CommandFailure, Console, moment};
use crate::rotation::spoken;
use crate::wire::{
    CLOSE_INCIDENT, CloseIncidentBody, ClosedIncidentAnswer, IncidentAnswer, IncidentDetailsBody,
    IncidentNoteBody, IncidentTimesAnswer, IncidentTimesBody, LIST_INCIDENTS, NOTE_INCIDENT, Nothing,
    OPEN_INCIDENT, OpenIncidentBody, SubjectAnswer, SubjectBody, UPDATE_INCIDENT,
};

/// `keyward incident …`
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List incidents, the newest first
    List(IncidentListArgs),
    /// Show one incident, with its times and notes, and the credentials under its subjects
    ///
    /// With a subject instead of an id, the command reports what the subject could reach, what it reached and from where, what it holds, and what is unusual.
    Show(IncidentShowArgs),
    /// Recognise a leaked token, enrolment code, secret or password: what it is, to whom it was issued, whether it is accepted, and who received it
    Value(IncidentValueArgs),
    /// Begin the record of an incident, without a containment
    Open(IncidentOpenArgs),
    /// Add a note to the record of an incident
    Note {
        /// The incident's id
        incident: String,
        /// The note, in one line of at most 300 characters; the ledger keeps it. A longer text fits into several notes
        text: Reason,
    },
    /// Add subjects, people or times to the record of an open incident
    Update(IncidentUpdateArgs),
    /// Close an incident that contains no subject any more, and print its times
    Close(IncidentCloseArgs),
}

/// `keyward incident list`
#[derive(Args, Debug)]
pub struct IncidentListArgs {
    #[command(flatten)]
    limit: LimitArgs,
    /// List only the incidents that are not closed, and whose containment is not lifted
    #[arg(long)]
    open: bool,
}

/// `keyward incident open`
#[derive(Args, Debug)]
pub struct IncidentOpenArgs {
    /// The affected subjects, in the forms of `keyward contain`
    #[arg(required = true, value_name = "SUBJECT")]
    subjects: Vec<String>,
    /// Reason, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Reason,
    #[command(flatten)]
    details: IncidentDetailArgs,
}

/// `keyward incident update`
#[derive(Args, Debug)]
pub struct IncidentUpdateArgs {
    /// The incident's id
    incident: String,
    /// A further affected subject, in the forms of `keyward contain`; can be repeated
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<String>,
    #[command(flatten)]
    details: IncidentDetailArgs,
    /// Time of the recovery: a length of time before now, e.g. `2h`, a time, e.g. `2026-11-28T03:00:00Z`, or a date [default: the last lift, or the closing]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    recovered: Option<Moment>,
}

/// People and times of an incident.
#[derive(Args, Debug)]
pub(crate) struct IncidentDetailArgs {
    /// A person who works on the incident or knows about it, e.g. an email address; can be repeated
    #[arg(long = "person", value_name = "PERSON")]
    people: Vec<Person>,
    /// Time of the first sign: a length of time before now, e.g. `2h`, a time, e.g. `2026-11-28T03:00:00Z`, or a date
    #[arg(long, value_name = "TIME", value_parser = moment)]
    first_sign: Option<Moment>,
    /// Time of the detection, in the same form [default: the beginning of the record]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    detected: Option<Moment>,
    /// Time of the containment, in the same form, if the broker does not contain the subjects
    #[arg(long, value_name = "TIME", value_parser = moment)]
    contained: Option<Moment>,
}

/// `keyward incident close`
#[derive(Args, Debug)]
pub struct IncidentCloseArgs {
    /// The incident's id
    incident: String,
    /// The cause, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    cause: Reason,
    /// An action that follows, in one line; can be repeated
    #[arg(long = "follow-up", value_name = "TEXT")]
    follow_ups: Vec<Reason>,
    /// Time of the recovery: a length of time before now, e.g. `2h`, a time, e.g. `2026-11-28T03:00:00Z`, or a date [default: the last lift, or now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    recovered: Option<Moment>,
}

impl IncidentCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(IncidentListArgs { limit, open }) => {
                let selection = limit.selection().without("state", open.then_some("lifted"));
                let selection = selection.without("state", open.then_some("closed"));
                session.list(LIST_INCIDENTS, &selection).await
            }
            Self::Show(args) => args.run(session).await,
            Self::Value(args) => args.run(session).await,
            Self::Open(args) => args.run(session).await,
            Self::Note { incident, text } => {
                let (incident, body) = (incident.parse()?, IncidentNoteBody { text: text.to_string() });
                let noted = session.operator().await?.call(NOTE_INCIDENT, &incident, &body).await?;
                session.print(&noted, |noted| recorded(noted.seq, "the note is recorded"));
                say_partly(noted.partly_compared, session.console);
                Ok(())
            }
            Self::Update(args) => args.run(session).await,
            Self::Close(args) => args.run(session).await,
        }
    }
}

impl IncidentOpenArgs {
    async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let client = session.operator().await?;
        let body = OpenIncidentBody {
            subjects: bodies(&client, &self.subjects, session.console).await?,
            reason: self.reason.to_string(),
            people: self.details.people(),
            times: self.details.times(None),
        };
        let opened = client.call(OPEN_INCIDENT, &Nothing, &body).await?;
        let incident = opened.incident;
        session.print(&opened, |opened| {
            recorded(opened.seq, &format!("incident {incident} is open; it contains nothing"))
        });
        say_partly(opened.partly_compared, session.console);
        session.console.say(&format!(
            "to contain a subject: `keyward contain SUBJECT --reason TEXT --incident {incident}`"
        ));
        Ok(())
    }
}

impl IncidentUpdateArgs {
    async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let incident: IncidentId = self.incident.parse()?;
        let client = session.operator().await?;
        let body = IncidentDetailsBody {
            subjects: bodies(&client, &self.subjects, session.console).await?,
            people: self.details.people(),
            times: self.details.times(self.recovered),
        };
        let updated = client.call(UPDATE_INCIDENT, &incident, &body).await?;
        session.print(&updated, |updated| recorded(updated.seq, "the record is updated"));
        Ok(())
    }
}

impl IncidentCloseArgs {
    async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let incident: IncidentId = self.incident.parse()?;
        let body = CloseIncidentBody {
            cause: self.cause.to_string(),
            follow_ups: self.follow_ups.iter().map(ToString::to_string).collect(),
            recovered: past(self.recovered),
        };
        let closed = session.operator().await?.call(CLOSE_INCIDENT, &incident, &body).await?;
        session.console.record_lines(&closed.sent, || closing(&closed));
        say_partly(closed.partly_compared, session.console);
        Ok(())
    }
}

impl IncidentDetailArgs {
    fn people(&self) -> Vec<String> {
        self.people.iter().map(ToString::to_string).collect()
    }

    fn times(&self, recovered: Option<Moment>) -> IncidentTimesBody {
        IncidentTimesBody {
            first_sign: past(self.first_sign),
            detected: past(self.detected),
            contained: past(self.contained),
            recovered: past(recovered),
        }
    }
}

/// The moment as a time, seen from now.
fn past(moment: Option<Moment>) -> Option<String> {
    moment.map(|moment| moment.seen_from(SystemClock::new().now()).to_string())
}

async fn bodies(
    client: &Client,
    subjects: &[String],
    console: &Console,
) -> Result<Vec<SubjectBody>, CommandFailure> {
    let mut bodies = Vec::with_capacity(subjects.len());
    for subject in subjects {
        bodies.push(body_of(&resolve(client, subject, console).await?));
    }
    Ok(bodies)
}

/// Says that a text may contain a value, although it was not refused.
fn say_partly(partly_compared: bool, console: &Console) {
    if partly_compared {
        console.say(
            "the text was compared with a part of the stored values only: check that it contains none, because the ledger keeps \
             it",
        );
    }
}

fn recorded(seq: u64, done: &str) -> String {
    format!("{done}, in ledger entry {seq}")
}

fn closing(closed: &ClosedIncidentAnswer) -> Vec<String> {
    let ClosedIncidentAnswer { incident, seq, times, .. } = closed;
    let IncidentTimesAnswer { to_detect_s, to_contain_s, to_recover_s, .. } = times;
    let took = |what: &str, seconds: Option<u64>| {
        let took = seconds.map_or_else(
            || "unknown".to_owned(),
            |seconds| spoken(u32::try_from(seconds).unwrap_or(u32::MAX)),
        );
        format!("{what}: {took}")
    };
    vec![
        recorded(*seq, &format!("incident {incident} is closed")),
        took("from the first sign to the detection", *to_detect_s),
        took("from the detection to the containment", *to_contain_s),
        took("from the detection to the recovery", *to_recover_s),
    ]
}

columns!(IncidentAnswer "incidents": incident, ("SUBJECT", subject_of), state, ("CONTAINED", contained_at), ("BY", opened_by), ("REASON", reason_of));

fn subject_of(incident: &IncidentAnswer) -> String {
    let SubjectAnswer { kind, name, id, .. } = &incident.subject;
    let first = match name.as_ref().or(id.as_ref()) {
        Some(which) => format!("{kind}/{which}"),
        None => kind.clone(),
    };
    match incident.subjects.len().saturating_sub(1) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn contained_at(incident: &IncidentAnswer) -> String {
    incident.contained.as_ref().map(|step| step.at.clone()).unwrap_or_default()
}

fn opened_by(incident: &IncidentAnswer) -> String {
    incident.contained.as_ref().unwrap_or(&incident.opened).by.clone()
}

fn reason_of(incident: &IncidentAnswer) -> String {
    incident.contained.as_ref().unwrap_or(&incident.opened).reason.clone().unwrap_or_default()
}
