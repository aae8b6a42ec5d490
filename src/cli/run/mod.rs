//! `keyward run`: a command with a token in a file, secrets in its environment, and files from templates. A companion
//! process keeps the token and the files up to date while the command runs.

mod approval;
mod args;
mod companion;
mod missing;
mod process_end;
mod sources;
mod start;
mod template;
mod token_file;
mod watched_files;
mod written_files;

pub(super) use args::{CompanionArgs, RunArgs};
pub(super) use companion::companion;
pub(super) use start::run;
