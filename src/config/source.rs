use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{toml_message, toml_place};

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
const FAULTS_MAX: usize = 50;

/// The faults of some files, as they are found.
#[derive(Debug)]
pub struct Faults<'a> {
    files: &'a [SourceFile],
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    /// None so far.
    #[must_use]
    pub const fn of(files: &'a [SourceFile]) -> Self {
        Self { files, found: Vec::new() }
    }

    /// What each file says, by its number; one that is no such TOML is a fault.
    pub fn read<R: DeserializeOwned>(&mut self) -> Vec<(usize, R)> {
        let mut all = Vec::new();
        for (file, source) in self.files.iter().enumerate() {
            match toml::from_str(&source.text) {
                Ok(raw) => all.push((file, raw)),
                Err(error) => {
                    let offset = error.span().map_or(0, |span| span.start);
                    self.tell(Place { file, offset }, toml_message(&error));
                }
            }
        }
        all
    }

    /// There is one at `place`.
    pub fn tell(&mut self, place: Place, message: impl Into<String>) {
        self.add(fault(self.files, place, message.into()));
    }

    /// There is this one.
    pub fn add(&mut self, fault: Fault) {
        if self.found.len() < FAULTS_MAX {
            self.found.push(fault);
        }
    }

    /// How many are told so far.
    #[must_use]
    pub const fn told(&self) -> usize {
        self.found.len()
    }

    /// `whole`, when there is none.
    ///
    /// # Errors
    /// All that are told.
    pub fn or<T>(self, whole: T) -> Result<T, Vec<Fault>> {
        if self.found.is_empty() { Ok(whole) } else { Err(self.found) }
    }
}

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
