use clap::{Args, Subcommand};
use serde_json::Value;

use super::approval_keys::ApprovalKeyCommand;
use super::approval_standing::is_unmet;
use super::approval_tokens::{say_how_to_revoke, say_valid_tokens};
use super::approval_view::{
    Line, context_lines, digest_of, previous_rows, signed_lines, stated_lines, text_of,
};
use crate::base::encoding::base64url;
use crate::base::{AgentName, ApprovalReference, CapabilityName, code};
use crate::cli::approval_key::{MachineKeys, check_role, sign_approval};
use crate::cli::client::{Client, Received};
use crate::cli::session::{ReasonArgs, VerbSession, optional};
use crate::cli::table::Row;
use crate::console::{CommandFailure, visible};
use crate::crypto::Digest;
use crate::wire::{
    ApprovalAnswer, ApprovalBallot, ApprovalContextAnswer, ApprovalState, ApprovalVerdict, ApprovalVoteBody,
    ApprovalsQuery, GET_APPROVAL, GET_APPROVAL_CONTEXT, LIST_APPROVALS, ListOutput, Nothing,
    PreviousApprovalAnswer, VOTE_APPROVAL, VotedApprovalAnswer,
};

/// `keyward approval …`
#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// List requests for approval, the newest first; without `--all` or `--state` those that are pending
    List(ApprovalListArgs),
    /// Show a request for approval, how it differs from what its agent usually does, and earlier requests of its kind
    Show {
        /// The request's id (`appr_…`) or its code, e.g. `WDJB-MJHT`
        approval: String,
    },
    /// Approve a request: shows it, asks for the passphrase of your approval key at the terminal, and signs what was shown
    Approve {
        /// The request's id (`appr_…`) or its code, e.g. `WDJB-MJHT`
        approval: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Deny a request
    Deny {
        /// The request's id (`appr_…`) or its code, e.g. `WDJB-MJHT`
        approval: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
        /// Also tell the agent the reason; otherwise only operators see it
        #[arg(long, requires = "reason")]
        tell_agent: bool,
    },
    /// The key that signs your approvals: create, show; as an admin: accept, remove
    #[command(subcommand)]
    Key(ApprovalKeyCommand),
}

/// `keyward approval list`
#[derive(Args, Debug)]
pub struct ApprovalListArgs {
    /// Only requests in this state: pending, approved, used, denied, expired or withdrawn
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<ApprovalState>,
    /// Requests in every state
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only requests of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only requests for this capability
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// List at most N requests
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

fn state(text: &str) -> Result<ApprovalState, String> {
    ApprovalState::named(text).ok_or_else(|| {
        let names: Vec<&str> = ApprovalState::ALL.iter().map(|state| state.as_str()).collect();
        format!("it is not a state: use one of {}", names.join(", "))
    })
}

impl ApprovalCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        match self {
            Self::List(args) => args.run(session).await,
            Self::Show { approval } => show(session, &approval.parse()?).await,
            Self::Approve { approval, reason } => approve(session, &approval.parse()?, reason).await,
            Self::Deny { approval, reason, tell_agent } => {
                deny(session, &approval.parse()?, reason, *tell_agent).await
            }
            Self::Key(command) => command.run(session).await,
        }
    }
}

impl ApprovalListArgs {
    async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let client = session.operator().await?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut items, mut query) = (Vec::new(), self.query()?);
        let has_more = loop {
            let page = client.call(LIST_APPROVALS, &Nothing, &query).await?;
            let sent = page.sent.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            items.extend(page.answer.items.into_iter().zip(sent));
            query.after = page.answer.next_after.as_deref().and_then(|after| after.parse().ok());
            if query.after.is_none() || items.len() > limit {
                break items.len() > limit;
            }
        };
        items.truncate(limit);
        let console = session.console;
        if console.is_json() {
            let items: Vec<Value> = items.into_iter().map(|(_, sent)| sent).collect();
            console.json(&ListOutput { items, more: has_more });
            return Ok(());
        }
        let rows: Vec<Vec<String>> = items.iter().map(|(answer, _)| answer.cells()).collect();
        console.table(ApprovalAnswer::NOUN, &ApprovalAnswer::head(), &rows);
        if has_more {
            console.say(&format!("the first {limit} are listed; a greater `--limit` lists more"));
        }
        Ok(())
    }

    fn query(&self) -> Result<ApprovalsQuery, CommandFailure> {
        let agent: Option<AgentName> = optional(self.agent.as_deref())?;
        let capability: Option<CapabilityName> = optional(self.capability.as_deref())?;
        let state = if self.all { None } else { Some(self.state.unwrap_or(ApprovalState::Pending)) };
        Ok(ApprovalsQuery { state, agent, capability, after: None, limit: None })
    }
}

/// Characters of a code that are shown.
const CODE_CHARS: usize = 64;

/// A request with its comparison.
struct ShownApproval {
    answer: Received<ApprovalAnswer>,
    /// The comparison, or the code of its failure: an approval does not depend on it.
    context: Result<Received<ApprovalContextAnswer>, String>,
    digest: Digest,
}

impl ShownApproval {
    /// # Errors
    /// [`CommandFailure`], also if the broker names the digest of another request than the one that it shows.
    async fn get(client: &Client, approval: &ApprovalReference) -> Result<Self, CommandFailure> {
        let answer = client.call(GET_APPROVAL, approval, &Nothing).await?;
        let digest = digest_of(&answer)?;
        let context = client.call(GET_APPROVAL_CONTEXT, approval, &Nothing).await;
        let context = context.map_err(|failure| failure.code().to_owned());
        Ok(Self { answer, context, digest })
    }

    /// What the broker states, how the request differs, and at last what is signed.
    fn lines(&self) -> Vec<Line> {
        let mut lines = stated_lines(&self.answer);
        match &self.context {
            Ok(context) => lines.extend(context_lines(context)),
            Err(code) => {
                lines.push((
                    "unusual",
                    format!("the comparison is not available: {}", visible(code, CODE_CHARS)),
                ));
            }
        }
        lines.extend(signed_lines(&self.answer.request));
        lines.push(("digest", self.digest.hex()));
        lines
    }
}

async fn show(session: VerbSession<'_>, approval: &ApprovalReference) -> Result<(), CommandFailure> {
    let shown = ShownApproval::get(&session.operator().await?, approval).await?;
    let console = session.console;
    if console.is_json() {
        // Programs get both responses as they were sent.
        let mut sent = shown.answer.sent.clone();
        if let Some(fields) = sent.as_object_mut() {
            let context = shown.context.as_ref().map_or(Value::Null, |context| context.sent.clone());
            fields.insert("context".to_owned(), context);
        }
        console.json(&sent);
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        shown.lines().into_iter().map(|(what, text)| vec![what.to_owned(), text]).collect();
    console.table("fields", &["FIELD", "VALUE"], &rows);
    let previous = shown.context.as_ref().map(|context| previous_rows(context)).unwrap_or_default();
    if !previous.is_empty() {
        console.line("");
        console.line("previous requests:");
        console.table(PreviousApprovalAnswer::NOUN, &PreviousApprovalAnswer::head(), &previous);
    }
    let (id, state) = (shown.answer.approval, &*shown.answer.state);
    if state == ApprovalState::Pending.as_str() || is_unmet(&shown.answer) {
        console.say(&format!("to answer: `keyward approval approve {id}` or `keyward approval deny {id}`"));
    } else if state == ApprovalState::Approved.as_str() {
        console.say(&format!("to end the approval: `keyward approval deny {id}`"));
    }
    say_how_to_revoke(&shown.answer.valid_tokens, console);
    Ok(())
}

/// Signs the digest of the request that is shown at the terminal, above the prompt for the passphrase.
async fn approve(
    session: VerbSession<'_>,
    approval: &ApprovalReference,
    reason: &ReasonArgs,
) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    check_role(&client).await?;
    let mut machine = MachineKeys::load(session.home)?;
    let key = machine.accepted_by(&client).await?;
    let shown = ShownApproval::get(&client, approval).await?;
    // Before the passphrase: it is not entered for a vote that would not count.
    if let Some(code) = &shown.answer.refused_vote {
        return Err(refused_vote(code));
    }
    let (id, digest, rules) = (shown.answer.approval, shown.digest.hex(), shown.answer.rules.clone());
    let ballot = ApprovalBallot::approve(id, &digest, &rules).canonical();
    let ballot = ballot.map_err(|_| CommandFailure::internal("the vote has no canonical form"))?;
    let mut lines = shown.lines();
    lines.push(("you approve", "this request, once the passphrase is entered".to_owned()));
    let signature = sign_approval(key, &ballot, &text_of(&lines))?;
    let body = ApprovalVoteBody {
        verdict: ApprovalVerdict::Approve,
        digest: Some(digest),
        rules: Some(rules),
        signature: Some(base64url(&signature)),
        reason: reason.text(session.console),
        tell_agent: false,
    };
    let voted = client.call(VOTE_APPROVAL, &id, &body).await?;
    session.print(&voted, |voted| said(voted, "approved"));
    Ok(())
}

/// The refusal that the vote would get.
fn refused_vote(code: &str) -> CommandFailure {
    code.parse().map_or_else(
        |_| {
            let why = format!("the broker would not count this approval: {}", visible(code, CODE_CHARS));
            let fix =
                "use a version of keyward that knows this code, or ask another person to approve the request";
            CommandFailure::new(code::APPROVER_INELIGIBLE).because(why).mended_by(fix)
        },
        CommandFailure::new,
    )
}

async fn deny(
    session: VerbSession<'_>,
    approval: &ApprovalReference,
    reason: &ReasonArgs,
    tell_agent: bool,
) -> Result<(), CommandFailure> {
    let client = session.operator().await?;
    let id = client.call(GET_APPROVAL, approval, &Nothing).await?.approval;
    let body = ApprovalVoteBody {
        verdict: ApprovalVerdict::Deny,
        digest: None,
        rules: None,
        signature: None,
        reason: reason.text(session.console),
        tell_agent,
    };
    let voted = client.call(VOTE_APPROVAL, &id, &body).await?;
    session.print(&voted, |voted| said(voted, "denied"));
    if !session.console.is_json() {
        say_valid_tokens(&voted.valid_tokens, session.console);
    }
    if tell_agent && voted.unchanged && !session.console.is_json() {
        session.console.say("note: you had denied the request before: this reason is not recorded, and the agent is not told it");
    }
    Ok(())
}

fn said(voted: &VotedApprovalAnswer, verdict: &str) -> String {
    let VotedApprovalAnswer { approval, state, seq, unchanged, valid_tokens: _ } = voted;
    let waits =
        if **state == *ApprovalState::Pending.as_str() { ": it waits for further approvers" } else { "" };
    if *unchanged {
        return format!(
            "nothing has changed: you {verdict} the request {approval} before, in ledger entry {seq}; it is {state}{waits}"
        );
    }
    format!("{verdict} in ledger entry {seq}: the request {approval} is {state}{waits}")
}
