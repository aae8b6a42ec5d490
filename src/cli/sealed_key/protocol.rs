//! The messages of the key agent: one line of JSON each way, one request per connection. No message contains a private
//! key in clear or a passphrase.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::code;
use crate::console::CommandFailure;

/// A request to the key agent.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum KeyAgentRequest {
    /// Until when the agent runs, and whether it opens this key.
    Status {
        /// A sealed key, as `key.pem` stores it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A signature for a TLS handshake.
    Sign {
        /// The sealed key.
        key: String,
        /// The message, base64url.
        message: String,
    },
    /// A new key, sealed with the same passphrase.
    NewKey,
    /// Ends the agent.
    Stop,
}

/// The response of the key agent.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "response", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum KeyAgentResponse {
    /// The state of the agent.
    Status {
        /// The end of its time, RFC 3339.
        until: String,
        /// Whether it opens the key of the request.
        opens: bool,
    },
    /// A signature, base64url.
    Signature {
        /// The signature.
        signature: String,
    },
    /// A new sealed key.
    Key {
        /// As `key.pem` stores it.
        key: String,
    },
    /// The agent ends.
    Stopping,
    /// The agent refuses the request.
    Refused {
        /// The reason.
        why: String,
    },
}

/// Longest line in bytes: a sealed key has less than 2 KiB.
pub(super) const LINE_BYTES_MAX: u64 = 16 * 1024;

/// The directory of the agent's socket below the home directory of its identities.
pub(super) fn directory(home: &Path) -> PathBuf {
    home.join("key-agent")
}

/// The agent's socket.
pub(super) fn socket(home: &Path) -> PathBuf {
    directory(home).join("socket")
}

/// The file that a running agent has locked.
pub(super) fn lock(home: &Path) -> PathBuf {
    directory(home).join("lock")
}

/// Checks that no other user can reach the socket: the directory belongs to this user and has mode 0700.
///
/// # Errors
/// [`CommandFailure`].
pub(super) fn check_private(home: &Path) -> Result<(), CommandFailure> {
    let dir = directory(home);
    let found = fs::symlink_metadata(&dir).map_err(|error| CommandFailure::of_file(&dir, &error))?;
    let uid = rustix::process::geteuid().as_raw();
    let mode = found.permissions().mode() & 0o7777;
    if found.is_dir() && found.uid() == uid && mode & 0o077 == 0 {
        return Ok(());
    }
    let why = format!(
        "`{}` has mode {mode:o} and owner uid {}: other users can use it",
        dir.display(),
        found.uid()
    );
    let fix = format!("remove it (`rm -r {}`), and start the key agent again", dir.display());
    Err(CommandFailure::new(code::FILE_UNUSABLE).because(why).mended_by(fix))
}
