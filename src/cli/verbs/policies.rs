use clap::{Args, Subcommand};
use serde_json::Value;

use super::policy_rollback::PolicyRollbackArgs;
use super::policy_test::PolicyTestArgs;
use crate::base::{Moment, PolicyName};
use crate::cli::listing::ListArgs;
use crate::cli::session::VerbSession;
use crate::cli::table::columns;
use crate::console::{CommandFailure, moment};
use crate::rotation::spoken;
use crate::wire::{
    GET_POLICY, GET_POLICY_VERSION, LIST_POLICIES, LIST_POLICY_SETS, LIST_POLICY_VERSIONS, Nothing,
    PolicyAnswer, PolicySetAnswer, PolicyVersionAnswer, PolicyVersionBody,
};

/// `keyward policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List policies: their effect, and the requests that they concern
    List(ListArgs),
    /// Show a policy with its rule, or an earlier version of it
    Show(PolicyShowArgs),
    /// List the versions of a policy: their hashes, when they were in force, and who applied them; without a name, all applications that changed policies
    History {
        /// The policy's name
        name: Option<String>,
    },
    /// Bring back an earlier version of a policy, or of all policies: plans the change, asks, and applies it
    Rollback(PolicyRollbackArgs),
    /// Decide cases on declaration files, without a broker. The exit code is 11 if a case has another outcome than it expects
    Test(PolicyTestArgs),
}

/// `keyward policy show`
#[derive(Args, Debug)]
pub struct PolicyShowArgs {
    /// The policy's name
    name: String,
    /// Show the version of this time: a time such as `2026-11-30T02:00:00Z`, a date, or a length of time before now
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "hash")]
    at: Option<Moment>,
    /// Show the version with this hash, or with a hash that begins with these 8 or more characters
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
}

impl PolicyCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(args) => session.list(LIST_POLICIES, &args.selection()?).await,
            Self::Show(args) => args.run(session).await,
            Self::History { name: Some(name) } => history(session, &name.parse()?).await,
            Self::History { name: None } => sets(session).await,
            Self::Rollback(args) => args.run(session).await,
            Self::Test(args) => args.run(session.console),
        }
    }
}

impl PolicyShowArgs {
    async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let name: PolicyName = self.name.parse()?;
        let client = session.operator().await?;
        if self.at.is_none() && self.hash.is_none() {
            let found = client.call(GET_POLICY, &name, &Nothing).await?;
            show(session, &found.sent, found.sent.clone(), &found.answer);
            return Ok(());
        }
        let wanted = PolicyVersionBody { at: self.at.map(|at| at.to_string()), hash: self.hash.clone() };
        let found = client.call(GET_POLICY_VERSION, &name, &wanted).await?;
        let mut fields = found.sent.get("policy").cloned().unwrap_or_default();
        let version = found.sent.get("version").and_then(Value::as_object);
        if let Value::Object(fields) = &mut fields {
            fields.extend(version.into_iter().flatten().map(|(field, value)| (field.clone(), value.clone())));
        }
        show(session, &found.sent, fields, &found.answer.policy);
        Ok(())
    }
}

/// The `fields` of a policy as tables, then its rule as it was declared.
fn show(session: VerbSession<'_>, sent: &Value, mut fields: Value, policy: &PolicyAnswer) {
    let is_text = !session.console.is_json() && !session.console.is_csv();
    if let Value::Object(fields) = &mut fields
        && is_text
    {
        fields.remove("rule");
    }
    session.print_object_as(sent, || fields);
    if is_text {
        session.console.line("");
        let rule = policy.rule.as_deref().unwrap_or_default();
        rule.trim().lines().for_each(|line| session.console.line(line));
    }
}

async fn history(session: VerbSession<'_>, name: &PolicyName) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let found = client.call(LIST_POLICY_VERSIONS, name, &Nothing).await?;
    session.print_table(&client, &found.sent, &found.versions).await;
    note_rest(session, found.further, found.complete, found.since_seq);
    Ok(())
}

async fn sets(session: VerbSession<'_>) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let found = client.call(LIST_POLICY_SETS, &Nothing, &Nothing).await?;
    session.print_table(&client, &found.sent, &found.sets).await;
    note_rest(session, found.further, found.complete, found.since_seq);
    Ok(())
}

/// Says what a list does not have.
fn note_rest(session: VerbSession<'_>, further: usize, is_complete: bool, since_seq: u64) {
    if session.console.is_json() {
        return;
    }
    if further > 0 {
        session.console.say(&format!("{further} older versions are not listed"));
    }
    if !is_complete {
        session.console.say(&format!(
            "only ledger entries from {since_seq} on were searched: there may be earlier versions"
        ));
    }
}

columns!(PolicyVersionAnswer "versions": ("HASH", version_hash), from, until, by, approved_by, ("ENTRY": seq), owner);
columns!(PolicySetAnswer "versions": ("HASH", set_hash), from, by, approved_by, ("ENTRY": seq));

fn version_hash(version: &PolicyVersionAnswer) -> String {
    shortened(&version.hash)
}

fn set_hash(set: &PolicySetAnswer) -> String {
    shortened(&set.hash)
}

/// As much of a hash as names a version among those of one broker.
fn shortened(hash: &str) -> String {
    hash.chars().take(16).collect()
}

columns!(PolicyAnswer "policies": name, owner, effect, ("MAX LIFE", max_life), actions, principal, resource, reason);

fn max_life(policy: &PolicyAnswer) -> String {
    policy.max_life_s.map(spoken).unwrap_or_default()
}
