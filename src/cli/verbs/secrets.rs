use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::keys::rotate_value_key;
use super::rotations::{plan_rotation, rotate_secret};
use super::sensitivity::ClassifyArgs;
use crate::base::limits::SECRET_BYTES_MAX;
use crate::base::{Moment, OwnerName, SecretName, Sensitivity};
use crate::cli::client::{Client, PutConditions};
use crate::cli::confirmation::ConfirmArgs;
use crate::cli::listing::ListArgs;
use crate::cli::owners::note_new_owner;
use crate::cli::session::{ReasonArgs, VerbSession, check_durable, joined, optional};
use crate::cli::table::columns;
use crate::console::{CommandFailure, Console, input, moment, not_an_argument};
use crate::wire::{
    CHANGE_SECRET_VERSION, DELETE_SECRET, GET_SECRET, LIST_SECRET_ACCESS, LIST_SECRET_READERS, LIST_SECRETS,
    Nothing, ReaderAnswer, SecretAccessBody, SecretAccessOfAgent, SecretAnswer, SecretDeletedAnswer,
    VersionAction, VersionAnswer, VersionBody,
};

/// `keyward secret …`
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a new version of a secret from standard input, a file or a prompt; never from an argument
    Put(PutArgs),
    /// List secrets, without their values
    List(ListArgs),
    /// Show a secret, its versions and its readers; never a value
    Show {
        /// The secret's name
        name: String,
    },
    /// Set the sensitivity of a secret. With `high`, tokens for capabilities that deliver the secret are valid for at most 300
    /// seconds, and only capabilities of the secret's owner deliver it
    Classify(ClassifyArgs),
    /// List the versions of a secret
    Versions {
        /// The secret's name
        name: String,
    },
    /// List the readers of a secret, with the versions that they read
    ///
    /// With `--at`, the command lists the agents that could read the secret at that time, by the declarations of that time.
    /// Rotations and leases that use the secret as their `admin_secret` are no readers: `keyward audit list --secret NAME` has
    /// their entries.
    Readers {
        /// The secret's name
        name: String,
        /// List the agents that could read the secret at this time: a time such as `2026-11-30T02:00:00Z`, a date, or a length of time before now
        #[arg(long, value_name = "TIME", value_parser = moment)]
        at: Option<Moment>,
    },
    /// Make a former version the current one again
    Rollback {
        /// The secret's name
        name: String,
        /// The version's number
        #[arg(value_name = "VERSION")]
        number: u32,
    },
    /// Destroy a former version: after the next rotation of the value key it cannot be decrypted
    Destroy {
        /// The secret's name
        name: String,
        /// The version's number
        #[arg(value_name = "VERSION")]
        number: u32,
        /// Confirm: a destroyed version cannot be restored
        #[arg(long)]
        yes: bool,
        /// Rotate the value key at once, so that the version cannot be decrypted any more
        #[arg(long)]
        now: bool,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Delete a secret that no capability, rotation or lease needs: all its versions are destroyed. Its name stays reserved
    /// for its owner, the ledger keeps all entries about it, and after the next rotation of the value key its values
    /// cannot be decrypted
    Delete {
        /// The secret's name
        name: String,
        #[command(flatten)]
        confirm: ConfirmArgs,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Rotate a secret now, and wait until the new value is the current one
    Rotate {
        /// The secret's name
        name: String,
        /// Show the calls to the upstream and the affected agents; nothing is changed
        #[arg(long, conflicts_with = "no_wait")]
        plan: bool,
        /// Do not wait for the new value
        #[arg(long)]
        no_wait: bool,
    },
}

/// `keyward secret put`
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The secret's name
    pub name: String,
    /// Read the value from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Owner of the secret; without it the owner stays, and a new secret gets the operator's owner
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// `ordinary` or `high`; without it the sensitivity stays, and a new secret is `ordinary`
    #[arg(long)]
    pub sensitivity: Option<Sensitivity>,
    /// Confirm that capabilities of the new owner deliver a secret of high sensitivity, or that a policy restricts a secret that gets
    /// the sensitivity `high` less
    #[arg(long)]
    widen: bool,
    /// Store only if this version is the current one
    #[arg(long, value_name = "VERSION", conflicts_with = "new")]
    pub if_match: Option<u32>,
    /// Store only if the secret does not exist
    #[arg(long)]
    pub new: bool,
    /// Refused: every user of the machine can read arguments
    #[arg(hide = true)]
    pub argument: Vec<OsString>,
    /// Refused likewise
    #[arg(long = "value", hide = true)]
    pub value: Option<OsString>,
}

impl SecretCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::Put(args) => args.put(session).await,
            Self::List(args) => session.list(LIST_SECRETS, &args.selection()?).await,
            Self::Show { name } => session.show(GET_SECRET, &name.parse()?).await,
            Self::Classify(args) => args.run(session).await,
            Self::Versions { name } => versions(session, &name.parse()?).await,
            Self::Readers { name, at: None } => readers(session, &name.parse()?).await,
            Self::Readers { name, at: Some(at) } => readers_at(session, &name.parse()?, *at).await,
            Self::Rollback { name, number } => {
                change(session, &name.parse()?, *number, VersionAction::RollBack, None).await
            }
            Self::Delete { name, confirm, reason } => delete(session, &name.parse()?, confirm, reason).await,
            Self::Destroy { name, number, yes, now, reason } => {
                if !yes {
                    let why = "a destroyed version cannot be restored";
                    return Err(CommandFailure::usage(why, "add `--yes` to destroy the version"));
                }
                change(
                    session,
                    &name.parse()?,
                    *number,
                    VersionAction::Destroy,
                    reason.text(session.console),
                )
                .await?;
                if *now {
                    return rotate_value_key(session).await;
                }
                let fix = "the next rotation of the value key makes the version undecryptable; to rotate now: `keyward value-key rotate`";
                session.console.say(fix);
                Ok(())
            }
            Self::Rotate { name, plan: true, .. } => plan_rotation(session, &name.parse()?).await,
            Self::Rotate { name, no_wait, .. } => {
                let begun = rotate_secret(session, &name.parse()?).await?;
                if *no_wait { begun.report(session) } else { begun.wait(session).await }
            }
        }
    }
}

impl PutArgs {
    async fn put(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        not_an_argument(&self.argument, "--file")?;
        not_an_argument(self.value.as_slice(), "--file")?;
        let name: SecretName = self.name.parse()?;
        let owner: Option<OwnerName> = optional(self.owner.as_deref())?;
        let client = session.operator().await?;
        let value = input::secret(self.file.as_deref(), "Value", SECRET_BYTES_MAX, session.console)?;
        if value.expose().ends_with(b"\n") {
            session.console.say("note: the value ends with a line break, which is stored as part of it");
        }
        let conditions = PutConditions {
            owner: owner.as_ref(),
            sensitivity: self.sensitivity,
            if_match: self.if_match,
            if_new: self.new,
            widen: self.widen,
        };
        note_new_owner(&client, owner.as_ref(), session.console).await;
        let stored = client.put_secret(&name, &conditions, &value).await?;
        session.print(&stored, |stored| format!("{name} version {}", stored.version));
        if let Some(upstream) = &stored.upstream {
            session.console.say(&format!(
                "note: a rotation sets the value of {name} at {upstream}, and agents get the stored value now; check that the \
                 upstream accepts it: `keyward rotation check {name}`; if not: `keyward rotation adopt {name}` finds the \
                 version that works"
            ));
        }
        if owner.is_some() && !session.console.is_json() {
            tell_cut_off(&client, &name, session.console).await;
        }
        Ok(())
    }
}

/// Says which capabilities of other owners do not deliver the secret, and which agents have them, after a change of its owner.
async fn tell_cut_off(client: &Client, name: &SecretName, console: &Console) {
    // The value is stored: a failure of the second request is no failure of the command.
    let Ok(secret) = client.call(GET_SECRET, name, &Nothing).await else { return };
    for one in secret.consumers.iter().filter(|one| one.cut_off) {
        let agents = if one.agents.is_empty() { "none".to_owned() } else { joined(&one.agents) };
        console.say(&format!(
            "note: the capability `{}` has another owner than the secret, whose sensitivity is `high`, and does not deliver it; \
             agents that have the capability: {agents}",
            one.capability
        ));
    }
}

async fn delete(
    session: VerbSession<'_>,
    name: &SecretName,
    confirm: &ConfirmArgs,
    reason: &ReasonArgs,
) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let secret = client.call(GET_SECRET, name, &Nothing).await?;
    let effect = format!(
        "versions of secret `{name}`: {}; all of them are destroyed, and cannot be restored",
        secret.versions.iter().filter(|version| version.stage != "destroyed").count()
    );
    confirm.check(&format!("secret `{name}`"), &effect, session.console)?;
    let deleted = client.call(DELETE_SECRET, name, &reason.body(session.console)).await?;
    session.print(&deleted, |SecretDeletedAnswer { seq, versions }| {
        format!(
            "deleted in ledger entry {seq}; destroyed versions: {}; after `keyward value-key rotate` they cannot be decrypted \
             from backups; the name stays with its owner, and the ledger keeps all entries about the secret",
            joined(versions)
        )
    });
    Ok(())
}

async fn versions(session: VerbSession<'_>, name: &SecretName) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let secret = client.call(GET_SECRET, name, &Nothing).await?;
    let sent = serde_json::json!({ "items": secret.sent.get("versions") });
    session.print_table(&client, &sent, &secret.versions).await;
    Ok(())
}

async fn readers(session: VerbSession<'_>, name: &SecretName) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let readers = client.call(LIST_SECRET_READERS, name, &Nothing).await?;
    session.print_table(&client, &readers.sent, &readers.items).await;
    if !session.console.is_json() {
        session.console.say(&format!("searched from ledger entry {} on", readers.since_seq));
    }
    Ok(())
}

async fn readers_at(session: VerbSession<'_>, name: &SecretName, at: Moment) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let body = SecretAccessBody { at: at.to_string() };
    let found = client.call(LIST_SECRET_ACCESS, name, &body).await?;
    let is_table = !session.console.is_json() && !session.console.is_csv();
    // "No agents" would be an answer about a time for which there is none.
    if found.before.is_none() || !found.items.is_empty() || !is_table {
        session.print_table(&client, &found.sent, &found.items).await;
    }
    if let Some((before, begins)) = found.before.as_deref().zip(found.begins_at.as_deref()) {
        session.console.say(&match before {
            "ledger" => format!(
                "note: {} is before the first entry of the ledger ({begins}): the ledger does not have who could read \
                 secrets then; name a later time with `--at`",
                found.at
            ),
            _ => format!(
                "note: the first version of secret `{name}` was stored at {begins}, after {}: no agent could read a value \
                 of it then",
                found.at
            ),
        });
    }
    if session.console.is_json() {
        return Ok(());
    }
    session.console.say(&format!(
        "as declared at {}; the list does not consider whether an agent had a valid certificate then, was suspended or \
         contained, or was refused by a policy",
        found.at
    ));
    if found.hidden > 0 {
        session.console.say(&format!("{} further agents are not in your scope", found.hidden));
    }
    if !found.complete {
        session.console.say(&format!(
            "the list may not be complete: the search began at ledger entry {}, and {} entries do not have all values{}",
            found.since_seq,
            found.incomplete.len(),
            some_numbers(&found.incomplete)
        ));
    }
    Ok(())
}

/// The first numbers of entries, in parentheses.
fn some_numbers(entries: &[u64]) -> String {
    const SHOWN: usize = 5;
    if entries.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = entries.iter().take(SHOWN).map(u64::to_string).collect();
    let more = if entries.len() > SHOWN { ", …" } else { "" };
    format!(" ({}{more})", shown.join(", "))
}

async fn change(
    session: VerbSession<'_>,
    name: &SecretName,
    version: u32,
    action: VersionAction,
    reason: Option<String>,
) -> Result<(), CommandFailure> {
    let client = session.revoking_operator().await?;
    let changed = client.call(CHANGE_SECRET_VERSION, name, &VersionBody { action, version, reason }).await?;
    let done = match action {
        VersionAction::RollBack => "the current version again",
        VersionAction::Destroy => "destroyed",
    };
    session.print(&changed, |_| format!("{name} version {version}: {done}"));
    check_durable(&changed)
}

columns!(SecretAnswer "secrets": name, owner, sensitivity, version, updated_at, next_rotation);

columns!(VersionAnswer "versions": ("VERSION": number), stage, stored_at, seq);

columns!(SecretAccessOfAgent "agents with access": agent, roles, capabilities);

columns!(ReaderAnswer "readers": agent, version, ("FIRST AT": first_at), ("LAST AT": at));
