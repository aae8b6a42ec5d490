use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::command::Format;

/// Where a verb talks: data on standard output, talk on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    format: Format,
}

impl Console {
    /// A console that prints as `format` says.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether to print for programs.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a line of data.
    pub fn line(&self, text: &str) {
        write(io::stdout().lock(), &[text.as_bytes(), b"\n"]);
    }

    /// Prints bytes as they are, nothing added.
    pub fn bytes(&self, bytes: &[u8]) {
        write(io::stdout().lock(), &[bytes]);
    }

    /// Says something to the person at the terminal.
    pub fn say(&self, text: &str) {
        write(io::stderr().lock(), &[text.as_bytes(), b"\n"]);
    }

    /// Prints `value` as JSON.
    pub fn json(&self, value: &Value) {
        self.line(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// Prints rows under `head`, columns aligned. An empty table says so on standard error.
    pub fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            self.say("nothing there");
            return;
        }
        let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        for row in std::iter::once(&head).chain(rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }

    /// Whether a person sits at standard input and standard error.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

/// A reader that has gone away is no reason to panic: there is nobody left to tell.
fn write(mut to: impl Write, parts: &[&[u8]]) {
    for part in parts {
        if to.write_all(part).is_err() {
            return;
        }
    }
    drop(to.flush());
}
