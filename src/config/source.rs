use schemars::JsonSchema;
use serde::Serialize;

use super::fault::toml_place;

/// A declaration file as it came.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text, TOML.
    pub text: String,
}

/// What is wrong with a declaration, and where. Never carries the value that is wrong.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Fault {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Most faults that are told at once: enough to see what is wrong, few enough to find their places.
pub const FAULTS_MAX: usize = 50;

/// Where something was declared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Which of the files.
    pub file: usize,
    /// Bytes from its beginning.
    pub offset: usize,
}

/// The fault at `place` of `files`.
#[must_use]
pub fn fault(files: &[SourceFile], place: Place, message: String) -> Fault {
    let (name, text) = files.get(place.file).map_or(("", ""), |file| (&file.name, &file.text));
    let (line, column) = toml_place(text, place.offset);
    Fault { file: name.to_owned(), line, column, message }
}
