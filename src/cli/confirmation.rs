use clap::Args;

use crate::base::code;
use crate::console::{CommandFailure, Console};

/// The confirmation of a deletion.
#[derive(Args, Debug)]
pub struct ConfirmArgs {
    /// Delete without a question; required where there is no terminal
    #[arg(long)]
    yes: bool,
}

impl ConfirmArgs {
    /// Asks whether `object` is to be deleted, after `effect` was said.
    pub(crate) fn check(&self, object: &str, effect: &str, console: &Console) -> Result<(), CommandFailure> {
        if self.yes {
            return Ok(());
        }
        if console.is_interactive() {
            console.say(effect);
        }
        let (act, question) = (format!("the deletion of {object}"), format!("Delete {object}?"));
        Question { act: &act, question: &question, fix: "add `--yes` to delete it" }.ask(console)
    }
}

/// A question before an act that cannot be undone.
pub(crate) struct Question<'a> {
    /// The act, as a noun.
    pub(crate) act: &'a str,
    pub(crate) question: &'a str,
    /// What to do where there is no terminal.
    pub(crate) fix: &'a str,
}

impl Question<'_> {
    /// Fails unless a person at the terminal answers with yes.
    pub(crate) fn ask(&self, console: &Console) -> Result<(), CommandFailure> {
        if !console.is_interactive() {
            let why = format!("{} is not confirmed, and there is no terminal to ask", self.act);
            return Err(CommandFailure::usage(&why, self.fix));
        }
        if console.confirms(self.question)? {
            return Ok(());
        }
        Err(CommandFailure::new(code::NOT_CONFIRMED))
    }
}
