use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{Clock, SystemClock};
use crate::files;

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

impl CachedNames {
    pub(super) fn in_home(home: &Path) -> Self {
        Self { path: home.join("completion.json"), now_ms: SystemClock::new().now().ms() }
    }

    /// The names of this kind, if they are not too old.
    pub(super) fn find(&self, kind: &str) -> Option<Vec<String>> {
        let kept = self.read().remove(kind)?;
        let age_ms = self.now_ms.saturating_sub(kept.at_ms);
        (0..KEPT_MS).contains(&age_ms).then_some(kept.names)
    }

    /// Keeps names; a file that cannot be written is no cache.
    pub(super) fn keep(&self, kind: &str, names: &[String]) {
        let mut kept = self.read();
        kept.insert(kind.to_owned(), Kept { at_ms: self.now_ms, names: names.to_vec() });
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        drop(files::replace_shared(&self.path, &text));
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
    }
}
