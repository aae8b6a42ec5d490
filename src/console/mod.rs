//! Input and output of commands: data on standard output, messages on standard error, failures as *error / why / fix*
//! with an exit code, secrets from a file, standard input or a prompt.

mod color;
mod csv;
mod duration;
mod exit_code;
mod failure;
pub(crate) mod input;
mod input_end;
mod moment;
mod out_file;
mod output;
mod passphrase;
mod printable;
mod progress;
mod prompt;
mod prompt_line;
mod refused;
mod shares;
pub mod signals;
mod table;
mod user;
mod visible;

pub use color::ColorChoice;
pub(crate) use duration::duration_s;
pub(crate) use exit_code::{EXIT_CODES, exit_code};
pub use failure::CommandFailure;
pub use input::not_an_argument;
pub(crate) use input_end::InputEnd;
pub(crate) use moment::moment;
pub(crate) use out_file::OutFile;
pub use output::{Console, Format, OnlyCopy};
pub(crate) use passphrase::{
    TYPED_BYTES_MAX, known_approval_passphrase, known_key_passphrase, new_approval_passphrase,
    new_key_passphrase, typed_key_passphrase,
};
pub use passphrase::{known_passphrase, new_passphrase};
pub(crate) use printable::escaped_line;
pub use progress::Progress;
pub(crate) use refused::{NextSteps, Refused};
pub(crate) use shares::{SHARES_BYTES_MAX, given_shares};
pub use shares::{known_shares, print_shares};
pub use user::{host_user, own_uid};
pub(crate) use visible::visible;
