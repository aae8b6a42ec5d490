use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::declarations::{confirmed_plan, tell};
use super::plan_approval::{ApproveArgs, approve, read_approval};
use crate::base::PolicyName;
use crate::cli::client::Client;
use crate::cli::session::VerbSession;
use crate::config::toml_table;
use crate::console::CommandFailure;
use crate::wire::{
    APPLY_DECLARATIONS, ApplyBody, DeclarationFileBody, DeclareBody, DeclaredKind, EXPORT_DECLARATIONS,
    ExportBody, GET_POLICY_SET, GET_POLICY_VERSION, Nothing, Optional, PLAN_DECLARATIONS, PolicySetBody,
    PolicyVersionBody, RollbackBody,
};

/// `keyward policy rollback`
#[derive(Args, Debug)]
pub struct PolicyRollbackArgs {
    /// The policy's name; without it all policies, environments and groups of approvers
    name: Option<String>,
    /// The hash of the version, or at least its first 8 characters: `keyward policy history` lists the hashes
    #[arg(long, value_name = "HASH")]
    to: String,
    /// Confirm that the changes give more access than before: the plan lists what becomes reachable
    #[arg(long)]
    widen: bool,
    /// Apply without a question; where there is no terminal, this option or `--plan` is needed
    #[arg(long)]
    yes: bool,
    /// Make exactly the changes of the plan with this id
    #[arg(long, value_name = "ID", conflicts_with = "yes")]
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
        let is_decided = self.yes || self.plan.is_some() || self.approving.out().is_some();
        if !is_decided && !session.console.is_interactive() {
            return Err(CommandFailure::usage(
                "there is no terminal to confirm the changes",
                "add `--yes`, or `--plan ID` to apply a plan that you have read",
            ));
        }
        let policy: Option<PolicyName> = self.name.as_deref().map(str::parse).transpose()?;
        let client = session.operator().await?;
        let declared = match &policy {
            Some(name) => self.version(&client, name).await?,
            None => self.set(&client).await?,
        };
        if let Some(out) = self.approving.out() {
            let planned = client.call(PLAN_DECLARATIONS, &Nothing, &declared).await?;
            approve(session, &client, &declared, &planned, out).await?;
            session
                .console
                .say("approved; another person applies it: the same command with `--widen --approved FILE`");
            return Ok(());
        }
        let approval = self.approved.as_deref().map(read_approval).transpose()?;
        let (plan, widen) = (self.plan.clone(), self.widen);
        let mut body = ApplyBody { plan, widen, approval, ..ApplyBody::of(declared) };
        if body.plan.is_none() {
            body.plan = confirmed_plan(session, &client, &body, self.yes).await?;
        }
        let applied = client.call(APPLY_DECLARATIONS, &Nothing, &body).await?;
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
