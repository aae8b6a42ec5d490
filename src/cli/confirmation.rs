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
        if !console.is_interactive() {
            let why = format!("the deletion of {object} is not confirmed, and there is no terminal to ask");
            return Err(CommandFailure::usage(&why, "add `--yes` to delete it"));
        }
        console.say(effect);
        if console.confirms(&format!("Delete {object}?"))? {
            return Ok(());
        }
        Err(CommandFailure::new(code::NOT_CONFIRMED))
    }
}
