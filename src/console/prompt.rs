//! A prompt that does not show the input.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::prompt_line::{Key, PASTE_MARKS_OFF, PASTE_MARKS_ON, PromptFailure, line};
use super::signals::{PromptEvent, PromptSignal, PromptSignals, act};
use crate::base::Sensitive;

/// The terminal that controls this process.
pub(super) const TERMINAL: &str = "/dev/tty";

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

/// Discards what was typed or pasted after the answer to a question, so that no other program gets it; the number of its
/// bytes without control characters.
///
/// # Errors
/// [`io::Error`] if the terminal does not work.
pub(super) fn discard_typed() -> io::Result<usize> {
    let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL)?;
    let signals = PromptSignals::listen()?;
    let hiding = Hiding::of(&terminal)?;
    hiding.set(OptionalActions::Now)?;
    let rest = discard_rest(&terminal);
    hiding.show();
    if let Some(signal) = signals.arrived() {
        act(signal)?;
    }
    rest
}

/// A terminal that passes each byte on as it is typed, and shows none; on drop it does what it did before.
struct Hiding<'a> {
    terminal: &'a File,
    before: Termios,
    /// Whether the terminal is asked to mark pasted text.
    marks_paste: bool,
}

impl<'a> Hiding<'a> {
    fn of(terminal: &'a File) -> io::Result<Self> {
        let is_capable = |term: &OsString| !term.is_empty() && term != "dumb";
        let marks_paste = std::env::var_os("TERM").as_ref().is_some_and(is_capable);
        Ok(Self { terminal, before: tcgetattr(terminal)?, marks_paste })
    }

    /// Discards the input so far, and hides what follows.
    fn hide(&self) -> io::Result<()> {
        self.set(OptionalActions::Flush)?;
        if self.marks_paste { (&*self.terminal).write_all(PASTE_MARKS_ON) } else { Ok(()) }
    }

    fn set(&self, when: OptionalActions) -> io::Result<()> {
        let mut hidden = self.before.clone();
        let shown = LocalModes::ECHO.union(LocalModes::ECHONL);
        hidden.local_modes.remove(shown.union(LocalModes::ICANON));
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        // The key that has a process write its memory to a file.
        hidden.special_codes[SpecialCodeIndex::VQUIT] = 0;
        Ok(tcsetattr(self.terminal, when, &hidden)?)
    }

    fn show(&self) {
        // A terminal that is gone needs nothing.
        if self.marks_paste {
            (&*self.terminal).write_all(PASTE_MARKS_OFF).unwrap_or_default();
        }
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

/// Longest wait for the next part of pasted text, where the terminal does not mark its end: the parts may come over a
/// slow connection.
const PASTE_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
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
