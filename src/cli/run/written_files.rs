use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::args::TemplatePair;
use super::template::Template;
use crate::base::code;
use crate::console::CommandFailure;
use crate::crypto::sha256;
use crate::files::{OWNER_ONLY, Replacement, private_dir, replace};

/// The record of the files that `keyward run` has written: one entry for each path, in the directory of identities.
///
/// A start replaces only a file that it finds in this record, so that swapped names in `--template` destroy no file.
/// The record outlives `keyward run`: after SIGKILL, the next start knows the file that is left.
#[derive(Clone, Debug)]
pub(super) struct WrittenFiles {
    dir: PathBuf,
}

/// The use of a file by this process: a shared lock, which ends with the process.
#[derive(Debug)]
pub(super) struct FileUse {
    lock: File,
    /// Whether another process used the file when the use began.
    pub(super) is_shared: bool,
    /// The use of another process that has another template.
    other: Option<TemplateUse>,
}

/// The template of the processes that use a file, as the first of them noted it.
#[derive(Debug, Deserialize, Serialize)]
struct TemplateUse {
    process: u32,
    template: String,
    /// The digest of the text: a template may have copies.
    text: String,
}

/// What stays the same about a file until it is replaced. The number of the device is no part of it: it may change when
/// the machine starts.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Mark {
    inode: u64,
    /// The time of its creation in nanoseconds, where the file system has it.
    created: Option<u128>,
}

/// Whether a file may be replaced that `keyward run` has not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overwriting {
    Never,
    Asked,
}

/// Size of the part of an existing file that is searched for `{{ secret(…) }}`, in bytes.
const SEARCHED_BYTES: u64 = 1024 * 1024;

impl WrittenFiles {
    pub(super) fn below(home: &Path) -> Self {
        Self { dir: home.join("run-files") }
    }

    /// Refuses to replace an existing file that is not in the record.
    ///
    /// # Errors
    /// [`CommandFailure`] for a file that is a template, or is not a regular file, or that `overwriting` does not cover.
    pub(super) fn check(&self, pair: &TemplatePair, overwriting: Overwriting) -> Result<(), CommandFailure> {
        let path = pair.file.as_path();
        // A path that cannot be looked up cannot be written either, which the write reports.
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
        if self.has_written(path, &found) || found.is_file() && found.len() == 0 {
            return Ok(());
        }
        let shown = path.display();
        let form = "`--template TEMPLATE:FILE` names the template first, then the file that is written";
        if !found.is_file() && !found.is_symlink() {
            let why = format!("`{shown}` is not a regular file, and would be replaced");
            return Err(CommandFailure::usage(&why, form));
        }
        if is_template(path) {
            let why =
                format!("`{shown}` has `{{{{ secret(…) }}}}`, so it is a template, and would be replaced");
            return Err(CommandFailure::usage(&why, form));
        }
        if overwriting == Overwriting::Never {
            let why = format!("the file `{shown}` exists, and `keyward run` has not written it");
            let fix = format!("{form}; if the file may be replaced: `--overwrite`");
            return Err(CommandFailure::usage(&why, &fix));
        }
        Ok(())
    }

    /// Puts a file with `bytes` in the place of `path`, and has it in the record before it is there.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let _lock = self.lock()?;
        let new = Replacement::write_shared(path, bytes)?;
        let present = fs::symlink_metadata(path).ok().filter(|found| self.has_written(path, found));
        let mut marks: Vec<Mark> = present.iter().map(Mark::of).collect();
        marks.push(Mark::of(&fs::symlink_metadata(new.temporary())?));
        let marks: String = marks.iter().map(Mark::line).collect();
        replace(&self.entry(path), marks.as_bytes())?;
        new.commit()
    }

    /// Notes that this process uses the file of `template`, until it ends or drops the use.
    pub(super) fn begin_use(&self, template: &Template) -> io::Result<FileUse> {
        let _lock = self.lock()?;
        let mut lock = open_lock(&self.beside_entry(&template.file, "users"))?;
        let (own, mut noted) = (TemplateUse::of(template), String::new());
        let is_shared = lock.try_lock().is_err();
        if is_shared {
            lock.read_to_string(&mut noted)?;
        } else {
            lock.set_len(0)?;
            lock.write_all(&serde_json::to_vec(&own).map_err(io::Error::other)?)?;
        }
        lock.lock_shared()?;
        let other = serde_json::from_str(&noted).ok().filter(|noted: &TemplateUse| !noted.is_same(&own));
        Ok(FileUse { lock, is_shared, other })
    }

    /// Removes the file at `path` if `is_ours`, or if its process left it to this one, and its entry. A file that other
    /// processes use is left to the last one of them.
    pub(super) fn remove(
        &self,
        path: &Path,
        used: &FileUse,
        is_ours: impl FnOnce() -> bool,
    ) -> io::Result<()> {
        let _lock = self.lock()?;
        let left = self.beside_entry(path, "left");
        let mark = fs::symlink_metadata(path).map(|found| Mark::of(&found).line()).unwrap_or_default();
        let is_left = || fs::read_to_string(&left).is_ok_and(|left| left == mark);
        if !is_ours() && !is_left() {
            return Ok(());
        }
        match used.lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return replace(&left, mark.as_bytes()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        crate::files::remove(path)?;
        for of_path in [self.entry(path), left, self.beside_entry(path, "users")] {
            crate::files::remove(&of_path)?;
        }
        Ok(())
    }

    fn has_written(&self, path: &Path, found: &Metadata) -> bool {
        let line = Mark::of(found).line();
        found.is_file()
            && fs::read_to_string(self.entry(path))
                .is_ok_and(|text| text.split_inclusive('\n').any(|known| known == line))
    }

    /// Two processes may write the same path: the entry has to be the one of the file that stays.
    fn lock(&self) -> io::Result<File> {
        private_dir(&self.dir)?;
        let lock = open_lock(&self.dir.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    fn entry(&self, path: &Path) -> PathBuf {
        self.dir.join(sha256(place(path).as_os_str().as_encoded_bytes()).hex())
    }

    fn beside_entry(&self, path: &Path, what: &str) -> PathBuf {
        self.entry(path).with_extension(what)
    }
}

impl FileUse {
    /// Refuses a file that another process writes from another template.
    pub(super) fn check(&self, template: &Template) -> Result<(), CommandFailure> {
        let Some(TemplateUse { process, template: others, .. }) = &self.other else { return Ok(()) };
        // The process may have ended, while another one with the same template goes on.
        let is_running = Path::new(&format!("/proc/{process}")).exists();
        let process = if is_running { format!(" (process {process})") } else { String::new() };
        let why = format!(
            "another running `keyward run`{process} writes the file `{}` from the template `{others}`",
            template.file.display()
        );
        let fix = "name another file: `--template TEMPLATE:FILE`, or end the other command first";
        Err(CommandFailure::new(code::FILE_UNUSABLE).because(why).mended_by(fix))
    }
}

impl TemplateUse {
    fn of(template: &Template) -> Self {
        Self {
            process: std::process::id(),
            template: place(&template.path).display().to_string(),
            text: sha256(template.text.as_bytes()).hex(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.template == other.template || self.text == other.text
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(OWNER_ONLY);
    options.open(path)
}

impl Mark {
    fn of(found: &Metadata) -> Self {
        let created = found.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Self { inode: found.ino(), created: created.map(|since| since.as_nanos()) }
    }

    fn line(&self) -> String {
        let created = self.created.map_or_else(|| "-".to_owned(), |created| created.to_string());
        format!("{} {created}\n", self.inode)
    }
}

/// Whether the file at `path` is a template with a secret. A file that cannot be read is none.
fn is_template(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SEARCHED_BYTES).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    read.is_ok()
        && text
            .split("{{")
            .skip(1)
            .any(|after| after.trim_start_matches('-').trim_start().starts_with("secret("))
}

/// A path without links and dots in its directory.
pub(super) fn place(path: &Path) -> PathBuf {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(above), path.file_name()) {
        (Ok(above), Some(name)) => above.join(name),
        _ => path.to_owned(),
    }
}
