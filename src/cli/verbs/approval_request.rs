use std::time::Duration;

use clap::Args;

use super::parameter_args::ParameterArgs;
use super::token::token_arguments;
use crate::base::{CapabilityName, Reason, code};
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, sent_reason};
use crate::console::{CommandFailure, duration_s};
use crate::wire::{ApprovalState, Nothing, OPEN_APPROVAL, OpenApprovalBody, OwnApprovalAnswer};

/// `keyward request`
#[derive(Args, Debug)]
pub struct RequestArgs {
    /// The capabilities of the tokens
    #[arg(required = true, value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// Reason for the approver, in one line; the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Reason,
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
    /// Wait for the answer, 10 minutes at most or for this time
    #[arg(long, value_parser = duration_s, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = "10m")]
    wait: Option<u32>,
    /// Parameters
    #[command(flatten)]
    parameters: ParameterArgs,
}

/// Longest time for which one request waits, in seconds: shorter than the time for a response.
const WAIT_ONCE_S: u32 = 20;
/// Pause after a response that came at once although the request is pending: the broker has no place for a further waiter.
const PAUSE: Duration = Duration::from_secs(2);

impl RequestArgs {
    /// Asks for an approval, and waits for the answer if told so.
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let client = session.agent().await?;
        let names: Result<Vec<CapabilityName>, _> =
            self.capabilities.iter().map(|name| name.parse()).collect();
        let body = OpenApprovalBody {
            capabilities: names?,
            reason: sent_reason(&self.reason, session.console),
            resource: self.resource.clone(),
            life_s: self.expires_in,
            grant_life_s: self.grant_life_s,
            uses: self.uses,
            parameters: self.parameters.read(&client, &self.capabilities, session.console).await?,
        };
        let mut approval = client.call(OPEN_APPROVAL, &Nothing, &body).await?;
        if let Some(wait_s) = self.wait {
            self.say_pending(&approval, session);
            approval = answered(&client, approval, wait_s).await?;
        }
        session.print(&approval, |approval| self.said(approval));
        match state_of(&approval) {
            Some(ApprovalState::Approved) => Ok(()),
            Some(ApprovalState::Pending) if self.wait.is_none() => Ok(()),
            Some(ApprovalState::Pending) => Err(CommandFailure::new(code::APPROVAL_PENDING)),
            Some(ApprovalState::Denied) => Err(CommandFailure::new(code::APPROVAL_DENIED)),
            Some(ApprovalState::Used) => Err(CommandFailure::new(code::APPROVAL_USED)),
            Some(ApprovalState::Expired) => Err(CommandFailure::new(code::APPROVAL_EXPIRED)),
            Some(ApprovalState::Withdrawn) => Err(CommandFailure::new(code::APPROVAL_WITHDRAWN)),
            // A state of a newer broker, which was printed.
            None => Ok(()),
        }
    }

    fn say_pending(&self, approval: &OwnApprovalAnswer, session: VerbSession<'_>) {
        if state_of(approval) == Some(ApprovalState::Pending) && !session.console.is_json() {
            session.console.say(&self.said(approval));
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

fn state_of(approval: &OwnApprovalAnswer) -> Option<ApprovalState> {
    ApprovalState::ALL.into_iter().find(|state| *state.as_str() == *approval.state)
}

/// The approval once it is no longer pending, or after `wait_s` seconds.
async fn answered(
    client: &Client,
    mut approval: Received<OwnApprovalAnswer>,
    wait_s: u32,
) -> Result<Received<OwnApprovalAnswer>, CommandFailure> {
    let begun = tokio::time::Instant::now();
    while state_of(&approval) == Some(ApprovalState::Pending) {
        let waited = begun.elapsed().as_secs();
        let left = u64::from(wait_s).saturating_sub(waited);
        if left == 0 {
            break;
        }
        let wait = u32::try_from(left).unwrap_or(WAIT_ONCE_S).min(WAIT_ONCE_S);
        let asked = tokio::time::Instant::now();
        approval = client.own_approval(&approval.approval, wait).await?;
        if state_of(&approval) == Some(ApprovalState::Pending) && asked.elapsed() < PAUSE {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(approval)
}
