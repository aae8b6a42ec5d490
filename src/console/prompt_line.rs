//! One line of what a person types or pastes at a prompt.

use std::io;

use crate::base::Sensitive;

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

/// A byte of the terminal, or none of what was typed counts any more.
pub(super) enum Key {
    Byte(u8),
    Again,
    End,
}

/// Asks the terminal to mark pasted text (bracketed paste mode), and no longer to do so.
pub(super) const PASTE_MARKS_ON: &[u8] = b"\x1b[?2004h";
pub(super) const PASTE_MARKS_OFF: &[u8] = b"\x1b[?2004l";
/// The numbers in the sequences (`ESC [ NUMBER ~`) around pasted text.
const PASTE_BEGINS: u16 = 200;
const PASTE_ENDS: u16 = 201;

const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CLEAR: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// Whether a byte is a part of the sequence that an arrow key or a function key sends, or a mark of pasted text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sequence {
    Outside,
    /// After its first byte.
    Begun,
    /// With the number in it so far.
    Inside(u16),
}

/// Whether the terminal has marked the input as pasted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Paste {
    Outside,
    Inside,
    /// After a line break.
    NextLine,
}

/// The line so far. The buffer never grows: a reallocation would leave an unwiped copy.
struct Line {
    typed: zeroize::Zeroizing<Vec<u8>>,
    limit: usize,
    sequence: Sequence,
    paste: Paste,
    is_too_long: bool,
    has_further_lines: bool,
}

/// One line without its end. Pasted lines that follow it are read too, as far as the terminal marks them, and refused.
///
/// # Errors
/// [`PromptFailure`].
pub(super) fn line(
    mut next: impl FnMut() -> io::Result<Key>,
    limit: usize,
) -> Result<Sensitive<Vec<u8>>, PromptFailure> {
    let mut line = Line::new(limit);
    loop {
        match next()? {
            Key::Again => line = Line::new(limit),
            Key::End => return Err(PromptFailure::Terminal(io::ErrorKind::UnexpectedEof.into())),
            Key::Byte(END) if line.typed.is_empty() && line.paste == Paste::Outside => {
                return Err(PromptFailure::Terminal(io::ErrorKind::UnexpectedEof.into()));
            }
            Key::Byte(byte) => {
                if line.takes_last(byte) {
                    return line.end();
                }
            }
        }
    }
}

impl Line {
    fn new(limit: usize) -> Self {
        Self {
            typed: zeroize::Zeroizing::new(Vec::with_capacity(limit)),
            limit,
            sequence: Sequence::Outside,
            paste: Paste::Outside,
            is_too_long: false,
            has_further_lines: false,
        }
    }

    /// Takes a byte in; whether it ends the line.
    fn takes_last(&mut self, byte: u8) -> bool {
        match (byte, self.sequence) {
            (b'\n' | b'\r' | END, _) if self.paste == Paste::Outside => return true,
            (b'\n' | b'\r', _) => {
                (self.sequence, self.paste) = (Sequence::Outside, Paste::NextLine);
            }
            (ESCAPE, _) => self.sequence = Sequence::Begun,
            (b'[' | b'O', Sequence::Begun) => self.sequence = Sequence::Inside(0),
            (b'0'..=b'9', Sequence::Inside(number)) => {
                let digit = u16::from(byte.saturating_sub(b'0'));
                self.sequence = Sequence::Inside(number.saturating_mul(10).saturating_add(digit));
            }
            (b'~', Sequence::Inside(PASTE_BEGINS)) => {
                (self.sequence, self.paste) = (Sequence::Outside, Paste::Inside);
            }
            // A line break in pasted text ends the line, but not before all of the text was read.
            (b'~', Sequence::Inside(PASTE_ENDS)) => {
                let before = std::mem::replace(&mut self.paste, Paste::Outside);
                self.sequence = Sequence::Outside;
                return before == Paste::NextLine;
            }
            (0x40..0x7f, Sequence::Inside(_)) => self.sequence = Sequence::Outside,
            (_, Sequence::Inside(_)) => self.sequence = Sequence::Inside(0),
            _ => {
                self.sequence = Sequence::Outside;
                self.add(byte);
            }
        }
        false
    }

    fn add(&mut self, byte: u8) {
        if self.paste == Paste::NextLine {
            self.has_further_lines |= byte >= b' ';
        } else {
            self.is_too_long |= !edit(&mut self.typed, byte, self.limit);
        }
    }

    fn end(mut self) -> Result<Sensitive<Vec<u8>>, PromptFailure> {
        if self.is_too_long {
            return Err(PromptFailure::TooLong);
        }
        if self.has_further_lines {
            return Err(PromptFailure::SeveralLines);
        }
        Ok(Sensitive::new(std::mem::take(&mut *self.typed)))
    }
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
    fn marked_paste_is_read_whole_and_may_have_one_line() {
        for (typed, line) in [
            (&b"\x1b[200~words\x1b[201~\n"[..], &b"words"[..]),
            (b"\x1b[200~words\n\x1b[201~more", b"words"),
            (b"\x1b[200~words\r\n\r\n\x1b[201~", b"words"),
            (b"wo\x1b[200~rd\x1b[201~s\r", b"words"),
            (b"\x1b[200~wo\x04rds\x1b[201~\n", b"words"),
        ] {
            assert_eq!(line_of(typed, 6).unwrap().expose(), line, "{typed:?}");
        }
        let several = line_of(b"\x1b[200~words\nmore\n\x1b[201~", 6).unwrap_err();
        assert!(matches!(several, PromptFailure::SeveralLines));
        let failure = line_of(b"\x1b[200~words\nmore", 6).unwrap_err();
        assert!(matches!(failure, PromptFailure::Terminal(_)), "the end of the paste is missing");
    }

    #[test]
    fn line_begins_again_after_a_stop() {
        let mut keys =
            [Key::Byte(b'a'), Key::Byte(ESCAPE), Key::Again, Key::Byte(b'b'), Key::Byte(b'\n')].into_iter();
        assert_eq!(line(|| Ok(keys.next().unwrap()), 6).unwrap().expose(), b"b");
    }
}
