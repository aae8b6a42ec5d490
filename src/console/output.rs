use std::borrow::Cow;
use std::io::{self, BufRead as _, ErrorKind, IsTerminal, Read as _, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde_json::Value;

use super::color::{ColorChoice, Style};
use super::csv;
use super::failure::CommandFailure;
use super::printable::{Breaks, printable};
use super::prompt::discard_typed;
use super::table::Table;
use crate::base::{Timestamp, code, io_reason};

/// The output format.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// JSON for programs.
    Json,
    /// JSON in lines: an object, or each item of a list, is one line.
    Jsonl,
    /// Tables in CSV (RFC 4180).
    Csv,
}

/// Where a verb prints: data on standard output, messages on standard error, control characters escaped.
#[derive(Clone, Debug)]
pub struct Console {
    format: Format,
    color: ColorChoice,
    only_copy: Option<OnlyCopy>,
    lost: Arc<OnceLock<Lost>>,
}

/// Data of which no second copy exists, such as an enrolment code.
#[derive(Clone, Copy, Debug)]
pub struct OnlyCopy {
    /// The name of the data.
    pub what: &'static str,
    /// How to replace it.
    pub fix: &'static str,
}

/// The first data that could not be written to standard output.
#[derive(Clone, Copy, Debug)]
struct Lost {
    error: ErrorKind,
    only_copy: Option<OnlyCopy>,
}

impl Console {
    /// A console with this output format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, color: ColorChoice::Never, only_copy: None, lost: Arc::default() }
    }

    /// The same console with this choice of colours.
    #[must_use]
    pub fn with_color(self, color: ColorChoice) -> Self {
        Self { color, ..self }
    }

    /// The same console for data of which no second copy exists: a closed pipe counts as a loss, too.
    #[must_use]
    pub fn for_only_copy(&self, only_copy: OnlyCopy) -> Self {
        Self { only_copy: Some(only_copy), ..self.clone() }
    }

    /// Checks that standard output was written completely so far.
    ///
    /// # Errors
    /// [`CommandFailure`] if data was lost.
    pub fn delivered(&self) -> Result<(), CommandFailure> {
        let Some(Lost { error, only_copy }) = self.lost.get() else { return Ok(()) };
        let failure = CommandFailure::new(code::OUTPUT_FAILED);
        Err(match only_copy {
            None => {
                failure.because(format!("standard output cannot be written: {}", io_reason(&(*error).into())))
            }
            Some(OnlyCopy { what, fix }) => failure
                .because(format!(
                    "standard output cannot be written: {}; {what} is lost",
                    io_reason(&(*error).into())
                ))
                .mended_by(*fix),
        })
    }

    /// Whether the reader of standard output has closed its end, e.g. `head` after its last line.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&now)).is_ok()
            && watched.iter().any(|one| one.revents().intersects(PollFlags::ERR.union(PollFlags::HUP)))
    }

    /// Whether the output format is JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Whether the output has the fields beside the items of a list: JSON in lines has only the items.
    #[must_use]
    pub fn has_page_fields(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether the output format is CSV.
    #[must_use]
    pub fn is_csv(&self) -> bool {
        self.format == Format::Csv
    }

    /// Prints a line of data.
    pub fn line(&self, text: &str) {
        self.styled_line(text, Style::Plain);
    }

    fn styled_line(&self, text: &str, style: Style) {
        let [before, after] = style.marks(self.color.colors(&io::stdout()));
        self.print(&[before, printable(text, Breaks::Escape).as_bytes(), after, b"\n"]);
    }

    /// Prints bytes: unchanged into a file or a pipe; at a terminal escaped, and with a line break at the end.
    pub fn bytes(&self, bytes: &[u8]) {
        if io::stdout().is_terminal() {
            let text = String::from_utf8_lossy(bytes);
            self.print(&[printable(&text, Breaks::Keep).as_bytes(), break_after(bytes)]);
        } else {
            self.print(&[bytes]);
        }
    }

    /// Prints a message to the person at the terminal.
    pub fn say(&self, text: &str) {
        self.styled_say(text, Style::Plain);
    }

    fn styled_say(&self, text: &str, style: Style) {
        let [before, after] = style.marks(self.color.colors(&io::stderr()));
        let text = printable(text, Breaks::Escape);
        // There is no other place to report that standard error is gone.
        drop(write(io::stderr().lock(), &[before, text.as_bytes(), after, b"\n"]));
    }

    fn print(&self, parts: &[&[u8]]) {
        if let Err(error) = write(io::stdout().lock(), parts) {
            // A reader that has read enough closes its end.
            if error.kind() != ErrorKind::BrokenPipe || self.only_copy.is_some() {
                let _first = self.lost.set(Lost { error: error.kind(), only_copy: self.only_copy });
            }
        }
    }

    /// Prints a record: `value` for a program, the line for a person.
    pub fn record(&self, value: &impl Serialize, line: impl FnOnce() -> String) {
        if self.is_json() {
            self.json(value);
        } else {
            self.line(&line());
        }
    }

    /// Prints a record: `value` for a program, the lines for a person.
    pub fn record_lines(&self, value: &impl Serialize, lines: impl FnOnce() -> Vec<String>) {
        if self.is_json() {
            self.json(value);
        } else {
            lines().iter().for_each(|line| self.line(line));
        }
    }

    /// Prints `value` as JSON, fields in the order of their names.
    pub fn json(&self, value: &impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        if self.format == Format::Jsonl {
            self.json_lines(&value);
        } else {
            let text = serde_json::to_string_pretty(&value).unwrap_or_default();
            self.print(&[printable(&text, Breaks::Keep).as_bytes(), b"\n"]);
        }
    }

    /// Prints the items of a list in a line each; another value in one line.
    fn json_lines(&self, value: &Value) {
        let items = value.get("items").and_then(Value::as_array);
        for item in items.map_or(std::slice::from_ref(value), Vec::as_slice) {
            self.print(&[printable(&item.to_string(), Breaks::Keep).as_bytes(), b"\n"]);
        }
    }

    /// Prints the head of a table whose rows follow by [`Console::further_rows`], if the format is CSV.
    pub fn head_of_rows(&self, head: &[String]) {
        if self.is_csv() {
            self.print(&[csv::line(head).as_bytes()]);
        }
    }

    /// Prints rows that follow rows which were printed before: without the head of the table, and JSON in lines.
    pub fn further_rows(&self, sent: &impl Serialize, rows: &[Vec<String>]) {
        if self.is_json() {
            self.json_lines(&serde_json::to_value(sent).unwrap_or_default());
            return;
        }
        for row in rows {
            if self.format == Format::Csv {
                self.print(&[csv::line(row).as_bytes()]);
            } else {
                let cells: Vec<Cow<'_, str>> = row.iter().map(|cell| whole_seconds(cell)).collect();
                self.line(&cells.join("  "));
            }
        }
    }

    /// Prints a failure on standard error.
    pub fn report(&self, failure: &CommandFailure) {
        if self.is_json() {
            self.say(&serde_json::to_string(&failure.output()).unwrap_or_default());
        } else {
            for (at, line) in failure.lines().iter().enumerate() {
                self.styled_say(line, if at == 0 { Style::Failure } else { Style::Plain });
            }
        }
    }

    /// Prints rows under `head`, columns aligned, and fitted into a terminal; without rows `no NOUN` on standard error.
    pub fn table(&self, noun: &str, head: &[impl AsRef<str>], rows: &[Vec<String>]) {
        if self.format == Format::Csv {
            let head: Vec<String> = head.iter().map(|cell| cell.as_ref().to_owned()).collect();
            let lines: String = std::iter::once(&head).chain(rows).map(|row| csv::line(row)).collect();
            self.print(&[lines.as_bytes()]);
            return;
        }
        if rows.is_empty() {
            self.say(&format!("no {noun}"));
            return;
        }
        let cells = |row: &Vec<String>| -> Vec<String> {
            row.iter()
                .map(|cell| printable(whole_seconds(cell).as_ref(), Breaks::Escape).into_owned())
                .collect()
        };
        let table = Table {
            head: head.iter().map(|cell| cell.as_ref().to_owned()).collect(),
            rows: rows.iter().map(cells).collect(),
        };
        for line in table.lines(terminal_width()) {
            self.styled_line(&line.text, line.style);
        }
    }

    /// Asks a question on the terminal. `true` for the answer `y` or `yes`.
    ///
    /// # Errors
    /// [`CommandFailure`] if the terminal cannot be read, or further lines follow the answer: they were not meant for the
    /// question, and no other program gets them.
    pub fn confirms(&self, question: &str) -> Result<bool, CommandFailure> {
        // As in `say`: without standard error nobody can be asked, and no answer means no.
        drop(write(io::stderr().lock(), &[printable(question, Breaks::Escape).as_bytes(), b" [y/N] "]));
        let mut answer = String::new();
        io::stdin()
            .lock()
            .take(ANSWER_BYTES_MAX)
            .read_line(&mut answer)
            .map_err(|error| CommandFailure::of_file(Path::new("terminal"), &error))?;
        if discard_typed().is_ok_and(|count| count > 0) {
            let why = "more than one line was typed or pasted at the question, so it counts as not answered";
            return Err(CommandFailure::usage(why, "repeat the command, and type the answer alone"));
        }
        Ok(["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)))
    }

    /// Whether standard input and standard error are terminals.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

fn write(mut to: impl Write, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        to.write_all(part)?;
    }
    to.flush()
}

/// Longest answer to a question that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16;

/// The width of the terminal at standard output in characters; none for files and pipes.
fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A time without its milliseconds, which a person does not need; another text as it is.
fn whole_seconds(cell: &str) -> Cow<'_, str> {
    let is_time = cell.len() == 24 && cell.ends_with('Z') && Timestamp::parse(cell).is_some();
    match cell.split_once('.') {
        Some((seconds, _)) if is_time => Cow::Owned(format!("{seconds}Z")),
        Some(_) | None => Cow::Borrowed(cell),
    }
}

/// The line break that a terminal lacks after `bytes`: without it, the prompt of the shell follows a value.
const fn break_after(bytes: &[u8]) -> &'static [u8] {
    if matches!(bytes, [] | [.., b'\n']) { b"" } else { b"\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_gets_one_line_break_after_a_value() {
        assert_eq!(
            (break_after(b"value"), break_after(b"value\n"), break_after(b"")),
            (&b"\n"[..], &b""[..], &b""[..])
        );
    }

    #[test]
    fn times_in_tables_have_whole_seconds() {
        assert_eq!(whole_seconds("2026-11-29T12:00:00.123Z"), "2026-11-29T12:00:00Z");
        for text in ["2026-11-29T12:00:00Z", "a.b", "a-name-with.24-charactersZ", ""] {
            assert_eq!(whole_seconds(text), text);
        }
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let value = serde_json::json!({ "a": "x\u{9b}y\u{202e}\n\u{7f}" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable(&text, Breaks::Keep).into_owned();
        assert!(!shown.contains('\u{9b}'), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
