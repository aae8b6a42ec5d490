use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

use super::failure::CommandFailure;
use super::output::Console;
use super::prompt::{TERMINAL, hidden};
use super::prompt_line::PromptFailure;
use crate::base::Sensitive;

/// Reads a secret: from `file` (`-`: standard input), else from standard
/// input when it is no terminal, else from a prompt that shows nothing. Never from an argument.
///
/// # Errors
/// [`CommandFailure`]; more than `limit` bytes are refused unread.
pub(crate) fn secret(
    file: Option<&Path>,
    prompt: &str,
    limit: usize,
    console: &Console,
) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).map_err(|error| CommandFailure::of_file(path, &error))?;
            read(file, limit)
                .map_err(|error| CommandFailure::of_file(path, &error))?
                .ok_or_else(|| too_large(limit))
        }
        None if io::stdin().is_terminal() => {
            if !console.is_interactive() {
                return Err(CommandFailure::usage(
                    "the command cannot prompt: standard error is not a terminal",
                    "send the value to standard input, or name a file",
                ));
            }
            at_terminal(prompt, limit)
        }
        Some(_) | None => all_of_stdin(limit),
    }
}

/// Whether a person can be asked at the terminal of this process, also if standard input is a file or a pipe. A process
/// in the background cannot ask: the kernel stops it as soon as it hides the input (SIGTTOU).
pub(crate) fn has_terminal() -> bool {
    let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL);
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp()))
}

/// Asks at the terminal of this process, without showing the input.
///
/// # Errors
/// [`CommandFailure`] without a terminal; more than `limit` bytes are refused.
pub(crate) fn at_terminal(prompt: &str, limit: usize) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    hidden(&format!("{prompt}: "), limit).map_err(|failure| match failure {
        PromptFailure::TooLong => too_large(limit),
        PromptFailure::SeveralLines => CommandFailure::usage(
            "more than one line was typed or pasted at the prompt, so none was used",
            "send a text of several lines to standard input, or name a file; if the text is one line, paste it without a \
             line break at its end",
        ),
        PromptFailure::Terminal(error) => CommandFailure::of_file(Path::new(TERMINAL), &error),
    })
}

/// All of standard input. It is read without the buffer of the standard library, in which a secret would stay.
///
/// # Errors
/// [`CommandFailure`]; more than `limit` bytes are refused.
pub(crate) fn all_of_stdin(limit: usize) -> Result<Sensitive<Vec<u8>>, CommandFailure> {
    let stdin = Path::new("standard input");
    let read = io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| read(File::from(stdin), limit));
    let bytes = read.map_err(|error| CommandFailure::of_file(stdin, &error))?;
    bytes.ok_or_else(|| too_large(limit))
}

/// Refuses a secret that was given as an argument, without repeating it. The name of a file is no secret: `file_option` is
/// the option for it.
///
/// # Errors
/// [`CommandFailure`] if `argument` is not empty.
pub fn not_an_argument(argument: &[OsString], file_option: &str) -> Result<(), CommandFailure> {
    match argument {
        [] => return Ok(()),
        [file] if Path::new(file).is_file() => {
            let why = format!("the file `{}` was given without its option", Path::new(file).display());
            return Err(CommandFailure::usage(&why, &format!("name the file with `{file_option} FILE`")));
        }
        _ => {}
    }
    let why = "a secret was given as an argument, and every user of the machine can read arguments";
    let fix = "make a new secret, because this one may be known; give it on standard input, in a file or at the prompt";
    Err(CommandFailure::usage(why, fix))
}

/// All of `from`, or `None` beyond `limit` bytes. The buffer never grows: a reallocation would leave an unwiped
/// copy.
fn read(mut from: impl Read, limit: usize) -> io::Result<Option<Sensitive<Vec<u8>>>> {
    let mut bytes = zeroize::Zeroizing::new(vec![0; limit.saturating_add(1)]);
    let mut filled = 0_usize;
    while let Some(free) = bytes.get_mut(filled..).filter(|free| !free.is_empty()) {
        match from.read(free) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if filled > limit {
        return Ok(None);
    }
    bytes.truncate(filled);
    Ok(Some(Sensitive::new(std::mem::take(&mut *bytes))))
}

fn too_large(limit: usize) -> CommandFailure {
    CommandFailure::usage(
        &format!("the input is larger than {limit} bytes"),
        "check whether you gave the right file or text",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_taken_whole_up_to_the_limit_and_not_beyond() {
        assert_eq!(read(&b"abc"[..], 3).unwrap().unwrap().expose(), b"abc");
        assert!(read(&b"abcd"[..], 3).unwrap().is_none());
        assert_eq!(read(&b""[..], 3).unwrap().unwrap().expose(), b"");
    }
}
