//! The checkpoint key that `--key` names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::base::code;
use crate::console::CommandFailure;
use crate::ledger::NoteVerifier;

/// Most bytes of a file or of standard input with a key.
const KEY_BYTES_MAX: u64 = 4096;

/// The text of the key: `text` itself, or the first line of the file with this name (`-`: of standard input).
///
/// # Errors
/// [`CommandFailure`] if the file or standard input cannot be read.
pub fn named_key(text: &str) -> Result<String, CommandFailure> {
    let path = Path::new(text);
    let content = if text == "-" {
        read(Path::new("standard input"), io::stdin().lock())?
    } else if path.is_file() {
        read(path, File::open(path).map_err(|error| CommandFailure::of_file(path, &error))?)?
    } else {
        return Ok(text.to_owned());
    };
    Ok(content.lines().next().unwrap_or_default().trim().to_owned())
}

fn read(path: &Path, from: impl Read) -> Result<String, CommandFailure> {
    let mut content = String::new();
    let read = from.take(KEY_BYTES_MAX).read_to_string(&mut content);
    read.map(|_| content).map_err(|error| CommandFailure::of_file(path, &error))
}

/// The key that `--key` names.
///
/// # Errors
/// [`CommandFailure`], also if the text is no key.
pub(crate) fn named_verifier(text: &str) -> Result<NoteVerifier, CommandFailure> {
    let key = NoteVerifier::parse(&named_key(text)?);
    key.map_err(|error| CommandFailure::new(code::CHECKPOINT_INVALID).because(error.to_string()))
}
