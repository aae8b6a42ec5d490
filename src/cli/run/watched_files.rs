use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::args::RunFileArgs;
use super::sources::{SecretSource, SecretValues, Versions};
use super::template::{Rendered, Template};
use crate::base::{SecretName, code};
use crate::console::CommandFailure;
use crate::files::{remove, replace_shared};

/// The files from templates.
#[derive(Debug)]
pub(super) struct TemplateFiles {
    templates: Vec<Template>,
    removal: Removal,
}

/// Whether the files are removed when the command ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Removal {
    AtEnd,
    Never,
}

/// The secrets of all templates, and the text of each file.
struct RenderedFiles {
    values: Arc<SecretValues>,
    texts: Vec<zeroize::Zeroizing<String>>,
}

/// Most reads of further secrets: a template may name a secret by the value of another one.
const READS_MAX: usize = 8;

impl TemplateFiles {
    pub(super) fn of(args: &RunFileArgs) -> Result<Self, CommandFailure> {
        let pairs = args.pairs()?;
        if let Some(pair) = pairs.iter().find(|pair| pair.file.is_dir()) {
            let why = format!("`{}` is a directory, and a template needs a file", pair.file.display());
            return Err(CommandFailure::new(code::FILE_UNUSABLE)
                .because(why)
                .mended_by("name a file in it: `--template TEMPLATE:DIRECTORY/FILE`"));
        }
        let templates = pairs.into_iter().map(Template::read).collect::<Result<_, _>>()?;
        let removal = if args.remove_files { Removal::AtEnd } else { Removal::Never };
        Ok(Self { templates, removal })
    }

    /// Writes the files whose text is another one, with new values of `names` and of all secrets that the templates
    /// need. The values, and whether a file was written.
    pub(super) async fn write(
        &self,
        source: &SecretSource,
        names: &BTreeSet<SecretName>,
    ) -> Result<(Arc<SecretValues>, Written), CommandFailure> {
        let RenderedFiles { values, texts } = self.render(source, source.read(names).await?).await?;
        let mut written = Written::Nothing;
        for (template, text) in self.templates.iter().zip(&texts) {
            if !fs::read(&template.file).is_ok_and(|present| present == text.as_bytes()) {
                let replaced = replace_shared(&template.file, text.as_bytes());
                replaced.map_err(|error| CommandFailure::of_file(&template.file, &error))?;
                written = Written::Something;
            }
        }
        Ok((values, written))
    }

    async fn render(
        &self,
        source: &SecretSource,
        values: SecretValues,
    ) -> Result<RenderedFiles, CommandFailure> {
        let mut values = values;
        for _ in 0..READS_MAX {
            let shared = Arc::new(values);
            let (mut texts, mut missing) = (Vec::new(), BTreeSet::new());
            for template in &self.templates {
                match template.render(&shared)? {
                    Rendered::Text(text) => texts.push(text),
                    Rendered::Missing(names) => missing.extend(names),
                }
            }
            if missing.is_empty() {
                return Ok(RenderedFiles { values: shared, texts });
            }
            values = Arc::into_inner(shared).unwrap_or_default();
            values.extend(source.read(&missing).await?);
        }
        Err(CommandFailure::usage(
            "the templates name further secrets each time that they are rendered",
            "name the secrets in the template itself",
        ))
    }

    /// Removes the files if that was asked for. A file that cannot be removed does not keep the others.
    pub(super) fn end(&self) -> Result<(), CommandFailure> {
        if self.removal == Removal::Never {
            return Ok(());
        }
        let removed = |path: &Path| remove(path).map_err(|error| CommandFailure::of_file(path, &error));
        self.templates.iter().map(|template| removed(&template.file)).fold(Ok(()), Result::and)
    }
}

/// Whether a file was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    Something,
    Nothing,
}

/// The changed secrets with their new versions, for a message.
pub(super) fn changes(known: &Versions, now: &Versions) -> Vec<String> {
    let changed = now.iter().filter(|(name, version)| known.get(*name) != Some(*version));
    changed.map(|(name, version)| format!("{name} (version {version})")).collect()
}
