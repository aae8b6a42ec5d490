use std::collections::BTreeMap;
use std::path::Path;

use super::args::{RunApprovalArgs, RunTokenArgs};
use super::missing::all_granted;
use super::token_file::Renewal;
use crate::base::{ApprovalId, CapabilityName, GivenParameters, code};
use crate::cli::approval_answer::{AnswerWait, refusal_of};
use crate::cli::client::Client;
use crate::cli::session::{agent_client, joined, sent_reason};
use crate::console::{CommandFailure, Console};
use crate::wire::{Nothing, OPEN_APPROVAL, OpenApprovalBody, OwnApprovalAnswer, TokenAnswer};

/// What the messages begin with.
const PREFIX: &str = "keyward run: ";

impl RunTokenArgs {
    /// The names of the capabilities; one argument can have several.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().flat_map(|names| names.split_whitespace())
    }

    /// The parameters of the token and its renewals.
    pub(super) async fn given_parameters(
        &self,
        home: &Path,
        console: &Console,
    ) -> Result<BTreeMap<CapabilityName, GivenParameters>, CommandFailure> {
        if self.parameters.is_empty() {
            return Ok(BTreeMap::new());
        }
        let capabilities: Vec<String> = self.names().map(str::to_owned).collect();
        self.parameters.read(&agent_client(home).await?, &capabilities, console).await
    }

    /// The approval of the token: the named one, or one that is asked for and approved; `None` if the token needs none.
    pub(super) async fn approved(
        &self,
        home: &Path,
        parameters: &BTreeMap<CapabilityName, GivenParameters>,
        console: &Console,
    ) -> Result<Option<ApprovalId>, CommandFailure> {
        let RunApprovalArgs { approval, request_approval, approval_for } = &self.approval;
        let Some(reason) = request_approval else { return Ok(*approval) };
        let names: Result<Vec<CapabilityName>, _> = self.names().map(str::parse).collect();
        let body = OpenApprovalBody {
            capabilities: names?,
            reason: sent_reason(reason, console),
            resource: self.resource.clone(),
            life_s: None,
            grant_life_s: *approval_for,
            uses: None,
            parameters: parameters.clone(),
        };
        let asked = match agent_client(home).await?.call(OPEN_APPROVAL, &Nothing, &body).await {
            Err(failure) if failure.code() == code::APPROVAL_NOT_NEEDED.as_str() => return Ok(None),
            asked => asked?,
        };
        let granted: Vec<&str> = asked.capabilities.iter().map(CapabilityName::as_str).collect();
        all_granted(&self.capabilities, &granted.join(" "), &[])?;
        console.say(&format!("{PREFIX}{}", said(&asked)));
        let wait = AnswerWait { home, console, prefix: PREFIX, longest: None };
        let answered = wait.answered(asked).await?;
        refusal_of(&answered).map_or(Ok(Some(answered.approval)), Err)
    }
}

fn said(asked: &OwnApprovalAnswer) -> String {
    let OwnApprovalAnswer { approval, state, user_code, expires_at, capabilities, .. } = asked;
    let until = expires_at.as_ref().map(|at| format!(" until {at}")).unwrap_or_default();
    format!(
        "the request {approval} for {} is {state}{until}; an approver finds it by `keyward approval show {user_code}`; the \
         command starts once it is approved",
        joined(capabilities)
    )
}

/// How the token of `approval` is renewed, which is said: the command may run for longer than the approval.
pub(super) async fn renewal(
    client: &Client,
    approval: Option<ApprovalId>,
    minted: &TokenAnswer,
    console: &Console,
) -> Renewal {
    let Some(id) = approval else { return Renewal::Plain };
    // If the broker does not say it now, the first renewal finds out.
    let Ok(present) = client.own_approval(&id, 0).await else { return Renewal::With(id) };
    let OwnApprovalAnswer { uses_left, expires_at, .. } = &present.answer;
    if *uses_left == 0 {
        console.say(&format!(
            "{PREFIX}note: the approval {id} gives no further token: this one ends in {} s and is not renewed; for renewals, \
             ask for a time: `keyward request … --for 30m`, or `--approval-for 30m`",
            minted.expires_in
        ));
        return Renewal::Never;
    }
    let until = expires_at.as_ref().map(|at| format!(" until {at}")).unwrap_or_default();
    let tokens = if *uses_left == 1 { "token" } else { "tokens" };
    console.say(&format!(
        "{PREFIX}note: the token is renewed{until} by the approval {id}, which gives {uses_left} further {tokens}"
    ));
    Renewal::With(id)
}

/// The refusal of a token that needs an approval, with what the user of `keyward run` does about it.
pub(super) fn explained(failure: CommandFailure) -> CommandFailure {
    let awaits = [code::APPROVAL_REQUIRED, code::APPROVAL_PENDING];
    let is_awaited = awaits.iter().any(|code| code.as_str() == failure.code());
    let Some(id) = failure.approval_id().filter(|_| is_awaited).map(str::to_owned) else { return failure };
    failure.mended_by(format!(
        "an operator approves it: `keyward approval approve {id}`; then start the command with `--approval {id}`; \
         with `--request-approval REASON`, `keyward run` asks, waits and starts it"
    ))
}
