//! `keyward incident value`: what a leaked text is.

use std::ffi::OsString;

use clap::Args;

use super::incident_subject::check_not_empty;
use crate::base::Sensitive;
use crate::base::limits::SECRET_BYTES_MAX;
use crate::cli::session::VerbSession;
use crate::console::{CommandFailure, input};
use crate::wire::{CHECK_VALUE, Nothing, RecognisedAnswer, SecretText, ValueCheckBody};

/// `keyward incident value`
#[derive(Args, Debug)]
pub struct IncidentValueArgs {
    /// `-`: read the text from standard input
    #[arg(value_name = "-")]
    pub source: OsString,
}

impl IncidentValueArgs {
    pub(super) async fn run(&self, session: VerbSession<'_>) -> Result<(), CommandFailure> {
        // The text itself is not repeated: it is a secret.
        if self.source != "-" {
            let why = "the text is not taken from an argument, which other users of the machine can see";
            return Err(CommandFailure::usage(why, "give it on standard input: `keyward incident value -`"));
        }
        let given = input::secret(None, "Leaked text", SECRET_BYTES_MAX, session.console)?;
        let text = std::str::from_utf8(given.expose()).map_err(|_| {
            CommandFailure::usage(
                "the input is not UTF-8",
                "give the leaked text, e.g. a token or a password",
            )
        })?;
        check_not_empty(text, "the leaked text", "keyward incident value -")?;
        let body = ValueCheckBody { value: SecretText::from(Sensitive::new(text.to_owned())) };
        let checked = session.operator().await?.call(CHECK_VALUE, &Nothing, &body).await?;
        session.print_object_as(&checked.sent, || checked.sent.clone());
        checked.answer.found.iter().filter_map(next_step).for_each(|step| session.console.say(&step));
        if !checked.complete {
            session.console.say(
                "not everything was searched: the text may be another value too, and more agents may have received it; check the parts of a long text one by one",
            );
        } else if checked.found.is_empty() {
            session.console.say(
                "the text is unknown: it is no token, code, secret or login that the broker can recognise; destroyed \
                 versions cannot be recognised",
            );
        }
        Ok(())
    }
}

/// The command that ends an accepted credential of the broker alone.
fn next_step(found: &RecognisedAnswer) -> Option<String> {
    let RecognisedAnswer { which, .. } = found.accepted.then_some(found)?;
    match &*found.kind {
        "enrolment-code" => Some(format!("to revoke this code alone: `keyward code revoke {which}`")),
        "token" => Some(format!("to revoke this token alone: `keyward token revoke {which}`")),
        "login" => Some(format!("to revoke this login alone: `keyward lease revoke {which}`")),
        _ => None,
    }
}
