use std::io;
use std::path::Path;

use super::CommandFailure;
use crate::base::code;
use crate::files::NewFile;

/// The new file of `--out`. It is opened before the request, so that a file that cannot be written loses no response.
#[derive(Debug)]
pub(crate) struct OutFile<'a> {
    path: &'a Path,
    file: NewFile,
}

impl<'a> OutFile<'a> {
    /// Opens the new file at `path`; `nothing` says in the failure what did not happen.
    ///
    /// # Errors
    /// [`CommandFailure`] if there is a file of this name, or if it cannot be made.
    pub(crate) fn open(path: &'a Path, nothing: &str) -> Result<Self, CommandFailure> {
        if path == Path::new("-") {
            let why = format!("`-` is no file, and the output of `--out` goes to a file; {nothing}");
            return Err(CommandFailure::usage(&why, "name a new file: `--out FILE`"));
        }
        let file = NewFile::open(path).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                let why = format!("`{}` exists and was not overwritten; {nothing}", path.display());
                let fix = "name a new file: `--out FILE`, or remove the present one";
                return CommandFailure::new(code::FILE_UNUSABLE).because(why).mended_by(fix);
            }
            let failure = CommandFailure::of_file(path, &error);
            let why = format!("{}; {nothing}", failure.why());
            failure.because(why)
        })?;
        Ok(Self { path, file })
    }

    /// The path of the file.
    pub(crate) const fn path(&self) -> &Path {
        self.path
    }

    /// Writes the content; durable when this returns.
    ///
    /// # Errors
    /// [`CommandFailure`]; there is no file then.
    pub(crate) fn fill(self, bytes: &[u8]) -> Result<(), CommandFailure> {
        self.file.fill(bytes).map_err(|error| CommandFailure::of_file(self.path, &error))
    }
}
