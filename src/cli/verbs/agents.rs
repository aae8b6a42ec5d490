use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::resumption::resume_agent;
use crate::base::{AgentName, InstanceId, Person};
use crate::cli::confirmation::ConfirmArgs;
use crate::cli::listing::ListArgs;
use crate::cli::named_network::named_network;
use crate::cli::session::{ReasonArgs, VerbSession};
use crate::cli::table::columns;
use crate::console::{CommandFailure, Console, OnlyCopy, OutFile, duration_s};
use crate::wire::{
    AgentAnswer, AgentDeletedAnswer, DELETE_AGENT, GET_AGENT, INVITE_AGENT, InviteAgentBody, LIST_AGENTS,
    Nothing, REVOKE_AGENT, REVOKE_INSTANCE, SUSPEND_AGENT, SecretText,
};

/// `keyward agent …`
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make an enrolment code for an agent; by default for one use within 15 minutes
    Invite(InviteArgs),
    /// List agents
    List(ListArgs),
    /// Show one agent
    Show {
        /// The agent's name
        name: String,
    },
    /// Revoke all certificates, enrolment codes, tokens and leases of an agent, or of one of its instances
    Revoke {
        /// The agent's name
        #[arg(required_unless_present = "instance", conflicts_with = "instance")]
        name: Option<String>,
        /// Revoke only this instance
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Delete an agent or a resource server: its certificates, codes, tokens and leases are revoked for good, and no agent
    /// can have its name again. The ledger keeps all entries about it
    Delete {
        /// The agent's name
        name: String,
        #[command(flatten)]
        confirm: ConfirmArgs,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Suspend an agent: its credentials are refused until it is resumed
    Suspend {
        /// The agent's name
        name: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Resume a suspended agent
    Resume {
        /// The agent's name
        name: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// `keyward agent invite`
#[derive(Args, Debug)]
pub struct InviteArgs {
    /// The agent's name
    pub name: String,
    /// Create the agent with this role if it does not exist; repeat it for further roles
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Number of machines that can enrol with the code [default: 1]
    #[arg(long, value_name = "N")]
    pub uses: Option<u32>,
    /// Life of the code, e.g. 15m or 12h [default: 15m]
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    pub expires_in: Option<u32>,
    /// Network from which the code can be redeemed, e.g. 10.1.0.0/16 [default: all]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// The person for whom a new agent acts, e.g. an email address
    #[arg(long, value_name = "TEXT")]
    pub person: Option<Person>,
    /// Write the code to this new file, which only its owner can read, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl AgentCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::Invite(args) => args.invite(session).await,
            Self::List(args) => session.list(LIST_AGENTS, &args.selection()?).await,
            Self::Show { name } => show(session, &name.parse()?).await,
            Self::Revoke { name, instance, reason } => match (name, instance) {
                (_, Some(id)) => {
                    let id: InstanceId = id.parse()?;
                    session.end(REVOKE_INSTANCE, &id, reason, "revoked").await
                }
                (Some(name), None) => {
                    let name = name.parse()?;
                    say_instances(session, &name).await;
                    session.end(REVOKE_AGENT, &name, reason, "revoked").await
                }
                (None, None) => Err(CommandFailure::usage(
                    "neither an agent nor an instance is named",
                    "name an agent, or an instance: `--instance ID`",
                )),
            },
            Self::Delete { name, confirm, reason } => delete(session, &name.parse()?, confirm, reason).await,
            Self::Suspend { name, reason } => {
                session.end(SUSPEND_AGENT, &name.parse()?, reason, "suspended").await
            }
            Self::Resume { name, reason } => resume_agent(session, &name.parse()?, reason).await,
        }
    }
}

/// Longest delay of a revocation for the number of instances.
const COUNT_WAIT: Duration = Duration::from_secs(1);

/// Says at a terminal how many instances the revocation of the agent ends.
async fn say_instances(session: VerbSession<'_>, name: &AgentName) {
    if !session.console.is_interactive() {
        return;
    }
    let asked = async { session.revoking_operator().await?.call(GET_AGENT, name, &Nothing).await };
    if let Ok(Ok(agent)) = tokio::time::timeout(COUNT_WAIT, asked).await {
        let live = agent.instances.iter().filter(|instance| instance.state == "live").count();
        session.console.say(&format!(
            "live instances of agent `{name}`: {live}; each of them is revoked (one alone: `--instance ID`)"
        ));
    }
}

async fn show(session: VerbSession<'_>, name: &AgentName) -> Result<(), CommandFailure> {
    let agent = session.operator().await?.call(GET_AGENT, name, &Nothing).await?;
    session.print_object_as(&agent.sent, || {
        let mut fields = agent.sent.clone();
        if let Some(state_field) = fields.get_mut("state") {
            *state_field = state(&agent.answer).into();
        }
        fields
    });
    Ok(())
}

async fn delete(
    session: VerbSession<'_>,
    name: &AgentName,
    confirm: &ConfirmArgs,
    reason: &ReasonArgs,
) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let agent = client.call(GET_AGENT, name, &Nothing).await?;
    let live = agent.instances.iter().filter(|instance| instance.state == "live").count();
    let effect = format!(
        "live instances of agent `{name}`: {live}; its certificates, codes, tokens and leases are revoked for good, and no \
         agent can have this name again"
    );
    confirm.check(&format!("agent `{name}`"), &effect, session.console)?;
    let deleted = client.call(DELETE_AGENT, name, &reason.body(session.console)).await?;
    session.print(&deleted, |AgentDeletedAnswer { seq, instances, leases }| {
        format!(
            "deleted in ledger entry {seq}; live instances that are refused now: {instances}; leases that are revoked: \
             {leases}; the name stays reserved, and the ledger keeps all entries about the agent"
        )
    });
    Ok(())
}

impl InviteArgs {
    async fn invite(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: AgentName = self.name.parse()?;
        if let Some(several) = self.roles.iter().find(|role| role.contains(',')) {
            let why = format!("`--role {several}` is not one role");
            let each: Vec<String> =
                several.split(',').map(|role| format!("--role {}", role.trim())).collect();
            let fix = format!("repeat the option: `{}`", each.join(" "));
            return Err(CommandFailure::usage(&why, &fix));
        }
        let network = self.network.as_deref().map(named_network).transpose()?;
        let body = InviteAgentBody {
            roles: self.roles.clone(),
            uses: self.uses,
            life_s: self.expires_in,
            network: network.map(|network| network.to_string()),
            person: self.person.as_ref().map(ToString::to_string),
        };
        let client = session.operator().await?;
        let out = NewCode::out(self.out.as_deref())?;
        let invited = client.call(INVITE_AGENT, &name, &body).await?;
        let uses = self.uses.filter(|uses| *uses > 1);
        let uses = uses.map_or("one use".to_owned(), |uses| format!("{uses} uses"));
        let join = NewCode::join(self.out.as_deref());
        let said = format!("{uses}, until {}; on the agent's machine: `{join}`", invited.expires_at);
        NewCode { sent: &invited.sent, code: &invited.code, said }.hand_over(out, session.console)
    }
}

/// A new enrolment code.
pub(super) struct NewCode<'a> {
    pub(super) sent: &'a serde_json::Value,
    pub(super) code: &'a SecretText,
    /// Uses, end and next step, for the person.
    pub(super) said: String,
}

const ENROLMENT_CODE: OnlyCopy = OnlyCopy {
    what: "the enrolment code",
    fix: "make standard output writable or use `--out FILE`, then invite again; the lost code expires by itself",
};

impl NewCode<'_> {
    /// The command that uses the code, with the file `out` if the code is written to one.
    pub(super) fn join(out: Option<&Path>) -> String {
        let file = out.and_then(Path::file_name).map(|file| file.to_string_lossy());
        file.map_or_else(|| "keyward join".to_owned(), |file| format!("keyward join --code-file {file}"))
    }

    /// Opens the file for the code, before there is one.
    pub(super) fn out(path: Option<&Path>) -> Result<Option<OutFile<'_>>, CommandFailure> {
        path.map(|path| OutFile::open(path, "no code was made")).transpose()
    }

    /// Prints the code, or writes it to a new file.
    pub(super) fn hand_over(
        &self,
        out: Option<OutFile<'_>>,
        console: &Console,
    ) -> Result<(), CommandFailure> {
        let code = self.code.value().expose();
        if let Some(out) = out {
            let line = zeroize::Zeroizing::new(format!("{code}\n"));
            let file = out.path().display().to_string();
            out.fill(line.as_bytes())?;
            if console.is_json() {
                console.json(&in_file(self.sent, file));
            }
        } else {
            console.for_only_copy(ENROLMENT_CODE).record(self.sent, || code.clone());
            console.delivered()?;
        }
        console.say(&self.said);
        Ok(())
    }
}

/// The response of the broker with the file of the code instead of the code.
fn in_file(sent: &serde_json::Value, file: String) -> serde_json::Value {
    let mut shown = sent.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("code");
        fields.insert("code_file".to_owned(), file.into());
    }
    shown
}

columns!(AgentAnswer "agents": name, owner, roles, ("STATE", state), ("INSTANCES", instances), ("EXPIRES", expires), ("LAST SEEN", last_seen), ("MAX": max_instances), person, audience);

/// The state of an agent for a table: an active agent without a live certificate can do nothing.
fn state(agent: &AgentAnswer) -> String {
    let is_live = agent.instances.iter().any(|instance| instance.state == "live");
    if let Some(incident) = agent.incident {
        return format!("contained ({incident})");
    }
    if agent.state != "active" {
        return agent.state.to_string();
    }
    let partial =
        agent.containments.first().map(|one| format!(", {} contained ({})", one.subject, one.incident));
    let live = if is_live { "active" } else { "active, no live certificate" };
    format!("{live}{}", partial.unwrap_or_default())
}

/// The end of the certificate that expires last, of the live instances.
fn expires(agent: &AgentAnswer) -> String {
    let live = agent.instances.iter().filter(|instance| instance.state == "live");
    live.map(|instance| instance.not_after.clone()).max().unwrap_or_default()
}

fn last_seen(agent: &AgentAnswer) -> String {
    agent.last_seen.clone().unwrap_or_default()
}

/// The instances of an agent by state, e.g. `2 live, 1 revoked`.
fn instances(agent: &AgentAnswer) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for instance in &agent.instances {
        let count = counts.entry(&instance.state).or_default();
        *count = count.saturating_add(1);
    }
    let said: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    said.join(", ")
}
