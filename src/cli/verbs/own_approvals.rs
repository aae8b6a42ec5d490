use clap::Subcommand;

use crate::base::{ApprovalId, ApprovalReference, ApprovalReferenceError, code};
use crate::cli::approval_answer::state_of;
use crate::cli::client::{Client, Received};
use crate::cli::session::{VerbSession, joined};
use crate::cli::table::columns;
use crate::console::CommandFailure;
use crate::wire::{LIST_OWN_APPROVALS, Nothing, OwnApprovalAnswer, WITHDRAW_APPROVAL};

/// `keyward request list`, `show` and `withdraw`
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// List the requests of this identity, the newest first; without `--all` those that are pending or approved
    List {
        /// Requests in every state
        #[arg(long)]
        all: bool,
    },
    /// Show a request of this identity; of a denied one the reason, if the operator told it
    Show {
        /// The request's id (`appr_…`) or its code, e.g. `WDJB-MJHT`
        #[arg(value_name = "REQUEST")]
        approval: String,
    },
    /// Withdraw a request of this identity, or an approval that is no longer needed
    Withdraw {
        /// The request's id (`appr_…`) or its code, e.g. `WDJB-MJHT`
        #[arg(value_name = "REQUEST")]
        approval: String,
    },
}

impl RequestCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let client = session.agent().await?;
        match self {
            Self::List { all } => list(session, &client, *all).await,
            Self::Show { approval } => {
                let shown = client.own_approval(&named(&client, approval).await?, 0).await?;
                session.print_object_as(&shown.sent, || shown.sent.clone());
                Ok(())
            }
            Self::Withdraw { approval } => {
                let id = named(&client, approval).await?;
                let withdrawn = client.call(WITHDRAW_APPROVAL, &id, &Nothing).await?;
                session.print(&withdrawn, |approval| format!("{} is {}", approval.approval, approval.state));
                Ok(())
            }
        }
    }
}

async fn list(session: VerbSession<'_>, client: &Client, all: bool) -> Result<(), CommandFailure> {
    let items = client.items(LIST_OWN_APPROVALS).await?;
    let is_listed =
        |one: &Received<OwnApprovalAnswer>| all || state_of(one).is_none_or(|state| !state.is_ended());
    let (listed, ended): (Vec<_>, Vec<_>) = items.into_iter().partition(is_listed);
    session.print_rows(client, &listed).await;
    if !ended.is_empty() && !session.console.is_json() {
        session.console.say(&format!("`--all` lists {} more, which have ended", ended.len()));
    }
    Ok(())
}

/// The id of the request that `text` names by its id or its code.
async fn named(client: &Client, text: &str) -> Result<ApprovalId, CommandFailure> {
    const FIX: &str = "copy the id or the code from `keyward request list`";
    let reference = text
        .parse()
        .map_err(|error: ApprovalReferenceError| CommandFailure::usage(&error.to_string(), FIX))?;
    match reference {
        ApprovalReference::Id(id) => Ok(id),
        ApprovalReference::Code(code) => {
            let own: Vec<Received<OwnApprovalAnswer>> = client.items(LIST_OWN_APPROVALS).await?;
            let found = own.iter().find(|one| one.user_code == code).map(|one| one.approval);
            found.ok_or_else(|| CommandFailure::new(code::APPROVAL_UNKNOWN).mended_by(FIX))
        }
    }
}

fn own_id(approval: &OwnApprovalAnswer) -> String {
    approval.approval.to_string()
}

fn own_code(approval: &OwnApprovalAnswer) -> String {
    approval.user_code.to_string()
}

fn own_capabilities(approval: &OwnApprovalAnswer) -> String {
    joined(&approval.capabilities)
}

columns!(OwnApprovalAnswer "requests for approval of this identity":
    ("APPROVAL", own_id), ("CODE", own_code), state, ("CAPABILITIES", own_capabilities),
    ("EXPIRES": expires_at), ("REASON": reason));
