//! A prompt that does not show the input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::base::Sensitive;

/// The terminal that controls this process.
pub(super) const TERMINAL: &str = "/dev/tty";

/// Longest wait for the signal that ends this process; one that ignores it goes on with the failure.
const SIGNAL_WAIT: Duration = Duration::from_secs(1);

/// Asks at the terminal of this process. The input is hidden before the prompt is printed, and input that was typed
/// before is discarded: it was shown, and was not meant for this prompt.
///
/// # Errors
/// [`io::Error`] without a terminal, if the person interrupts or ends the input, or for more than `limit` bytes.
pub(super) fn hidden(prompt: &str, limit: usize) -> io::Result<Sensitive<Vec<u8>>> {
    let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL)?;
    let hiding = Hiding::start(&terminal)?;
    (&terminal).write_all(prompt.as_bytes())?;
    let typed = line(&terminal, limit);
    (&terminal).write_all(b"\n")?;
    drop(hiding);
    if typed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        // The terminal shows input again before this process ends. Another thread may take the signal, a moment later.
        kill_process(getpid(), Signal::INT)?;
        std::thread::sleep(SIGNAL_WAIT);
    }
    typed
}

/// A terminal that passes each byte on as it is typed, and shows none; on drop it does what it did before.
struct Hiding<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hiding<'a> {
    fn start(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        let shown = LocalModes::ECHO.union(LocalModes::ECHONL);
        hidden.local_modes.remove(shown.union(LocalModes::ICANON).union(LocalModes::ISIG));
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hiding<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).unwrap_or_default();
    }
}

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CLEAR: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// One line without its end. The buffer never grows: a reallocation would leave an unwiped copy.
fn line(mut from: impl Read, limit: usize) -> io::Result<Sensitive<Vec<u8>>> {
    let mut typed = zeroize::Zeroizing::new(Vec::with_capacity(limit));
    while let Some(byte) = next(&mut from)? {
        match byte {
            b'\n' | b'\r' => break,
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            END if typed.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            END => break,
            BACKSPACE | DELETE => remove_character(&mut typed),
            CLEAR => typed.clear(),
            ESCAPE => skip_sequence(&mut from)?,
            byte if byte < b' ' => {}
            byte if typed.len() < limit => typed.push(byte),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the input is too long")),
        }
    }
    Ok(Sensitive::new(std::mem::take(&mut *typed)))
}

fn next(from: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes the last character of UTF-8 text.
fn remove_character(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// Skips the rest of the sequence that an arrow key or a function key sends.
fn skip_sequence(from: &mut impl Read) -> io::Result<()> {
    if !matches!(next(from)?, Some(b'[' | b'O')) {
        return Ok(());
    }
    while next(from)?.is_some_and(|byte| !(0x40..0x7f).contains(&byte)) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_edited_with_the_usual_keys() {
        for (typed, line_of) in [
            (&b"words\nmore"[..], &b"words"[..]),
            (b"words\r", b"words"),
            (b"wrong\x15words\n", b"words"),
            (b"word\xc3\xa9\x7fs\n", b"words"),
            (b"\x7fwords\n", b"words"),
            (b"wo\x1b[Ard\x1bOPs\x0c\n", b"words"),
            (b"words\x04more", b"words"),
            (b"words", b"words"),
            (b"\n", b""),
        ] {
            assert_eq!(line(typed, 6).unwrap().expose(), line_of, "{typed:?}");
        }
        for (typed, kind) in [
            (&b"wo\x03rds\n"[..], io::ErrorKind::Interrupted),
            (b"\x04", io::ErrorKind::UnexpectedEof),
            (b"longer\n", io::ErrorKind::InvalidInput),
        ] {
            assert_eq!(line(typed, 5).unwrap_err().kind(), kind, "{typed:?}");
        }
    }
}
