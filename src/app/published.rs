use std::fs;
use std::path::PathBuf;

use super::assemble::private_dir;
use super::server_identity::replace;
use crate::broker::AgentDesk;
use crate::cli::Failure;
use crate::config::Config;
use crate::http::Documents;

/// Keeps the public documents as they are now where a sealed broker finds them.
pub(super) async fn publish(config: &Config, desk: AgentDesk) -> Result<(), Failure> {
    let documents = Documents::of(desk).await;
    if documents == published(config) {
        return Ok(());
    }
    private_dir(&config.data_dir.join("tls"))?;
    replace(&path(config), &serde_json::to_vec(&documents).unwrap_or_default())
}

/// The public documents as they were last signed; none when nobody has kept any.
pub(super) fn published(config: &Config) -> Documents {
    let read = fs::read(path(config)).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.join("tls/documents.json")
}
