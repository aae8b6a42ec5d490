//! All faults of a configuration file at once: a parser stops at the first one.

use std::path::Path;

use super::raw::ConfigError;

/// Most faults that are reported at once.
pub(super) const FAULTS_MAX: usize = 20;

/// A fault of the file.
pub(super) struct Found {
    pub(super) offset: usize,
    /// The setting at this place.
    pub(super) setting: Option<String>,
    /// Whether the fault is one of several settings together.
    pub(super) is_relation: bool,
    pub(super) error: ConfigError,
}

/// Every fault of `text` that can be found at once, from the `first` on. `next_of` finds the first fault of a text.
pub(super) fn all_faults(
    text: &str,
    path: &Path,
    first: Found,
    next_of: impl Fn(&str) -> Option<Found>,
) -> ConfigError {
    // If the text is not TOML, only the first fault is certain.
    if toml::from_str::<toml::Table>(text).is_err() {
        return first.error;
    }
    let (mut faults, mut rest) = (vec![first], text.to_owned());
    // The next fault shows once the line of the last one is gone.
    while faults.len() < FAULTS_MAX
        && let Some(shorter) = faults.last().and_then(|last| last.without_line(&rest))
        && let Some(next) = next_of(&shorter)
        && !next.follows_from(&faults)
    {
        rest = shorter;
        faults.push(next);
    }
    faults.sort_by_key(|fault| fault.offset);
    let mut errors: Vec<ConfigError> = faults.into_iter().map(|fault| fault.error).collect();
    match (errors.pop(), errors.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            errors.extend(last);
            ConfigError::Several { path: path.to_owned(), errors }
        }
    }
}

impl Found {
    /// The text with blanks for the line of the fault; none if nothing else can be checked without this line.
    fn without_line(&self, text: &str) -> Option<String> {
        let before = text.get(..self.offset)?;
        let from = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let line = text.get(from..)?.split('\n').next()?;
        let has_line = !line.trim().is_empty() && !line.trim_start().starts_with('[') && !self.is_missing();
        if self.is_relation || !has_line {
            return None;
        }
        let blanks = " ".repeat(line.len());
        let shorter =
            format!("{}{blanks}{}", text.get(..from)?, text.get(from.saturating_add(line.len())..)?);
        toml::from_str::<toml::Table>(&shorter).is_ok().then_some(shorter)
    }

    /// Whether the fault may be there only because lines of the faults `before` are gone.
    fn follows_from(&self, before: &[Self]) -> bool {
        let missing = |name: &str| self.message().contains(&format!("missing field `{name}`"));
        self.is_relation
            || before.iter().filter_map(|one| one.setting.as_deref()).any(|setting| {
                let name = setting.rsplit('.').next().unwrap_or(setting);
                self.setting.as_deref() == Some(setting) || missing(name)
            })
    }

    /// Whether the fault is that a setting is not there: it has no line of its own.
    fn is_missing(&self) -> bool {
        self.message().contains("missing field")
    }

    fn message(&self) -> &str {
        match &self.error {
            ConfigError::Invalid { message, .. } => message,
            ConfigError::Unreadable { .. } | ConfigError::Several { .. } => "",
        }
    }
}
