use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::own_approvals::RequestCommand;
use super::parameter_args::ParameterArgs;
use super::token::token_arguments;
use crate::base::{CapabilityName, Reason};
use crate::cli::approval_answer::{AnswerWait, refusal_of, state_of};
use crate::cli::client::Received;
use crate::cli::session::{VerbSession, sent_reason};
use crate::console::{CommandFailure, duration_s};
use crate::wire::{ApprovalState, Nothing, OPEN_APPROVAL, OpenApprovalBody, OwnApprovalAnswer};

/// `keyward request`
#[derive(Args, Debug)]
pub struct RequestArgs {
    /// A verb for existing requests
    #[command(subcommand)]
    pub command: Option<RequestCommand>,
    /// The capabilities of the tokens
    #[arg(required = true, value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// Reason for the approver, in one line; the ledger keeps it
    #[arg(long, required = true, value_name = "TEXT")]
    reason: Option<Reason>,
    /// Time in which the approval can be used, from its first use on, e.g. 30m; without it one token within an hour
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_s)]
    grant_life_s: Option<u32>,
    /// Most tokens that the approval gives
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// Audience of the tokens
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// Life of each token, e.g. 90s or 15m; the capability limits it
    #[arg(long, value_parser = duration_s, value_name = "DURATION")]
    expires_in: Option<u32>,
    /// Wait for the answer until the request expires, or at most for this time; a restart of the broker does not end the wait
    #[arg(long, value_parser = wait_limit, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    wait: Option<WaitLimit>,
    /// Parameters
    #[command(flatten)]
    parameters: ParameterArgs,
}

/// How long `--wait` waits.
#[derive(Clone, Copy, Debug)]
enum WaitLimit {
    Expiry,
    Time(Duration),
}

fn wait_limit(text: &str) -> Result<WaitLimit, String> {
    if text.is_empty() {
        return Ok(WaitLimit::Expiry);
    }
    duration_s(text).map(|wait_s| WaitLimit::Time(Duration::from_secs(wait_s.into())))
}

impl RequestArgs {
    /// Asks for an approval, and waits for the answer if told so.
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        if let Some(command) = &self.command {
            return command.run(session).await;
        }
        let Some(reason) = &self.reason else {
            return Err(CommandFailure::usage("there is no reason for the approver", "add `--reason TEXT`"));
        };
        let client = session.agent().await?;
        let names: Result<Vec<CapabilityName>, _> =
            self.capabilities.iter().map(|name| name.parse()).collect();
        let body = OpenApprovalBody {
            capabilities: names?,
            reason: sent_reason(reason, session.console),
            resource: self.resource.clone(),
            life_s: self.expires_in,
            grant_life_s: self.grant_life_s,
            uses: self.uses,
            parameters: self.parameters.read(&client, &self.capabilities, session.console).await?,
        };
        let mut approval = client.call(OPEN_APPROVAL, &Nothing, &body).await?;
        self.say_left_out(&approval, session);
        if let Some(limit) = self.wait {
            self.say_waiting(&approval, session);
            let longest = match limit {
                WaitLimit::Expiry => None,
                WaitLimit::Time(time) => Some(time),
            };
            let VerbSession { home, console } = session;
            approval = AnswerWait { home, console, prefix: "", longest }.answered(approval).await?;
        }
        session.print(&approval, |approval| self.said(approval));
        let is_pending = state_of(&approval) == Some(ApprovalState::Pending);
        let refusal = refusal_of(&approval).filter(|_| !is_pending || self.wait.is_some());
        refusal.map_or(Ok(()), Err)
    }

    /// The approver sees, and the tokens have, only capabilities that the agent holds.
    fn say_left_out(&self, approval: &OwnApprovalAnswer, session: VerbSession<'_>) {
        let has = |name: &str| approval.capabilities.iter().any(|one| one.as_str() == name);
        let left_out: BTreeSet<&str> =
            self.capabilities.iter().map(String::as_str).filter(|name| !has(name)).collect();
        // Of an older broker, the response names no capabilities.
        if session.console.is_json() || approval.capabilities.is_empty() {
            return;
        }
        for name in left_out {
            session.console.say(&format!(
                "note: the request is without `{name}`: no role of this agent holds it, or it is suspended or denied"
            ));
        }
    }

    fn say_waiting(&self, approval: &Received<OwnApprovalAnswer>, session: VerbSession<'_>) {
        if state_of(approval) == Some(ApprovalState::Pending) && !session.console.is_json() {
            session.console.say(&format!("{}; waiting for the answer", self.said(approval)));
        }
    }

    fn said(&self, approval: &OwnApprovalAnswer) -> String {
        let OwnApprovalAnswer { approval: id, state, user_code, expires_at, .. } = approval;
        let until = expires_at.as_ref().map(|at| format!(" until {at}")).unwrap_or_default();
        let next = match state_of(approval) {
            Some(ApprovalState::Pending) => {
                format!("; an approver finds it by `keyward approval show {user_code}`")
            }
            Some(ApprovalState::Approved) => {
                let names = self.capabilities.join(" ");
                let arguments = token_arguments(&names, self.resource.as_deref(), self.expires_in);
                let parameters = self.parameters.arguments();
                format!("; to use it: `keyward token {arguments}{parameters} --approval {id}`")
            }
            Some(_) | None => String::new(),
        };
        format!("{id} is {state}{until}{next}")
    }
}
