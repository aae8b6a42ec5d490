use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::fault::Positions;
use super::objects::DeclaredObjects;
use crate::base::limits::{DECLARED_MAX, FAULTS_LISTED_MAX};
use crate::base::{Cancellation, NameError, OwnerName, Scope};

/// A declaration file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name, for messages.
    pub name: String,
    /// The TOML text.
    pub text: String,
}

impl SourceFile {
    /// Line ends become those of Unix, so that a file copied from Windows is no change.
    #[must_use]
    pub fn new(name: String, text: String) -> Self {
        Self { name, text: if text.contains('\r') { text.replace("\r\n", "\n") } else { text } }
    }
}

/// An error in a declaration file. Never contains the wrong value.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Fault {
    /// The file's name.
    #[serde(default)]
    #[schemars(!default)]
    pub file: String,
    /// The line, from 1.
    #[serde(default)]
    #[schemars(!default)]
    pub line: usize,
    /// The column, from 1, in characters.
    #[serde(default)]
    #[schemars(!default)]
    pub column: usize,
    /// The problem.
    #[serde(default)]
    #[schemars(!default)]
    pub message: String,
    /// Whether the message tells of objects of other owners.
    #[serde(skip)]
    pub is_foreign: bool,
}

/// The message of an error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FaultMessage {
    text: String,
    is_foreign: bool,
}

impl FaultMessage {
    /// A message that tells of objects of other owners, present or former: the refusal of such an upload is recorded.
    #[must_use]
    pub fn foreign(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_foreign: true }
    }

    /// The same with the text that `text` makes of it.
    #[must_use]
    pub fn map(self, text: impl FnOnce(String) -> String) -> Self {
        Self { text: text(self.text), ..self }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<String> for FaultMessage {
    fn from(text: String) -> Self {
        Self { text, is_foreign: false }
    }
}

impl From<&str> for FaultMessage {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// The errors in an upload of declaration files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FaultList {
    /// `FAULTS_LISTED_MAX` errors at most, in the order of files and lines.
    pub faults: Vec<Fault>,
    /// The number of further errors.
    pub more: usize,
    /// Whether the work was cancelled before all files were checked.
    pub cancelled: bool,
}

/// Collects errors. Positions are computed once, at the end, for the listed errors only.
#[derive(Debug)]
pub struct Faults<'a> {
    files: &'a [SourceFile],
    work: &'a Cancellation,
    declared: usize,
    listed: Vec<UnlocatedFault>,
    found: usize,
}

#[derive(Debug)]
struct UnlocatedFault {
    place: SourcePosition,
    message: FaultMessage,
}

impl<'a> Faults<'a> {
    /// No errors so far.
    #[must_use]
    pub const fn of(files: &'a [SourceFile], work: &'a Cancellation) -> Self {
        Self { files, work, declared: 0, listed: Vec::new(), found: 0 }
    }

    /// Adds an error at `place`.
    pub fn tell(&mut self, place: SourcePosition, message: impl Into<FaultMessage>) {
        self.found = self.found.saturating_add(1);
        if self.listed.len() < FAULTS_LISTED_MAX {
            self.listed.push(UnlocatedFault { place, message: message.into() });
        }
    }

    /// The name in `text`; none, with an error, if it is not canonical.
    pub fn name<N: FromStr<Err = NameError>>(
        &mut self,
        place: SourcePosition,
        text: &Spanned<String>,
    ) -> Option<N> {
        let name = text.get_ref().parse();
        name.map_err(|error: NameError| self.tell(place.of(text), error.to_string())).ok()
    }

    /// The owner that `text` names for an operator of this `scope`. Without a name the owner is that of the scope; another
    /// owner is an error.
    pub fn owner(
        &mut self,
        place: SourcePosition,
        text: Option<&Spanned<String>>,
        scope: &Scope,
    ) -> Option<OwnerName> {
        let Some(text) = text else { return scope.owner().cloned() };
        let owner: OwnerName = self.name(place, text)?;
        if !scope.covers(Some(&owner)) {
            let message = "`owner` is not the owner that you are bound to: leave it out";
            self.tell(place.of(text), message);
        }
        Some(owner)
    }

    /// Whether to check one more object, declared at `place`. Stops when the work is cancelled, and with an error
    /// beyond `DECLARED_MAX`.
    pub fn takes(&mut self, place: SourcePosition) -> bool {
        self.declared = self.declared.saturating_add(1);
        if self.declared == DECLARED_MAX.saturating_add(1) {
            self.tell(
                place,
                format!(
                    "the upload declares more than {DECLARED_MAX} objects of one kind: divide it into several"
                ),
            );
        }
        self.declared <= DECLARED_MAX && self.work.step().is_ok()
    }

    /// The number of errors so far.
    #[must_use]
    pub const fn found(&self) -> usize {
        self.found
    }

    /// `whole`, if no error was found.
    ///
    /// # Errors
    /// The [`FaultList`].
    pub fn or<T>(self, whole: T) -> Result<T, FaultList> {
        if self.found == 0 && !self.work.is_cancelled() { Ok(whole) } else { Err(self.list()) }
    }

    fn list(self) -> FaultList {
        let Self { files, work, listed, found, .. } = self;
        let mut listed = listed;
        listed.sort_by_key(|fault| fault.place);
        let mut faults = Vec::new();
        for group in listed.chunk_by(|one, other| one.place.file == other.place.file) {
            let file = group.first().and_then(|fault| files.get(fault.place.file));
            let (name, text) = file.map_or(("", ""), |file| (&file.name, &file.text));
            let (mut walk, objects) = (Positions::of(text), DeclaredObjects::of(text));
            faults.extend(group.iter().map(|UnlocatedFault { place, message }| {
                let (line, column) = walk.at(place.offset);
                let FaultMessage { text, is_foreign } = message.clone();
                let message = match objects.at(place.offset) {
                    Some(object) => format!("{object}: {text}"),
                    None => text,
                };
                Fault { file: name.to_owned(), line, column, message, is_foreign }
            }));
        }
        let more = found.saturating_sub(faults.len());
        FaultList { faults, more, cancelled: work.is_cancelled() }
    }
}

impl FaultList {
    /// The errors of all `lists` about the same `files`.
    #[must_use]
    pub fn merged(lists: Vec<Self>, files: &[SourceFile]) -> Self {
        let mut merged = Self::default();
        for list in lists {
            merged.faults.extend(list.faults);
            merged.more = merged.more.saturating_add(list.more);
            merged.cancelled |= list.cancelled;
        }
        let place = |fault: &Fault| {
            let file = files.iter().position(|file| file.name == fault.file);
            (file.unwrap_or(usize::MAX), fault.line, fault.column)
        };
        merged.faults.sort_by_cached_key(place);
        let beyond = merged.faults.len().saturating_sub(FAULTS_LISTED_MAX);
        merged.more = merged.more.saturating_add(beyond);
        merged.faults.truncate(FAULTS_LISTED_MAX);
        merged
    }
}

/// A place in one of the uploaded files.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SourcePosition {
    /// The number of the file.
    pub file: usize,
    /// Bytes from the beginning of the file.
    pub offset: usize,
}

impl SourcePosition {
    /// The files as a whole.
    pub const UPLOAD: Self = Self { file: usize::MAX, offset: 0 };

    /// Where a part of what was declared here stands.
    #[must_use]
    pub fn of<T>(self, part: &toml::Spanned<T>) -> Self {
        Self { offset: part.span().start, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn errors_are_listed_up_to_the_limit_and_counted_beyond() {
        let files = [file("a.toml", "x\n")];
        let work = Cancellation::new();
        let list = |count: usize| {
            let mut faults = Faults::of(&files, &work);
            for _ in 0..count {
                faults.tell(SourcePosition { file: 0, offset: 0 }, "wrong");
            }
            faults.or(()).unwrap_err()
        };
        let at_limit = list(FAULTS_LISTED_MAX);
        assert_eq!((at_limit.faults.len(), at_limit.more), (FAULTS_LISTED_MAX, 0));
        let beyond = list(FAULTS_LISTED_MAX + 1);
        assert_eq!((beyond.faults.len(), beyond.more), (FAULTS_LISTED_MAX, 1));
        assert!(Faults::of(&files, &work).or(()).is_ok());
    }

    #[test]
    fn objects_are_declared_up_to_the_limit() {
        let files = [file("a.toml", "x")];
        let work = Cancellation::new();
        let declare = |count: usize| {
            let mut faults = Faults::of(&files, &work);
            let taken = (0..count).filter(|_| faults.takes(SourcePosition { file: 0, offset: 0 })).count();
            (taken, faults.found())
        };
        assert_eq!(declare(DECLARED_MAX), (DECLARED_MAX, 0));
        assert_eq!(declare(DECLARED_MAX + 2), (DECLARED_MAX, 1));
    }

    #[test]
    fn cancelled_work_has_no_result() {
        let files = [file("a.toml", "x")];
        let work = Cancellation::after_steps(1);
        let mut faults = Faults::of(&files, &work);
        let place = SourcePosition { file: 0, offset: 0 };
        assert!(faults.takes(place) && !faults.takes(place));
        assert!(faults.or(()).unwrap_err().cancelled);
    }

    #[test]
    fn errors_are_listed_in_the_order_of_their_lines() {
        let files = [file("a.toml", "one\ntwö x\n"), file("b.toml", "\n\nabc")];
        let work = Cancellation::new();
        let mut faults = Faults::of(&files, &work);
        for (file, offset) in [(1, 4), (0, 9), (0, 0), (1, 2), (0, 4), (7, 3), (1, 99)] {
            faults.tell(SourcePosition { file, offset }, "wrong");
        }
        let list = faults.or(()).unwrap_err();
        let told: Vec<_> = list.faults.iter().map(|one| (one.file.as_str(), one.line, one.column)).collect();
        let wanted = [
            ("a.toml", 1, 1),
            ("a.toml", 2, 1),
            ("a.toml", 2, 5),
            ("b.toml", 3, 1),
            ("b.toml", 3, 3),
            ("b.toml", 3, 4),
            ("", 1, 1),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn merged_errors_are_in_order_and_bounded() {
        let files = [file("z.toml", "\n\nx"), file("a.toml", "x")];
        let work = Cancellation::new();
        let list = |count: usize, place: SourcePosition| {
            let mut faults = Faults::of(&files, &work);
            (0..count).for_each(|_| faults.tell(place, "wrong"));
            faults.or(()).unwrap_err()
        };
        let (first, last) = (SourcePosition { file: 0, offset: 2 }, SourcePosition { file: 1, offset: 0 });
        let merged = FaultList::merged(vec![list(2, last), list(FAULTS_LISTED_MAX, first)], &files);
        assert_eq!((merged.faults.len(), merged.more), (FAULTS_LISTED_MAX, 2));
        assert!(merged.faults.iter().all(|fault| (fault.file.as_str(), fault.line) == ("z.toml", 3)));
        let merged = FaultList::merged(vec![list(1, last), list(FAULTS_LISTED_MAX - 1, first)], &files);
        assert_eq!((merged.faults.len(), merged.more), (FAULTS_LISTED_MAX, 0), "at the limit");
        assert_eq!(merged.faults.last().map(|fault| fault.file.as_str()), Some("a.toml"));
    }
}
