use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context};
use zeroize::Zeroizing;

use super::args::{SecretRef, TemplatePair};
use super::sources::SecretValues;
use crate::base::{SecretName, code};
use crate::console::CommandFailure;

/// A template in the syntax of Jinja, and the file that is written from it.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) path: PathBuf,
    pub(super) text: Arc<str>,
    pub(super) file: PathBuf,
}

/// The result of an attempt to render a template.
pub(super) enum Rendered {
    Text(Zeroizing<String>),
    /// The template needs these secrets too.
    Missing(BTreeSet<SecretName>),
}

/// What one rendering finds out about the secrets of the template.
#[derive(Default)]
struct RenderNotes {
    missing: BTreeSet<SecretName>,
    failure: Option<CommandFailure>,
}

/// Largest template, in bytes.
const TEMPLATE_BYTES_MAX: u64 = 1024 * 1024;

impl Template {
    /// Reads the template.
    pub(super) fn read(pair: TemplatePair) -> Result<Self, CommandFailure> {
        let TemplatePair { template: path, file } = pair;
        let of_file = |error: &std::io::Error| CommandFailure::of_file(&path, error);
        if fs::metadata(&path).map_err(|error| of_file(&error))?.len() > TEMPLATE_BYTES_MAX {
            let why = format!("the template `{}` is larger than {TEMPLATE_BYTES_MAX} bytes", path.display());
            return Err(CommandFailure::new(code::TEMPLATE_INVALID).because(why));
        }
        let text = fs::read_to_string(&path).map_err(|error| of_file(&error))?;
        Ok(Self { path, text: text.into(), file })
    }

    /// The failure of a template that calls no `secret`: its name and the file's are perhaps swapped.
    fn without_secret(&self) -> CommandFailure {
        let why = format!(
            "the template `{}` has no `{{{{ secret(\"NAME\") }}}}`: it is perhaps not the template",
            self.path.display()
        );
        CommandFailure::new(code::TEMPLATE_INVALID)
            .because(why)
            .mended_by("`--template TEMPLATE:FILE` names the template first, then the file that is written")
    }

    /// Whether the template calls `secret`.
    fn calls_secret(&self) -> bool {
        environment(Arc::clone(&self.text), Arc::default(), Arc::default()).is_ok_and(|environment| {
            let parsed = environment.template_from_str(&self.text);
            parsed.is_ok_and(|template| template.undeclared_variables(false).contains("secret"))
        })
    }

    /// Renders the template with `values`.
    pub(super) fn render(&self, values: &Arc<SecretValues>) -> Result<Rendered, CommandFailure> {
        let notes: Arc<Mutex<RenderNotes>> = Arc::default();
        let environment = environment(Arc::clone(&self.text), Arc::clone(values), Arc::clone(&notes));
        let rendered = environment.and_then(|environment| environment.render_str(&self.text, context! {}));
        let mut notes = locked(&notes);
        if let Some(failure) = notes.failure.take() {
            let why = format!("template `{}`: {}", self.path.display(), failure.why());
            return Err(failure.because(why));
        }
        if !notes.missing.is_empty() {
            return Ok(Rendered::Missing(std::mem::take(&mut notes.missing)));
        }
        let text = rendered.map(Zeroizing::new).map_err(|error| self.invalid(&error))?;
        if self.calls_secret() { Ok(Rendered::Text(text)) } else { Err(self.without_secret()) }
    }

    /// The texts of some errors contain values, so only those about the template itself are repeated.
    fn invalid(&self, error: &Error) -> CommandFailure {
        let is_about_the_template = matches!(
            error.kind(),
            ErrorKind::SyntaxError
                | ErrorKind::UnknownFilter
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownTest
        );
        let detail = error.detail().filter(|_| is_about_the_template);
        let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
        let line = error.line().map_or_else(String::new, |line| format!(":{line}"));
        let why = format!("template `{}{line}`: {}{detail}", self.path.display(), error.kind());
        CommandFailure::new(code::TEMPLATE_INVALID).because(why)
    }
}

fn environment(
    text: Arc<str>,
    values: Arc<SecretValues>,
    notes: Arc<Mutex<RenderNotes>>,
) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    // The extension of the file selects no escaping: only the template escapes text.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    environment.add_function("secret", move |name: String, field: Option<String>| {
        let mut notes = locked(&notes);
        // A computed name may be a value, and messages repeat names.
        let is_literal = std::iter::once(&name).chain(&field).all(|word| text.contains(word.as_str()));
        if !is_literal {
            let why = "the name of a secret, or of a field, is computed";
            notes.failure.get_or_insert(CommandFailure::new(code::TEMPLATE_INVALID).because(why));
            return Ok(String::new());
        }
        Ok::<String, Error>(value_of(&name, field, &values, &mut notes))
    });
    Ok(environment)
}

/// The text of a secret; empty if the attempt cannot succeed, which `notes` says.
fn value_of(name: &str, field: Option<String>, values: &SecretValues, notes: &mut RenderNotes) -> String {
    let found = name.parse::<SecretName>().map_err(CommandFailure::from).and_then(|name| {
        let wanted = SecretRef { name, field };
        let Some(bytes) = values.bytes(&wanted)? else {
            notes.missing.insert(wanted.name);
            return Ok(String::new());
        };
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| {
            let why = format!("the value of secret `{}` is not text", wanted.name);
            CommandFailure::new(code::VALUE_FORMAT_MISMATCH).because(why)
        })
    });
    found.unwrap_or_else(|failure| {
        notes.failure.get_or_insert(failure);
        String::new()
    })
}

fn locked(notes: &Mutex<RenderNotes>) -> MutexGuard<'_, RenderNotes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::sources::tests::values;
    use super::*;

    fn rendered(text: &str, value: &str) -> Result<Rendered, CommandFailure> {
        let template = Template { path: "t".into(), text: text.into(), file: "f".into() };
        template.render(&Arc::new(values(value)))
    }

    fn text(text: &str, value: &str) -> String {
        match rendered(text, value).unwrap() {
            Rendered::Text(text) => text.to_string(),
            Rendered::Missing(names) => panic!("{names:?}"),
        }
    }

    #[test]
    fn a_template_has_the_values_of_its_secrets() {
        assert_eq!(text("p={{ secret(\"a/b\") }}\n", "v<\"&"), "p=v<\"&\n", "nothing is escaped");
        assert_eq!(text("{{ secret('a/b', 'user') }}", r#"{"user":"u"}"#), "u");
        assert_eq!(text("{{ secret('a/b') | tojson }}", "a\"b"), "\"a\\\"b\"");
        assert_eq!(text("{{ secret('a/b') | urlencode }}", "a b"), "a%20b");
        assert_eq!(text("{% for line in secret('a/b') | lines %}<{{ line }}>{% endfor %}", "1\n2"), "<1><2>");
        let Rendered::Missing(names) = rendered("{{ secret('c/d') }}{{ secret('e') | int }}", "v").unwrap()
        else {
            panic!("it has all it needs");
        };
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["c/d", "e"]);
    }

    #[test]
    fn a_wrong_template_is_refused_with_its_line_and_without_a_value() {
        for (wrong, says) in [
            ("\n{{ secret('a/b') }", "t:2"),
            ("{{ secert('a/b') }}", "secert is unknown"),
            ("{{ password }}", "t:1"),
            ("{{ secret('a/b') | int }}", "t:1"),
            ("{{ secret('a/b') | nonsense }}", "nonsense is unknown"),
            ("{{ secret('A!') }}", "template `t`: not a canonical"),
            ("{{ secret('a/b', 'user') }}", "is not a JSON object"),
            ("{{ secret() }}", "missing argument"),
            ("{{ secret(secret('a/b') | lower) }}", "is computed"),
            ("{{ secret('a/b', secret('a/b')) }}", "is computed"),
            ("{{ secret 'a/b' }}", "syntax error"),
        ] {
            let failure = rendered(wrong, "CNRY").map(drop).unwrap_err();
            assert!(failure.why().contains(says), "{wrong}: {}", failure.why());
            assert!(!format!("{failure:?}").contains("CNRY"), "{failure:?}");
        }
    }
}
