use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::declarations::{confirm, id_of, tell};
use super::plan_approval::{ApproveArgs, approve, read_approval};
use super::rollback_command::RollbackCommand;
use crate::base::PolicyName;
use crate::cli::client::{Client, Received};
use crate::cli::session::VerbSession;
use crate::config::toml_table;
use crate::console::{CommandFailure, Console};
use crate::wire::{
    APPLY_DECLARATIONS, AppliedAnswer, ApplyBody, DeclarationFileBody, DeclareBody, DeclaredKind,
    EXPORT_DECLARATIONS, ExportBody, GET_POLICY_SET, GET_POLICY_VERSION, Nothing, Optional,
    PLAN_DECLARATIONS, PolicySetBody, PolicyVersionBody, RollbackBody,
};

/// `keyward policy rollback`
#[derive(Args, Debug)]
pub struct PolicyRollbackArgs {
    /// The policy's name; without it all policies, environments and groups of approvers
    name: Option<String>,
    /// The hash of the version, or at least its first 8 characters: `keyward policy history` lists the hashes
    #[arg(long, value_name = "HASH")]
    to: String,
    /// Show the changes, and the command that makes exactly these; nothing is changed
    #[arg(long, conflicts_with_all = ["yes", "plan", "approved", "approve"])]
    dry_run: bool,
    /// Confirm that the changes give more access than before: `--dry-run` lists what becomes reachable
    #[arg(long)]
    widen: bool,
    /// Apply without a question; where there is no terminal, this option or `--plan` is needed
    #[arg(long, conflicts_with = "approve")]
    yes: bool,
    /// Make exactly the changes of the plan with this id, which `--dry-run` shows; if the changes would differ now, nothing is changed
    #[arg(long, value_name = "ID", conflicts_with_all = ["yes", "approve"])]
    plan: Option<String>,
    /// The approval of the plan by a second operator, from the same command with `--approve`
    #[arg(long, value_name = "FILE", requires = "widen", conflicts_with = "approve")]
    approved: Option<PathBuf>,
    #[command(flatten)]
    approving: ApproveArgs,
}

/// A policy as a declaration.
#[derive(Serialize)]
struct PolicyTable<'a> {
    name: &'a PolicyName,
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
}

impl PolicyRollbackArgs {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let policy: Option<PolicyName> = self.name.as_deref().map(str::parse).transpose()?;
        let command = RollbackCommand::of(policy.as_ref(), &self.to, self.yes, self.plan.as_deref());
        let is_decided = self.yes || self.dry_run || self.plan.is_some() || self.approving.out().is_some();
        if !is_decided && !session.console.is_interactive() {
            let fix = format!(
                "read the changes: `{}`; the last line of its output is the command that makes exactly these changes",
                command.dry_run()
            );
            return Err(CommandFailure::usage("there is no terminal to confirm the changes", &fix));
        }
        let client = session.operator().await?;
        let done = self.roll_back(session, &client, policy.as_ref(), &command).await;
        done.map_err(|failure| command.mended(failure))
    }

    async fn roll_back(
        &self,
        session: VerbSession<'_>,
        client: &Client,
        policy: Option<&PolicyName>,
        command: &RollbackCommand,
    ) -> Result<(), CommandFailure> {
        let approval = self.approved.as_deref().map(read_approval).transpose()?;
        let declared = match policy {
            Some(name) => self.version(client, name).await?,
            None => self.set(client).await?,
        };
        let plan = match &self.plan {
            Some(id) => id.clone(),
            None => {
                let planned = client.call(PLAN_DECLARATIONS, &Nothing, &declared).await?;
                if let Some(out) = self.approving.out() {
                    approve(session, client, &declared, &planned, out).await?;
                    let apply = command.approved(out);
                    session.console.say(&format!("approved; another person applies it: {apply}"));
                    return Ok(());
                }
                if planned.changes.is_empty() {
                    tell_unchanged(session.console, policy, &planned);
                    return Ok(());
                }
                if self.dry_run {
                    return tell_plan(session.console, &planned, command);
                }
                if !self.yes {
                    confirm(session, &planned)?;
                }
                id_of(&planned)?
            }
        };
        let body = ApplyBody { plan: Some(plan), widen: self.widen, approval, ..ApplyBody::of(declared) };
        let applied = client.call(APPLY_DECLARATIONS, &Nothing, &body).await?;
        if applied.changes.is_empty() {
            tell_unchanged(session.console, policy, &applied);
            return Ok(());
        }
        tell(&applied, session.console)
    }

    /// These declarations, as what brings the version back.
    fn declaring(&self, files: Vec<DeclarationFileBody>, prune: bool) -> Result<DeclareBody, CommandFailure> {
        let policy = self.name.as_deref().map(str::parse).transpose()?;
        Ok(DeclareBody { files, prune, rollback: Some(RollbackBody { policy, to: self.to.clone() }) })
    }

    /// The declaration of the version of a policy.
    async fn version(&self, client: &Client, name: &PolicyName) -> Result<DeclareBody, CommandFailure> {
        let wanted = PolicyVersionBody { hash: Some(self.to.clone()), at: None };
        let found = client.call(GET_POLICY_VERSION, name, &wanted).await?;
        let policy = &found.policy;
        let rule = policy.rule.as_deref().unwrap_or_default();
        let owner = policy.owner.as_ref().map(|owner| owner.as_str());
        let text = toml_table("policy", &PolicyTable { name, rule, owner });
        let text = text.ok_or_else(|| CommandFailure::internal("the policy has no declaration"))?;
        let files = vec![DeclarationFileBody { name: format!("version {}", self.to), text }];
        self.declaring(files, false)
    }

    /// The declarations of all objects with the policies, environments and groups of an earlier set: what is not in the set is
    /// removed.
    async fn set(&self, client: &Client) -> Result<DeclareBody, CommandFailure> {
        let set = client.call(GET_POLICY_SET, &Nothing, &PolicySetBody { hash: self.to.clone() }).await?;
        let of_set = [DeclaredKind::Policy, DeclaredKind::Environment, DeclaredKind::ApproverGroup];
        let kinds = DeclaredKind::ALL.into_iter().filter(|kind| !of_set.contains(kind)).collect();
        let others = Optional(Some(ExportBody { kinds, owner: None }));
        let others = client.call(EXPORT_DECLARATIONS, &Nothing, &others).await?;
        let set = DeclarationFileBody { name: format!("set {}", self.to), text: set.text.clone() };
        let others =
            DeclarationFileBody { name: "present declarations".to_owned(), text: others.text.clone() };
        self.declaring(vec![others, set], true)
    }
}

/// Says that the version is the present one.
fn tell_unchanged(console: &Console, policy: Option<&PolicyName>, answer: &Received<AppliedAnswer>) {
    if console.is_json() {
        console.json(&answer.sent);
        return;
    }
    let why = match policy {
        Some(name) => format!("policy `{name}` has this version already"),
        None => "the present policies, environments and groups of approvers are those of this set".to_owned(),
    };
    console.say(&format!("no changes: {why}"));
}

/// Shows the plan of a rollback, and the command that makes exactly its changes.
fn tell_plan(
    console: &Console,
    planned: &Received<AppliedAnswer>,
    command: &RollbackCommand,
) -> Result<(), CommandFailure> {
    tell(planned, console)?;
    if console.is_json() {
        return Ok(());
    }
    if planned.to_approve.is_some() {
        console.say(&format!(
            "note: this broker demands that a second operator approves this plan: another person runs `{}`, and \
             `--approved plan-approval.json` is added to the command below",
            command.approving()
        ));
    }
    let apply = command.planned(&id_of(planned)?, planned.widening.is_some());
    console.line(&format!("to make exactly these changes: {apply}"));
    Ok(())
}
