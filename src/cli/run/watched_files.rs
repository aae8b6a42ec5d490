use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::args::RunFileArgs;
use super::sources::{Refusals, SecretSource, SecretValues, Versions};
use super::template::{Rendered, Template};
use super::written_files::{FileUse, Overwriting, WrittenFiles, place};
use crate::base::{SecretName, code};
use crate::console::{CommandFailure, Console, own_uid};
use crate::files::OWNER_ONLY;

/// The files from templates.
#[derive(Debug)]
pub(super) struct TemplateFiles {
    files: Vec<TemplateFile>,
    record: WrittenFiles,
    removal: Removal,
}

#[derive(Debug)]
struct TemplateFile {
    template: Template,
    /// The file that this process, or the one that started it, has written.
    written: Option<FileIdentity>,
    used: FileUse,
}

/// The device and the inode of a file. Another run replaces a file by one with another inode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// Whether the files are removed when the command ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Removal {
    AtEnd,
    Never,
}

/// The result of an update.
pub(super) struct Update {
    pub(super) values: Arc<SecretValues>,
    /// The secrets that could not be read; files that need them are unchanged.
    pub(super) refusals: Refusals,
    pub(super) is_written: bool,
}

/// Most reads of further secrets: a condition of a template may depend on the value of another secret.
const READS_MAX: usize = 8;

impl TemplateFiles {
    /// The files before their first write: no other file is replaced.
    pub(super) fn first(home: &Path, args: &RunFileArgs, console: &Console) -> Result<Self, CommandFailure> {
        let files = Self::of(home, args)?;
        let overwriting = if args.overwrite { Overwriting::Asked } else { Overwriting::Never };
        for pair in args.pairs()? {
            files.record.check(&pair, overwriting)?;
        }
        for file in files.files.iter().filter(|file| file.used.is_shared) {
            let shown = file.template.file.display();
            console.say(&format!("note: another running `keyward run` writes the file `{shown}` too"));
        }
        Ok(files)
    }

    /// The files, as the process that started this one has written them.
    pub(super) fn written_before(home: &Path, args: &RunFileArgs) -> Result<Self, CommandFailure> {
        let mut files = Self::of(home, args)?;
        for file in &mut files.files {
            file.written = FileIdentity::at(&file.template.file);
        }
        Ok(files)
    }

    fn of(home: &Path, args: &RunFileArgs) -> Result<Self, CommandFailure> {
        let pairs = args.pairs()?;
        let same = |why: String| CommandFailure::usage(&why, "name another file: `--template TEMPLATE:FILE`");
        let mut places = BTreeSet::new();
        for pair in &pairs {
            if pair.file.is_dir() {
                let why = format!("`{}` is a directory, and a template needs a file", pair.file.display());
                return Err(CommandFailure::new(code::FILE_UNUSABLE)
                    .because(why)
                    .mended_by("name a file in it: `--template TEMPLATE:DIRECTORY/FILE`"));
            }
            if !places.insert(place(&pair.file)) {
                return Err(same(format!("two templates are for the file `{}`", pair.file.display())));
            }
            let file = FileIdentity::at(&pair.file);
            let is_it = |template: &Path| file.is_some() && FileIdentity::at(template) == file;
            if pairs.iter().any(|other| is_it(&other.template)) {
                return Err(same(format!("`{}` is a template, and would be replaced", pair.file.display())));
            }
        }
        let record = WrittenFiles::below(home);
        let read = |pair| {
            let template = Template::read(pair)?;
            let used = record.begin_use(&template);
            let used = used.map_err(|error| CommandFailure::of_file(&template.file, &error))?;
            used.check(&template)?;
            Ok(TemplateFile { template, written: None, used })
        };
        let files = pairs.into_iter().map(read).collect::<Result<_, CommandFailure>>()?;
        let removal = if args.remove_files { Removal::AtEnd } else { Removal::Never };
        Ok(Self { files, record, removal })
    }

    /// Writes the files whose text is another one, with new values of `names` and of all secrets that the templates
    /// need.
    ///
    /// # Errors
    /// [`CommandFailure`] if the broker does not answer, a template is wrong or a file cannot be written.
    pub(super) async fn write(
        &mut self,
        source: &SecretSource,
        names: &BTreeSet<SecretName>,
    ) -> Result<Update, CommandFailure> {
        let (mut values, mut refusals) = source.read(names).await?;
        for _ in 0..READS_MAX {
            let shared = Arc::new(values);
            let (mut texts, mut missing) = (Vec::new(), BTreeSet::new());
            for file in &self.files {
                texts.push(match file.template.render(&shared)? {
                    Rendered::Text(text) => Some(text),
                    Rendered::Missing(names) => {
                        missing.extend(names.into_iter().filter(|name| !refusals.contains_key(name)));
                        None
                    }
                });
            }
            if missing.is_empty() {
                let mut is_written = false;
                for (file, text) in self.files.iter_mut().zip(&texts) {
                    is_written |=
                        text.as_ref().map_or(Ok(false), |text| file.write(&self.record, text.as_bytes()))?;
                }
                return Ok(Update { values: shared, refusals, is_written });
            }
            values = Arc::into_inner(shared).unwrap_or_default();
            let (more, refused) = source.read(&missing).await?;
            values.extend(more);
            refusals.extend(refused);
        }
        Err(CommandFailure::new(code::TEMPLATE_INVALID)
            .because("the templates need further secrets each time that they are rendered"))
    }

    /// Removes the files if that was asked for, but none that another process has written since, or still uses. A file that
    /// cannot be removed does not keep the others.
    pub(super) fn end(&self) -> Result<(), CommandFailure> {
        if self.removal == Removal::Never {
            return Ok(());
        }
        let written = self.files.iter().filter(|file| file.written.is_some());
        let removed = |file: &TemplateFile| {
            let path = &file.template.file;
            let removed = self.record.remove(path, &file.used, || FileIdentity::at(path) == file.written);
            removed.map_err(|error| CommandFailure::of_file(path, &error))
        };
        written.map(removed).fold(Ok(()), Result::and)
    }
}

impl TemplateFile {
    /// Writes the file, unless it is the one that was written before, with this text. Whether it was written.
    fn write(&mut self, record: &WrittenFiles, text: &[u8]) -> Result<bool, CommandFailure> {
        let path = &self.template.file;
        let is_private = |found: &Metadata| {
            found.is_file() && found.mode() & 0o7777 == OWNER_ONLY && found.uid() == own_uid()
        };
        let is_ours = self.written.is_some() && FileIdentity::at(path) == self.written;
        let is_same = is_ours
            && fs::symlink_metadata(path).is_ok_and(|found| is_private(&found))
            && fs::read(path).is_ok_and(|present| present == text);
        if is_same {
            return Ok(false);
        }
        record.replace(path, text).map_err(|error| CommandFailure::of_file(path, &error))?;
        self.written = FileIdentity::at(path);
        Ok(true)
    }
}

impl FileIdentity {
    /// The identity of the file at `path`, if there is one.
    fn at(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }
}

/// The changed secrets with their new versions, for a message.
pub(super) fn changes(known: &Versions, now: &Versions) -> Vec<String> {
    let changed = now.iter().filter(|(name, version)| known.get(*name) != Some(*version));
    changed.map(|(name, version)| format!("{name} (version {version})")).collect()
}
