//! A prompt that does not show the input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::signals::{PromptEvent, PromptSignal, PromptSignals, act};
use crate::base::Sensitive;

/// The terminal that controls this process.
pub(super) const TERMINAL: &str = "/dev/tty";

/// Why a prompt has no input.
#[derive(Debug)]
pub(super) enum PromptFailure {
    /// The input is longer than its limit.
    TooLong,
    /// More lines were pasted than one.
    SeveralLines,
    /// The terminal does not work, or the person ended the input.
    Terminal(io::Error),
}

impl From<io::Error> for PromptFailure {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

/// Asks at the terminal of this process. The input is hidden before the prompt is printed. Input that was typed before is
/// discarded: it was shown, and was not meant for this prompt. What follows the line is discarded too, so that no other
/// program gets a part of a secret.
///
/// # Errors
/// [`PromptFailure`].
pub(super) fn hidden(prompt: &str, limit: usize) -> Result<Sensitive<Vec<u8>>, PromptFailure> {
    let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL)?;
    let signals = PromptSignals::listen()?;
    let hiding = Hiding::of(&terminal)?;
    let mut keys =
        Keys { terminal: &terminal, signals: &signals, hiding: &hiding, prompt, has_stopped: false };
    keys.ask()?;
    let typed = line(|| keys.next(), limit);
    let rest = discard_rest(&terminal);
    (&terminal).write_all(b"\n")?;
    hiding.show();
    if let Some(signal) = signals.arrived() {
        act(signal)?;
    }
    let typed = typed?;
    if rest? > 0 { Err(PromptFailure::SeveralLines) } else { Ok(typed) }
}

/// A terminal that passes each byte on as it is typed, and shows none; on drop it does what it did before.
struct Hiding<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hiding<'a> {
    fn of(terminal: &'a File) -> io::Result<Self> {
        Ok(Self { terminal, before: tcgetattr(terminal)? })
    }

    fn hide(&self) -> io::Result<()> {
        let mut hidden = self.before.clone();
        let shown = LocalModes::ECHO.union(LocalModes::ECHONL);
        hidden.local_modes.remove(shown.union(LocalModes::ICANON));
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        // The key that has a process write its memory to a file.
        hidden.special_codes[SpecialCodeIndex::VQUIT] = 0;
        Ok(tcsetattr(self.terminal, OptionalActions::Flush, &hidden)?)
    }

    fn show(&self) {
        // A terminal that is gone needs nothing.
        tcsetattr(self.terminal, OptionalActions::Flush, &self.before).unwrap_or_default();
    }
}

impl Drop for Hiding<'_> {
    fn drop(&mut self) {
        self.show();
    }
}

/// What a person types.
struct Keys<'a> {
    terminal: &'a File,
    signals: &'a PromptSignals,
    hiding: &'a Hiding<'a>,
    prompt: &'a str,
    /// The process is continued after a stop by the terminal, and a signal says so.
    has_stopped: bool,
}

/// A byte of the terminal, or none of what was typed counts any more.
enum Key {
    Byte(u8),
    Again,
    End,
}

impl Keys<'_> {
    fn ask(&self) -> io::Result<()> {
        self.hiding.hide()?;
        (&*self.terminal).write_all(self.prompt.as_bytes())
    }

    fn next(&mut self) -> io::Result<Key> {
        loop {
            match self.signals.wait(self.terminal)? {
                PromptEvent::Input => {
                    let mut byte = [0];
                    match (&*self.terminal).read(&mut byte) {
                        Ok(0) => return Ok(Key::End),
                        Ok(_) => return Ok(Key::Byte(byte[0])),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                PromptEvent::Signal(PromptSignal::Continued) if self.has_stopped => self.has_stopped = false,
                PromptEvent::Signal(signal) => {
                    self.hiding.show();
                    act(signal)?;
                    self.has_stopped = signal == PromptSignal::Stop;
                    self.ask()?;
                    return Ok(Key::Again);
                }
            }
        }
    }
}

/// Longest wait for the next part of pasted text.
const PASTE_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Most that is discarded: a terminal that never ends is left as it is.
const PASTE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Discards what follows the line, until nothing comes any more; the number of its bytes without control characters.
fn discard_rest(mut terminal: &File) -> io::Result<usize> {
    let (mut count, mut part) = (0_usize, zeroize::Zeroizing::new([0; 4096]));
    while count < PASTE_BYTES_MAX {
        match poll(&mut [PollFd::new(terminal, PollFlags::IN)], Some(&PASTE_WAIT)) {
            Ok(0) => break,
            Ok(_) => match terminal.read(&mut part[..])? {
                0 => break,
                len => {
                    let text = part.iter().take(len).filter(|byte| **byte >= b' ');
                    count = count.saturating_add(text.count());
                }
            },
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count)
}

const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CLEAR: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// Whether a byte is a part of the sequence that an arrow key or a function key sends.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sequence {
    Outside,
    /// After its first byte.
    Begun,
    Inside,
}

/// One line without its end. The buffer never grows: a reallocation would leave an unwiped copy.
fn line(
    mut next: impl FnMut() -> io::Result<Key>,
    limit: usize,
) -> Result<Sensitive<Vec<u8>>, PromptFailure> {
    let mut typed = zeroize::Zeroizing::new(Vec::with_capacity(limit));
    let mut sequence = Sequence::Outside;
    let mut is_too_long = false;
    loop {
        let byte = match next()? {
            Key::Byte(byte) => byte,
            Key::Again => {
                typed.clear();
                (sequence, is_too_long) = (Sequence::Outside, false);
                continue;
            }
            Key::End => return Err(PromptFailure::Terminal(io::ErrorKind::UnexpectedEof.into())),
        };
        match byte {
            b'\n' | b'\r' => break,
            END if typed.is_empty() => {
                return Err(PromptFailure::Terminal(io::ErrorKind::UnexpectedEof.into()));
            }
            END => break,
            ESCAPE => sequence = Sequence::Begun,
            b'[' | b'O' if sequence == Sequence::Begun => sequence = Sequence::Inside,
            _ if sequence == Sequence::Inside => {
                if (0x40..0x7f).contains(&byte) {
                    sequence = Sequence::Outside;
                }
            }
            _ => {
                sequence = Sequence::Outside;
                is_too_long |= !edit(&mut typed, byte, limit);
            }
        }
    }
    if is_too_long {
        return Err(PromptFailure::TooLong);
    }
    Ok(Sensitive::new(std::mem::take(&mut *typed)))
}

/// Takes one byte in; `false` if there is no room for it.
fn edit(typed: &mut Vec<u8>, byte: u8, limit: usize) -> bool {
    match byte {
        BACKSPACE | DELETE => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
        CLEAR => typed.clear(),
        byte if byte < b' ' => {}
        byte if typed.len() < limit => typed.push(byte),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(typed: &[u8], limit: usize) -> Result<Sensitive<Vec<u8>>, PromptFailure> {
        let mut keys = typed.iter();
        line(|| Ok(keys.next().map_or(Key::End, |byte| Key::Byte(*byte))), limit)
    }

    #[test]
    fn line_is_edited_with_the_usual_keys() {
        for (typed, line) in [
            (&b"words\nmore"[..], &b"words"[..]),
            (b"words\r", b"words"),
            (b"wrong\x15words\n", b"words"),
            (b"word\xc3\xa9\x7fs\n", b"words"),
            (b"\x7fwords\n", b"words"),
            (b"wo\x1b[Ard\x1bOPs\x0c\n", b"words"),
            (b"wo\x1b[1;5Ards\n", b"words"),
            (b"words\x04more", b"words"),
            (b"\n", b""),
            // A key sequence that never ended takes no other key along
            (b"words\x1b\n", b"words"),
            (b"words\x1b[\n", b"words"),
            (b"wo\x1brds\n", b"words"),
            (b"words\x1b\x1b[A\n", b"words"),
        ] {
            assert_eq!(line_of(typed, 6).unwrap().expose(), line, "{typed:?}");
        }
    }

    #[test]
    fn line_that_was_not_ended_or_is_too_long_is_no_input() {
        for typed in [&b"\x04"[..], b"words", b"", b"words\x1b["] {
            let failure = line_of(typed, 6).unwrap_err();
            assert!(
                matches!(&failure, PromptFailure::Terminal(error) if error.kind() == io::ErrorKind::UnexpectedEof)
            );
        }
        assert!(matches!(line_of(b"longer\n", 5).unwrap_err(), PromptFailure::TooLong));
    }

    #[test]
    fn line_begins_again_after_a_stop() {
        let mut keys =
            [Key::Byte(b'a'), Key::Byte(ESCAPE), Key::Again, Key::Byte(b'b'), Key::Byte(b'\n')].into_iter();
        assert_eq!(line(|| Ok(keys.next().unwrap()), 6).unwrap().expose(), b"b");
    }
}
