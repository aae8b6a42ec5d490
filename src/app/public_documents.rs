use std::fs;
use std::path::PathBuf;

use super::data_dir::private_dir;
use super::server_identity::replace;
use crate::broker::AgentServices;
use crate::config::Config;
use crate::http::Documents;

/// Stores the present public documents for a sealed broker. A failure, e.g. on a full disk, is only logged, because a
/// serving broker does not need the files.
pub(crate) async fn publish(config: &Config, services: AgentServices) {
    let documents = Documents::of(services).await;
    if documents == published(config) {
        return;
    }
    let kept = private_dir(&config.data_dir.join("tls"))
        .and_then(|()| replace(&path(config), &serde_json::to_vec(&documents).unwrap_or_default()));
    if let Err(failure) = kept {
        tracing::warn!(?failure, "the public documents for a sealed broker could not be stored");
    }
}

/// The stored public documents, if there are any.
pub(crate) fn published(config: &Config) -> Documents {
    let read = fs::read(path(config)).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.join("tls/documents.json")
}
