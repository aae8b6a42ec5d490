use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::encoding::hex;
use crate::base::{Sensitive, Timestamp};
use crate::cli::client::Received;
use crate::cli::identity::Identity;
use crate::crypto::sha256;
use crate::files::{private_dir, replace_shared};
use crate::wire::TokenAnswer;

/// The token cache of a home directory: one file per token, whose name is a digest of request and certificate. A token
/// is useless without the private key beside it.
pub(crate) struct KeptTokens {
    dir: PathBuf,
    certificate: String,
}

#[derive(Serialize)]
struct NewKeptToken<'a> {
    expires_at_ms: Timestamp,
    answer: &'a Received<TokenAnswer>,
}

#[derive(Deserialize)]
struct KeptToken {
    expires_at_ms: Timestamp,
    answer: Received<TokenAnswer>,
}

/// Largest file of a cached token.
const KEPT_BYTES_MAX: u64 = 64 * 1024;

impl KeptTokens {
    /// The cache for `identity` below `home`.
    pub(crate) fn of(home: &Path, identity: &Identity) -> Self {
        Self { dir: home.join("tokens"), certificate: identity.certificate_pem.clone() }
    }

    fn path(&self, request: &str) -> PathBuf {
        let name = sha256(format!("{}\n{request}", self.certificate).as_bytes());
        self.dir.join(hex(name.as_bytes()))
    }

    /// The response to the same request, if its token has at least `min_ttl_s` left. Other files are ignored.
    pub(crate) fn find(
        &self,
        request: &str,
        min_ttl_s: i64,
        now: Timestamp,
    ) -> Option<Received<TokenAnswer>> {
        let path = self.path(request);
        let found = fs::symlink_metadata(&path).ok()?;
        let is_ours = found.is_file() && found.mode() & 0o077 == 0 && found.len() <= KEPT_BYTES_MAX;
        if !is_ours {
            return None;
        }
        let text = Sensitive::new(fs::read(&path).ok()?);
        let kept: KeptToken = serde_json::from_slice(text.expose()).ok()?;
        (kept.expires_at_ms.seconds_since(now) >= min_ttl_s).then_some(kept.answer)
    }

    /// Stores a response. Does nothing if the directory is not writable.
    pub(crate) fn keep(&self, request: &str, answer: &Received<TokenAnswer>, now: Timestamp) {
        let kept = NewKeptToken { expires_at_ms: now.plus_s(i64::from(answer.expires_in)), answer };
        let Ok(text) = serde_json::to_vec(&kept).map(Sensitive::new) else { return };
        let path = self.path(request);
        let swept = private_dir(&self.dir).and_then(|()| self.sweep(now));
        drop(swept.and_then(|()| replace_shared(&path, text.expose())));
    }

    /// Removes the response to the same request.
    pub(crate) fn forget(&self, request: &str) {
        drop(fs::remove_file(self.path(request)));
    }

    /// Removes expired tokens.
    fn sweep(&self, now: Timestamp) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let kept = fs::read(&path).ok().map(Sensitive::new);
            let kept = kept.and_then(|text| serde_json::from_slice::<KeptToken>(text.expose()).ok());
            if kept.is_none_or(|kept| kept.expires_at_ms <= now) {
                drop(fs::remove_file(&path));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn answer() -> Received<TokenAnswer> {
        let answer = json!({
            "access_token": "t", "token_type": "Bearer", "expires_in": 300, "scope": "a",
            "token_id": "tok_00000000000000000000000000", "decision_id": "dec_00000000000000000000000000",
        });
        serde_json::from_value(answer).unwrap()
    }

    fn tokens(home: &Path, certificate: &str) -> KeptTokens {
        KeptTokens { dir: home.join("tokens"), certificate: certificate.to_owned() }
    }

    #[test]
    fn a_kept_token_is_found_for_the_same_request_and_certificate() {
        let home = tempfile::tempdir().unwrap();
        let (kept, now) = (tokens(home.path(), "one"), Timestamp::from_s(1000));
        kept.keep("scope=a", &answer(), now);
        let found =
            |tokens: &KeptTokens, request: &str, min, at| tokens.find(request, min, Timestamp::from_s(at));
        assert_eq!(found(&kept, "scope=a", 30, 1000).unwrap().access_token.value().expose(), "t");
        assert!(found(&kept, "scope=a", 30, 1270).is_some(), "thirty left");
        assert!(found(&kept, "scope=a", 30, 1271).is_none(), "one less");
        assert!(found(&kept, "scope=b", 30, 1000).is_none(), "another question");
        assert!(found(&tokens(home.path(), "two"), "scope=a", 30, 1000).is_none(), "another certificate");
        kept.forget("scope=a");
        assert!(found(&kept, "scope=a", 30, 1000).is_none());
    }

    #[test]
    fn what_is_damaged_or_open_to_others_is_passed_over_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (kept, now) = (tokens(home.path(), "one"), Timestamp::from_s(1000));
        let answer = answer();
        kept.keep("a", &answer, now);
        let path = kept.path("a");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(kept.find("a", 0, now).is_none(), "others can read it");
        kept.keep("a", &answer, now);
        fs::write(&path, "{").unwrap();
        assert!(kept.find("a", 0, now).is_none(), "damaged");
        kept.keep("a", &answer, now);
        assert!(kept.find("a", 0, now).is_some(), "replaced");
        kept.keep("b", &answer, now.plus_s(1000));
        assert_eq!(fs::read_dir(home.path().join("tokens")).unwrap().count(), 1, "what has ended is gone");
    }
}
