//! `keyward code`: enrolment codes.

use clap::Subcommand;

use crate::base::CodeId;
use crate::base::limits::SECRET_BYTES_MAX;
use crate::cli::session::{ReasonArgs, VerbSession, check_durable, joined, said};
use crate::console::{CommandFailure, Console, input};
use crate::pki::EnrolmentCode;
use crate::wire::{CodeRevokedAnswer, EndedAnswer, REVOKE_CODE};

/// `keyward code …`
#[derive(Debug, Subcommand)]
pub enum CodeCommand {
    /// Revoke one enrolment code of an agent or operator; what was enrolled with it stays valid
    Revoke {
        /// The code's id, or `-` to read the code itself from standard input; `keyward agent show` and `keyward operator show` print the ids
        #[arg(value_name = "ID|-")]
        code: String,
        /// Why
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

impl CodeCommand {
    pub(crate) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let Self::Revoke { code, reason } = self;
        let id = if code == "-" { id_of_input(session.console)? } else { named_id(code)? };
        let revoked =
            session.revoking_operator().await?.call(REVOKE_CODE, &id, &reason.body(session.console)).await?;
        session.print(&revoked, |CodeRevokedAnswer { ended, .. }| match ended {
            EndedAnswer { seq: Some(seq), unchanged: true, .. } => {
                format!("the code had ended: nothing has changed; ledger entry {seq} records the command")
            }
            EndedAnswer { seq, .. } => said(*seq, "revoked"),
        });
        if let Some(further) = further(&revoked.answer) {
            session.console.say(&further);
        }
        check_durable(&revoked.ended)
    }
}

/// What was enrolled with the code before, and the command that revokes it.
fn further(revoked: &CodeRevokedAnswer) -> Option<String> {
    let CodeRevokedAnswer { agent, operator, instances, serial, .. } = revoked;
    if let (Some(operator), Some(serial)) = (operator, serial) {
        return Some(format!(
            "the code was used: the certificate {serial} of operator `{operator}` stays valid; if another person used the code, \
             revoke the certificate: `keyward cert revoke {serial}`"
        ));
    }
    let (agent, first) = (agent.as_ref()?, instances.first()?);
    Some(format!(
        "the code was used: these instances of `{agent}` stay valid: {}; if another person used the code, revoke each one: \
         `keyward agent revoke --instance {first}`",
        joined(instances)
    ))
}

/// The id of the code on standard input. The code itself is not sent.
fn id_of_input(console: &Console) -> Result<CodeId, CommandFailure> {
    let given = input::secret(None, "Enrolment code", SECRET_BYTES_MAX, console)?;
    let text = std::str::from_utf8(given.expose()).unwrap_or_default();
    let code = EnrolmentCode::parse(text).map_err(|error| {
        CommandFailure::usage(
            &error.to_string(),
            "give the code alone, in one line; `keyward incident value -` finds tokens and codes within a longer text, e.g. a log \
             line",
        )
    })?;
    Ok(code.id)
}

/// The id in the argument, which is not repeated: it may be the code itself.
fn named_id(text: &str) -> Result<CodeId, CommandFailure> {
    text.parse().map_err(|_| {
        CommandFailure::usage(
            "the argument is not the id of an enrolment code, which begins with `code_`",
            "`keyward agent show NAME` and `keyward operator show NAME` print the ids of codes; give the code itself on \
             standard input: `keyward code revoke -`",
        )
    })
}
