//! `keyward incident value`: what a leaked text is.

use clap::Args;

use crate::base::Sensitive;
use crate::base::limits::SECRET_BYTES_MAX;
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, input};
use crate::wire::{CHECK_VALUE, Nothing, SecretText, ValueCheckBody};

/// `keyward incident value`
#[derive(Args, Debug)]
pub struct IncidentValueArgs {
    /// `-`: read the text from standard input
    #[arg(value_name = "-", value_parser = ["-"])]
    pub source: String,
}

impl IncidentValueArgs {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        let given = input::secret(None, "Leaked text", SECRET_BYTES_MAX, session.console)?;
        let text = std::str::from_utf8(given.expose()).map_err(|_| {
            CommandFailure::usage(
                "the input is not UTF-8",
                "give the leaked text, e.g. a token or a password",
            )
        })?;
        let body = ValueCheckBody { value: SecretText::from(Sensitive::new(text.to_owned())) };
        let checked = session.operator().await?.call(CHECK_VALUE, &Nothing, &body).await?;
        session.print_object_as(&checked.sent, || checked.sent.clone());
        if checked.found.is_empty() {
            session.console.say(
                "the text is unknown: it is no token, code, secret or login of this broker, or one that was destroyed",
            );
        }
        Ok(())
    }
}
