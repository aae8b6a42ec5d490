use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::lease_login::{LeaseGetArgs, run_with_login};
use crate::base::{AgentName, CapabilityName, DecisionId, IdError, LeaseId, Reason, code};
use crate::cli::client::{Client, Received};
use crate::cli::identity::IdentityKind;
use crate::cli::listing::LimitArgs;
use crate::cli::session::{ReasonArgs, VerbSession, check_durable, optional, sent_reason, text};
use crate::cli::table::columns;
use crate::console::{CommandFailure, duration_s};
use crate::wire::{
    EXTEND_LEASE, EndedLeasesAnswer, Endpoint, FORGET_LEASE, ForgetLeaseBody, GIVE_UP_LEASE, GiveUpLeaseBody,
    LIST_LEASES, LIST_OWN_LEASES, LeaseAnswer, LeaseEndingAnswer, LeaseRenewalAnswer, LeaseSelectionBody,
    Nothing, Optional, RENEW_LEASE, RETRY_LEASES, REVOKE_LEASES, RenewLeaseBody, RevokeLeasesBody,
};

/// `keyward lease …`
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Get a database login: the one that this identity has already, or a new one
    Get(LeaseGetArgs),
    /// Run a command with a database login in its environment: the one that this identity has already, or a new one
    Run {
        /// The capability's name
        #[arg(value_name = "CAPABILITY")]
        capability: String,
        /// Life of the lease, e.g. 15m or 12h [default: 1h]
        #[arg(long, value_parser = duration_s, value_name = "DURATION")]
        life: Option<u32>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Renew a lease of this identity; its capability limits the total life
    Renew {
        /// The lease's id
        #[arg(value_name = "LEASE")]
        id: String,
        /// Remaining life from now on, e.g. 15m or 12h [default: 1h]
        #[arg(long, value_parser = duration_s, value_name = "DURATION")]
        life: Option<u32>,
    },
    /// As an operator: extend a lease of any agent; its capability limits the total life
    Extend {
        /// The lease's id
        #[arg(value_name = "LEASE")]
        id: String,
        /// Remaining life from now on, e.g. 15m or 12h [default: 1h]
        #[arg(long, value_parser = duration_s, value_name = "DURATION")]
        life: Option<u32>,
    },
    /// Give up a lease of this identity: its login is revoked
    GiveUp {
        /// The lease's id
        #[arg(value_name = "LEASE")]
        id: String,
        /// Give up only this use of the lease (its `decision_id`); the login is revoked with the last use
        #[arg(long = "use", value_name = "DECISION")]
        used_by: Option<String>,
    },
    /// As an operator: list all leases, also those whose revocation failed
    List(LeaseListArgs),
    /// As an operator: retry failed revocations now
    Retry(LeaseSelectionArgs),
    /// As an operator: stop the revocation of a login that cannot be revoked. The login may still exist: delete it by hand. The broker raises an alarm
    Forget {
        /// The lease's id
        #[arg(value_name = "LEASE")]
        id: String,
        /// Reason, in one line; the ledger keeps it
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
    },
    /// As an operator: revoke leases, and wait until their logins are deleted
    Revoke(LeaseRevokeArgs),
}

/// `keyward lease list`
#[derive(Args, Debug)]
pub struct LeaseListArgs {
    /// As an agent: list the leases of this identity
    #[arg(long, conflicts_with_all = ["limit", "agent", "capability"])]
    own: bool,
    #[command(flatten)]
    limit: LimitArgs,
    /// List only the leases of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// List only the leases of this capability
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
}

/// `keyward lease revoke`
#[derive(Args, Debug)]
pub struct LeaseRevokeArgs {
    /// The leases
    #[command(flatten)]
    which: LeaseSelectionArgs,
    /// Do not wait until the logins are deleted
    #[arg(long)]
    no_wait: bool,
    /// Why
    #[command(flatten)]
    reason: ReasonArgs,
}

/// The leases that a command selects.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct LeaseSelectionArgs {
    /// The lease's id
    #[arg(value_name = "LEASE")]
    id: Option<String>,
    /// All leases of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// All leases of this capability
    #[arg(long, value_name = "CAPABILITY")]
    capability: Option<String>,
    /// All leases
    #[arg(long)]
    all: bool,
}

impl LeaseCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::Get(args) => args.get(session).await,
            Self::Run { capability, life, command } => {
                run_with_login(session, capability, *life, command).await
            }
            Self::Renew { id, life } => renew(session, &session.agent().await?, RENEW_LEASE, id, *life).await,
            Self::Extend { id, life } => {
                renew(session, &session.operator().await?, EXTEND_LEASE, id, *life).await
            }
            Self::GiveUp { id, used_by } => give_up(session, id, used_by.as_deref()).await,
            Self::List(args) => args.list(session).await,
            Self::Retry(which) => retry(session, which).await,
            Self::Forget { id, reason } => {
                let body = ForgetLeaseBody { reason: sent_reason(reason, session.console) };
                let forgotten = session.operator().await?.call(FORGET_LEASE, &lease_id(id)?, &body).await?;
                session.print(&forgotten, |forgotten| {
                    format!(
                        "{id} forgotten (ledger entry {}): check at the upstream that its login is deleted",
                        forgotten.seq
                    )
                });
                Ok(())
            }
            Self::Revoke(args) => revoke(session, args).await,
        }
    }
}

impl LeaseListArgs {
    async fn list(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        if self.own {
            let client = session.agent().await?;
            session.print_rows(&client, &client.items(LIST_OWN_LEASES).await?).await;
            return Ok(());
        }
        let agent: Option<AgentName> = optional(self.agent.as_deref())?;
        let capability: Option<CapabilityName> = optional(self.capability.as_deref())?;
        let selection = self.limit.selection().with("agent", agent.map(|name| name.to_string()));
        let selection = selection.with("capability", capability.map(|name| name.to_string()));
        let listed = session.list(LIST_LEASES, &selection).await;
        listed.map_err(|failure| IdentityKind::Operator.or_other(session.home, "add `--own`", failure))
    }
}

fn lease_id(text: &str) -> Result<LeaseId, CommandFailure> {
    text.parse()
        .map_err(|error: IdError| CommandFailure::usage(&error.to_string(), "`keyward lease list --own` shows the ids of an agent's own leases, `keyward lease list` those of all agents to operators"))
}

async fn renew(
    session: VerbSession<'_>,
    client: &Client,
    endpoint: Endpoint<LeaseId, Optional<RenewLeaseBody>, LeaseRenewalAnswer>,
    id: &str,
    life_s: Option<u32>,
) -> Result<(), CommandFailure> {
    let renewed = client.call(endpoint, &lease_id(id)?, &Optional(Some(RenewLeaseBody { life_s }))).await?;
    session.print(&renewed, |renewed| format!("{id} expires at {}", renewed.expires_at));
    if !session.console.is_json() {
        renewed.constrained.iter().for_each(|why| session.console.say(why));
    }
    Ok(())
}

async fn give_up(session: VerbSession<'_>, id: &str, used_by: Option<&str>) -> Result<(), CommandFailure> {
    let used_by: Option<DecisionId> = used_by.map(str::parse).transpose().map_err(|error: IdError| {
        CommandFailure::usage(&error.to_string(), "copy the `decision_id` from `keyward lease get -o json`")
    })?;
    let body = Optional(Some(GiveUpLeaseBody { decision_id: used_by.map(|id| id.to_string()) }));
    let given_up = session.agent().await?.call(GIVE_UP_LEASE, &lease_id(id)?, &body).await?;
    session.print(&given_up, |_| format!("{id}: given up"));
    Ok(())
}

columns!(LeaseAnswer "leases": lease, agent, capability, login, expires_at, ("STATE", state));

/// The state of a lease for a table.
fn state(lease: &LeaseAnswer) -> String {
    let overdue = if lease.overdue { ", overdue" } else { "" };
    let stage = lease.ending.as_ref().map_or_else(|| lease.stage.to_string(), state_of_ending);
    format!("{stage}{overdue}")
}

fn state_of_ending(ending: &LeaseEndingAnswer) -> String {
    let LeaseEndingAnswer { why, code, upstream_code, retry_at, .. } = ending;
    let Some(code) = code else { return format!("being revoked ({why})") };
    let upstream = upstream_code.as_ref().map_or_else(String::new, |own| format!(" ({own})"));
    format!("being revoked ({why}), failed: {code}{upstream}, next attempt at {}", text(retry_at.as_ref()))
}

/// Most checks for deleted logins, one second apart.
const LOOKS: u32 = 30;

async fn retry(session: VerbSession<'_>, which: &LeaseSelectionArgs) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let retried = client.call(RETRY_LEASES, &Nothing, &which.body()?).await?;
    session.print(&retried, |retried| {
        let count = retried.leases.unwrap_or(0);
        let noun = if count == 1 { "revocation" } else { "revocations" };
        let seq = text(retried.ended.seq.as_ref());
        format!(
            "the broker repeats {count} {noun} (ledger entry {seq}); `keyward lease list` shows the state, and the next attempt \
             if one fails"
        )
    });
    Ok(())
}

async fn revoke(session: VerbSession<'_>, args: &LeaseRevokeArgs) -> Result<(), CommandFailure> {
    let which = args.which.body()?;
    let client = session.revoking_operator().await?;
    // Only the leases of before: the command does not wait for new ones.
    let mut left = ids_of(&client, &which).await?;
    let body = RevokeLeasesBody::new(which.clone(), args.reason.text(session.console));
    let ended = client.call(REVOKE_LEASES, &Nothing, &body).await?;
    // The broker calls no upstream before the ledger has recorded the revocation.
    let durable = check_durable(&ended.ended);
    let progress = session.console.progress("waiting until the logins are deleted");
    for look in 0..LOOKS {
        if left.is_empty() || args.no_wait || durable.is_err() {
            break;
        }
        if look > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let there = ids_of(&client, &which).await?;
        left.retain(|lease| there.contains(lease));
    }
    drop(progress);
    session.print(&ended, ended_line);
    durable?;
    if left.is_empty() || args.no_wait {
        return Ok(());
    }
    let why = format!(
        "{} logins still exist at the upstream; no agent gets them again, and the broker repeats their revocation",
        left.len()
    );
    Err(CommandFailure::new(code::LEASES_NOT_REVOKED).because(why))
}

fn ended_line(ended: &EndedLeasesAnswer) -> String {
    let count = ended.leases.unwrap_or(0);
    let noun = if count == 1 { "lease" } else { "leases" };
    let entry = ended.ended.seq.map_or_else(String::new, |seq| format!(" in ledger entry {seq}"));
    format!("{count} {noun} revoked{entry}")
}

impl LeaseSelectionArgs {
    fn body(&self) -> Result<LeaseSelectionBody, CommandFailure> {
        let agent = self.agent.as_deref().map(str::parse::<AgentName>).transpose()?;
        let capability = self.capability.as_deref().map(str::parse::<CapabilityName>).transpose()?;
        Ok(LeaseSelectionBody {
            lease: self.id.as_deref().map(lease_id).transpose()?.map(|id| id.to_string()),
            agent: agent.map(|name| name.to_string()),
            capability: capability.map(|name| name.to_string()),
            all: self.all,
        })
    }
}

/// The ids of the leases that `which` selects.
async fn ids_of(client: &Client, which: &LeaseSelectionBody) -> Result<Vec<LeaseId>, CommandFailure> {
    let is = |wanted: &Option<String>, text: String| wanted.as_ref().is_none_or(|wanted| *wanted == text);
    let is_meant = |lease: &Received<LeaseAnswer>| {
        is(&which.lease, lease.lease.to_string())
            && is(&which.agent, lease.agent.to_string())
            && is(&which.capability, lease.capability.to_string())
    };
    let leases = client.list(LIST_LEASES).await?;
    Ok(leases.iter().filter(|lease| is_meant(lease)).map(|lease| lease.lease).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_ending_lease_says_why_and_what_failed() {
        let said = |ending: Value| state_of_ending(&serde_json::from_value(ending).unwrap());
        let ending = json!({
            "why": "expired", "since": "x", "failures": 0, "code": null, "upstream_code": null,
            "reason": null, "retry_at": null,
        });
        assert_eq!(said(ending), "being revoked (expired)");
        let failed = json!({
            "why": "revoked", "since": "x", "failures": 1, "code": "c", "upstream_code": "2BP01",
            "reason": null, "retry_at": "then",
        });
        assert_eq!(said(failed), "being revoked (revoked), failed: c (2BP01), next attempt at then");
    }
}
