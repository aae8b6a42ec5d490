use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{Clock, SystemClock};

/// How long names are used again, in milliseconds: a person types the next key within this time.
const KEPT_MS: i64 = 5_000;

/// The names of the last completions, in a file that only its owner can read.
#[derive(Debug)]
pub(super) struct CachedNames {
    path: PathBuf,
    now_ms: i64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    at_ms: i64,
    names: Vec<String>,
}

type KeptByKind = BTreeMap<String, Kept>;

/// Whether the text has only the characters of names, and is no option.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./".contains(&byte))
}

impl CachedNames {
    pub(super) fn in_home(home: &Path) -> Self {
        Self { path: home.join("completion.json"), now_ms: SystemClock::new().now().ms() }
    }

    /// The names of this kind, if they are not too old.
    pub(super) fn find(&self, kind: &str) -> Option<Vec<String>> {
        let kept = self.read().remove(kind)?;
        // The shell puts a name into the line that it runs, and the file may have other text.
        let is_usable = self.is_fresh(&kept) && kept.names.iter().all(|name| is_name(name));
        is_usable.then_some(kept.names)
    }

    /// Keeps names, and removes names that are too old. A file that cannot be written is no cache.
    pub(super) fn keep(&self, kind: &str, names: &[String]) {
        let mut kept = self.read();
        kept.retain(|_, kept| self.is_fresh(kept));
        kept.insert(kind.to_owned(), Kept { at_ms: self.now_ms, names: names.to_vec() });
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        drop(self.write(&text));
    }

    fn is_fresh(&self, kept: &Kept) -> bool {
        (0..KEPT_MS).contains(&self.now_ms.saturating_sub(kept.at_ms))
    }

    /// Without a sync, which would hold the shell up. Text that is not complete is no cache.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600).open(&self.path)?.write_all(text)
    }

    fn read(&self) -> KeptByKind {
        let text = std::fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_are_kept_for_some_seconds_and_for_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let at = |now_ms| CachedNames { path: dir.path().join("names"), now_ms };
        assert_eq!(at(0).find("agents"), None);
        at(1_000).keep("agents", &["a".to_owned()]);
        at(1_000).keep("roles", &[]);
        assert_eq!(at(1_000 + KEPT_MS - 1).find("agents"), Some(vec!["a".to_owned()]));
        assert_eq!(at(2_000).find("roles"), Some(Vec::new()));
        assert_eq!(at(1_000 + KEPT_MS).find("agents"), None, "too old");
        assert_eq!(at(999).find("agents"), None, "of a clock that was set back");
        let mode = std::fs::metadata(dir.path().join("names")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        at(1_000 + KEPT_MS).keep("secrets", &["a/b".to_owned()]);
        let text = std::fs::read_to_string(dir.path().join("names")).unwrap();
        assert!(text.contains("secrets") && !text.contains("agents"), "old names are removed: {text}");
    }

    #[test]
    fn cache_with_text_that_is_no_name_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CachedNames { path: dir.path().join("names"), now_ms: 1_000 };
        for name in ["github.repo.read", "github/app", "team-1"] {
            cache.keep("own", &[name.to_owned()]);
            assert_eq!(cache.find("own"), Some(vec![name.to_owned()]));
        }
        for text in ["$(id)", "a b", "a;b", "a\nb", "\u{1b}[2J", "-x", ""] {
            cache.keep("own", &["a".to_owned(), text.to_owned()]);
            assert_eq!(cache.find("own"), None, "{text:?}");
        }
        std::fs::write(dir.path().join("names"), "{\"own\":{\"at_ms\":1").unwrap();
        assert_eq!(cache.find("own"), None, "text that is not complete");
    }
}
